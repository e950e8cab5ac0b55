"""Makes yfinance fit for a process of many threads: where its requests go, what stops them, what their errors mean.

`setup` once a process, after it was started (never before a fork: children would share sockets); then `get_json`.
Written against yfinance 1.7.0, whose session factory is replaced: `_http._backend`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode, urlsplit

import peewee
import yfinance
from curl_cffi import CurlOpt, requests
from yfinance import _http, cache, exceptions
from yfinance.data import YfData

import config
from pipeline.errors import NoData, PermanentError, RateLimited, TaskError, TransientError, Unexpected
from pipeline.yahoo import recording
from pipeline.yahoo.refusals import PATIENCE, Wall, asks_for_patience
from pipeline.yahoo.retry_after import retry_after_seconds

#: Statuses that may be gone at the next attempt; all from 500 on too.
_TRANSIENT_STATUSES = frozenset({401, 403, 408, 425})
#: Hosts whose answers are data. Another (fc.yahoo.com gives its cookie with a 404) may answer what it likes.
_DATA_HOSTS = ("query1.finance.yahoo.com", "query2.finance.yahoo.com")
BeforeRequest = Callable[[], None]
AfterResponse = Callable[[int, float | None], None]

_timeout_seconds = 30.0
_today: Callable[[], date] = config.utc_today


class NoPrices(NoData):
    """The chart itself says that it has no prices for these days. The caller goes on without them."""


class TooManyRequests(exceptions.YFRateLimitError):
    """A 429 with the site's own Retry-After, which yfinance's error leaves out."""

    def __init__(self, retry_after_seconds: float | None) -> None:
        super().__init__()
        self.retry_after_seconds = retry_after_seconds


class Session(requests.Session):
    """yfinance's session with four differences.

    - Each request waits for `before_request` and tells `after_response` its status (and Retry-After, in seconds), or `no_answer`.
    - The time-out never exceeds the one that was set up: yfinance's own are fixed.
    - With a base URL each request goes to that server as to a plain HTTP proxy, whatever host and scheme it names.
    - A data host's refusal (pipeline/yahoo/refusals.py) and its errors from 500 on are raised here, a 404 after a second one in a
      row. yfinance would answer each with a new cookie, a new crumb and a repetition, for all threads, and keep the answer in
      its caches.
    """

    #: Not `base_url`: curl_cffi has one of its own.
    stand_in = ""
    timeout_seconds = 30.0
    before_request: BeforeRequest | None = None
    after_response: AfterResponse | None = None
    no_answer: BeforeRequest | None = None
    wall = Wall()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.stand_in:
            self.proxies = {"http": self.stand_in, "https": self.stand_in}
            self.trust_env = False
            # libcurl reads no_proxy by itself: one that names the site would send a demo's requests to it.
            self.curl_options = {**(self.curl_options or {}), CurlOpt.NOPROXY: ""}

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
        parts = urlsplit(url)
        if self.stand_in and parts.scheme == "https":
            url = "http" + url[len("https") :]
        wanted = options.get("timeout")
        options["timeout"] = min(wanted, self.timeout_seconds) if isinstance(wanted, int | float) else self.timeout_seconds
        response, refused = self._send(method, url, args, options)
        if parts.hostname in _DATA_HOSTS:
            if response.status_code == 404 and not refused:
                response, refused = self._send(method, url, args, options)
            status = response.status_code
            if refused:
                raise TooManyRequests(retry_after_seconds(response.headers.get("Retry-After")))
            # yfinance would take the text of a refused crumb request for the crumb.
            if status >= 500 or status == 404 or (status >= 400 and parts.path == "/v1/test/getcrumb"):
                response.raise_for_status()
        return response

    def _send(self, method: Any, url: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Any, bool]:
        """The answer, and whether a data host refuses for now by it."""
        if self.before_request:
            self.before_request()
        try:
            response = super().request(method, url, *args, **options)
        except BaseException:
            if self.no_answer:
                self.no_answer()
            raise
        if recording.is_on():
            sent, kind = _sent(options), response.headers.get("Content-Type") or ""
            recording.note(str(method), _whole_url(url, options.get("params")), sent, response.status_code, kind, response.text)
        parts = urlsplit(url)
        refused = parts.hostname in _DATA_HOSTS and (self.wall.stands(response.status_code, parts.path) or asks_for_patience(response))
        if self.after_response:
            status = 429 if refused else response.status_code
            self.after_response(status, retry_after_seconds(response.headers.get("Retry-After")))
        return response, refused


def _whole_url(url: str, parameters: Any) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}" if parameters else url


def _sent(options: dict[str, Any]) -> str | None:
    """The body of a request as text, if it has one."""
    found = options.get("json") if options.get("json") is not None else options.get("data")
    if isinstance(found, bytes):
        return found.decode("utf-8", "replace")
    return found if found is None or isinstance(found, str) else json.dumps(found)


def setup(
    base_url: str,
    cache_dir: Path,
    timeout_seconds: float = 30,
    before_request: BeforeRequest | None = None,
    after_response: AfterResponse | None = None,
    no_answer: BeforeRequest | None = None,
    today: Callable[[], date] = config.utc_today,
) -> None:
    """Make this process's yfinance ready: live (`base_url` empty) or with a server that stands in for the whole site.

    `cache_dir` is this process's own, since yfinance's caches there are locked by one another. `before_request` is called
    before each HTTP request, those for cookie and crumb included, and may block; `after_response` after each answer with
    its status and its Retry-After in seconds, if any (`no_answer` if it got none). Both from any thread.
    `today` is the day that ages count from (config.Settings.today).
    """
    global _timeout_seconds, _today
    _timeout_seconds = timeout_seconds
    _today = today
    hooks = {"before_request": before_request, "after_response": after_response, "no_answer": no_answer}
    attributes: dict[str, Any] = {"stand_in": base_url.rstrip("/"), "timeout_seconds": float(timeout_seconds), "wall": Wall()}
    # A plain function as a class attribute would be bound to the session.
    attributes |= {name: staticmethod(hook) if hook else None for name, hook in hooks.items()}
    session_class = type("Session", (Session,), attributes)
    _http._backend = SimpleNamespace(Session=session_class)
    cache_dir.mkdir(parents=True, exist_ok=True)
    yfinance.set_tz_cache_location(str(cache_dir))
    # Caches that are already open would keep their folder, with another site's cookie in it.
    cache._CookieCacheManager._Cookie_cache = None
    cache._TzCacheManager._tz_cache = None
    yfinance.config.debug.hide_exceptions = False
    data = YfData(session=session_class(impersonate="chrome"))
    # Remove what an earlier setup for another site may have left in this process.
    data._cookie = data._crumb = None
    data._cookie_strategy = "basic"
    YfData.cache_get.cache_clear()


def get_json(url: str, params: dict[str, Any] | None = None) -> Any:
    """The JSON of one URL of the site, through yfinance (cookie, crumb, impersonation). Raises a TaskError."""
    try:
        return YfData().get_raw_json(url, params=params, timeout=_timeout_seconds)
    except Exception as error:
        raise meaning(error) from error


def post_json(url: str, body: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """The JSON that one URL of the site answers to a body of JSON, through yfinance as `get_json`. Raises a TaskError."""
    try:
        response = YfData().post(url, data=json.dumps(body), params=dict(params), timeout=_timeout_seconds)
        response.raise_for_status()
        return response.json()
    except Exception as error:
        raise meaning(error) from error


def meaning(exception: Exception) -> TaskError:
    """`classify` for an exception of one request. An error that the site did not report itself is never final."""
    if isinstance(exception, IndexError):
        return Unexpected(_text(exception))  # not the missing trailing statement that `classify` takes it for
    return classify(exception)


def classify(exception: BaseException) -> TaskError:
    """What an exception from yfinance, or from below it, means for the task. The order matters: many exceptions match several cases."""
    text = _text(exception)
    if isinstance(exception, TaskError):
        return exception
    if isinstance(exception, exceptions.YFRateLimitError):
        return RateLimited(text, getattr(exception, "retry_after_seconds", None))
    if isinstance(exception, exceptions.YFTickerMissingError):
        return NoData("gone", text)
    status = _status(exception)
    if status is not None:
        return _of_status(status, exception, text)
    if isinstance(exception, requests.exceptions.RequestException):
        return TransientError(text)
    # Half an answer, another page in its place (ValueError: text that is no UTF-8), "Empty …", the site's own word that it is down.
    if isinstance(exception, json.JSONDecodeError | UnicodeError | exceptions.YFDataException) or text.find(": Empty ") > 0:
        return TransientError(text)
    if isinstance(exception, IndexError):
        # yfinance's trailing statement of a company that has none.
        return NoData("no_statements", text)
    if isinstance(exception, sqlite3.Error | peewee.PeeweeException | OSError):
        return TransientError(text)
    # Such as threads that meet in yfinance's shared cookie and crumb.
    return Unexpected(text)


def _text(exception: BaseException) -> str:
    return f"{type(exception).__name__}: {exception}"[:500]


def _status(exception: BaseException) -> int | None:
    response = getattr(exception, "response", None) if isinstance(exception, requests.exceptions.HTTPError) else None
    status = getattr(response, "status_code", None)
    # An answer cut off in the middle is an HTTPError too, with the 200 that it began with: it is the transport's error.
    return status if isinstance(status, int) and status >= 400 else None


def _of_status(status: int, exception: BaseException, text: str) -> TaskError:
    error = _error_of_the_site(exception)
    if status == 404:
        # A page of a server on the way says nothing about a company.
        return NoData("gone", text) if error.get("code") == "Not Found" else TransientError(text)
    if status in (400, 422) and str(error.get("description")).startswith("Data doesn't exist"):
        return NoPrices("no_statements", text)
    if status in PATIENCE:
        response = getattr(exception, "response", None)
        return RateLimited(text, retry_after_seconds(response.headers.get("Retry-After")) if response is not None else None)
    return TransientError(text) if status in _TRANSIENT_STATUSES or status >= 500 else PermanentError(text)


def _error_of_the_site(exception: BaseException) -> dict[str, Any]:
    """The `error` of an answer in the site's own JSON, `{"chart":{"result":null,"error":{"code":…}}}`; empty if it has none."""
    try:
        payload = json.loads(getattr(exception, "response", None).content)  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        return {}
    inner = [outer.get("error") for outer in payload.values() if isinstance(outer, dict)] if isinstance(payload, dict) else []
    return next((error for error in inner if isinstance(error, dict)), {})


def today() -> date:
    """The day that ages count from, as it was set up."""
    return _today()
