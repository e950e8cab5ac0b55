"""What the screener's page shows at one moment, and whether that is what was asked for. Pure.

A text of the page is evidence of what it shows, never of what is not there: nothing listed counts only with an answer that
says so (`State.answer`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

from pipeline.screener import answers
from pipeline.screener.answers import NO_SYMBOL, Answer, Listing
from pipeline.screener.query import Asked
from pipeline.wire.market_cap import format_market_cap, read_market_cap
from pipeline.wire.regions import REGIONS, screener_label

PAGE_PATH = "/research-hub/screener/equity/"
#: Prices move while the page is open, so a row's market cap may lie this fraction outside the band.
MARKET_CAP_TOLERANCE = 0.05
#: A page without table and controls is not the screener if its text is shorter than this, in characters.
FEW_WORDS = 500
#: Seconds for which a table has to stand still if the page does not say how many rows it should have.
STANDS_SECONDS = 1.5
#: What a parameter of an address is called that chooses regions.
_CHOOSES_REGION = re.compile("region|country|market|geo|filter", re.IGNORECASE)
_REGION_WORDS = {word.lower() for code, name in REGIONS.items() for word in (code, name, screener_label(code))}


@dataclass(frozen=True)
class Row:
    """One row of the page's table; no symbol is an empty one. `region` is the page's own word for it, if the page shows one."""

    symbol: str
    name: str
    market_cap: float | None
    region: str | None


@dataclass(frozen=True)
class State:
    """What the page shows at one moment."""

    #: consent, unreachable, loading, rows, empty or unknown.
    kind: str
    #: HTTP status of the page; 0 if the browser does not say.
    status: int
    ready: str
    url: str
    #: The page's text, if it has no table.
    words: str
    #: Whether the page has a button, an input, or a link to a stock.
    has_controls: bool
    #: Numbers of the first and last row shown (0 if the page does not number its rows), and the total; None if it does not say.
    first: int
    last: int
    total: int | None
    rows: tuple[Row, ...]
    has_next: bool
    next_is_there: bool
    #: Which of the two filter menus the page has; 0 is neither.
    menu: int
    region_text: str
    market_cap_text: str
    sorted: str | None
    #: Elements that are not there, by their names in SELECTORS.
    missing: tuple[str, ...]
    busy: bool
    #: Whether rows that should be in sight are not made yet; only if this was looked for.
    is_making: bool = False
    #: Answers of the site to the page's scripts since the page was loaded.
    answers: int = 0
    #: Whether one of the page's own requests is under way.
    waits: bool = False
    #: The last of these answers, if it is of a known shape, and what it was an answer to.
    answer: Answer | None = None
    asked: Asked | None = None
    #: Seconds for which the table has not changed.
    stood: float = 0.0
    #: What the last request said, address and body: the bounds of a band can be found in it.
    request: str = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(row.symbol for row in self.rows)

    @property
    def shown_total(self) -> int | None:
        """How many stocks there are: what the answer says, else the page."""
        return self.answer.total if self.answer is not None and self.answer.total is not None else self.total

    @property
    def is_empty(self) -> bool:
        """Nothing is listed, and an answer of the site says so."""
        return self.kind == "empty" and not self.waits and self.answer is not None and self.answer.total == 0 and not self.answer.rows

    @property
    def settled(self) -> bool:
        """The table is there, with as many rows as it says, and nothing is under way."""
        if self.kind == "empty":
            return self.is_empty
        if self.kind != "rows" or self.waits:
            return False
        stands = self.ready == "complete" and not self.missing and self.stood >= STANDS_SECONDS
        if not self.is_numbered:
            return self._rows_are_the_answer_s or stands
        # Fewer rows than the page says are there if only those in sight are made.
        return self.has_its_rows or (stands and len(self.rows) < self.size)

    @property
    def has_its_rows(self) -> bool:
        """Whether as many rows are there as the page says that it shows."""
        # A row may be there twice.
        return (self.is_numbered and self.size in (len(self.rows), len(set(self.symbols)))) or self._rows_are_the_answer_s

    @property
    def size(self) -> int:
        """How many rows the page shows, as it says itself if it does."""
        return self.last - self.first + 1 if self.is_numbered else len(self.rows)

    @property
    def is_numbered(self) -> bool:
        """Whether the page says which rows of how many it shows."""
        return self.total is not None and self.last > 0

    @property
    def _rows_are_the_answer_s(self) -> bool:
        return self.answer is not None and len(self.rows) == self.answer.rows

    @property
    def is_other_words(self) -> bool:
        """A few words stand in place of the page: a refusal in words that are not known."""
        return self.kind == "unknown" and not self.has_controls and len(self.words) < FEW_WORDS

    @property
    def content(self) -> tuple[object, ...]:
        return (self.kind, self.first, self.last, self.total, self.symbols)

    def page_answer(self) -> Answer:
        """The rows as an answer: those of the answer that brought them, if it is the one that the table shows, else the table's."""
        total = self.shown_total
        if self.answer is not None and self._rows_are_the_answer_s:
            known = {listing.symbol for listing in self.answer.listings}
            if known == {symbol for symbol in self.symbols if symbol}:
                return replace(self.answer, total=total)
        listings = tuple(Listing(row.symbol, row.name) for row in self.rows if row.symbol)
        without = len(self.rows) - len(listings)
        return Answer(total, listings, {NO_SYMBOL: without} if without else {})


