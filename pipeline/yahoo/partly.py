"""Fetches of a company only what is needed, and puts it together with what is kept of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from pipeline.errors import NoData, TransientError
from pipeline.ratios import kept
from pipeline.ratios.fundamentals import Fundamentals, Rates, major
from pipeline.ratios.periods import Period, periods, usable
from pipeline.yahoo import session
from pipeline.yahoo.answers import Info
from pipeline.yahoo.assemble import PricesOf, assemble, site_ratios, with_rates
from pipeline.yahoo.fetch import exchange_rates, fetch_chart, fetch_info, fetch_statements

_QUOTES = "https://query2.finance.yahoo.com/v7/finance/quote"


class _Gap(Exception):
    """The kept closes do not reach to a period's end."""


@dataclass(frozen=True)
class KeptChart:
    """What is kept of a chart, in its place. `ends`: the periods' ends whose closes it has, as far as there were any."""

    before: Fundamentals
    ends: frozenset[date]
    price: float | None = None
    quoted_on: date | None = None

    @property
    def currency(self) -> str | None:
        return self.before.chart_currency

    @property
    def splits(self) -> Mapping[date, float]:
        return self.before.splits

    def closes_until(self, day: date, days: int) -> Mapping[date, float]:
        """Raises _Gap for an end that is not among those kept."""
        if day not in self.ends:
            raise _Gap
        return {when: close for when, close in self.before.closes.items() if 0 <= (day - when).days <= days}

    def newest(self) -> tuple[date, float] | None:
        return self.before.newest_close

    def steps(self) -> Mapping[date, float]:
        return self.before.steps


def fetch_needed(symbol: str, known: Mapping[str, Any] | None, before: Fundamentals | None) -> Fundamentals:
    """Statements, and what else is needed.

    known: quote and profile by the site's field names; None if the stock's page has to be asked for.  before: what is kept of the
    company, if its closes are still good: the chart is asked for only if a period has ended since, or before them.
    Raises as `fetch.fetch` does.
    """
    try:
        return _needed(symbol, known, before)
    except NoData:
        if known is None:
            raise
        # Nothing found is no answer yet. The site may not know the symbol at all, and says so on the stock's page; or the one
        # answer was wrong, so the statements are asked for once more.
        fetch_info(session.get_json, symbol)
        return _needed(symbol, known, before)


def _needed(symbol: str, known: Mapping[str, Any] | None, before: Fundamentals | None) -> Fundamentals:
    as_of = session.today()
    info = fetch_info(session.get_json, symbol) if known is None else Info({"quote": dict(known)})
    if before is not None and known is None:
        info = Info({**info.modules, "kept": _profile(before)})
    statements = fetch_statements(session.get_json, symbol, as_of)

    def from_site(since: date) -> PricesOf:
        return fetch_chart(session.get_json, symbol, since, as_of)

    if before is not None:
        ends = frozenset(period.end for period in periods(usable(before)) if period.period_type == "annual")
        chart = KeptChart(_moved_on(before, as_of, info.figure("regularMarketPrice"), info.day("regularMarketTime")), ends)
        with contextlib.suppress(_Gap):
            return assemble(symbol, as_of, info, statements, lambda since: chart, exchange_rates.get)
    return assemble(symbol, as_of, info, statements, from_site, exchange_rates.get)


def _profile(before: Fundamentals) -> dict[str, Any]:
    return {"longName": before.name, "exchange": before.exchange, "sector": before.sector, "industry": before.industry}


def renewed(
    payload: Mapping[str, Any],
    symbol: str,
    quote: Mapping[str, Any],
    fetched_on: date,
    get_rates: Callable[[str], Rates] = exchange_rates.get,
) -> tuple[Fundamentals, list[Period]]:
    """A company as it was kept on `fetched_on`, with today's quote and rates: what of it is usable, and its periods."""
    as_of, info = session.today(), Info({"quote": dict(quote)})
    found = kept.from_payload(payload, symbol=symbol, as_of=as_of)
    price, quoted_on = info.figure("regularMarketPrice"), info.day("regularMarketTime")
    found = replace(
        _moved_on(found, as_of, price, quoted_on),
        currency=info.text("currency") or found.currency,
        financial_currency=info.text("financialCurrency") or found.financial_currency,
        market_cap=info.figure("marketCap"),
        shares_outstanding=info.figure("sharesOutstanding"),
        # A task that is delivered again on the day of its fetch gives the rows that it gave.
        site_ratios=found.site_ratios if fetched_on == as_of else site_ratios(info),
    )
    found = usable(found)
    chosen = periods(found)
    return with_rates(found, get_rates, chosen), chosen


def _moved_on(found: Fundamentals, as_of: date, price: float | None, quoted_on: date | None) -> Fundamentals:
    """With a new price. The newest close moves as the price did: which units the two are in is what it is kept for."""
    newest = found.newest_close
    if newest and price and found.price and quoted_on and major(found.currency) == major(found.chart_currency or found.currency):
        newest = (quoted_on, newest[1] * price / found.price)
    return replace(found, as_of=as_of, price=price, quoted_on=quoted_on, newest_close=newest)


def fetch_quotes(symbols: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The site's quotes of up to a hundred symbols in one request; those that it does not know are left out."""
    payload = session.get_json(_QUOTES, {"symbols": ",".join(symbols), "formatted": "false"})
    outer = payload.get("quoteResponse") if isinstance(payload, dict) else None
    result = outer.get("result") if isinstance(outer, dict) else None
    if not isinstance(result, list):
        raise TransientError("quote: an answer of another shape")
    found = {quote["symbol"]: quote for quote in result if isinstance(quote, dict) and isinstance(quote.get("symbol"), str)}
    return {symbol: found[symbol] for symbol in symbols if symbol in found}
