"""Quotes: what a listing said about a stock, as sent in a processing task, by the site's field names, with `seen_at`. Pure."""

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
TEXTS = ("currency", "financialCurrency", "exchange", "quoteType", "sector", "industry")
#: Longest text of a quote, in characters.
TEXT_LIMIT = 200
#: Fields of the screener's records that have another name in its quotes.
_OTHER_NAMES = {"intradaymarketcap": "marketCap", "intradayprice": "regularMarketPrice"}


def cleaned(fields: Mapping[str, Any], seen_at: str = "") -> dict[str, Any]:
    """The known fields, in plain form. Missing and senseless values are left out, never guessed.

    Numbers may be plain or `{"raw": 1.5, "fmt": "1.50"}`. If `seen_at` (ISO 8601) is empty, the one in `fields` is kept.
    """
    named = {**{_OTHER_NAMES[name]: value for name, value in fields.items() if name in _OTHER_NAMES}, **fields}
    quote: dict[str, Any] = {}
    for name in NUMBERS:
        if (number := plain_number(named.get(name))) is not None:
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


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
