"""Parses and writes the addresses of the stock views. Pure.

`stocks?q=foods&region=fr&sector=Energy&range=price_to_earnings:0:15&where=…&period=ttm&sort=-return_on_equity&page=2`
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from pipeline.stocks import query
from pipeline.stocks.catalog import CATALOG, as_compared
from pipeline.stocks.conditions import FACTORS, ConditionError
from pipeline.stocks.query import Range, Screen
from pipeline.wire.regions import REGIONS
from ui import show

#: Ratios that the table shows unless others are asked for.
DEFAULT_COLUMNS = (
    *("market_cap_usd", "price_to_earnings", "price_to_book", "ev_to_ebitda", "return_on_equity"),
    *("net_margin", "revenue_growth", "dividend_yield", "debt_to_equity", "piotroski_f"),
)
#: The same in the order in which the form sends them.
DEFAULT_TICKED = tuple(name for name in CATALOG if name in DEFAULT_COLUMNS)
#: Rows on one page.
PAGE_ROWS = 50
#: Longest text search, most ranges, greatest page.
LONGEST_TEXT = 200
MOST_RANGES = 20
LAST_PAGE = 100_000

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class View:
    """One state of the stock table. `problems`: field → what is wrong with it. If there are any, no rows are shown."""

    screen: Screen = field(default_factory=Screen)
    page: int = 1
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """The chosen ratios, and those by which rows are filtered or sorted."""
        more = [one.ratio for one in self.screen.ranges]
        if self.screen.sort in CATALOG:
            more.append(self.screen.sort)
        return tuple(dict.fromkeys([*self.columns, *more]))

    def filter_pairs(self) -> Pairs:
        """The filter's fields, which all views of stocks share."""
        screen = self.screen
        pairs = [("q", screen.text)] if screen.text else []
        pairs += [("region", code) for code in screen.regions] + [("sector", sector) for sector in screen.sectors]
        pairs += [("range", range_text(one)) for one in screen.ranges]
        pairs += [("where", screen.where)] if screen.where else []
        return pairs + ([("period", screen.period)] if screen.period != "latest" else [])

    def labels(self) -> list[str]:
        """The filter in words."""
        screen = self.screen
        found = [", ".join(screen.regions)] if screen.regions else []
        found += [", ".join(screen.sectors)] if screen.sectors else []
        for one in screen.ranges:
            ratio = as_compared(one.ratio)
            least, most = (None if bound is None else show.in_unit(ratio.unit, bound) for bound in (one.least, one.most))
            found.append(f"{ratio.label} {least} to {most}" if least and most else _half(ratio.label, least, most))
        return found + ([screen.where[:80]] if screen.where else [])

    def pairs(self) -> Pairs:
        screen = self.screen
        pairs = self.filter_pairs()
        if (screen.sort, screen.descending) != ("symbol", False):
            pairs.append(("sort", ("-" if screen.descending else "") + screen.sort))
        if self.columns != DEFAULT_COLUMNS:
            pairs += [("column", name) for name in self.columns]
        return pairs + ([("page", str(self.page))] if self.page > 1 else [])

    def query(self) -> str:
        return urlencode(self.pairs())

    def filter_query(self) -> str:
        return urlencode(self.filter_pairs())

    def at_page(self, page: int) -> str:
        return replace(self, page=page).query()

    def sorted_by(self, name: str) -> str:
        """The address of the same rows sorted by a column. If they are sorted by it already, in the other direction."""
        same = self.screen.sort == name
        screen = replace(self.screen, sort=name, descending=not self.screen.descending if same else False)
        return replace(self, screen=screen, page=1).query()


def _half(label: str, least: str | None, most: str | None) -> str:
    return f"{label} from {least}" if least else f"{label} to {most}" if most else label


def range_text(one: Range) -> str:
    return ":".join([one.ratio, *("" if bound is None else f"{bound!r}".removesuffix(".0") for bound in (one.least, one.most))])


def read(pairs: Iterable[tuple[str, str]]) -> View:
    """The view for the fields of an address. What is invalid is in `problems`."""
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if value.strip():
            given.setdefault(name, []).append(value.strip())
    problems: dict[str, str] = {}
    screen = Screen(
        text=_text(given, "q", problems),
        regions=tuple(dict.fromkeys(given.get("region", ()))),
        sectors=tuple(dict.fromkeys(given.get("sector", ()))),
        ranges=_ranges(given, problems),
        where=_one(given, "where"),
        period=_choice(given, "period", query.PERIODS, problems),
        sort=_sort(given, problems),
        descending=_one(given, "sort").startswith("-"),
    )
    try:
        screen.condition()
    except ConditionError as error:
        problems["where"] = error.shown(screen.where)
    columns = tuple(dict.fromkeys(given.get("column", ())))
    for name in columns:
        if name not in CATALOG:
            problems["column"] = f"{name[:40]!r} is not a ratio"
    shown = tuple(name for name in columns if name in CATALOG)
    return View(screen, _page(given, problems), shown or DEFAULT_COLUMNS, problems)


