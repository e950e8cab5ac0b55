"""The page's requests and the site's answers, taken from DevTools events."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from selenium.common.exceptions import WebDriverException

from pipeline.screener.browser import Browser
from pipeline.screener.query import without_crumb
from pipeline.yahoo.retry_after import retry_after_seconds

#: How many exchanges are kept, the newest ones.
EXCHANGES_KEPT = 400
#: Kinds of requests that matter here: the page itself, and what its scripts ask for.
_KINDS = frozenset({"Document", "XHR", "Fetch"})
#: Marks the requests that this program sends from within the page. The site never sees this part of an address.
OWN_FRAGMENT = "#own"


@dataclass
class Exchange:
    """One request, and what came of it."""

    request_id: str
    kind: str
    method: str
    url: str
    sent: str | None
    frame: str
    #: Request headers, names in small letters.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether this program has sent it from within the page.
    is_own: bool = False
    #: HTTP status; 0 until the answer has begun, and for a request without any.
    status: int = 0
    finished: bool = False
    #: The browser's word for what went wrong, such as net::ERR_CONNECTION_RESET.
    failure: str = ""
    received: str | None = None
    retry_after_seconds: float | None = None
    #: Whether the page's service worker has answered.
    is_by_worker: bool = False

    @property
    def is_script_s(self) -> bool:
        return self.kind in ("XHR", "Fetch")

    def summary(self) -> dict[str, Any]:
        """For a log: without the bodies and without the crumb."""
        return {
            "kind": self.kind,
            "method": self.method,
            "url": without_crumb(self.url)[:1000],
            "status": self.status,
            "finished": self.finished,
            **({"failure": self.failure} if self.failure else {}),
        }


class NetworkLog:
    """The exchanges of the page that is loaded. Call `read` first: events are not taken in by themselves."""

    def __init__(
        self, browser: Browser, on_answer: Callable[[int], None] = lambda status: None, is_site_s: Callable[[str], bool] = lambda host: True
    ) -> None:
        """on_answer: told the status of each answer to a request that the page made by itself, including the one for the page.
        is_site_s: whether a host belongs to the site; others' answers are not told.
        """
        self._browser = browser
        self._on_answer = on_answer
        self._is_site_s = is_site_s
        self._exchanges: dict[str, Exchange] = {}
        self._is_used = False

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._exchanges.values())

    def clear(self) -> None:
        """Forget all exchanges; called before the page is loaded again."""
        if self._is_used:
            self.read()
        else:
            self._browser.network_events()  # drops the events of an earlier user of this browser
            self._is_used = True
        self._exchanges.clear()

    def read(self) -> None:
        """Take in what happened since the last time."""
        for event in self._browser.network_events():
            self._note(event["method"], event["params"])
        while len(self._exchanges) > EXCHANGES_KEPT:
            del self._exchanges[next(iter(self._exchanges))]

    def page(self) -> Exchange | None:
        """The request for the page itself, the last one: frames within it are documents too."""
        documents = [one for one in self if one.kind == "Document"]
        return next((one for one in reversed(documents) if one.frame == documents[0].frame), None)

    def by_scripts(self) -> list[Exchange]:
        """The requests of the page's own scripts, oldest first."""
        return [one for one in self if one.is_script_s and not one.is_own]

    def last_own(self) -> Exchange | None:
        """The last request that this program sent from within the page."""
        return next((one for one in reversed(self._exchanges.values()) if one.is_own), None)

    def body(self, exchange: Exchange) -> str | None:
        """The answer's body; None if it has not come yet or is kept no longer."""
        if exchange.received is None and exchange.finished:
            try:
                found = self._browser.devtools("Network.getResponseBody", requestId=exchange.request_id)
            except WebDriverException:
                return None
            text = str(found.get("body", ""))
            exchange.received = base64.b64decode(text).decode("utf-8", "replace") if found.get("base64Encoded") else text
        return exchange.received

    def summary(self) -> list[dict[str, Any]]:
        return [one.summary() for one in self]

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        identity = str(parameters.get("requestId", ""))
        if method == "Network.requestWillBeSent":
            self._sent(identity, parameters)
            return
        exchange = self._exchanges.get(identity)
        if method == "Network.responseReceived":
            self._answered(exchange, parameters.get("response", {}))
        elif exchange is None:
            return
        elif method == "Network.loadingFinished":
            exchange.finished = True
        elif method == "Network.loadingFailed":
            exchange.finished, exchange.failure = True, str(parameters.get("errorText", "")) or "failed"

    def _answered(self, exchange: Exchange | None, response: dict[str, Any]) -> None:
        status = int(response.get("status", 0))
        if exchange is not None:
            exchange.status = status
            exchange.is_by_worker = bool(response.get("fromServiceWorker"))
            exchange.retry_after_seconds = retry_after_seconds(_small(response.get("headers")).get("retry-after"))
        is_new = not (response.get("fromDiskCache") or response.get("fromPrefetchCache") or response.get("fromServiceWorker"))
        if is_new and (exchange is None or not exchange.is_own):
            self._tell(str(response.get("url", "")), status)

    def _tell(self, url: str, status: int) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and self._is_site_s(parts.hostname or ""):
            self._on_answer(status)

    def _sent(self, identity: str, parameters: dict[str, Any]) -> None:
        kind, request = parameters.get("type"), parameters.get("request", {})
        earlier = self._exchanges.get(identity)
        if "redirectResponse" in parameters and (earlier is None or not earlier.is_own):
            redirect = parameters["redirectResponse"]
            self._tell(str(redirect.get("url", "")), int(redirect.get("status", 0)))
        if kind not in _KINDS or not str(request.get("url", "")).startswith("http"):
            return
        sent = request.get("postData")
        if sent is None and request.get("hasPostData"):
            try:
                sent = self._browser.devtools("Network.getRequestPostData", requestId=identity).get("postData")
            except WebDriverException:
                sent = None
        # A redirect has the same identity: its target counts.
        self._exchanges[identity] = Exchange(
            identity,
            kind,
            str(request.get("method", "")),
            str(request.get("url", "")),
            sent,
            str(parameters.get("frameId", "")),
            _small(request.get("headers")),
            request.get("urlFragment") == OWN_FRAGMENT or (earlier is not None and earlier.is_own),
        )


def _small(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}
