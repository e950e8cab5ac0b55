"""The screener's data by the page's own queries: found in the page and its network, sent again from within the page.

The site sees the same browser, cookies and crumb as for its own page. Since the query is ours, region, band and
total are known without reading the page.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from selenium.common.exceptions import WebDriverException

from pipeline.errors import RateLimited, TransientError
from pipeline.screener import door as doors
from pipeline.screener import query, walls
from pipeline.screener.answers import Answer, SiteError, parse_text
from pipeline.screener.browser import Browser
from pipeline.screener.door import Door
from pipeline.screener.network import OWN_FRAGMENT, NetworkLog
from pipeline.yahoo import recording
from pipeline.yahoo.retry_after import retry_after_seconds

log = logging.getLogger(__name__)

#: Seconds within which an answer has to come.
ANSWER_TIMEOUT_SECONDS = 30.0
#: Seconds between two looks for the answer, and those that the page gets to say that none came.
LOOK_SECONDS = 0.03
SPARE_SECONDS = 5.0
#: How many forms, places and crumbs are tried for one query.
MOST_WAYS = 6
#: Two answers with this many symbols, all the same, are the same list.
SAME_STOCKS = 5
_ASK = (Path(__file__).parent / "ask.js").read_text(encoding="utf-8")
_LOOK = (
    "const [key] = arguments; if (!(key in window)) return 'gone'; const found = window[key]; if (found) delete window[key]; return found"
)
_CRUMB_REFUSED = re.compile(r"\bcrumb\b|\bcookie\b|unauthori[sz]ed|not authori[sz]ed", re.IGNORECASE)
#: Statuses, and the site's words under another one, for a query that it does not take in this form or at this place.
_OTHER_FORM = frozenset({400, 415, 422})
_OTHER_PLACE = frozenset({404, 405, 410})
_FORM_REFUSED = re.compile(r"bad request|invalid|unsupported|unknown field|malformed|not supported", re.IGNORECASE)


class Courtesy(Protocol):
    """Requests wait for this and are counted by it (pipeline/yahoo/throttle.py, Throttle)."""

    def acquire(self) -> None: ...

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None: ...

    def unanswered(self) -> None: ...

    def noted(self, status: int) -> None: ...


class NoCourtesy:
    """For a single look at the site: nothing waits and nothing is counted."""

    def acquire(self) -> None:
        pass

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def noted(self, status: int) -> None:
        pass


class NotServed(Exception):
    """This page has no query that can be sent: no crumb, or no such address. The table is read instead.

    passes: whether it may work next time.
    """

    def __init__(self, text: str, passes: bool = False) -> None:
        super().__init__(text)
        self.passes = passes


class Stale(Exception):
    """The open page no longer serves and has to be loaded again. The text says why."""


@dataclass(frozen=True)
class Reply:
    """What came back to a request from within the page; status 0 is none."""

    status: int
    text: str
    retry_after_seconds: float | None
    error: str
    #: The address that a redirect led to, if one did.
    led_to: str = ""
    #: What the text says, for a query.
    found: Answer | SiteError | None = None

    @property
    def said(self) -> str:
        """The site's words, in place of an answer."""
        return str(self.found) if isinstance(self.found, SiteError) else walls.visible_text(self.text)

    @property
    def is_page(self) -> bool:
        return "<html" in self.text[:2000].lower()

    @property
    def is_of_another_shape(self) -> bool:
        """Whether it is a complete answer of an unknown shape: other JSON, or pieces of HTML."""
        text = self.text.strip()
        if self.status != 200 or self.found is not None or self.is_page or not text:
            return False
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return text[0] not in "{[)"  # half an answer is none
        return True


