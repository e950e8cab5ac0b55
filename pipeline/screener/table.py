"""The screener's table by its menus: what is left if the page's data cannot be asked for.

Nothing is handed out before the page, or the request that was answered, shows that the filters are on: the site's default is
United States, and those rows must never go out under another region's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from selenium.common.exceptions import WebDriverException

from pipeline.errors import LayoutChanged, RateLimited, TransientError
from pipeline.screener.answers import Answer
from pipeline.screener.band_check import compare_spread
from pipeline.screener.harvest import TOLERATED, RegionList
from pipeline.screener.menus import Menus
from pipeline.screener.page_driver import NotSettled, PageDriver, missing
from pipeline.screener.page_state import Selection, State, is_sorted
from pipeline.screener.paging import Paging
from pipeline.screener.selectors import ROWS_PER_PAGE
from pipeline.wire.market_cap import format_market_cap
from pipeline.wire.regions import screener_label

log = logging.getLogger(__name__)


class Table:
    """Chooses region and band by the page's menus, and reads its table page by page. Raises as PagedScreener does.

    load: loads the page again, until it has a table.
    """

    def __init__(self, driver: PageDriver, load: Callable[[], State]) -> None:
        self._driver = driver
        self._load_page = load
        self._menus = Menus(driver)
        self._wanted = Selection("us", 0, 0)
        self._caps_are_in_band = True
        self._is_at_start = False
        # How many rows the page's own list began with, before anything was chosen.
        self._first_rows = 0
        #: Whether the page can serve another task: not halfway through a list, nor after an error.
        self.is_free = False
        # The form in which the band is typed first; the one that has worked comes first from then on.
        self._styles: list[Callable[[int], str]] = [str, format_market_cap]

    def open(self, wanted: Selection, is_kept: bool) -> RegionList:
        """Show a region's stocks of a band. A page that served another task well is used again (`is_kept`), if it shows that it can."""
        self._wanted, self.is_free = wanted, False
        state = self._filter_kept() if is_kept else None
        state = state or self._choose(self._load())
        self.is_free = True
        return RegionList(
            str(wanted), "table", state.shown_total or 0, self._pass if not state.is_empty else lambda number: iter([Answer(0, ())])
        )

    # From the page that is there to the filters that are on

    def _load(self) -> State:
        state = self._load_page()
        if not state.settled:
            # Nothing is listed before a filter is chosen only if the site could not give it.
            state = self._driver.wait(lambda state: state.settled, "shows no table")
        if not state.menu:
            raise LayoutChanged(missing("the filter menu", "region", "add_filters_button"))
        self._first_rows = len(state.rows)
        return state

    def _filter_kept(self) -> State | None:
        """Choose region and band on the page that the last task left; None if it has to be loaded again."""
        state = self._driver.state()
        if not state.settled or self._wanted.could_be_the_answer(state):
            return None
        try:
            state = self._choose(state)
            return state if state.first <= 1 else None
        except RateLimited:
            raise
        except (TransientError, LayoutChanged, WebDriverException) as error:
            log.info("%s, on a page that served another task; loading it again", error)
            return None

    def _choose(self, state: State) -> State:
        """Choose region and band, as far as the page does not show them; checked on what it shows then."""
        if not self._wanted.shows_region(state):
            state = self._choose_region()
        self._caps_are_in_band = True
        if not self._wanted.named_band(state):
            state = self._choose_band()
        self._check(state)
        self._is_at_start = True
        return state

    def _choose_region(self) -> State:
        label = screener_label(self._wanted.region)
        before = self._driver.state()
        self._menus.tick_region(label)
        try:
            state = self._apply(self._wanted.shows_region, f"does not show {label} after it was chosen")
        except NotSettled as error:
            if error.state is not None and error.state.settled and self._wanted.named_region(error.state) is None:
                raise LayoutChanged(missing("the region, in the table or on the menu's button", "region")) from error
            raise
        if state.rows and set(state.symbols) == set(before.symbols) and self._wanted.named_region(before) is False:
            raise TransientError(f"{self._wanted}: the page shows the same stocks as before {label} was chosen")
        return state

    def _choose_band(self) -> State:
        """Plain numbers and `300M` have both been seen to work: what the page does not take in one form is tried in the other."""
        error: TransientError | LayoutChanged | None = None
        for number, style in enumerate(self._styles):
            if number:
                log.warning("%s: %s; trying the band in another form", self._wanted, error)
                self._load_again_with_region()
            try:
                state = self._apply_band(style)
            except (NotSettled, LayoutChanged) as problem:
                error = problem
                if isinstance(problem, NotSettled) and problem.state is not None and self._says_that_it_filters(problem.state):
                    log.warning("%s: the page says that this is the band, yet shows market caps outside of it", self._wanted)
                    self._caps_are_in_band = False
                    return problem.state
                continue
            if number:
                self._styles.reverse()
            return state
        assert error is not None
        raise error

    def _says_that_it_filters(self, state: State) -> bool:
        """The caps shown may be in another currency than the filter's; then what the page says of its filters has to do."""
        return state.settled and self._wanted.shows_region(state) and self._wanted.named_band(state) is True

    def _load_again_with_region(self) -> None:
        state = self._load()
        if not self._wanted.shows_region(state):
            self._choose_region()

    def _apply_band(self, style: Callable[[int], str]) -> State:
        low, high = map(style, self._wanted.band)
        self._menus.type_band(low, high)
        return self._apply(
            lambda state: self._wanted.shows_region(state) and (self._shows_band(state) or self._wanted.named_band(state) is True),
            f"does not show the band {low} to {high}",
        )

    def _apply(self, condition: Callable[[State], bool], what: str) -> State:
        before = self._driver.state()
        self._driver.click("apply_button")
        return self._driver.settle(before, condition, what)

    # From the first page to the last

    def _pass(self, number: int) -> Iterator[Answer]:
        self.is_free = False
        with self._driver.page_errors():
            if number:
                log.info("%s: going through the pages again", self._wanted)
            # Not earlier: a task that is split does not need it, and each choice renders the table again.
            self._arrange(self._driver.wait(self._shows_all, "shows no table") if self._is_at_start else self._choose(self._load()))
            self._is_at_start = False
            state = self._driver.wait(self._shows_all, "shows no table")
            paging = Paging(self._driver, self._shows_all, self._check_filters, self._first_rows)
            yield from paging.answers(state)
            compare_spread(str(self._wanted), paging.caps, *self._wanted.band)
        self.is_free = True

    def _arrange(self, state: State) -> None:
        """Show as many rows per page as possible and, if there are still several pages, sort them by symbol."""
        if _goes_on(state):
            state = self._show_most_rows(state)
        # Rows cannot move to another page if there is only one.
        if _goes_on(state):
            state = self._sort_by_symbol(state)
        self._check(state)

    def _show_most_rows(self, state: State) -> State:
        """More rows per page are only faster: a page without that choice stays as it is."""
        if state.size + TOLERATED >= min(ROWS_PER_PAGE, state.shown_total or ROWS_PER_PAGE):
            return state
        if self._driver.page("find", "page_size_button") is None:
            return state
        before = self._driver.state()
        try:
            self._driver.click("page_size_button")
            self._driver.click("page_size_option")
            return self._driver.settle(before, lambda state: state.size > before.size and self._shows_all(state), "shows no more rows")
        except (LayoutChanged, NotSettled) as error:
            log.warning("%s: %s", self._wanted, error)
            return self._driver.wait(self._shows_all, "shows no table")

    def _sort_by_symbol(self, state: State) -> State:
        """Symbols don't move while one pages through. A page that cannot be sorted so is paged through again instead."""
        if self._driver.page("find", "symbol_header") is None:
            return state
        try:
            for _ in range(2):  # the first click may sort downwards
                if not is_sorted(state):
                    state = self._sort_once(state)
        except (LayoutChanged, NotSettled) as error:
            log.warning("%s: %s", self._wanted, error)
            return self._driver.wait(self._shows_all, "shows no table")
        return state

    def _sort_once(self, before: State) -> State:
        self._driver.click("symbol_header")
        return self._driver.settle(before, lambda state: state.symbols != before.symbols and self._shows_all(state), "is not sorted")

    # What the page shows

    def _shows_band(self, state: State) -> bool:
        return self._wanted.shows_band(state, self._caps_are_in_band)

    def _shows_all(self, state: State) -> bool:
        return state.settled and self._wanted.shows_region(state) and self._shows_band(state)

    def _check(self, state: State) -> None:
        if not state.settled:
            raise TransientError(f"{self._wanted}: the page shows {len(state.rows)} rows, and says {state.first} to {state.last}")
        self._check_filters(state)

    def _check_filters(self, state: State) -> None:
        if not self._wanted.shows_region(state):
            raise TransientError(f"{self._wanted}: the page shows another region")
        if not self._shows_band(state):
            raise TransientError(f"{self._wanted}: the page shows stocks outside the band")


def _goes_on(state: State) -> bool:
    """Whether there are more rows than the page shows."""
    return state.has_next if state.shown_total is None else state.shown_total > state.size
