"""The market cap of a listing in the currency that it is traded in, beside the one in dollars. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from pipeline.ratios.fundamentals import in_trading_unit, major, unit_value

#: SQL of the arguments of `listed_size` (`r` is the row of ratios, `q` the stock's newest quote).
ARGUMENTS = (
    *("r.period_type", "r.inputs -> 'market'", "r.market_cap", "r.market_cap_usd", "r.currency"),
    *("q.market_cap", "q.currency", "q.price", "q.shares_outstanding"),
)


class ListedSize(NamedTuple):
    """A market cap in whole units of the currency that the stock is traded in (pounds, not pence)."""

    amount: float
    currency: str


def listed_size(
    period_type: str | None,
    market: Any,
    market_cap: float | None,
    market_cap_usd: float | None,
    currency: str | None,
    *quote: Any,
) -> ListedSize | None:
    """The row's own market cap in the listing's currency; None if nothing shows it.

    `quote` is the newest quote's market cap, currency, price and shares outstanding. It stands in if the row has no market cap, unless
    the row is a fiscal year, because the quote is of another day.
    """
    known = market if isinstance(market, Mapping) else {}
    traded_in, rate = major(_text(known.get("quote_currency"))), _above_zero(known.get("rate_to_usd"))
    amount, dollars = _above_zero(market_cap), _above_zero(market_cap_usd)
    if traded_in and dollars and rate:
        return ListedSize(float(f"{dollars / rate:.12g}"), traded_in)
    if traded_in and amount and traded_in == currency:
        return ListedSize(amount, traded_in)
    return None if period_type == "annual" else _quoted(*quote)


def _quoted(market_cap: float | None, code: str | None, price: float | None, shares: float | None) -> ListedSize | None:
    amount, currency, unit = _above_zero(market_cap), major(code), unit_value(code)
    if not amount or not currency:
        return None
    if unit != 1.0:
        in_units = in_trading_unit(amount, _above_zero(price), _above_zero(shares))
        if in_units is None:
            return None
        amount = amount * unit if in_units else amount
    return ListedSize(amount, currency)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _above_zero(value: Any) -> float | None:
    """The number, or None if it is not one above 0. Rows that others wrote may hold anything."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value > 0
    return float(value) if good else None
