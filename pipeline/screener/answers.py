"""The site's answers to screener queries, and their errors, in the shapes that are known. Pure.

An answer is `{"finance": {"result": [{"total": 106, "quotes": [{"symbol": …}, …]}]}}`, or has `records` in place of `quotes`
and the symbol under `ticker`; numbers are plain, or `{"raw": 1.5, "fmt": "1.50"}`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pipeline.wire import quotes

#: Reasons for which a row is left out, as a completion names them.
NO_SYMBOL, NOT_EQUITY, DOUBLED = "no_symbol", "not_equity", "doubled"
#: Longest symbol that a task takes, in characters.
SYMBOL_LIMIT = 64
#: In this order: a record's own ticker before what may be a nested object of another meaning.
_SYMBOLS = ("symbol", "ticker")
_NAMES = ("longName", "shortName", "companyName", "companyshortname.raw", "companyshortname", "displayName", "name")
_ROWS = ("quotes", "records", "rows")


@dataclass(frozen=True)
class Listing:
    """A stock as the site lists it. `quote` holds what the answer said of it (pipeline/wire/quotes.py), empty if there was none."""

    symbol: str
    name: str
    quote: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Answer:
    """One answer: how many stocks there are in all (None if it does not say), and its own rows."""

    total: int | None
    listings: tuple[Listing, ...]
    #: Rows that are no listing: reason → count.
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that the answer had, those that were skipped included."""
        return len(self.listings) + sum(self.skipped.values())


@dataclass(frozen=True)
class SiteError:
    """What the site says in place of an answer, under whatever status."""

    code: str
    description: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.code, self.description))) or "no reason given"


def parse(value: Any) -> Answer | SiteError | None:
    """What the decoded JSON of a screener query says; None if it is no answer of a known shape."""
    outer = value.get("finance", value) if isinstance(value, Mapping) else None
    if not isinstance(outer, Mapping):
        return None
    error = outer.get("error")
    result = outer.get("result")
    if isinstance(result, list):
        result = next((one for one in result if isinstance(one, Mapping)), None)
    if not isinstance(result, Mapping):
        # yfinance hands out the result alone.
        result = outer if any(isinstance(outer.get(name), list) for name in _ROWS) else None
    if result is None:
        if isinstance(error, Mapping):
            return SiteError(quotes.plain_text(error.get("code")), quotes.plain_text(error.get("description")))
        return SiteError("", quotes.plain_text(error)) if error else None
    rows = next((result[name] for name in _ROWS if isinstance(result.get(name), list)), None)
    total = quotes.plain_number(result.get("total"))
    if rows is None and total != 0:
        return None
    skipped: Counter[str] = Counter()
    listings = [found for row in rows or () if (found := _listing(row, skipped)) is not None]
    return Answer(None if total is None or total < 0 else int(total), tuple(listings), dict(skipped))


def parse_text(text: str | None) -> Answer | SiteError | None:
    """`parse` of a body; None if it is no JSON either."""
    try:
        return parse(json.loads(text or ""))
    except (ValueError, RecursionError):
        return None


def symbol_of(value: Any) -> str:
    """A symbol as tasks take it, or nothing."""
    if isinstance(value, Mapping):
        value = value.get("raw") or value.get("fmt") or value.get("symbol")
    if not isinstance(value, str) or value in ("--", "-"):
        return ""
    text = value.strip()
    usable = text.isprintable() and len(text) <= SYMBOL_LIMIT and not text.isspace()
    return text if usable else ""


def symbol_of_link(address: str) -> str:
    """The symbol in `/quote/M%26M.NS/`, or nothing."""
    rest = address.partition("/quote/")[2]
    return symbol_of(unquote(rest.partition("/")[0].partition("?")[0].partition("#")[0]))


def name_of(candidates: list[Any], symbol: str) -> str:
    """The first of several names that is one (`--` is none), else the symbol."""
    return next(filter(None, map(quotes.plain_text, candidates)), symbol)


def _listing(row: Any, skipped: Counter[str]) -> Listing | None:
    fields = row if isinstance(row, Mapping) else {}
    symbol = next(filter(None, (symbol_of(fields.get(name)) for name in _SYMBOLS)), "")
    if not symbol:
        skipped[NO_SYMBOL] += 1
        return None
    kind = quotes.plain_text(fields.get("quoteType"))
    if kind and kind.upper() != "EQUITY":
        skipped[NOT_EQUITY] += 1
        return None
    return Listing(symbol, name_of([fields.get(name) for name in _NAMES], symbol), quotes.cleaned(fields))
