"""The page object of Yahoo Finance's stock screener: one region and market-cap band in, its listings out.

The site changes without notice, so every element has fallbacks, both of its filter menus are known, and nothing is
handed out before the page itself shows that the filters are on: the site's default is United States, and those rows must
never go out under another region's name. Everything read comes from `page.js` in one call.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.remote.webelement import WebElement

from pipeline.errors import LayoutChanged, PermanentError, RateLimited, TransientError
from pipeline.screener.answers import Listing
from pipeline.screener.browser import Browser
from pipeline.wire.market_cap import format_market_cap, read_market_cap
from pipeline.wire.regions import REGIONS, screener_label

LIVE_SITE = "https://finance.yahoo.com"
PAGE_PATH = "/research-hub/screener/equity/"
#: Rows a page shows at most.
ROWS_PER_PAGE = 100
#: Seconds between two looks at the page.
POLL_SECONDS = 0.1
#: Seconds within which the page has to do what a click asks for.
SETTLE_TIMEOUT_SECONDS = 20.0
#: Seconds after a click in which a table that does not change may still be the one from before it.
GRACE_SECONDS = 2.0
#: Seconds that the page gets to react to a click before it is clicked again.
CLICK_AGAIN_SECONDS = 1.5
#: How often the page may lead elsewhere (consent, some page after it) before that is an error.
MOST_LOADS = 4
#: Seconds for which a page serves one task after the other before it is loaded anew.
KEEP_SECONDS = 600.0
#: How often all pages are gone through before missing symbols are an error.
MOST_PASSES = 3
#: Prices move while the page is open, so a row's market cap may lie this fraction outside the band.
MARKET_CAP_TOLERANCE = 0.05

#: CSS selectors by element, the best known first; `::text=` asks for an element whose text starts so.
#: Classes such as `yf-5ogvqh` change within weeks and are of no use.
SELECTORS: dict[str, tuple[str, ...]] = {
    "consent_page": ("#consent-page", ".consent-form", ".consent-overlay"),
    "consent_reject": ("button[name=reject]", ".reject-all", "button[name=agree]", ".accept-all"),
    "table": ('[data-testid="screener-table"]', "div.screener-table", "main table"),
    "row": ('tr[data-testid="data-table-v2-row"]', "table tbody tr"),
    "symbol": ('td[data-testid-cell="ticker"] span.symbol', 'a[data-testid="table-cell-ticker"] .symbol'),
    "ticker_link": ('a[data-testid="table-cell-ticker"]', 'td a[href*="/quote/"]'),
    "name": ('td[data-testid-cell="companyshortname.raw"] div[title]', 'td[data-testid-cell="companyshortname.raw"]'),
    "busy": ('[aria-busy="true"]', '[class*="skeleton"]', '[class*="spinner"]', '[class*="loading"]'),
    "total": ("div.paginationContainer div.total", '[class*="pagination"] .total', '[class*="pagination"]'),
    "next_page": (
        'button[data-testid="next-page-button"]',
        'button[data-ylk*="slk:next"]',
        'button[aria-label="Goto next page"]',
    ),
    "page_size_button": ("div.select-dropdown button", 'button[aria-label*="Rows per page"]'),
    "page_size_option": (f'div[role=option][data-value="{ROWS_PER_PAGE}"]', f"[role=option]::text={ROWS_PER_PAGE}"),
    "symbol_header": ('th[data-testid-header="ticker"] button', "th button::text=Symbol", "th::text=Symbol"),
    # A column's header has a button of the same text.
    "region_button": ('button[data-ylk*="slk:Region"]', "button:not(table button)::text=Region"),
    "region_text": ('button[data-ylk*="slk:Region"]', '[data-testid="active-filter-region"]', "button:not(table button)::text=Region"),
    "region_option": ("div.options label[title] input", 'input[data-testid^="filter-option-"]', "label[title] input[type=checkbox]"),
    "market_cap_button": ('button[data-ylk*="slk:Market%20Cap"]', "button:not(table button)::text=Market Cap"),
    "market_cap_text": (
        'button[data-ylk*="slk:Market%20Cap"]',
        '[data-testid="active-filter-intradaymarketcap"]',
        "button:not(table button)::text=Market Cap",
    ),
    "custom_band": ("input#custom", 'label[title="Custom"] input', "label::text=Custom"),
    "between_button": ('button[data-ylk*="slk:Between"]', "button::text=Between"),
    "band_input": ('input[placeholder*="e.g. 10M"]', 'input[placeholder*="10M"]', 'input[inputmode="decimal"]'),
    "add_filters_button": ('[data-testid="add-filters-button"]',),
    "market_data_category": ('[data-testid="filter-category-market_data"]',),
    "region_metric": ('[data-testid="filter-metric-region"]',),
    "market_cap_metric": ('[data-testid="filter-metric-intradaymarketcap"]', '[data-testid^="filter-metric-"]::text=Market Cap'),
    "apply_button": ('button[aria-label="Apply"]', '[data-testid="filter-apply"]', "button::text=Apply"),
    "dialog": ('div.dialog-container.menu-surface-dialog[aria-hidden="false"]', "dialog[open]", '[role=dialog][aria-hidden="false"]'),
}
_SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")
_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One row of the page's table. `region` is the page's own word for it, where the page shows one."""

    symbol: str
    name: str
    market_cap: float | None
    region: str | None


