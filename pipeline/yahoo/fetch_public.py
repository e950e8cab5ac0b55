"""The slow way: yfinance's public calls, a dozen requests and its tables, should the short way stop working.

yfinance drops the points' currency, so all are taken to be in financialCurrency: a change of currency goes unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timezone
from typing import Any

import yfinance
from yfinance import exceptions

from pipeline.errors import PermanentError
from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, INCOME_KEYS, Point, Statements
from pipeline.yahoo.answers import Chart, Info, number, parse_chart


def public_parts(symbol: str) -> tuple[Info, Statements, Callable[[date], Chart]]:
    """Quote, statements, and what gives the chart since a day. Raises what yfinance raises."""
    # It puts symbols into URLs as they are.
    if not re.fullmatch(r"[A-Za-z0-9^=&_-][A-Za-z0-9.^=&_-]*", symbol):
        raise PermanentError(f"{symbol[:100]!r} is no symbol that yfinance can ask for")
    ticker = yfinance.Ticker(symbol)
    info = Info({"info": dict(ticker.info)})
    return info, _statements(ticker, info.text("financialCurrency") or ""), lambda since: _chart(ticker, since)


def _statements(ticker: Any, currency: str) -> Statements:
    frequencies = (("annual", "yearly"), ("quarterly", "quarterly"), ("trailing", "trailing"))
    found: dict[str, dict[str, dict[date, Point]]] = {}
    for prefix, freq in frequencies:
        tables = [(ticker.get_income_stmt, INCOME_KEYS), (ticker.get_cash_flow, CASH_FLOW_KEYS)]
        tables += [] if freq == "trailing" else [(ticker.get_balance_sheet, BALANCE_KEYS)]
        found[prefix] = {key: points for get, keys in tables for key, points in _points(get, freq, keys, currency).items()}
    return Statements(**found)


def _points(get: Callable[..., Any], freq: str, keys: tuple[str, ...], currency: str) -> dict[str, dict[date, Point]]:
    try:
        table = get(freq=freq)
    except IndexError:
        return {}  # yfinance's trailing table of a company that has none
    found: dict[str, dict[date, Point]] = {}
    for key in keys:
        if key in table.index:
            row = {day.date(): number(float(value)) for day, value in table.loc[key].items()}
            points = {day: Point(value, currency) for day, value in row.items() if value is not None}
            if points:
                found[key] = points
    return found


def _chart(ticker: Any, since: date) -> Chart:
    try:
        table = ticker.history(start=since, interval="1d", auto_adjust=False, actions=True)
    except exceptions.YFPricesMissingError:
        return parse_chart(None)
    bars = [(int(day.timestamp()), float(close)) for day, close in table["Close"].items() if close > 0]
    splits = {day.date(): float(factor) for day, factor in table["Stock Splits"].items() if factor > 0}
    zone = table.index.tz or timezone.utc
    currency = ticker.history_metadata.get("currency")
    return Chart(
        None,
        currency if isinstance(currency, str) and currency else None,
        None,
        zone,
        [stamp for stamp, _ in bars],
        [close for _, close in bars],
        splits,
    )
