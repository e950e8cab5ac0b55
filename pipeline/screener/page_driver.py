"""Clicks and waits on the screener page. What a wait ends with decides by status first, then by what the page shows."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    JavascriptException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from pipeline.errors import LayoutChanged, TransientError
from pipeline.screener import walls
from pipeline.screener.answers import Answer, SiteError, parse_text
from pipeline.screener.browser import Browser
from pipeline.screener.network import Exchange, NetworkLog
from pipeline.screener.page_state import LOADING, Selection, State, state_of
from pipeline.screener.query import asked, may_ask_for_rows, without_crumb
from pipeline.screener.selectors import SELECTORS

#: Seconds between two looks at the page.
POLL_SECONDS = 0.1
#: Seconds within which the page has to do what a click asks for.
SETTLE_TIMEOUT_SECONDS = 20.0
#: Seconds after a click in which a table that does not change may still be the one from before it.
GRACE_SECONDS = 2.0
#: Seconds that the page gets to react to a click before it is clicked again.
CLICK_AGAIN_SECONDS = 1.5
_SCRIPT = "".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("paging.js", "page.js"))
T = TypeVar("T")


class NotSettled(TransientError):
    """A deadline passed; `state` is the last that was seen."""

    def __init__(self, message: str, state: State | None = None) -> None:
        super().__init__(message)
        self.state = state


class PageDriver:
    """One page in one browser: its state, and what a person can do to it. Raises as PagedScreener does."""

    def __init__(
        self, browser: Browser, network: NetworkLog, url: str, settle_timeout_seconds: float, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self.browser = browser
        self.network = network
        self.url = url
        self.settle_timeout_seconds = settle_timeout_seconds
        self._grace_seconds = grace_seconds
        #: What is being listed.
        self.wanted: Selection | None = None
        # What the page showed last, and since when.
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0

    @property
    def name(self) -> str:
        """What is being listed, for messages."""
        return str(self.wanted or "")

    def page(self, command: str, argument: Any = None) -> Any:
        found = self.browser.execute(_SCRIPT, command, SELECTORS, argument)
        if found is None:
            raise JavascriptException("a dialog of the page has interrupted the script")
        return found[0]

    def state(self, with_places: bool = False) -> State:
        """with_places: whether to look for rows that should be in sight and are not made yet."""
        try:
            self.network.read()
            return self._with_time(self._with_answers(state_of(self.page("state", "with places" if with_places else None))))
        except WebDriverException:
            # The page is on its way to another one; guard() has sorted out the errors of a dead browser.
            return LOADING

    def _with_time(self, state: State) -> State:
        if state.content != self._seen:
            self._seen, self._seen_at = state.content, time.monotonic()
        return replace(state, stood=time.monotonic() - self._seen_at)

    @contextlib.contextmanager
    def page_errors(self) -> Iterator[None]:
        """What the page does to a command just then is worth another attempt; a dead browser is BrowserLost by now."""
        try:
            yield
        except WebDriverException as error:
            raise TransientError(f"{self.name}: {type(error).__name__}: {str(error.msg).partition(chr(10))[0]}") from error

    def navigate(self) -> None:
        self.network.clear()
        try:
            self.browser.load(self.url)
        except TimeoutException as error:
            raise TransientError(f"{self.url} did not load in time") from error
        except WebDriverException as error:
            reason = re.search(r"net::(\w+)", str(error.msg))
            raise self._unreachable(reason.group(1) if reason else str(error.msg)) from error

    # What the site's answers say

    def rows_requests(self) -> list[Exchange]:
        """The page's own requests for rows, as far as their address says so, or the region or band that they carry.

        First comes the page itself, if its address names the region: the server has put the rows into it.
        """
        page = self.network.page()
        pages = [page] if page is not None and self.wanted is not None and self.wanted.is_chosen_in(page.url) else []
        return pages + [one for one in self.network.by_scripts() if one.method in ("GET", "POST") and self._may_ask_for_rows(one)]

    def _may_ask_for_rows(self, one: Exchange) -> bool:
        if may_ask_for_rows(one.url) or self.wanted is None:
            return may_ask_for_rows(one.url)
        return self.wanted.is_chosen_in(one.url) or self.wanted.is_named_in(f"{one.url} {one.sent or ''}")

    def _with_answers(self, state: State) -> State:
        requests = self.rows_requests()
        finished = [one for one in requests if one.finished]
        page = self.network.page()
        state = replace(
            state,
            status=page.status if page is not None and page.status else state.status,
            answers=len(finished),
            waits=any(not one.finished for one in requests),
        )
        if not finished:
            return state
        last = finished[-1]
        found = parse_text(self.network.body(last)) if last.status == 200 else None
        if isinstance(found, SiteError):
            found = None
        if found is None and last.status == 200 and (last.is_script_s or state.kind == "empty") and says_none(_text_of(self.network, last)):
            found = Answer(0, ())
        request = f"{last.url} {last.sent or ''}"
        return replace(state, answer=found, asked=asked(last.sent) if found is not None else None, request=request[:10_000])

    def raise_refusal(self, state: State) -> None:
        """Raise what the statuses mean, and what the page says in place of a table. This comes first, even if a table is shown."""
        self.raise_page_refusal(state)
        self.raise_rows_refusal()

    def raise_page_refusal(self, state: State) -> None:
        if state.kind == "unreachable":
            raise self._unreachable("the browser shows its own error page")
        page = self.network.page()
        if (error := walls.of_status(state.status, state.url, page.retry_after_seconds if page is not None else None)) is not None:
            raise error
        if state.kind == "unknown" and state.ready == "complete" and (error := walls.of_words(state.words, state.url, state.status)):
            raise error

    def raise_rows_refusal(self) -> None:
        """Raise what the answer to the page's last request for rows means."""
        for last in self.rows_requests()[-1:]:
            what = f"the rows' request {without_crumb(last.url)}"
            if (error := walls.of_status(last.status, what, last.retry_after_seconds)) is not None:
                raise error

    def _unreachable(self, reason: str) -> TransientError:
        return TransientError(
            f"{self.url} cannot be reached ({reason}): check the connection and YAHOO_BASE_URL; run_pipeline.py --demo needs no internet"
        )

    # Waiting

    def deadline(self) -> float:
        return time.monotonic() + self.settle_timeout_seconds

    def wait(self, condition: Callable[[State], bool], what: str, with_places: bool = False) -> State:
        """Look at the page until `condition` holds. At the deadline, say what is wrong with the page."""
        deadline = self.deadline()
        while True:
            state = self.state(with_places)
            self.raise_refusal(state)
            if condition(state):
                return state
            if time.monotonic() >= deadline:
                raise self.not_settled(state, what)
            time.sleep(POLL_SECONDS)

    def not_settled(self, state: State, what: str) -> Exception:
        seconds = f"within {self.settle_timeout_seconds:g} s"
        if state.kind == "consent":
            refusal = walls.of_words(state.words, state.url, state.status)
            return refusal or TransientError(f"{state.url} keeps asking for consent")
        if state.is_other_words:
            return TransientError(
                f"{state.url} answers {state.status} and shows other words in place of the page: {walls.quoted(state.words)}"
            )
        if state.ready == "complete" and not state.busy and not state.waits and state.status in (0, 200) and state.missing:
            return LayoutChanged(missing(f"{' and '.join(state.missing)} on {state.url} {seconds}", *state.missing))
        if state.kind == "empty":
            return NotSettled(f"{self.name}: {state.url} lists nothing, and no answer of the site says that there is nothing", state)
        if not state.settled:
            return NotSettled(f"{self.name}: {state.url} did not settle {seconds}", state)
        return NotSettled(f"{self.name}: the page {what} {seconds}", state)

    def settle(
        self, before: State, condition: Callable[[State], bool], what: str, or_else: Callable[[State], bool] = lambda state: False
    ) -> State:
        """Wait for what a click brings: an answer of the site since `before`, a table that stands still, and `condition`.

        or_else: another state that ends the wait, although the page is not settled.
        """
        patience = time.monotonic() + self._grace_seconds
        previous: State | None = None

        def settled(state: State) -> bool:
            nonlocal previous
            stands_still, previous = previous is not None and previous.content == state.content, state
            answered = state.answers != before.answers or state.content != before.content or time.monotonic() >= patience
            return stands_still and answered and ((state.settled and condition(state)) or or_else(state))

        return self.wait(settled, what)

    # Clicking

    def click(self, name: str) -> None:
        self.until(lambda: self.click_found("find", name), name, name)

    def click_found(self, command: str, argument: Any = None) -> bool:
        """Find and click, if the script has not done so; False if it is not there, or was rendered again in between."""
        element = self.page(command, argument)
        if not isinstance(element, WebElement):
            return element is True
        try:
            with self.browser.guard():
                element.click()
        except StaleElementReferenceException:
            return False
        except TimeoutException as error:
            raise TransientError(f"{self.url}: the page behind {argument} did not load in time") from error
        except (ElementClickInterceptedException, ElementNotInteractableException):
            if self.clear_the_way():
                return False
            # A sticky bar lies over it, or the box itself is hidden behind its drawing.
            return bool(self.page(f"click {command}", argument)) if command in ("find", "option") else False
        return True

    def clear_the_way(self) -> bool:
        """Close what lies over the page and holds no filter: by its own button, by Escape, at last by removing it."""
        if not self.page("obstacle"):
            return False
        close = self.page("close control")
        with contextlib.suppress(WebDriverException), self.browser.guard():
            if isinstance(close, WebElement):
                close.click()
        if self.page("obstacle"):
            with contextlib.suppress(WebDriverException), self.browser.guard():
                self.browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        if self.page("obstacle"):
            self.page("remove obstacle")
        return True

    def repeat(self, action: Callable[[], object], done: Callable[[], bool], complaint: str, *names: str) -> None:
        """Act until `done`: a page whose scripts are not ready swallows clicks; one that is ready gets time to react."""
        next_time = 0.0
        acted = 0

        def step() -> bool:
            nonlocal next_time, acted
            if done():
                return True
            if time.monotonic() >= next_time:
                if acted:
                    self.clear_the_way()
                if action():
                    acted += 1
                    next_time = time.monotonic() + CLICK_AGAIN_SECONDS
            return done()

        self.until(step, complaint, *names)

    def until(self, step: Callable[[], T], complaint: str, *names: str) -> T:
        """Try `step` until it returns something true; at the deadline the element looked for counts as gone."""
        deadline = self.deadline()
        while True:
            with contextlib.suppress(WebDriverException):  # the page may be rendered again at any moment
                if result := step():
                    return result
            if time.monotonic() >= deadline:
                state = self.state()
                self.raise_refusal(state)
                if state.kind in ("loading", "consent"):
                    raise self.not_settled(state, f"has no {complaint}")
                raise LayoutChanged(missing(f"{complaint} on {state.url}", *names))
            time.sleep(POLL_SECONDS)


def _text_of(network: NetworkLog, one: Exchange) -> str:
    text = network.body(one) or ""
    # A page has links to stocks beside its table. Whether that has rows was seen.
    return text if one.is_script_s else walls.visible_text(text)


def says_none(body: str) -> bool:
    """Whether an answer in HTML says that there is nothing: it has no row and the number 0 for its total."""
    text = walls.visible_text(body)
    return (
        "/quote/" not in body
        and re.search(
            r"(?<![\d.,])0\s+(?:\w+\s+)?(?:results|matches|stocks|resultados|ergebnisse|treffer|résultats|risultati)\b|\b(?:of|de|von)\s+0\b"
            r"|[-–—]\s*0\s*/\s*0\b|\"total\"\s*:\s*0\b",
            text,
        )
        is not None
    )


def missing(what: str, *names: str) -> str:
    tried = "; ".join(f"{name}: {', '.join(SELECTORS.get(name, ('by what it is',)))}" for name in names)
    return f"the screener's page has changed: missing {what} (tried {tried})"
