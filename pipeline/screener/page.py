"""The screener's page in a browser: one region and market-cap band in, its listings out.

The page is opened as a person would, past its consent page. Then, in this order: the page's own query is sent again from
within it with other operands (page_data.py); if there is no such query, the menus and the table are used (table.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from pipeline.errors import LayoutChanged, PermanentError, RateLimited, TransientError
from pipeline.screener import walls
from pipeline.screener.answers import Answer
from pipeline.screener.browser import Browser
from pipeline.screener.harvest import RegionList, all_pages
from pipeline.screener.homes import compare_with_home
from pipeline.screener.network import NetworkLog
from pipeline.screener.page_data import Courtesy, NoCourtesy, NotServed, PageData, Stale
from pipeline.screener.page_driver import GRACE_SECONDS, POLL_SECONDS, SETTLE_TIMEOUT_SECONDS, PageDriver
from pipeline.screener.page_state import PAGE_PATH, Selection, State, is_elsewhere, is_screener
from pipeline.screener.selectors import ROWS_PER_PAGE
from pipeline.screener.table import Table
from pipeline.wire.regions import REGIONS
from pipeline.yahoo import recording

log = logging.getLogger(__name__)

LIVE_SITE = "https://finance.yahoo.com"
#: How often the page may lead elsewhere (to a consent page, say) before that is an error.
MOST_LOADS = 4
#: Seconds for which a page is kept for further tasks before it is loaded again.
KEEP_SECONDS = 600.0
#: Seconds for which a page that shows its rows is watched on: the browser's log of its requests comes a moment later.
LOG_SECONDS = 1.5
#: Seconds that a loaded page gets to send its own query, by its state of loading: some wait for an advertisement for ever,
#: and so does one whose table says that it is busy. After that we ask without having seen one.
PATIENCE_SECONDS = {"complete": 1.5, "interactive": 4.0}


class PagedScreener:
    """The screener page in one browser. `open` a region and band, then go through the list's `pages`.

    Both raise BrowserLost (a new browser starts with the next use), RateLimited, LayoutChanged for a page that answers 200
    and has neither data nor table, PermanentError for a region that does not exist, or TransientError for all that may go
    better next time.
    """

    def __init__(
        self,
        browser: Browser,
        base_url: str = "",
        *,
        settle_timeout_seconds: float = SETTLE_TIMEOUT_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        courtesy: Courtesy | None = None,
    ) -> None:
        """courtesy: each load of the page and each query waits for it; what the page fetches by itself is noted there."""
        self._browser = browser
        self._courtesy = courtesy or NoCourtesy()
        self.url = f"{base_url or LIVE_SITE}{PAGE_PATH}?start=0&count={ROWS_PER_PAGE}"
        self.network = NetworkLog(browser, self._heard, _is_host_of(base_url))
        self._driver = PageDriver(browser, self.network, self.url, settle_timeout_seconds, grace_seconds)
        self._data = PageData(browser, self.network, base_url, self._courtesy)
        self._table = Table(self._driver, self._page_for_table)
        # Whether the open page has no query, so that the table is read; and if a query failed for now, why.
        self._has_no_query = False
        self._passing_trouble = ""
        # Whether the page is as it was loaded: nothing has been clicked.
        self._is_fresh = False
        # Until when the open page may serve another task; 0 after anything went wrong on it.
        self._kept_until = 0.0
        self._loaded_at = 0.0
        # Whether the next answer is to the load that was waited for.
        self._page_is_due = False

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> RegionList:
        """The list of a region's stocks within a market-cap band, both ends included, in the listings' own currency.

        A page that served another task well is used again.
        """
        if region_code not in REGIONS:
            raise PermanentError(f"no such region: {region_code!r}")
        wanted = Selection(region_code, market_cap_min, market_cap_max)
        self._driver.wanted = wanted
        is_kept = time.monotonic() < self._kept_until and self._browser.pages_loaded > 0
        self._kept_until = 0.0
        with self._driver.page_errors():
            try:
                found = self._by_data(wanted, is_kept) or self._by_table(wanted, is_kept)
            except LayoutChanged as error:
                if self._passing_trouble:
                    # Whether the page has changed is not known: its data could not be asked for just now.
                    raise TransientError(f"{wanted}: {self._passing_trouble}; and {error}") from error
                raise
        self._kept_until = self._loaded_at + KEEP_SECONDS
        return found

    # By the page's own query

    def _by_data(self, wanted: Selection, is_kept: bool) -> RegionList | None:
        """The list by the page's own query; None if the page has none."""
        if is_kept and self._has_no_query:
            return None
        if not is_kept:
            self._data.forget()
        self._has_no_query, self._passing_trouble = False, ""
        try:
            first = self._ask(wanted, 0)
            if not first.rows:
                # A list that is asked for too early can be empty: nothing counts only if it is said twice.
                first = self._ask(wanted, 0)
            compare_with_home(wanted, first, lambda other: self._ask(other, 0))
        except NotServed as reason:
            log.info("%s: %s; reading the page's table", wanted, reason)
            self._has_no_query, self._passing_trouble = not reason.passes, str(reason) if reason.passes else ""
            return None
        total = first.rows if first.total is None else first.total
        return RegionList(str(wanted), "page-data", total, lambda number: self._pass(wanted, first if number == 0 else None))

    def _pass(self, wanted: Selection, first: Answer | None) -> Iterator[Answer]:
        """All answers from the first on; `first` is the one that is there already."""
        self._driver.wanted = wanted

        def ask(offset: int) -> Answer:
            with self._driver.page_errors():
                try:
                    return self._ask(wanted, offset)
                except NotServed as error:
                    raise TransientError(f"{wanted}: {error}, after it had answered before") from error

        return all_pages(ask, first)

    def _ask(self, wanted: Selection, offset: int) -> Answer:
        """One answer. A page that no longer serves (blank, or its crumb refused) is loaded once more; nothing is lost."""
        was_loaded = False
        for attempt in range(2):
            try:
                if not self._data.is_open:
                    if was_loaded:
                        # The cookies of a page that was loaded just now are refused: get new ones.
                        self._browser.devtools("Network.clearBrowserCookies")
                    self._load()
                    was_loaded = True
                    self._data.find()
                return self._data.ask(wanted.region, wanted.band, offset)
            except Stale as error:
                self._data.forget()
                if attempt and not self._data.has_answered:
                    raise NotServed(f"{error}, on a page that was just loaded too", passes=True) from error
                if attempt:
                    raise TransientError(f"{wanted}: {error}, on a page that was just loaded too") from error
                log.info("%s: %s; loading the page again", wanted, error)
        raise AssertionError

    # By its table

    def _by_table(self, wanted: Selection, is_kept: bool) -> RegionList:
        return self._table.open(wanted, is_kept and self._table.is_free)

    def _page_for_table(self) -> State:
        """The page as it was just loaded for its query; otherwise it is loaded again."""
        state = self._driver.state() if self._is_fresh else self._load()
        self._is_fresh = False
        return state

    # Opening the page

    def _load(self) -> State:
        state = self._open_page()
        page = self.network.page()
        if page is not None and recording.is_on():
            recording.note("GET", page.url, None, page.status, "text/html", self.network.body(page) or "")
        return state

    def _open_page(self) -> State:
        """Load the page, past the consent page and whatever page that leads back to, until it shows its query or a table."""
        self._navigate()
        loads = 1
        deadline = self._driver.deadline()
        quiet_since = None
        while True:
            state = self._driver.state()
            self._raise_walls(state)
            if (state.kind == "consent" and not self._has_data_beside(state)) or is_elsewhere(state):
                if loads == MOST_LOADS:
                    refusal = walls.of_words(state.words, state.url, state.status)
                    raise refusal or TransientError(f"{self.url} keeps leading to {state.url}")
                loads += 1
                if state.kind == "consent":
                    self._consent()
                else:
                    self._navigate()
                deadline, quiet_since = self._driver.deadline(), None
                continue
            # An address that the server has put into the page comes first. Only a query says in what form the page asks.
            if (door := self._data.seen()) is not None and door.template is not None:
                return state
            if state.ready in PATIENCE_SECONDS and not state.waits:
                quiet_since = quiet_since or time.monotonic()
                if time.monotonic() - quiet_since >= _patience_seconds(state):
                    return state
            if time.monotonic() >= deadline:
                return state
            time.sleep(POLL_SECONDS)

    def _has_data_beside(self, state: State) -> bool:
        """Whether a consent box lies over a page that already shows its query."""
        return is_screener(state.url) and (door := self._data.seen()) is not None and door.is_page_s

    def _navigate(self) -> None:
        self._loaded_at = time.monotonic()
        self._data.forget()
        self._courtesy.acquire()
        self._page_is_due = True
        try:
            self._driver.navigate()
            self.network.read()
        finally:
            if self._page_is_due:
                self._page_is_due = False
                self._courtesy.unanswered()
        self._is_fresh = True

    def _heard(self, status: int) -> None:
        """An answer to the page itself, or to what it fetches by itself."""
        if self._page_is_due:
            self._page_is_due = False
            self._courtesy.answered(status)
        else:
            self._courtesy.noted(status)

    def _raise_walls(self, state: State) -> None:
        """What the page's status or words say; and a refusal of its own query, which would only be refused again."""
        try:
            self._driver.raise_page_refusal(state)
        except RateLimited:
            if state.status == 200:
                self._courtesy.noted(429)  # in words, under a status that says nothing of it
            raise
        for request in self._driver.rows_requests()[-1:]:
            if request.status in walls.REFUSALS:
                self._driver.raise_rows_refusal()

    def _consent(self) -> None:
        """Refuse, else agree; some pages show their buttons only at their end."""
        driver = self._driver

        def press() -> bool:
            if driver.click_found("consent"):
                return True
            driver.page("scroll to end")
            return False

        driver.repeat(press, lambda: driver.state().kind != "consent", "the button of the consent page", "consent_reject")


def _patience_seconds(state: State) -> float:
    """For how long a page in this state, with no request of its own under way, may still send its query."""
    if state.ready == "complete" and state.settled:
        return LOG_SECONDS
    return PATIENCE_SECONDS["interactive" if state.busy else state.ready]


def _is_host_of(base_url: str) -> Callable[[str], bool]:
    """Tells the hosts whose requests count as the site's."""
    own = urlsplit(base_url).hostname or "yahoo.com"
    return lambda host: host == own or host.endswith(f".{own}")