def with_known(view: View, regions: Container[str], sectors: Container[str]) -> View:
    """The view, with a problem for each chosen region or sector that does not exist."""
    problems = dict(view.problems)
    for region in view.screen.regions:
        if region not in REGIONS and region not in regions:
            problems["region"] = f"{region[:40]!r} is not a region: expected two lower-case letters, such as fr"
    for sector in view.screen.sectors:
        if sector not in sectors:
            problems["sector"] = f"no stock is in the sector {sector[:40]!r}"
    return replace(view, problems=problems)


def from_form(pairs: list[tuple[str, str]]) -> str | None:
    """The address for a sent form: its rows `ratio`, `min`, `max` become ranges; empty fields are left out. None if it is not a form."""
    if not any(name in ("ratio", "min", "max") for name, _ in pairs):
        return None
    columns = {name: [value.strip() for key, value in pairs if key == name] for name in ("ratio", "min", "max")}
    kept = [(name, value) for name, value in pairs if name not in columns and value.strip()]
    if tuple(value for name, value in kept if name == "column") == DEFAULT_TICKED:
        kept = [(name, value) for name, value in kept if name != "column"]
    for ratio, least, most in zip(columns["ratio"], columns["min"], columns["max"], strict=False):
        if ratio and (least or most):
            kept.append(("range", f"{ratio}:{_plain(least)}:{_plain(most)}"))
    return urlencode(kept)


def _plain(text: str) -> str:
    """A bound as a plain number: people may type 15% or 15 %, 300M or 1,5B."""
    try:
        return f"{_bound(text):.12g}" if text else ""
    except ValueError:
        return text


def _one(given: Mapping[str, list[str]], name: str) -> str:
    return given[name][-1] if name in given else ""


def _text(given: Mapping[str, list[str]], name: str, problems: dict[str, str]) -> str:
    text = _one(given, name)
    if len(text) > LONGEST_TEXT:
        problems[name] = f"{name}: expected at most {LONGEST_TEXT} characters"
    return text[:LONGEST_TEXT]


def _choice(given: Mapping[str, list[str]], name: str, choices: tuple[str, ...], problems: dict[str, str]) -> str:
    text = _one(given, name)
    if text in choices:
        return text
    if text:
        problems[name] = f"{name} {text[:40]!r}: expected one of {', '.join(choices)}"
    return choices[0]


def _sort(given: Mapping[str, list[str]], problems: dict[str, str]) -> str:
    """The column to sort by. A minus before it means descending order."""
    text = _one(given, "sort")
    name = text.removeprefix("-")
    if name in query.FIELDS:
        return name
    if text:
        problems["sort"] = f"sort {text[:40]!r}: expected a column such as symbol or -price_to_earnings"
    return "symbol"


def _page(given: Mapping[str, list[str]], problems: dict[str, str]) -> int:
    text = _one(given, "page") or "1"
    if text.isdecimal() and text.isascii() and len(text) < 10 and 1 <= int(text) <= LAST_PAGE:
        return int(text)
    problems["page"] = f"page {text[:40]!r}: expected a number from 1"
    return 1


def _ranges(given: Mapping[str, list[str]], problems: dict[str, str]) -> tuple[Range, ...]:
    found = []
    if len(given.get("range", ())) > MOST_RANGES:
        problems["range"] = f"range: expected at most {MOST_RANGES} of them"
    for text in given.get("range", ())[:MOST_RANGES]:
        ratio, _, bounds = text.partition(":")
        least, _, most = bounds.partition(":")
        if ratio not in CATALOG:
            problems["range"] = f"{ratio[:40]!r} is not a ratio"
            continue
        try:
            found.append(Range(ratio, _bound(least), _bound(most)))
        except ValueError:
            problems["range"] = (
                f"{CATALOG[ratio].label}: {bounds[:40]!r}: expected numbers like 0.15, 15% or 300M, without thousands separators"
            )
    return tuple(found)


_THOUSANDS = re.compile(r"[+-]?0*[1-9]\d*,\d{3}(?!\d)")


def _bound(text: str) -> float | None:
    """A bound of an address or of the form; None if it is empty. Raises ValueError."""
    text = text.strip()
    if not text:
        return None
    if _THOUSANDS.match(text):  # 1,500M: fifteen hundred to some, one and a half to others
        raise ValueError
    text = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    factor = FACTORS.get(text[-1].upper(), 1.0)
    number = float(text if factor == 1.0 else text[:-1]) * factor
    if not math.isfinite(number):
        raise ValueError
    return number
