"""The market cap of a listing in the currency that it is traded in, beside the one in dollars. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from pipeline.ratios.fundamentals import in_trading_unit, major, unit_value

#: Name → column of each argument of `listed_size`, in order (`r` is the row of ratios, `q` the stock's newest quote).
COLUMNS = {
    **{"row_period": "r.period_type", "row_inputs": "r.inputs", "row_market_cap": "r.market_cap"},
    **{"row_market_cap_usd": "r.market_cap_usd", "row_currency": "r.currency", "quote_market_cap": "q.market_cap"},
    **{"quote_currency": "q.currency", "quote_price": "q.price", "quote_shares": "q.shares_outstanding"},
}


def arguments(columns: Mapping[str, str]) -> list[str]:
    """SQL of the arguments of `listed_size`, from SQL of the columns. Of the inputs, which are large, only a part is read."""
    return [f"{sql} -> 'market'" if name == "row_inputs" else sql for name, sql in columns.items()]


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
