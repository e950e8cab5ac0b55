"""Quotes: what a listing says about a stock, by the site's field names and with `seen_at`, as processing tasks carry it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timezone
from typing import Any

from pipeline.wire.text import clean_name

#: Numbers of a quote. Times (`…Time`, `…Timestamp…`) are epoch seconds; `bookValue` is in the statements' currency, all other
#: amounts in `currency`.
NUMBERS = (
    "regularMarketPrice",
    "marketCap",
    "sharesOutstanding",
    "epsTrailingTwelveMonths",
    "bookValue",
    "trailingPE",
    "priceToBook",
    "regularMarketTime",
    "earningsTimestamp",
    "earningsTimestampStart",
    "earningsTimestampEnd",
)
#: Those of the numbers that are times.
TIMES = ("regularMarketTime", "earningsTimestamp", "earningsTimestampStart", "earningsTimestampEnd")
TEXTS = ("currency", "financialCurrency", "exchange", "quoteType", "sector", "industry")
#: Longest text of a quote, in characters.
TEXT_LIMIT = 200
#: A larger number is no time in seconds (it would be past the year 5138), but one in milliseconds (after 1973).
_LEAST_MS = 1e11
#: Fields of the screener's records that have another name in its quotes.
_OTHER_NAMES = {"intradaymarketcap": "marketCap", "intradayprice": "regularMarketPrice"}


def cleaned(fields: Mapping[str, Any], seen_at: str = "") -> dict[str, Any]:
    """The known fields, in plain form. Missing and senseless values are left out, never guessed.

    Numbers may be plain or `{"raw": 1.5, "fmt": "1.50"}`. If `seen_at` (ISO 8601) is empty, the one in `fields` is kept.
    """
    named = {**{_OTHER_NAMES[name]: value for name, value in fields.items() if name in _OTHER_NAMES}, **fields}
    quote: dict[str, Any] = {}
    for name in NUMBERS:
        if (number := (plain_time if name in TIMES else plain_number)(named.get(name))) is not None:
            quote[name] = number
    for name in TEXTS:
        if text := plain_text(named.get(name)):
            quote[name] = text
    if "industry" in quote:
        # The screener writes "Software—Application", a company's profile "Software - Application".
        quote["industry"] = re.sub(r"\s*—\s*", " - ", quote["industry"])
    when = seen_at or fields.get("seen_at")
    if isinstance(when, str) and _is_time(when):
        quote["seen_at"] = when
    return quote


def plain_number(value: Any) -> int | float | None:
    """A finite number, also from `{"raw": …}` and from texts such as "1,234"; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("raw")
    if isinstance(value, str):
        try:
            value = float(value.replace(",", "")) if value.strip() else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _is_finite(value: int | float) -> bool:
    """Whether it is a number that a double can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def plain_time(value: Any) -> int | float | None:
    """Epoch seconds of a time in seconds, in milliseconds or as ISO 8601 text (in UTC if it names no zone); None for anything else."""
    number = plain_number(value)
    if number is not None:
        return number if abs(number) < _LEAST_MS else number / 1000
    text = value.get("raw") if isinstance(value, Mapping) else value
    try:
        when = datetime.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None
    return int((when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()) if when else None


def plain_text(value: Any) -> str:
    """A text on one line without control characters, also from `{"raw": …}`; empty for anything else, and for `--`."""
    if isinstance(value, Mapping):
        value = value.get("raw") or value.get("fmt")
    if not isinstance(value, str):
        return ""
    text = clean_name(value[: 4 * TEXT_LIMIT])[:TEXT_LIMIT]
    return "" if text in ("--", "-", "—", "N/A") else text


def seen_at(day: date, now: datetime | None = None) -> str:
    """The time of an answer: the pipeline's own day (PIPELINE_TODAY) and the real time of day, in UTC."""
    clock = (now or datetime.now(timezone.utc)).timetz()
    return datetime.combine(day, clock).isoformat(timespec="seconds")


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
