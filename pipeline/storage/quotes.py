"""`quote`: what the newest listing said about each stock. Columns have this program's names; `QUOTE_FIELDS` has the site's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pipeline.storage.tables import NUMBER, TEXT_OR_EMPTY, TIME, Column

#: Column → the site's field (pipeline/wire/quotes.py).
QUOTE_FIELDS = {
    "price": "regularMarketPrice",
    "currency": "currency",
    "financial_currency": "financialCurrency",
    "market_cap": "marketCap",
    "shares_outstanding": "sharesOutstanding",
    "eps_ttm": "epsTrailingTwelveMonths",
    "book_value": "bookValue",
    "trailing_pe": "trailingPE",
    "price_to_book": "priceToBook",
    "exchange": "exchange",
    "quote_type": "quoteType",
    "sector": "sector",
    "industry": "industry",
    "quoted_at": "regularMarketTime",
    "earnings_at": "earningsTimestamp",
    "earnings_start": "earningsTimestampStart",
    "earnings_end": "earningsTimestampEnd",
}
_TEXTS = {"currency", "financial_currency", "exchange", "quote_type", "sector", "industry"}
_TIMES = {"quoted_at", "earnings_at", "earnings_start", "earnings_end"}
#: Name → column. A missing text is empty, a missing number or time is NULL.
QUOTE_COLUMNS = {name: TEXT_OR_EMPTY if name in _TEXTS else Column(TIME) if name in _TIMES else NUMBER for name in QUOTE_FIELDS}
#: A stored quote that is so much newer than the one that comes was dated by a wrong clock.
_WRONG_CLOCK_DAYS = 7
UPSERT_QUOTES = f"""
INSERT INTO quote (symbol, seen_at, {", ".join(QUOTE_COLUMNS)}) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET
    seen_at = EXCLUDED.seen_at, {", ".join(f"{column} = EXCLUDED.{column}" for column in QUOTE_COLUMNS)}
WHERE quote.seen_at <= EXCLUDED.seen_at OR quote.seen_at > EXCLUDED.seen_at + interval '{_WRONG_CLOCK_DAYS} days'
"""  # noqa: S608 (the names are this program's own)
#: Epoch seconds outside the years 1970 to 2200 are not the time of a quote.
_LATEST = 7_258_118_400


def quote_row(symbol: str, quote: Mapping[str, Any]) -> tuple[Any, ...]:
    """A row for `UPSERT_QUOTES`. `quote` has a `seen_at`."""
    return (symbol, quote["seen_at"], *(_value(column, quote.get(field)) for column, field in QUOTE_FIELDS.items()))


def site_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON (times as ISO 8601) → values by the site's field names, without missing ones."""
    found = {field: row.get(column) for column, field in QUOTE_FIELDS.items()}
    times = {
        field: datetime.fromisoformat(value).timestamp()
        for column, field in QUOTE_FIELDS.items()
        if column in _TIMES and (value := row.get(column))
    }
    return {field: value for field, value in {**found, **times}.items() if value not in (None, "")}


def _value(column: str, value: Any) -> Any:
    if column in _TEXTS:
        return value or ""
    if column in _TIMES:
        return datetime.fromtimestamp(value, timezone.utc) if value is not None and 0 <= value < _LATEST else None
    return value