@dataclass(frozen=True)
class Selection:
    """The region and band of a task, and what counts as evidence that the page shows them."""

    region: str
    low: int
    high: int

    def __str__(self) -> str:
        return f"{REGIONS[self.region]} {format_market_cap(self.low)}-{format_market_cap(self.high)}"

    @property
    def band(self) -> tuple[int, int]:
        return self.low, self.high

    @property
    def names(self) -> set[str]:
        """What a row's cell may call the region, in small letters."""
        return {self.region, REGIONS[self.region].lower(), screener_label(self.region).lower()}

    def is_band_in(self, request: str) -> bool:
        """Whether a request carries both bounds, as plain numbers or as people write them."""
        text = unquote_plus(request)
        return {str(self.low), str(self.high)} <= set(re.findall(r"\d+", text)) or all(
            re.search(rf"(?<![\d.]){re.escape(format_market_cap(bound))}\b", text, re.IGNORECASE) for bound in self.band
        )

    def is_region_in(self, request: str) -> bool:
        """Whether a request carries the region, by its code or by its label."""
        words = "|".join(map(re.escape, sorted(self.names)))
        return re.search(rf"(?<![a-z])(?:{words})(?![a-z])", unquote_plus(request), re.IGNORECASE) is not None

    def is_chosen_in(self, address: str) -> bool:
        """Whether an address's parameters choose this region and no other, by its code or by its label.

        Beside a language, as in `lang=en-US&region=US`, a region is the reader's own.
        """
        given = parse_qsl(urlsplit(address).query)
        if any(name.lower() in ("lang", "locale", "intl") for name, _ in given):
            return False
        chosen = [value.lower() for name, value in given if _CHOOSES_REGION.search(name)]
        regions = {part for value in chosen for part in (value, *value.split(","))} & _REGION_WORDS
        return bool(regions) and regions <= self.names

    def is_named_in(self, request: str) -> bool:
        """Whether a request carries the region's label, or both bounds: a code alone may mean anything."""
        return screener_label(self.region).lower() in unquote_plus(request).lower() or self.is_band_in(request)

    def named_region(self, state: State) -> bool | None:
        """Whether the page names this region and no other; None if it names none.

        Rows of another region come first: the site may ignore what it is asked for. Then the request that was answered.
        """
        strange = [row for row in state.rows if row.region and row.region.lower() in _REGION_WORDS - self.names]
        if 2 * len(strange) > len(state.rows):
            return False
        if state.asked is not None:
            return state.asked.regions == {self.region}
        label = screener_label(self.region)
        # A longer text belongs to an open menu with the names of all regions, not to a filter.
        text = state.region_text if len(state.region_text) < 80 else ""
        rest = text.replace(label, "")
        if any(screener_label(code) in rest for code in REGIONS):
            return False
        cells = {row.region.lower() for row in state.rows if row.region}
        if cells:
            return cells <= self.names
        return True if rest != text or self.is_chosen_in(state.request.partition(" ")[0]) else None

    def shows_region(self, state: State) -> bool:
        named = self.named_region(state)
        return named is True or (named is None and state.is_empty and self.is_region_in(state.request))

    def named_band(self, state: State) -> bool | None:
        """Whether the page names this band; None if it names none. The request that was answered comes first."""
        if state.asked is not None:
            return state.asked.band is not None and all(map(_close, state.asked.band, self.band))
        numbers = [
            read_market_cap(text) for text in re.findall(r"\d[\d,]*(?:\.\d+)?\s*(?:[KMBT]\b)?", state.market_cap_text, re.IGNORECASE)
        ]
        if len(numbers) < 2:
            # A request that carries both bounds has asked for them, in whatever form.
            return True if self.is_band_in(state.request) else None
        return all(number is not None and _close(number, bound) for number, bound in zip(numbers[:2], self.band, strict=True))

    def shows_band(self, state: State, caps_are_in_band: bool = True) -> bool:
        named = self.named_band(state)
        if named is not None and (named is False or state.asked is not None or self.is_band_in(state.request)):
            return named
        caps = [row.market_cap for row in state.rows if row.market_cap is not None]
        if caps_are_in_band and any(not self.in_band(cap) for cap in caps):
            return False
        return named is True or bool(caps)

    def in_band(self, cap: float) -> bool:
        return self.low * (1 - MARKET_CAP_TOLERANCE) <= cap <= self.high * (1 + MARKET_CAP_TOLERANCE)

    def could_be_the_answer(self, state: State) -> bool:
        """Whether none of the rows tells what is shown from what is asked for: an answer that is late would not be waited for."""
        return not any(
            (row.region and row.region.lower() not in self.names) or (row.market_cap is not None and not self.in_band(row.market_cap))
            for row in state.rows
        )


