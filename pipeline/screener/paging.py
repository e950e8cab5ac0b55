"""Reads the screener's table from its first page to its last, however it goes on: by pages, by more rows below, or by scrolling.

A list is at its end if its total is reached, if the control for the next page is disabled, or if that control has led on before and is
gone. If there is neither total nor control, and scrolling brings no further rows, the last part has to be shorter than those before it.
Anything else is an error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from pipeline.errors import LayoutChanged, TransientError
from pipeline.screener.answers import Answer
from pipeline.screener.harvest import PAGE_SIZES, TOLERATED
from pipeline.screener.page_driver import POLL_SECONDS, NotSettled, PageDriver, missing
from pipeline.screener.page_state import STANDS_SECONDS, Row, State

#: Seconds at the end of the rows in which further ones would begin to come, if nothing says that there are any.
END_SECONDS = 3.0
#: Seconds between two attempts to scroll on at the end of the rows.
SCROLL_SECONDS = 0.5
#: Seconds for which rows stand still once they are made.
REST_SECONDS = 0.5
_UNMADE = "makes some of its rows neither at once nor when they are scrolled to"
_DO = "SCRAPER_SOURCE=api lists the stocks without the page"


class Paging:
    """One way through the list. Raises as PagedScreener does.

    shows_all: whether a state is settled and shows the region and band; check: raises if it shows others.
    first_rows: how many rows the page's own list began with: one that is longer than any page.
    """

    def __init__(self, driver: PageDriver, shows_all: Callable[[State], bool], check: Callable[[State], None], first_rows: int) -> None:
        self._driver = driver
        self._shows_all = shows_all
        self._check = check
        # How many rows came at once, each time.
        self._parts = [first_rows]
        #: The symbols of all rows so far, and those that the table showed last.
        self._seen: set[str] = set()
        #: The market caps that the table showed.
        self.caps: list[float] = []
        self._shown: tuple[str, ...] = ()
        self._went_on = False

    def answers(self, state: State) -> Iterator[Answer]:
        """The rows as answers, from the page that `state` shows on. A page that does not come is an error, never the last one."""
        rows = 0
        while True:
            if not state.settled:
                raise NotSettled(
                    f"{self._driver.name}: the page shows {len(state.rows)} rows, and says {state.first} to {state.last}", state
                )
            self._check(state)
            whole = self._made(state)
            fresh = self._fresh(whole)
            rows = whole.last if whole.is_numbered else rows + len(fresh)
            total = _total(whole, rows)
            yield self._answer(whole, fresh, total)
            if whole.is_empty or self._is_last(whole, rows, total):
                return
            now = state if state.has_next and whole is state else self._driver.wait(_has_stood, "does not come to rest")
            if now.has_next:
                state = self._next_page(now, whole.last)
                if not state.rows:
                    return  # a total that is off by a few leads past the last row
            elif now.symbols != state.symbols and self._shows_all(now):
                state = now  # what was taken for the page was its first part
            elif now.next_is_there or self._went_on:
                if total is None:
                    yield Answer(rows, ())
                return
            else:
                yield from self._scrolled(whole, rows, total)
                return

    def _answer(self, state: State, fresh: tuple[Row, ...], total: int | None) -> Answer:
        self.caps += [row.market_cap for row in fresh if row.market_cap is not None]
        return replace(replace(state, rows=fresh).page_answer(), total=total)

    def _is_last(self, state: State, rows: int, total: int | None) -> bool:
        if total is None or rows < total:
            return False
        if rows > total:
            return not state.has_next
        # Such a number may be the one of the rows that are there, if nothing else shows the end.
        return state.next_is_there or self._went_on or state.total is None or rows not in PAGE_SIZES

    def _fresh(self, state: State) -> tuple[Row, ...]:
        """The rows that the table did not show before."""
        before, self._shown = self._shown, state.symbols
        if before and self._shown[: len(before)] == before:
            fresh = state.rows[len(before) :]
        elif before and set(before) < set(self._shown):
            fresh = tuple(row for row in state.rows if row.symbol not in set(before))
        else:
            fresh = state.rows
        symbols = {row.symbol for row in fresh}
        if self._seen and fresh and not state.is_numbered and symbols <= self._seen:
            raise TransientError(f"{self._driver.name}: the next page shows stocks of earlier pages alone: it may be the first one again")
        self._seen |= symbols
        return fresh

    def _next_page(self, before: State, last: int) -> State:
        self._driver.click("next_page")
        self._went_on = True

        def is_next(state: State) -> bool:
            if not self._shows_all(state):
                return False
            if state.symbols[: len(before.symbols)] == before.symbols:
                return len(state.rows) > len(before.rows)  # further ones below those that were there
            # The first part of a page whose rows come in parts is not taken for the page.
            whole = not state.has_next or len(state.rows) >= len(before.rows) or state.stood >= STANDS_SECONDS
            return whole and (state.first == last + 1 if before.is_numbered else state.symbols != before.symbols)

        return self._driver.settle(
            before,
            is_next,
            f"has no page from row {last + 1 if before.is_numbered else len(self._seen) + 1}",
            or_else=lambda state: (
                state.kind == "empty"
                and not state.waits
                and state.answers > before.answers
                and bool(state.total)
                and state.stood >= END_SECONDS
            ),
        )

    # Rows that are made, or fetched, only when they are scrolled to

    def _made(self, state: State) -> State:
        """The state with all rows of its page: some pages make only those that are in sight."""
        if state.is_empty or state.has_its_rows or not (state.is_numbered or self._driver.page("has unmade rows")):
            return state
        self._driver.page("scroll rows", "start")
        self._parts = [0]  # what comes into sight is no part of the site's
        found: dict[str, Row] = {}
        at_end = False
        while not at_end and not (state.is_numbered and len(found) >= state.size):
            state = self._driver.wait(_is_made, _UNMADE, with_places=True)
            found.update((row.symbol, row) for row in state.rows)
            at_end = not self._driver.page("scroll rows")
        if at_end:  # the last ones may have come into sight just now
            state = self._driver.wait(lambda state: _is_made(state) and state.stood >= REST_SECONDS, _UNMADE, True)
            found.update((row.symbol, row) for row in state.rows)
        self._driver.page("scroll rows", "start")
        if state.is_numbered and len(found) != state.size:
            raise TransientError(
                f"{self._driver.name}: the page says that it shows rows {state.first} to {state.last}, and has made {len(found)} of them"
            )
        return replace(state, rows=tuple(found.values()))

    def _scrolled(self, state: State, rows: int, total: int | None) -> Iterator[Answer]:
        """The rows that come when one scrolls, behind those of `state`."""
        found = {row.symbol: row for row in state.rows}
        self._parts.append(len(found))
        while total is None or len(found) != total or total in PAGE_SIZES:
            has_moved = self._driver.page("scroll rows")
            state = self._after_scrolling(found, has_moved, total)
            fresh = tuple({row.symbol: row for row in state.rows if row.symbol not in found}.values())
            if fresh:
                self._check(state)
                found.update((row.symbol, row) for row in fresh)
                self._parts.append(len(fresh))
                total = _total(state, len(found))
                yield self._answer(state, fresh, total)
            elif not has_moved:
                break
        self._driver.page("scroll rows", "start")
        if total is None:
            self._check_end(len(found))
            yield Answer(len(found), ())
        elif len(found) + TOLERATED < total:
            raise TransientError(
                f"{self._driver.name}: the page says that there are {total} stocks, and scrolling brings {len(found)} of them. {_DO}"
            )

    def _after_scrolling(self, found: dict[str, Row], has_moved: bool, total: int | None) -> State:
        """What the page shows once rows that are not in `found` have come, or have not come although nothing is under way."""
        deadline = self._driver.deadline()
        quiet_since = scrolled_at = time.monotonic()
        while True:
            state = self._driver.state(with_places=True)
            self._driver.raise_refusal(state)
            now = time.monotonic()
            if state.kind != "rows" or state.waits or state.is_making:
                quiet_since = now
            elif any(row.symbol not in found for row in state.rows):
                # How many come at once is wanted if that has to show the end.
                if state.settled or (total is not None and state.is_numbered is False):
                    return state
            elif has_moved or now - quiet_since >= (END_SECONDS if total is None or len(found) + TOLERATED >= total else math.inf):
                return state
            if now >= deadline:
                if total is not None and now - quiet_since >= END_SECONDS:
                    return state
                raise NotSettled(f"{self._driver.name}: behind {len(found)} rows the page does not come to rest. {_DO}", state)
            if not has_moved and now - scrolled_at >= SCROLL_SECONDS:
                self._driver.page("scroll rows")
                scrolled_at = now
            time.sleep(POLL_SECONDS)

    def _check_end(self, rows: int) -> None:
        """Raise LayoutChanged if the last part that came may be followed by one that has not come."""
        *before, last = self._parts
        part = math.gcd(*before)
        sizes = {part} | ({size for size in PAGE_SIZES if part % size == 0} if len(before) == 1 else set())
        if 0 in before or any(last % size == 0 for size in sizes):
            shown = f"a total or a control for the next page, to show whether the list ends at its {rows} rows"
            raise LayoutChanged(f"{missing(shown, 'total', 'next_page')}. {_DO}")


def _total(state: State, rows: int) -> int | None:
    """How many stocks there are, as far as the page is to be believed."""
    total = state.shown_total
    if total is None or state.is_numbered or state.total is None:
        return total
    # Less than what is there, or the number of the rows on this page.
    return None if total < rows or (state.has_next and total <= len(state.rows)) else total


def _is_made(state: State) -> bool:
    return state.kind == "rows" and not state.is_making


def _has_stood(state: State) -> bool:
    """Whether there is a control for the next page, or the page has come to rest without: the control may be rendered after the rows."""
    return state.has_next or (state.kind == "rows" and not state.waits and state.stood >= STANDS_SECONDS)