@dataclass(frozen=True)
class State:
    """What the page shows at one moment."""

    #: consent, blocked, down, loading, rows, empty or unknown.
    kind: str
    #: HTTP status of the page, or of its rows where they failed; 0 where the browser does not say.
    status: int
    ready: str
    url: str
    #: Numbers of the first and last row shown, and the total; None where the page does not say.
    first: int
    last: int
    total: int | None
    listings: tuple[Row, ...]
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
    #: Answers of the site to the table's own requests, since the page was loaded.
    requests: int

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(listing.symbol for listing in self.listings)

    @property
    def settled(self) -> bool:
        """The table is there, and its rows are as many as it says."""
        if self.kind == "empty":
            return True
        return self.kind == "rows" and self.total is not None and len(self.listings) == self.last - self.first + 1

    @property
    def content(self) -> tuple[object, ...]:
        return (self.kind, self.first, self.last, self.total, self.symbols)


class _NotSettled(TransientError):
    """A deadline passed; `state` is the last that was seen."""

    def __init__(self, message: str, state: State | None = None) -> None:
        super().__init__(message)
        self.state = state


class Screener:
    """The screener page in one browser. `open` a region and band, then go through `pages`.

    Raises BrowserLost (a new browser starts with the next use), RateLimited, LayoutChanged, or TransientError for all that
    may go better next time.
    """

    def __init__(
        self,
        browser: Browser,
        base_url: str = "",
        *,
        settle_timeout_seconds: float = SETTLE_TIMEOUT_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._browser = browser
        self.url = f"{base_url or LIVE_SITE}{PAGE_PATH}?start=0&count={ROWS_PER_PAGE}"
        self._settle_timeout_seconds = settle_timeout_seconds
        self._grace_seconds = grace_seconds
        self._region = ""
        self._band = (0, 0)
        self._caps_are_in_band = True
        self._is_at_start = False
        self._loaded_at = 0.0
        # Until when the page that is up may serve another task: not at all after whatever went wrong on it.
        self._kept_until = 0.0
        # The form in which the band is typed first; the one that has worked comes first from then on.
        self._styles: list[Callable[[int], str]] = [str, format_market_cap]
        #: The last total that the page showed.
        self.total = 0
        #: Symbols that the total promised and no page had, after `pages` is through.
        self.missing = 0

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> int:
        """Show a region's stocks within a market-cap band, both ends included; returns how many the page says there are.

        The band is meant as the site means it: whether in dollars or in the listing's currency is not known.
        A page that served another task well is used again: only what differs is chosen, which costs the site and the
        browser a third of a page loaded anew. What it shows is checked all the same.
        """
        if region_code not in REGIONS:
            raise PermanentError(f"no such region: {region_code!r}")
        is_kept = time.monotonic() < self._kept_until and self._browser.pages_loaded > 0
        self._kept_until = 0.0
        self._region, self._band = region_code, (market_cap_min, market_cap_max)
        self.missing = 0
        with self._page_errors():
            if not (is_kept and self._filter_kept()):
                self._filter()
        self._keep()
        return self.total

    def pages(self, tolerate_missing: bool = False) -> Iterator[list[Listing]]:
        """The listings, page by page, no symbol twice.

        Rows may move between pages meanwhile: where symbols are missing at the end, all pages are gone through again, twice
        at most. If some are missing even then: TransientError, or with `tolerate_missing` just their number in `missing`.
        """
        assert self._region, "open() comes first"
        seen: set[str] = set()
        self._kept_until = 0.0
        for number in range(MOST_PASSES):
            with self._page_errors():
                if number:
                    _log.info("%s: %d of %d listed, going through the pages again", self._name, len(seen), self.total)
                # Not in `open`: a task that is split has no use for it, and each choice draws the table anew.
                self._arrange(self._wait(self._shows_all, "shows no table") if self._is_at_start else self._filter())
                for state in self._one_pass():
                    new = {listing.symbol: listing for listing in state.listings if listing.symbol not in seen}
                    seen.update(new)
                    if new:
                        yield [Listing(row.symbol, row.name) for row in new.values()]
                    if number and len(seen) >= self.total:
                        break
            if len(seen) >= self.total:
                break
        self.missing = max(0, self.total - len(seen))
        if self.missing and not tolerate_missing:
            raise TransientError(f"{self._name}: the pages listed {len(seen)} of {self.total} stocks")
        self._keep()

    @property
    def _name(self) -> str:
        low, high = self._band
        return f"{REGIONS[self._region]} {format_market_cap(low)}-{format_market_cap(high)}"

    # The steps of opening the page

    def _keep(self) -> None:
        self._kept_until = self._loaded_at + KEEP_SECONDS

    def _filter(self) -> State:
        """Load the page and choose region and band."""
        return self._choose(self._load())

    def _filter_kept(self) -> bool:
        """Choose region and band on the page that the last task left; False where it has to be loaded anew."""
        self._browser.pages_loaded += 1  # a page, for the browser's age
        state = self._state()
        if not state.settled or self._could_be_the_answer(state):
            return False
        try:
            return self._choose(state).first <= 1
        except RateLimited:
            raise
        except (TransientError, LayoutChanged, WebDriverException) as error:
            _log.info("%s, on a page that served another task; loading it anew", error)
            return False

    def _could_be_the_answer(self, state: State) -> bool:
        """Whether none of the rows tells what is shown from what is asked for: an answer that is late would not be waited for."""
        return not any(
            (row.region and row.region.lower() not in self._region_names())
            or (row.market_cap is not None and not self._in_band(row.market_cap))
            for row in state.listings
        )

    def _choose(self, state: State) -> State:
        """Choose region and band, as far as the page does not show them; checked on what it shows then."""
        if not self._shows_region(state):
            state = self._choose_region()
        self._caps_are_in_band = True
        if not self._named_band(state):
            state = self._choose_band()
        self._check(state)
        assert state.total is not None
        self.total = state.total
        self._is_at_start = True
        return state

    def _arrange(self, state: State) -> None:
        """As many rows a page as there can be and, where that leaves several pages, in the order of their symbols."""
        if state.total and state.total > len(state.listings):
            state = self._show_most_rows(state)
        # Rows cannot move to another page where there is only one.
        if state.total and state.total > len(state.listings):
            state = self._sort_by_symbol(state)
        self._check(state)

    def _load(self) -> State:
        """Load the page, past the consent page and whatever page that leads back to, until there is a table."""
        self._navigate()
        for _ in range(MOST_LOADS):
            state = self._wait(lambda state: state.settled or state.kind == "consent" or _is_elsewhere(state), "shows no table")
            if state.settled:
                break
            if state.kind == "consent":
                self._click("consent_reject")
                self._wait(lambda state: state.kind != "consent", "keeps asking for consent")
            else:
                self._navigate()
        else:
            raise TransientError(f"{self.url} keeps leading to {state.url}")
        if not state.menu:
            raise LayoutChanged(_missing("the filter menu", "region_button", "add_filters_button"))
        return state

    def _choose_region(self) -> State:
        label = screener_label(self._region)
        self._open_menu("region", "region_option")
        complaint = f"the region menu's option {label!r}"
        options = self._until(lambda: self._options(label), complaint, "region_option")
        regions = {screener_label(code) for code in REGIONS}
        for option in options:
            if option["checked"] and option["label"] != label and option["label"] in regions:
                self._tick(option["label"], False, complaint)
        self._tick(label, True, complaint)
        try:
            return self._apply(self._shows_region, f"does not show {label} after it was chosen")
        except _NotSettled as error:
            if error.state is not None and error.state.settled and self._named_region(error.state) is None:
                raise LayoutChanged(_missing("the region, in the table or on the menu's button", "region_text")) from error
            raise

    def _options(self, label: str) -> list[dict[str, Any]]:
        """The region menu's options, once the wanted one is among them."""
        options: list[dict[str, Any]] = self._page("options")
        return options if any(option["label"] == label for option in options) else []

    def _tick(self, label: str, wanted: bool, complaint: str) -> None:
        def done() -> bool:
            return any(option["label"] == label and option["checked"] is wanted for option in self._page("options"))

        self._repeat(lambda: self._click_found("option", label), done, complaint, "region_option")

    def _choose_band(self) -> State:
        """Plain numbers and `300M` have both been seen to work: what the page does not take in one form is tried in the other."""
        error: TransientError | LayoutChanged | None = None
        for number, style in enumerate(self._styles):
            if number:
                _log.warning("%s: %s; trying the band in another form", self._name, error)
                self._load_again_with_region()
            try:
                state = self._apply_band(style)
            except (_NotSettled, LayoutChanged) as problem:
                error = problem
                if isinstance(problem, _NotSettled) and problem.state is not None and self._says_that_it_filters(problem.state):
                    _log.warning("%s: the page says that this is the band, yet shows market caps outside of it", self._name)
                    self._caps_are_in_band = False
                    return problem.state
                continue
            if state.kind == "empty" and not number and not self._named_band(state):
                error = TransientError("nothing is listed, and the page does not say for which band")
                continue
            if number:
                self._styles.reverse()
            return state
        assert error is not None
        raise error

    def _says_that_it_filters(self, state: State) -> bool:
        """The caps shown may be in another currency than the filter's; then what the page says of its filters has to do."""
        return state.settled and self._shows_region(state) and self._named_band(state) is True

    def _load_again_with_region(self) -> None:
        state = self._load()
        if not self._shows_region(state):
            self._choose_region()

    def _apply_band(self, style: Callable[[int], str]) -> State:
        low, high = map(style, self._band)
        self._open_menu("market_cap", "custom_band", "between_button", "band_input")
        self._repeat(
            lambda: self._click_found("find", "custom_band"),
            lambda: self._page("checked", "custom_band") is not False and bool(self._page("there", ["between_button", "band_input"])),
            "the market cap's own band",
            "custom_band",
            "between_button",
        )
        self._repeat(
            lambda: self._click_found("find", "between_button"),
            lambda: len(self._page("inputs")) == 2,
            "the market cap's two inputs",
            "between_button",
            "band_input",
        )
        for index, text in enumerate((low, high)):
            if not self._type(index, text):
                raise _NotSettled(f"{self._name}: the market cap's input does not take {text}", self._state())
        return self._apply(lambda state: self._shows_region(state) and self._shows_band(state), f"does not show the band {low} to {high}")

    def _type(self, index: int, text: str) -> bool:
        """Type into one of the two inputs as a person would, so that the page's own events fire; False if it didn't take it."""
        for _ in range(3):
            element = self._page("input", index)
            if isinstance(element, WebElement):
                with contextlib.suppress(StaleElementReferenceException, ElementNotInteractableException), self._browser.guard():
                    element.send_keys(text)
            values: list[str] = self._page("inputs")
            if len(values) == 2 and read_market_cap(values[index]) == read_market_cap(text):
                return True
        return False

    def _show_most_rows(self, state: State) -> State:
        """More rows a page are only faster: where the page has no such choice, it stays as it is."""
        if len(state.listings) >= min(ROWS_PER_PAGE, state.total or 0):
            return state
        before = self._state()
        try:
            self._click("page_size_button")
            self._click("page_size_option")
            return self._settle(
                before, lambda state: len(state.listings) > len(before.listings) and self._shows_all(state), "shows no more rows"
            )
        except (LayoutChanged, _NotSettled) as error:
            _log.warning("%s: %s", self._name, error)
            return self._wait(self._shows_all, "shows no table")

    def _sort_by_symbol(self, state: State) -> State:
        """Symbols don't move while one pages through. A page that cannot be sorted so is paged through again instead."""
        try:
            for _ in range(2):  # the first click may sort downwards
                if not _is_sorted(state):
                    state = self._sort_once(state)
        except (LayoutChanged, _NotSettled) as error:
            _log.warning("%s: %s", self._name, error)
            return self._wait(self._shows_all, "shows no table")
        return state

    def _sort_once(self, before: State) -> State:
        self._click("symbol_header")
        return self._settle(before, lambda state: state.symbols != before.symbols and self._shows_all(state), "is not sorted")

    def _one_pass(self) -> Iterator[State]:
        """The pages from the first to the last. A page that does not come is an error, never the last one."""
        self._is_at_start = False
        state = self._wait(self._shows_all, "shows no table")
        while True:
            self._check(state)
            assert state.total is not None
            self.total = state.total
            if state.kind == "empty":
                return
            yield state
            if not state.next_is_there and state.last < state.total:
                raise LayoutChanged(_missing("the button for the next page", "next_page"))
            if not state.has_next or state.last >= state.total:
                return
            state = self._next_page(state)

    def _next_page(self, before: State) -> State:
        self._click("next_page")
        follows = before.last + 1
        return self._settle(before, lambda state: state.first == follows and self._shows_all(state), f"has no page from row {follows}")

    # What the page shows

    def _named_region(self, state: State) -> bool | None:
        """Whether the page names this region and no other; None where it names none."""
        label = screener_label(self._region)
        # A longer text is no filter's, but holds a whole menu with the names of all regions.
        text = state.region_text if len(state.region_text) < 80 else ""
        rest = text.replace(label, "")
        if any(screener_label(code) in rest for code in REGIONS):
            return False
        cells = {listing.region.lower() for listing in state.listings if listing.region}
        if cells:
            return cells <= self._region_names()
        return True if rest != text else None

    def _region_names(self) -> set[str]:
        """What a row's cell may call the region, in lower case."""
        return {self._region, REGIONS[self._region].lower(), screener_label(self._region).lower()}

    def _shows_region(self, state: State) -> bool:
        named = self._named_region(state)
        # Nothing is listed without a filter only where the filter left nothing: the unfiltered page has thousands of rows.
        return named is True or (named is None and state.kind == "empty")

    def _named_band(self, state: State) -> bool | None:
        """Whether the page names this band; None where it names none."""
        numbers = [
            read_market_cap(text) for text in re.findall(r"\d[\d,]*(?:\.\d+)?\s*(?:[KMBT]\b)?", state.market_cap_text, re.IGNORECASE)
        ]
        if len(numbers) < 2:
            return None
        pairs = zip(numbers[:2], self._band, strict=True)
        return all(number is not None and abs(number - bound) <= 0.01 * bound for number, bound in pairs)

    def _shows_band(self, state: State) -> bool:
        named = self._named_band(state)
        caps = [listing.market_cap for listing in state.listings if listing.market_cap is not None]
        if named is False or (self._caps_are_in_band and any(not self._in_band(cap) for cap in caps)):
            return False
        return named is True or bool(caps) or state.kind == "empty"

    def _in_band(self, cap: float) -> bool:
        low, high = self._band
        return low * (1 - MARKET_CAP_TOLERANCE) <= cap <= high * (1 + MARKET_CAP_TOLERANCE)

    def _shows_all(self, state: State) -> bool:
        return state.settled and self._shows_region(state) and self._shows_band(state)

    def _check(self, state: State) -> None:
        if not state.settled:
            raise TransientError(f"{self._name}: the page shows {len(state.listings)} rows, and says {state.first} to {state.last}")
        if not self._shows_region(state):
            raise TransientError(f"{self._name}: the page shows another region")
        if not self._shows_band(state):
            raise TransientError(f"{self._name}: the page shows stocks outside the band")

    # Talking to the page

    @contextlib.contextmanager
    def _page_errors(self) -> Iterator[None]:
        """What the page does to a command just then is worth another attempt; a dead browser is BrowserLost by now."""
        try:
            yield
        except WebDriverException as error:
            raise TransientError(f"{self._name}: {type(error).__name__}: {str(error.msg).partition(chr(10))[0]}") from error

    def _page(self, command: str, argument: Any = None) -> Any:
        return self._browser.execute(_SCRIPT, command, SELECTORS, argument)

    def _state(self) -> State:
        try:
            return _state(self._page("state"))
        except WebDriverException:
            # The page is on its way to another one; guard() has sorted out the errors of a dead browser.
            return _LOADING

    def _navigate(self) -> None:
        self._loaded_at = time.monotonic()
        try:
            self._browser.load(self.url)
        except TimeoutException as error:
            raise TransientError(f"{self.url} did not load in time") from error
        except WebDriverException as error:
            reason = re.search(r"net::(\w+)", str(error.msg))
            raise self._unreachable(reason.group(1) if reason else str(error.msg)) from error

    def _unreachable(self, reason: str) -> TransientError:
        return TransientError(
            f"{self.url} cannot be reached ({reason}): check the connection and YAHOO_BASE_URL; run_pipeline.py --demo needs no internet"
        )

    def _deadline(self) -> float:
        return time.monotonic() + self._settle_timeout_seconds

    def _wait(self, condition: Callable[[State], bool], what: str) -> State:
        """Look at the page until `condition` holds. At the deadline, say what is wrong with the page."""
        deadline = self._deadline()
        while True:
            state = self._state()
            if state.kind not in ("blocked", "down") and condition(state):
                return state
            self._raise_refusal(state)
            if time.monotonic() >= deadline:
                raise self._not_settled(state, what)
            time.sleep(POLL_SECONDS)

    def _raise_refusal(self, state: State) -> None:
        if state.kind == "blocked":
            raise RateLimited(f"{state.url} answers: too many requests")
        if state.url.startswith("chrome-error:"):
            raise self._unreachable("the browser shows its own error page")
        if state.kind == "down":
            raise TransientError(f"{state.url} cannot give its rows now (status {state.status})")
        if state.status in (404, 410):
            raise LayoutChanged(f"{state.url} answers {state.status}: the screener's page is not there")

    def _not_settled(self, state: State, what: str) -> Exception:
        seconds = f"within {self._settle_timeout_seconds:g} s"
        if state.kind == "consent":
            return TransientError(f"{state.url} keeps asking for consent")
        if state.ready == "complete" and not state.busy and state.missing:
            return LayoutChanged(_missing(f"{' and '.join(state.missing)} on {state.url} {seconds}", *state.missing))
        if not state.settled:
            return _NotSettled(f"{self._name}: {state.url} did not settle {seconds}", state)
        return _NotSettled(f"{self._name}: the page {what} {seconds}", state)

    def _settle(self, before: State, condition: Callable[[State], bool], what: str) -> State:
        """Wait for what a click brings: an answer of the site since `before`, a table that stands still, and `condition`."""
        patience = time.monotonic() + self._grace_seconds
        previous: State | None = None

        def settled(state: State) -> bool:
            nonlocal previous
            stands_still, previous = previous is not None and previous.content == state.content, state
            answered = state.requests != before.requests or state.content != before.content or time.monotonic() >= patience
            return stands_still and answered and state.settled and condition(state)

        return self._wait(settled, what)

    def _apply(self, condition: Callable[[State], bool], what: str) -> State:
        before = self._state()
        self._click("apply_button")
        return self._settle(before, condition, what)

    def _open_menu(self, name: str, *content: str) -> None:
        """Open a filter's menu, in whichever of the site's two ways the page has, until something of `content` is there."""
        two = self._state().menu == 2
        steps = ["add_filters_button", "market_data_category", f"{name}_metric"] if two else [f"{name}_button"]
        for number, step in enumerate(steps):
            self._open_step(f"the filter menu {name}", step, steps[number + 1 : number + 2] or list(content))

    def _open_step(self, complaint: str, step: str, goal: list[str]) -> None:
        self._repeat(lambda: self._click_found("find", step), lambda: bool(self._page("there", goal)), complaint, step, *goal)

    def _click(self, name: str) -> None:
        self._until(lambda: self._click_found("find", name), name, name)

    def _click_found(self, command: str, argument: str) -> bool:
        """Find and click; False if it isn't there, or was rendered anew in between."""
        element = self._page(command, argument)
        if not isinstance(element, WebElement):
            return False
        try:
            with self._browser.guard():
                element.click()
        except StaleElementReferenceException:
            return False
        except TimeoutException as error:
            raise TransientError(f"{self.url}: the page behind {argument} did not load in time") from error
        except (ElementClickInterceptedException, ElementNotInteractableException):
            # An advertisement or a sticky bar lies over it, or the box itself is hidden behind its drawing.
            return bool(self._page(f"click {command}", argument))
        return True

    def _repeat(self, action: Callable[[], object], done: Callable[[], bool], complaint: str, *names: str) -> None:
        """Act until `done`: a page that is not yet alive swallows clicks, one that is gets time to react before the next."""
        next_time = 0.0

        def step() -> bool:
            nonlocal next_time
            if done():
                return True
            if time.monotonic() >= next_time and action():
                next_time = time.monotonic() + CLICK_AGAIN_SECONDS
            return done()

        self._until(step, complaint, *names)

    def _until(self, step: Callable[[], T], complaint: str, *names: str) -> T:
        """Try `step` until it returns something true; at the deadline the element looked for counts as gone."""
        deadline = self._deadline()
        while True:
            with contextlib.suppress(WebDriverException):  # of the page, which may be rendered anew at any moment
                if result := step():
                    return result
            if time.monotonic() >= deadline:
                state = self._state()
                self._raise_refusal(state)
                if state.kind in ("loading", "consent"):
                    raise self._not_settled(state, f"has no {complaint}")
                raise LayoutChanged(_missing(f"{complaint} on {state.url}", *names))
            time.sleep(POLL_SECONDS)


def _state(found: dict[str, Any]) -> State:
    rows = [row for row in found["rows"] if row["symbol"]]
    numbers = found["range"] or {"first": 0, "last": 0, "total": None}
    return State(
        kind=found["kind"],
        status=found["status"],
        ready=found["ready"],
        url=found["url"],
        first=numbers["first"],
        last=numbers["last"],
        total=numbers["total"],
        listings=tuple(Row(row["symbol"], row["name"], read_market_cap(row["market_cap"]), row["region"]) for row in rows),
        has_next=found["has_next"],
        next_is_there=found["next_is_there"],
        menu=found["menu"],
        region_text=found["region_text"],
        market_cap_text=found["market_cap_text"],
        sorted=found["sorted"],
        missing=tuple(found["missing"]),
        busy=found["busy"],
        requests=found["requests"],
    )


_LOADING = State("loading", 0, "loading", "", 0, 0, None, (), False, False, 0, "", "", None, (), True, 0)


def _is_elsewhere(state: State) -> bool:
    return state.kind == "unknown" and state.ready == "complete" and PAGE_PATH.rstrip("/") not in state.url


def _is_sorted(state: State) -> bool:
    return state.sorted == "ascending" or list(state.symbols) == sorted(state.symbols)


def _missing(what: str, *names: str) -> str:
    tried = "; ".join(f"{name}: {', '.join(SELECTORS[name])}" for name in names)
    return f"the screener's page has changed: missing {what} (tried {tried})"
