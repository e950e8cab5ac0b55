"""Adds up the answers of one region and band: each symbol once, what was left out and why, and what is missing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from pipeline.errors import PermanentError, TransientError
from pipeline.screener.answers import DOUBLED, NO_SYMBOL, Answer, Listing
from pipeline.screener.query import LARGEST_OFFSET

#: How often the whole list is read before stocks count as missing.
MOST_PASSES = 2
#: This many stocks may be missing, or this fraction of all: lists move while they are read, and totals are off by a few.
TOLERATED, TOLERATED_FRACTION = 5, 0.01
#: A total of as many rows as a page has may be the number of the rows that came.
PAGE_SIZES = frozenset({10, 20, 25, 50, 100})


def all_pages(ask: Callable[[int], Answer], first: Answer | None = None) -> Iterator[Answer]:
    """The answers from the first row to the last. `ask(offset)` gets the one that begins there; `first` is there already.

    The site decides how many rows an answer has. The list ends at the largest total that was given or, if none was given or it cannot
    be right, at an answer without rows. A site that repeats the same rows is not asked again.
    """
    offset, total, known_again = 0, 1, 0
    seen: set[str] = set()
    while offset < total:
        answer = first if first is not None and not offset else ask(offset)
        yield answer
        symbols = {listing.symbol for listing in answer.listings}
        # Rows move while a list is read, so that a few known ones in a row say nothing. An answer without any stock counts as one.
        known_again = known_again + max(len(symbols), 1) if symbols <= seen else 0
        if not answer.rows or known_again > TOLERATED:
            return
        seen |= symbols
        is_page = not offset and answer.rows == answer.total and answer.rows in PAGE_SIZES
        # A site may repeat rows within an answer without counting them. A second pass goes by the stocks, so that none is passed over.
        repeated = len(answer.listings) - len(symbols) if first is None else 0
        offset += answer.rows - repeated
        total = max(total, offset + 1 if answer.total is None or is_page else answer.total)
        if offset > total:
            total = offset + 1  # more rows than there should be: the total says nothing


class RegionList:
    """The stocks of one region and band. `total` is what the site's answer said.

    `passes(number)` gives the answers of one pass, from the first page to the last.
    """

    def __init__(
        self, name: str, source: str, total: int, passes: Callable[[int], Iterator[Answer]], most_rows: int = LARGEST_OFFSET
    ) -> None:
        self.name = name
        #: What served: `page-data`, `table` or `api`.
        self.source = source
        self.total = total
        #: Stocks that the total counts and no answer had; known once `pages` has ended.
        self.missing = 0
        self._passes = passes
        self._most_rows = most_rows
        self._skipped: Counter[str] = Counter()

    @property
    def skipped(self) -> Mapping[str, int]:
        """Rows that were left out: reason → count."""
        return {reason: count for reason, count in sorted(self._skipped.items()) if count}

    def pages(self) -> Iterator[list[Listing]]:
        """The listings, no symbol twice. If some are missing, the whole list is read once more.

        Raises TransientError if more than `TOLERATED` are missing even then, PermanentError for more than the site can give.
        """
        if self.total > self._most_rows:
            raise PermanentError(f"{self.name}: {self.total} stocks, and the site gives {self._most_rows}: choose narrower bands")
        seen: set[str] = set()
        doubled: Counter[str] = Counter()
        for number in range(MOST_PASSES):
            one = _Pass()
            for answer in self._passes(number):
                if new := one.take(answer, seen):
                    yield new
            self.total = one.total
            # The site lists a symbol twice only if every pass has it twice.
            doubled = one.doubled if not number else doubled & one.doubled
            self._account(one, doubled, len(seen))
            if not self.missing and one.has_ended and (one.in_order or not one.doubled):
                break
        if self.missing > self._tolerated or not one.has_ended or (self.missing and not seen):
            raise TransientError(f"{self.name}: {len(seen)} of {self.total} stocks were listed in {MOST_PASSES} passes")

    @property
    def _tolerated(self) -> float:
        return max(TOLERATED, TOLERATED_FRACTION * self.total)

    def _account(self, one: _Pass, doubled: Counter[str], listed: int) -> None:
        """Count what this pass left out and why. Too many rows of one kind do not explain missing stocks: they took the place of others."""
        self._skipped = one.skipped + Counter({DOUBLED: doubled.total()})
        explained = self._skipped.copy()
        if not one.in_order and explained[DOUBLED] > self._tolerated:
            del explained[DOUBLED]
        if explained[NO_SYMBOL] > self._tolerated:
            del explained[NO_SYMBOL]
        self.missing = max(0, self.total - listed - explained.total())


class _Pass:
    """One way through all answers."""

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.doubled: Counter[str] = Counter()
        #: Whether all repeated symbols came right after each other in one answer: then they pushed no other stock out.
        self.in_order = True
        self._own: set[str] = set()
        self._largest_total: int | None = None
        self._rows = 0
        self._last_rows = 0

    @property
    def total(self) -> int:
        """The largest total of all answers: a total that drops halfway does not end the list. Without any total, the number of rows."""
        return self._rows if self._largest_total is None else self._largest_total

    @property
    def has_ended(self) -> bool:
        """Whether the end of the list was seen: a total was given, or the last answer had no rows."""
        return self._largest_total is not None or (self._rows > 0 and not self._last_rows)

    def take(self, answer: Answer, seen: set[str]) -> list[Listing]:
        """The listings that are in none of `seen`, which they join."""
        self._rows, self._last_rows = self._rows + answer.rows, answer.rows
        if answer.total is not None:
            self._largest_total = max(self._largest_total or 0, answer.total)
        self.skipped.update(answer.skipped)
        new: list[Listing] = []
        # Does not carry over from the answer before: a symbol that is repeated across two answers has pushed another out.
        last = ""
        for listing in answer.listings:
            if listing.symbol in self._own:
                self.doubled[listing.symbol] += 1
                self.in_order = self.in_order and listing.symbol == last
            elif listing.symbol not in seen:
                new.append(listing)
            self._own.add(listing.symbol)
            seen.add(listing.symbol)
            last = listing.symbol
        return new
