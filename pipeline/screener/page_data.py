"""The screener's data by the page's own queries: found in the page and its network, sent again from within the page.

The site sees the same browser, cookies and crumb as for its own page. What was asked is known, so region, band and total
need no reading of the page; what the page shows is of no matter.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipeline.errors import TransientError
from pipeline.screener import query, walls
from pipeline.screener.answers import Answer, SiteError, parse_text
from pipeline.screener.browser import Browser
from pipeline.screener.network import NetworkLog
from pipeline.yahoo import recording
from pipeline.yahoo.retry_after import retry_after_seconds

log = logging.getLogger(__name__)

#: Seconds within which an answer has to come.
ANSWER_TIMEOUT_SECONDS = 30.0
#: A crumb is a few letters: what is longer is another text in its place.
LONGEST_CRUMB = 64
_ASK = (Path(__file__).parent / "ask.js").read_text(encoding="utf-8")
_CRUMB_WORDS = ("crumb", "cookie", "unauthorized", "not authorized")


class Courtesy(Protocol):
    """What requests wait for and are counted by (pipeline/yahoo/throttle.py, Throttle)."""

    def acquire(self) -> None: ...

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None: ...

    def unanswered(self) -> None: ...

    def noted(self, status: int) -> None: ...


class NoCourtesy:
    """For a single look at the site: nothing waits, nothing is counted."""

    def acquire(self) -> None:
        pass

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        pass

    def unanswered(self) -> None:
        pass

    def noted(self, status: int) -> None:
        pass


class NotServed(Exception):
    """The data is not to be had here by a query: no crumb, or no such address. The table has to do."""


class Stale(Exception):
    """The page that is open no longer serves: it has to be loaded anew. The text says why."""


@dataclass(frozen=True)
class Door:
    """How to ask: where, with which crumb, and with what body."""

    origin: str
    crumb: str
    #: The page's own address and body of such a query, if it was seen.
    seen_url: str = ""
    template: dict[str, Any] | None = None
    #: Whether the site refused the page's form of the query.
    plain: bool = False


@dataclass(frozen=True)
class Reply:
    """What came back to a request from within the page; status 0 is none."""

    status: int
    text: str
    retry_after: str | None
    error: str


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

    @property
    def is_open(self) -> bool:
        return self._door is not None

    def forget(self) -> None:
        """The page is loaded anew: what was known of it is of no use."""
        self._door = None

    def seen(self) -> Door | None:
        """The door that the page itself shows by now: a query that it has sent, or one that the server has put into it."""
        door = self._sent_by_page() or self._put_into_page()
        if door is not None:
            self._door = door
        return door

    def find(self) -> None:
        """Open the door: what the page shows, else the site's crumb address. Raises NotServed."""
        if self.seen() is None:
            origin = self._base_url or query.LIVE_DATA_HOST
            self._door = Door(origin, self._fresh_crumb(origin, ""))

    def ask(self, region: str, band: tuple[int, int], offset: int) -> Answer:
        """One answer. Raises RateLimited, TransientError, Stale (load the page anew), NotServed (there is no such query)."""
        renewed = False
        for _ in range(5):
            door = self._door
            if door is None:
                raise Stale("nothing is known of the page")
            url = query.query_url(door.origin, door.crumb, door.seen_url)
            body = query.body(door.template, region, band, offset, plain=door.plain)
            reply = self._fetch(url, body)
            found = parse_text(reply.text)
            if isinstance(found, Answer) and reply.status == 200 and (found.total is not None or found.rows):
                return found
            if reply.status == 401 or (isinstance(found, SiteError) and any(word in str(found).lower() for word in _CRUMB_WORDS)):
                if renewed:
                    raise Stale(f"{query.without_crumb(url)} answers {reply.status}: the crumb is refused, a new one too")
                self._door = replace(door, crumb=self._fresh_crumb(door.origin, door.crumb, stale=True))
                renewed = True
            elif reply.status in (400, 404, 405, 410) or (not reply.status and not door.seen_url):
                self._try_another_way(door, reply, query.without_crumb(url))
            else:
                raise self._trouble(reply, found, query.without_crumb(url))
        raise TransientError(f"{query.without_crumb(url)} answers {reply.status} again and again")

    def _try_another_way(self, door: Door, reply: Reply, url: str) -> None:
        """Another form of the query, or another place for it that the page was seen to use. Raises NotServed if there is none."""
        seen = urlsplit(door.seen_url)
        if reply.status == 400 and not door.plain:
            self._door = replace(door, plain=True)
        elif reply.status != 400 and seen.hostname in ("127.0.0.1", "localhost", "::1") and f"{seen.scheme}://{seen.netloc}" != door.origin:
            self._door = replace(door, origin=f"{seen.scheme}://{seen.netloc}")
        else:
            raise NotServed(f"{url} answers {reply.status or reply.error}")

    def _trouble(self, reply: Reply, found: Answer | SiteError | None, url: str) -> Exception:
        if not reply.status:
            return Stale(f"{url} gives no answer ({reply.error})")
        retry_after = retry_after_seconds(reply.retry_after)
        said = str(found) if isinstance(found, SiteError) else walls.visible_text(reply.text)
        error = walls.of_status(reply.status, url, retry_after) or walls.of_words(said, url, reply.status)
        if error is not None:
            return error
        if found is None and "<html" in reply.text[:2000].lower():
            return Stale(f"{url} answers {reply.status} with another page")
        return TransientError(
            f"{url} answers {reply.status} with something else: {found if isinstance(found, SiteError) else 'no rows and no total'}"
        )

    def _fresh_crumb(self, origin: str, old: str, stale: bool = False) -> str:
        """The site's crumb for the page's cookies. Raises NotServed, or Stale for a page that had one before."""
        url = origin + query.CRUMB_PATH
        reply = self._fetch(url, None)
        crumb = reply.text.strip()
        if reply.status == 200 and 0 < len(crumb) <= LONGEST_CRUMB and crumb != old and not any(mark in crumb for mark in "<{ \n"):
            return crumb
        if stale and (reply.status in walls.REFUSALS or reply.status >= 500):
            raise self._trouble(reply, None, url)
        problem = f"{url} answers {reply.status or reply.error}: no new crumb"
        raise Stale(problem) if stale else NotServed(problem)

    def _fetch(self, url: str, body: dict[str, Any] | None) -> Reply:
        self._courtesy.acquire()
        self._network.own_urls.add(url)
        sent = None if body is None else json.dumps(body)
        try:
            found = self._send(url, sent)
        except BaseException:
            self._courtesy.unanswered()
            raise
        reply = Reply(int(found.get("status") or 0), str(found.get("text") or ""), found.get("retry_after"), str(found.get("error") or ""))
        if reply.status:
            recording.note("GET" if sent is None else "POST", url, sent, reply.status, "application/json", reply.text)
            self._courtesy.answered(reply.status, retry_after_seconds(reply.retry_after))
        else:
            self._courtesy.unanswered()
        return reply

    def _send(self, url: str, sent: str | None) -> dict[str, Any]:
        for _ in range(2):
            found = self._browser.execute_async(_ASK, url, sent, int(ANSWER_TIMEOUT_SECONDS * 1000))
            if isinstance(found, dict):
                return found
        # A dialog of the page's own ends a script without its result.
        return {"error": "the page interrupts it"}

    def _sent_by_page(self) -> Door | None:
        crumb = ""
        for exchange in reversed(self._network.by_scripts()):
            if (
                query.is_query_url(exchange.url)
                and exchange.method == "POST"
                and (template := query.template_of(exchange.sent)) is not None
            ):
                return Door(self._origin(exchange.url), query.crumb_of(exchange.url) or crumb, exchange.url, template)
            crumb = crumb or query.crumb_of(exchange.url)
        return Door(self._origin(""), crumb) if crumb else None

    def _put_into_page(self) -> Door | None:
        texts: list[str] = self._browser.execute(_EMBEDDED)
        urls = [url for text in texts for url in query.query_urls(text)]
        if not urls:
            return None
        url = next((url for url in urls if query.crumb_of(url)), urls[0])
        return Door(self._origin(url), query.crumb_of(url), url)

    def _origin(self, url: str) -> str:
        """Where queries go: where the page sends its own, but never out of a stand-in, and never to another site than Yahoo's."""
        if self._base_url:
            return self._base_url
        host = urlsplit(url).hostname or ""
        return f"https://{host}" if host == "yahoo.com" or host.endswith(".yahoo.com") else query.LIVE_DATA_HOST


#: Texts of the page that name a query's address: attributes of scripts, and scripts that hold data.
_EMBEDDED = """
return [...document.scripts].filter((script) => !script.src).flatMap((script) => {
  const texts = [...script.attributes].map((attribute) => attribute.value);
  if (/json/i.test(script.type) || script.textContent.length < 2000000) texts.push(script.textContent);
  return texts.filter((text) => text.includes("/finance/screener")).map((text) => {
    const at = text.indexOf("/finance/screener");
    return text.slice(Math.max(0, at - 300), at + 1000);
  });
});
"""
