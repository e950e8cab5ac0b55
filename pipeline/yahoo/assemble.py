"""Puts the site's answers about one stock together: all that its rows are computed from. Pure, but for the answers it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Protocol

from pipeline.errors import NoData
from pipeline.ratios.fundamentals import Fundamentals, Rates, Statements, major, unit_value
from pipeline.ratios.periods import Period, periods, usable
from pipeline.yahoo.answers import Info
from pipeline.yahoo.exchange_rates import rates_between

#: How old a period's close may be (market_value.CLOSE_DAYS), and some more, so that it surely is in the answer.
_CLOSE_DAYS = 10
_SPARE_DAYS = 4
#: A trade that lies farther ahead than time zones can make it is no trade.
_MOST_DAYS_AHEAD = 2

#: The site's own ratios, as they come: for a cross-check, never for computing.
SITE_RATIOS = (
    *("trailingPE", "priceToBook", "priceToSalesTrailing12Months", "enterpriseToRevenue", "enterpriseToEbitda"),
    *("dividendYield", "payoutRatio", "profitMargins", "grossMargins", "operatingMargins", "ebitdaMargins"),
    *("returnOnEquity", "returnOnAssets", "currentRatio", "quickRatio", "debtToEquity"),
)


class PricesOf(Protocol):
    """What is asked of a chart: of the site's own, or of what is kept of an earlier one."""

    @property
    def price(self) -> float | None: ...
    @property
    def currency(self) -> str | None: ...
    @property
    def quoted_on(self) -> date | None: ...
    @property
    def splits(self) -> Mapping[date, float]: ...
    def closes_until(self, day: date, days: int) -> Mapping[date, float]: ...
    def newest(self) -> tuple[date, float] | None: ...
    def steps(self) -> Mapping[date, float]: ...


def assemble(
    symbol: str, as_of: date, info: Info, statements: Statements, get_chart: Callable[[date], PricesOf], get_rates: Callable[[str], Rates]
) -> Fundamentals:
    """Ask for prices only from the oldest period on, and for the exchange rates that are needed. Raises NoData("no_statements")."""
    found = Fundamentals(
        symbol=symbol,
        as_of=as_of,
        name=info.text("longName", "shortName"),
        exchange=info.text("exchange"),
        sector=info.text("sector"),
        industry=info.text("industry"),
        currency=info.text("currency"),
        financial_currency=info.text("financialCurrency"),
        price=info.figure("regularMarketPrice", "currentPrice"),
        market_cap=info.figure("marketCap"),
        shares_outstanding=info.figure("sharesOutstanding"),
        statements=statements,
        site_ratios=site_ratios(info),
    )
    chosen = periods(usable(found))
    if not chosen:
        raise NoData("no_statements", f"{symbol}: no fiscal year and no trailing twelve months in its statements")
    compared = [one for period in chosen for one in (period.flows, period.earlier_flows, period.earlier_balance) if one]
    chart = get_chart(min(one.end for one in compared) - timedelta(days=_CLOSE_DAYS + _SPARE_DAYS))
    ends = [period.end for period in chosen if period.period_type == "annual"]
    found = replace(
        _priced(found, info, chart),
        chart_currency=chart.currency,
        closes={day: close for end in ends for day, close in chart.closes_until(end, _CLOSE_DAYS).items()},
        newest_close=chart.newest(),
        steps=chart.steps(),
        splits=chart.splits,
    )
    return with_rates(found, get_rates, chosen)


def site_ratios(info: Info) -> dict[str, float]:
    """The site's own ratios, those that the answer has."""
    return {name: value for name in SITE_RATIOS if (value := info.figure(name)) is not None}


def with_rates(found: Fundamentals, get_rates: Callable[[str], Rates], chosen: Sequence[Period]) -> Fundamentals:
    """With the exchange rates that the rows of these periods need."""
    as_of, chart_currency = found.as_of, found.chart_currency
    targets = {period.currency for period in chosen} | {"USD", found.currency or ""}
    eps = {code for period in chosen for code in period.flows.codes.values()}
    rates = rates_between(found.currency or "", targets, as_of, get_rates)
    if major(chart_currency) not in ("", major(found.currency)):
        rates |= rates_between(chart_currency or "", targets, as_of, get_rates)
    for period in chosen:
        if period.period_type == "ttm" and eps - {period.currency}:
            rates |= rates_between(period.currency, eps, as_of, get_rates)
    return replace(found, rates=rates)


def _priced(found: Fundamentals, info: Info, chart: PricesOf) -> Fundamentals:
    """Take currency, price and its day from the chart if the quote has none. A price of 0 counts as none."""
    currency = found.currency or chart.currency
    price = found.price
    if not (price and price > 0) and chart.price and major(chart.currency) == major(currency):
        price = chart.price * unit_value(chart.currency) / unit_value(currency)
    newest = chart.newest()
    days = (info.day("regularMarketTime"), chart.quoted_on, newest[0] if newest else None)
    possible = (day for day in days if day is not None and day <= found.as_of + timedelta(days=_MOST_DAYS_AHEAD))
    return replace(found, currency=currency, price=price, quoted_on=next(possible, None))