class PageData:
    """Asks the site from within the page that is open in `browser`."""

    def __init__(
        self,
        browser: Browser,
        network: NetworkLog,
        base_url: str,
        courtesy: Courtesy,
    ) -> None:
        self._browser = browser
        self._network = network
        self._base_url = base_url
        self._courtesy = courtesy
        self._door: Door | None = None
        #: Whether the site has ever answered such a query.
        self.has_answered = False
        # The symbols of the last answers, by region and offset: if they come back for another query, that answer is wrong.
        self._listed: dict[tuple[str, int], frozenset[str]] = {}
        self._is_past_workers = False

    @property
    def is_open(self) -> bool:
        return self._door is not None

    def forget(self) -> None:
        """Forget what is known of the page: it is loaded again."""
        self._door = None

    def seen(self) -> Door | None:
        """The door that the page itself shows by now: a query that it has sent, or one that the server has put into it."""
        door = doors.sent_by_page(self._network, self._origin) or doors.put_into_page(self._browser, self._origin)
        if door is not None:
            self._door = door
        return door

    def find(self) -> None:
        """Open the door: what the page shows, else the site's crumb address. Raises NotServed, RateLimited."""
        if self.seen() is None:
            origin = self._base_url or query.LIVE_DATA_HOST
            self._door = Door(origin, self._first_crumb(origin))

    def ask(self, region: str, band: tuple[int, int], offset: int) -> Answer:
        """One answer. Raises RateLimited, TransientError, Stale (load the page again), NotServed (there is no such query)."""
        is_renewed = False
        for _ in range(MOST_WAYS):
            door = self._door
            if door is None:
                raise Stale("nothing is known of the page")
            place = query.without_crumb(door.url)
            reply = self._fetch(door.url, door.body(region, band, offset), door.headers)
            if isinstance(reply.found, Answer) and reply.status == 200 and reply.found.says_something(offset):
                if self._is_another_s(region, offset, reply.found) or self._may_be_a_worker_s(reply.found):
                    self._pass_by_workers(place)
                    continue
                self.has_answered = True
                return reply.found
            if reply.led_to and reply.status not in walls.REFUSALS:
                raise Stale(f"{place} leads to {query.without_crumb(reply.led_to)}")
            if _refuses_crumb(reply):
                if is_renewed:
                    raise self._no_crumb(f"{place} answers {reply.status}: the crumb is refused, a new one too")
                self._door = door.with_crumb(self._new_crumb(door.origin, door.crumb))
                is_renewed = True
            elif _refuses_query(reply):
                self._door = self._other_way(door, reply, place)
            else:
                raise self._trouble(reply, place)
        raise TransientError(f"{place} answers {reply.status} again and again")

    def _is_another_s(self, region: str, offset: int, answer: Answer) -> bool:
        """Whether this is the answer to another query, of ours or the page's: a cache may look at the address alone."""
        symbols = frozenset(listing.symbol for listing in answer.listings)
        if len(symbols) < SAME_STOCKS:
            return False
        for exchange in self._network.by_scripts():
            asked = query.asked(exchange.sent) if exchange.status == 200 and query.may_ask_for_rows(exchange.url) else None
            if asked is not None and asked.regions and asked.regions != {region}:
                found = parse_text(self._network.body(exchange))
                if isinstance(found, Answer) and {listing.symbol for listing in found.listings} == symbols:
                    return True
        if any(symbols == others for place, others in self._listed.items() if place != (region, offset)):
            return True
        self._listed[region, offset] = symbols
        return False

    def _may_be_a_worker_s(self, answer: Answer) -> bool:
        """Whether the page's service worker gave this empty answer, and not the site."""
        if answer.rows or self._is_past_workers:
            return False
        self._network.read()
        own = self._network.last_own()
        return own is not None and own.is_by_worker

    def _pass_by_workers(self, place: str) -> None:
        """From now on ask the site itself, not the page's service worker. Raises TransientError if that was done before."""
        if self._is_past_workers:
            raise TransientError(f"{place} gives the same stocks for different queries: it ignores the region, or a cache repeats answers")
        self._is_past_workers = True
        self._browser.devtools("Network.setBypassServiceWorker", bypass=True)

    def _other_way(self, door: Door, reply: Reply, place: str) -> Door:
        """Another form of the query, or another place for it. Raises NotServed if there is none."""
        seen = urlsplit(door.seen_url)
        if reply.status not in _OTHER_PLACE:
            if not door.plain and not reply.is_of_another_shape:
                return replace(door, plain=True)
        elif seen.hostname in ("127.0.0.1", "localhost", "::1") and f"{seen.scheme}://{seen.netloc}" != door.origin:
            # Only on this machine: a stand-in may serve its data at another port.
            return replace(door, origin=f"{seen.scheme}://{seen.netloc}")
        if door.seen_url and not query.is_query_url(door.seen_url):
            return Door(door.origin, door.crumb or self._first_crumb(door.origin))
        said = " with an answer of an unknown shape" if reply.is_of_another_shape else ""
        raise NotServed(f"{place} answers {reply.status}{said}")

    def _trouble(self, reply: Reply, place: str) -> Exception:
        if not reply.status:
            return Stale(f"{place} gives no answer ({reply.error})")
        error = walls.of_status(reply.status, place, reply.retry_after_seconds) or walls.of_words(reply.said, place, reply.status)
        if error is not None:
            return error
        if reply.found is None and reply.is_page:
            return Stale(f"{place} answers {reply.status} with another page")
        said = reply.found if isinstance(reply.found, SiteError) else "no rows and no total"
        return TransientError(f"{place} answers {reply.status} with something else: {said}")

    # Crumbs

    def _first_crumb(self, origin: str) -> str:
        """The site's crumb for the page's cookies; none if the site has no address for them. Raises NotServed, RateLimited."""
        url = origin + query.CRUMB_PATH
        reply = self._fetch(url, None, {})
        if reply.status in _OTHER_PLACE:
            return ""
        if reply.status in walls.REFUSALS - {403}:
            raise self._trouble(reply, url)
        if reply.status != 200 or not query.is_crumb(reply.text.strip()):
            raise NotServed(f"{url} answers {reply.status or reply.error}: no crumb", reply.status not in (200, 401))
        return reply.text.strip()

    def _new_crumb(self, origin: str, old: str) -> str:
        """A crumb in the place of one that is refused. Raises RateLimited or TransientError, and as `_no_crumb` says."""
        url = origin + query.CRUMB_PATH
        reply = self._fetch(url, None, {})
        crumb = reply.text.strip()
        if reply.status == 200 and query.is_crumb(crumb) and crumb != old:
            return crumb
        if reply.status in walls.REFUSALS or reply.status >= 500:
            raise self._trouble(reply, url)
        raise self._no_crumb(f"{url} answers {reply.status or reply.error}: no new crumb")

    def _no_crumb(self, problem: str) -> Exception:
        """If the page was seen to use crumbs it has to be loaded again; otherwise it has no such query."""
        is_page_s = self._door is not None and self._door.is_page_s
        return Stale(problem) if is_page_s or self.has_answered else NotServed(problem, passes=True)

    # Requests

    def _fetch(self, url: str, body: dict[str, Any] | None, headers: Mapping[str, str]) -> Reply:
        self._courtesy.acquire()
        sent = None if body is None else json.dumps(body)
        try:
            found = self._send(url + OWN_FRAGMENT, sent, {"content-type": "application/json", **headers})
        except BaseException:
            self._courtesy.unanswered()
            raise
        text = str(found.get("text") or "")
        reply = Reply(
            int(found.get("status") or 0),
            text,
            retry_after_seconds(found.get("retry_after")),
            str(found.get("error") or ""),
            str(found.get("led_to") or ""),
            None if sent is None else parse_text(text),
        )
        if reply.status in walls.REFUSALS and reply.retry_after_seconds is None:
            # Another host's headers are not shown to scripts of the page.
            self._network.read()
            own = self._network.last_own()
            reply = replace(reply, retry_after_seconds=own.retry_after_seconds if own is not None else None)
        self._count(reply)
        if reply.status:
            recording.note("GET" if sent is None else "POST", url, sent, reply.status, "application/json", text)
        return reply

    def _count(self, reply: Reply) -> None:
        if not reply.status:
            self._courtesy.unanswered()
            return
        refusal = None if isinstance(reply.found, Answer) else walls.of_words(reply.said, "", reply.status)
        status = 429 if reply.status == 200 and isinstance(refusal, RateLimited) else reply.status
        self._courtesy.answered(status, reply.retry_after_seconds)

    def _send(self, url: str, sent: str | None, headers: dict[str, str]) -> dict[str, Any]:
        """Start the request in the page, then look for its result: a script that waits would outlive a page that reloads itself."""
        key = f"answer{secrets.token_hex(4)}"
        deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS + SPARE_SECONDS
        try:
            self._browser.execute(_ASK, key, url, sent, headers, int(ANSWER_TIMEOUT_SECONDS * 1000))
            while time.monotonic() < deadline:
                found = self._browser.execute(_LOOK, key)
                if isinstance(found, dict):
                    return found
                if found == "gone":
                    return {"error": "the page went elsewhere"}
                time.sleep(LOOK_SECONDS)
        except WebDriverException as error:  # the page is on its way elsewhere
            return {"error": str(error.msg).partition("\n")[0]}
        return {"error": f"nothing within {ANSWER_TIMEOUT_SECONDS:g} s"}

    def _origin(self, url: str) -> str:
        """The host for our queries: the page's own, but never one outside a stand-in, and never a site other than Yahoo's."""
        if self._base_url:
            return self._base_url
        host = urlsplit(url).hostname or ""
        return f"https://{host}" if host == "yahoo.com" or host.endswith(".yahoo.com") else query.LIVE_DATA_HOST


def _refuses_crumb(reply: Reply) -> bool:
    if reply.status == 401:
        return True
    words = str(reply.found) if isinstance(reply.found, SiteError) else reply.text[:300] if reply.status in (400, 403) else ""
    return _CRUMB_REFUSED.search(words) is not None


def _refuses_query(reply: Reply) -> bool:
    """Whether another form or place may be taken: by its status, by the site's words, or an answer of another shape."""
    if reply.status in _OTHER_FORM | _OTHER_PLACE or (reply.is_of_another_shape and walls.of_words(reply.said, "", 200) is None):
        return True
    return reply.status == 200 and isinstance(reply.found, SiteError) and _FORM_REFUSED.search(str(reply.found)) is not None