def _close(number: float, bound: float) -> bool:
    return abs(number - bound) <= 0.01 * bound


def state_of(found: Mapping[str, Any]) -> State:
    """The state that `page.js` has read."""
    numbers = found["range"] or {"first": 0, "last": 0, "total": None}
    return State(
        kind=found["kind"],
        status=found["status"],
        ready=found["ready"],
        url=found["url"],
        words=found["words"],
        has_controls=found["has_controls"],
        first=numbers["first"] or 0,
        last=numbers["last"] or 0,
        total=numbers["total"],
        rows=tuple(map(_row, found["rows"])),
        has_next=found["has_next"],
        next_is_there=found["next_is_there"],
        menu=found["menu"],
        region_text=found["region_text"],
        market_cap_text=found["market_cap_text"],
        sorted=found["sorted"],
        missing=tuple(found["missing"]),
        busy=found["busy"],
        is_making=found["is_making"],
    )


def _row(found: Mapping[str, Any]) -> Row:
    # The link first: a row's first cell can begin with a letter that stands for a logo. But an address may be in small letters.
    linked, shown = answers.symbol_of_link(found["link"]), [answers.symbol_of(text) for text in found["symbols"]]
    symbol = next((one for one in shown if one.lower() == linked.lower()), linked) or shown[0]
    return Row(symbol, answers.name_of(found["names"], symbol), read_market_cap(found["market_cap"]), found["region"])


LOADING = State("loading", 0, "loading", "", "", False, 0, 0, None, (), False, False, 0, "", "", None, (), True)


def is_elsewhere(state: State) -> bool:
    return state.kind == "unknown" and state.ready == "complete" and not is_screener(state.url)


def is_screener(url: str) -> bool:
    return urlsplit(url).path.startswith(PAGE_PATH.rstrip("/"))


def is_sorted(state: State) -> bool:
    return state.sorted == "ascending" or list(state.symbols) == sorted(state.symbols)
