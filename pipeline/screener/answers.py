"""The site's answers to screener queries, and their errors, in the shapes that are known. Pure.

An answer is `{"finance": {"result": [{"total": 106, "quotes": [{"symbol": …}, …]}]}}`, or has `records` in place of `quotes`
and the symbol under `ticker`; numbers are plain, texts, or `{"raw": 1.5, "fmt": "1.50"}`. The rows may lie deeper, within
other objects and lists.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from pipeline.wire import quotes

#: Reasons for which a row is left out, as a completion names them.
NO_SYMBOL, NOT_EQUITY, DOUBLED = "no_symbol", "not_equity", "doubled"
#: The longest symbol that a task may have, in characters.
SYMBOL_LIMIT = 64
_SYMBOLS = ("symbol", "ticker")
_NAMES = ("longName", "shortName", "companyName", "companyshortname.raw", "companyshortname", "displayName", "name")
_ROWS = ("quotes", "records", "rows")
_TOTALS = ("total", "totalCount", "totalResults", "totalRecords")
#: So deep the rows may lie in an answer.
_DEEPEST = 5
#: So many rows, none of which has a symbol, are rows of another shape.
_STRANGE_ROWS = 5
#: Some servers put this before their JSON so that it cannot run as a script.
_GUARD = re.compile(r"^\ufeff?\s*(?:\)\]\}',?|for\s*\(;;\);|while\s*\(1\);)")


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
    #: Rows that were left out: reason → count.
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the answer had, including those that were skipped."""
        return len(self.listings) + sum(self.skipped.values())

    def says_something(self, offset: int) -> bool:
        """Whether it tells what is there from `offset` on: no rows and no total tell it only behind rows that came before."""
        return self.total is not None or self.rows > 0 or offset > 0


@dataclass(frozen=True)
class SiteError:
    """What the site says in place of an answer, under whatever status."""

    code: str
    description: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.code, self.description))) or "no reason given"


def parse(value: Any) -> Answer | SiteError | None:
    """What the decoded JSON of a screener query says; None if its shape is unknown. An error counts even if there are rows beside it."""
    error = next((one for part in _objects(value, 2) if (one := part.get("error"))), None)
    if isinstance(error, Mapping):
        return SiteError(quotes.plain_text(error.get("code")), quotes.plain_text(error.get("description") or error.get("message")))
    if error:
        return SiteError("", quotes.plain_text(error))
    parts = list(_objects(value, _DEEPEST))
    # Rows before none: an answer may have an empty list of something else beside them.
    having_rows = sorted((part for part in parts if _rows_of(part) is not None), key=lambda part: not _rows_of(part))
    result = next((part for part in having_rows or parts if having_rows or _total_of(part) == 0), None)
    if result is None:
        return None
    rows = _rows_of(result) or []
    around = [part for part in parts if any(inner is result for inner in _objects(part, _DEEPEST))]
    total = next((total for part in reversed(around) if (total := _total_of(part)) is not None), None)
    skipped: Counter[str] = Counter()
    listings = [found for row in rows if (found := _listing(row, skipped)) is not None]
    if len(rows) > _STRANGE_ROWS and skipped[NO_SYMBOL] == len(rows):
        return None
    # A total of less than what it comes with says nothing.
    return Answer(None if total is None or total < len(rows) else total, tuple(listings), dict(skipped))


def parse_text(text: str | None) -> Answer | SiteError | None:
    """`parse` of a body; None if it is not JSON either."""
    try:
        return parse(json.loads(_GUARD.sub("", text or "", count=1)))
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


def _objects(value: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects of an answer, from the outside in; not those within rows."""
    if isinstance(value, Mapping):
        yield value
        if depth and _rows_of(value) is None:
            for name, part in value.items():
                if name != "error":
                    yield from _objects(part, depth - 1)
    elif isinstance(value, list) and depth:
        for part in value[:3]:
            yield from _objects(part, depth - 1)


def _rows_of(result: Mapping[str, Any]) -> list[Any] | None:
    return next((result[name] for name in _ROWS if isinstance(result.get(name), list)), None)


def _total_of(result: Mapping[str, Any]) -> int | None:
    """How many stocks there are; None if it does not say, or not in whole numbers."""
    for name in _TOTALS:
        value = result.get(name)
        if isinstance(value, Mapping):
            value = next((value[form] for form in ("raw", "longFmt", "fmt", "value") if value.get(form) is not None), None)
        number = quotes.plain_number(value)
        if isinstance(number, int) and number >= 0:
            return number
    return None


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
