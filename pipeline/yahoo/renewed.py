"""Puts what is kept of a company together with a new quote. Makes no request, and imports nothing that could."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pipeline.ratios import kept
from pipeline.ratios.fundamentals import Fundamentals, Rates, major
from pipeline.ratios.periods import Period, periods, usable
from pipeline.yahoo.answers import Info
from pipeline.yahoo.assemble import site_ratios, with_rates


def renewed(
    payload: Mapping[str, Any],
    symbol: str,
    quote: Mapping[str, Any],
    fetched_on: date,
    get_rates: Callable[[str], Rates],
    as_of: date,
) -> tuple[Fundamentals, list[Period]]:
    """A company as it was kept on `fetched_on`, with quote and rates of the day `as_of`: what of it is usable, and its periods."""
    info = Info({"quote": dict(quote)})
    found = kept.from_payload(payload, symbol=symbol, as_of=as_of)
    price, quoted_on = info.figure("regularMarketPrice"), info.day("regularMarketTime")
    found = replace(
        moved_on(found, as_of, price, quoted_on),
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


def moved_on(found: Fundamentals, as_of: date, price: float | None, quoted_on: date | None) -> Fundamentals:
    """With a new price. The newest close moves as the price did: which units the two are in is what it is kept for."""
    newest = found.newest_close
    if newest and price and found.price and quoted_on and major(found.currency) == major(found.chart_currency or found.currency):
        newest = (quoted_on, newest[1] * price / found.price)
    return replace(found, as_of=as_of, price=price, quoted_on=quoted_on, newest_close=newest)
