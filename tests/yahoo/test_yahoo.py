"""yfinance made fit: where requests go, what is raised, what the hooks hear, what errors mean."""

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import peewee
import pytest
from curl_cffi.requests import exceptions as curl
from yfinance import exceptions as yf
from yfinance.data import YfData

from pipeline.errors import NoData, PermanentError, RateLimited, TaskError, TransientError, Unexpected
from pipeline.yahoo import session as yahoo
from tests.yahoo.site import NO_CHART, Site

URL = "https://query2.finance.yahoo.com/v8/finance/chart/X"


def test_every_request_goes_to_the_stand_in(site: Site) -> None:
    site.answers["chart"] = {"fine": 1}
    assert yahoo.get_json(URL, {"a": "b"}) == {"fine": 1}
    assert site.requests == ["http://query2.finance.yahoo.com/v8/finance/chart/X?a=b&crumb=crumb"]
    assert [target.split("/")[2] for target in site.sessions] == ["fc.yahoo.com", "query1.finance.yahoo.com"]


def test_no_proxy_in_the_environment_does_not_bypass_the_stand_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    site.answers["chart"] = {"fine": 1}
    assert yahoo.get_json(URL) == {"fine": 1}


def test_addresses_are_unchanged_without_a_stand_in(fresh_yfinance: None, tmp_path: Path) -> None:
    yahoo.setup("", tmp_path / "cache")
    session = YfData()._session
    assert (session.stand_in, session.proxies, session.trust_env) == ("", {}, True)


def test_sessions_created_by_yfinance_are_redirected_too(site: Site) -> None:
    from yfinance._http import new_session

    assert new_session().stand_in == site.url


def test_a_second_setup_uses_another_site_and_keeps_nothing_of_the_first(site: Site, tmp_path: Path) -> None:
    site.answers["chart"] = {"from": "first"}
    yahoo.get_json(URL)
    with Site() as second:
        second.answers |= {"getcrumb": b"other", "chart": {"from": "second"}}
        yahoo.setup(second.url, tmp_path / "other")
        assert yahoo.get_json(URL) == {"from": "second"}
        assert second.requests[0].endswith("crumb=other")


def test_caches_are_in_the_given_folder(site: Site, tmp_path: Path) -> None:
    site.answers["chart"] = {}
    yahoo.get_json(URL)
    assert os.listdir(tmp_path / "cache")


def test_the_hooks_see_every_request_and_every_status(site: Site, tmp_path: Path) -> None:
    before: list[int] = []
    after: list[tuple[int, float | None]] = []
    yahoo.setup(site.url, tmp_path / "c", 5, lambda: before.append(1), lambda status, retry: after.append((status, retry)))
    site.answers["chart"] = [{}, (429, b"", {"Retry-After": "7"})]
    yahoo.get_json(URL)
    # Cookie, crumb and the chart.
    assert (len(before), after) == (3, [(404, None), (200, None), (200, None)])
    with pytest.raises(RateLimited) as limited:
        yahoo.get_json(URL)
    assert limited.value.retry_after_seconds == 7
    assert (len(before), after[3:]) == (4, [(429, 7.0)])


def test_a_hook_may_stop_a_request(site: Site, tmp_path: Path) -> None:
    def stop() -> None:
        raise TransientError("shutting down")

    yahoo.setup(site.url, tmp_path / "c", 5, before_request=stop)
    with pytest.raises(TransientError, match="shutting down"):
        yahoo.get_json(URL)
    assert site.requests == site.sessions == []


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_is_raised_after_one_request_and_never_cached(site: Site, status: int) -> None:
    site.answers["chart"] = [(status, {}), {"fine": 1}]
    with pytest.raises(TransientError, match=str(status)):
        yahoo.get_json(URL)
    assert len(site.requests) == 1
    assert YfData().cache_get(url=URL).json() == {"fine": 1}


def test_a_429_is_raised_after_one_request(site: Site) -> None:
    site.answers["chart"] = (429, b"Too Many Requests", {"Retry-After": "30"})
    with pytest.raises(RateLimited) as limited:
        yahoo.get_json(URL)
    assert limited.value.retry_after_seconds == 30
    assert len(site.requests) == 1
    assert len(site.sessions) == 2


def test_a_crumb_request_that_is_refused_is_not_taken_for_a_crumb(site: Site) -> None:
    site.answers |= {"getcrumb": [(429, b"Too Many Requests"), (500, b"Oops"), b"good"], "chart": {}}
    for _ in range(3):
        yahoo.get_json(URL)
    assert [target.rpartition("crumb=")[2] for target in site.requests[-1:]] == ["good"]
    assert not any("Too" in target or "Oops" in target for target in site.requests)


def test_a_404_is_believed_after_a_second_404(site: Site) -> None:
    site.answers["chart"] = [(404, {}), {"fine": 1}]
    assert yahoo.get_json(URL) == {"fine": 1}
    site.answers["chart"] = (404, NO_CHART)
    with pytest.raises(NoData) as gone:
        yahoo.get_json(URL)
    assert gone.value.reason == "gone"
    assert len(site.requests) == 4
    # No new cookie, no new crumb.
    assert len(site.sessions) == 2


def test_an_expired_crumb_is_renewed(site: Site) -> None:
    site.answers |= {"getcrumb": [b"old", b"new"]}
    site.answers["chart"] = lambda query: {"fine": 1} if query["crumb"] == ["new"] else (401, {"finance": {"error": {}}})
    assert yahoo.get_json(URL) == {"fine": 1}


@pytest.mark.parametrize("body", [b"", b"<html>Will be right back</html>", b'{"chart":', b"\xff\xfe\x00"])
def test_half_an_answer_is_transient(site: Site, body: bytes) -> None:
    site.answers["chart"] = (200, body)
    with pytest.raises(TransientError):
        yahoo.get_json(URL)


def test_a_time_out_is_capped_and_transient(site: Site, tmp_path: Path) -> None:
    site.answers["chart"] = {}
    yahoo.get_json(URL)
    yahoo.setup(site.url, tmp_path / "c", timeout_seconds=0.3)
    site.delay_seconds = 25
    site.answers["chart"] = {}
    begin = time.monotonic()
    with pytest.raises(TransientError, match="Timeout"):
        ask_with_yfinances_own_time_out()
    assert time.monotonic() - begin < 20


def ask_with_yfinances_own_time_out() -> None:
    try:
        YfData().get(URL, timeout=30)
    except Exception as error:
        raise yahoo.classify(error) from error


def test_a_server_that_is_not_there_is_transient(fresh_yfinance: None, tmp_path: Path) -> None:
    yahoo.setup("http://127.0.0.1:9", tmp_path / "c", timeout_seconds=2)
    with pytest.raises(TransientError):
        yahoo.get_json(URL)


def test_an_unknown_error_inside_yfinance_is_transient(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def race(*arguments: object, **options: object) -> None:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr(YfData, "get_raw_json", race)
    with pytest.raises(TransientError, match="changed size"):
        yahoo.get_json(URL)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html><title>Too Many Requests</title>Edge: Too Many Requests</html>", "text/html"),
        (403, b"<html>We have seen unusual traffic</html>", "text/html"),
        (200, b"Too Many Requests", "text/plain"),
        (200, b'{"finance":{"result":null,"error":{"code":"Too Many Requests","description":"Rate limit"}}}', "application/json"),
    ],
)
def test_a_refusal_in_words_is_a_temporary_refusal(
    fresh_yfinance: None, tmp_path: Path, site: Site, status: int, body: bytes, kind: str
) -> None:
    told: list[int] = []
    yahoo.setup(site.url, tmp_path / "c", after_response=lambda status, _: told.append(status))
    site.answers["chart"] = (status, body, {"Content-Type": kind})
    with pytest.raises(RateLimited):
        yahoo.get_json(URL)
    assert told[-1] == 429, "the throttle hears of it"


def test_a_site_that_forbids_everything_is_waited_for_but_one_forbidden_stock_is_not(
    fresh_yfinance: None, tmp_path: Path, site: Site
) -> None:
    told: list[int] = []
    yahoo.setup(site.url, tmp_path / "c", after_response=lambda status, _: told.append(status))
    site.answers["chart"] = (403, b"<html>Forbidden</html>", {"Content-Type": "text/html"})
    for _ in range(5):
        with pytest.raises(TransientError) as forbidden:
            yahoo.get_json(URL)
        assert not isinstance(forbidden.value, RateLimited), "it may be about this stock"
    assert 429 not in told
    for symbol in ("B", "C"):
        with pytest.raises(TransientError):
            yahoo.get_json(URL + symbol)
    for symbol in ("C", "D"):
        with pytest.raises(RateLimited):
            yahoo.get_json(URL + symbol)
    site.answers["chart"] = {"chart": {}}
    assert yahoo.get_json(URL) == {"chart": {}}
    site.answers["chart"] = (403, b"")
    with pytest.raises(TransientError) as forbidden:
        yahoo.get_json(URL)
    assert not isinstance(forbidden.value, RateLimited), "the wall is gone"


class Response:
    def __init__(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.status_code = status
        self.content = content
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def status_error(status: int, content: bytes = b"", **headers: str) -> Exception:
    return curl.HTTPError(f"HTTP Error {status}", 0, Response(status, content, **headers))


NOT_FOUND = json.dumps(NO_CHART).encode()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (yf.YFRateLimitError(), RateLimited),
        (yahoo.TooManyRequests(5), RateLimited),
        (yf.YFTickerMissingError("X", "gone"), NoData),
        (yf.YFPricesMissingError("X", ""), NoData),
        (yf.YFTzMissingError("X"), NoData),
        (status_error(404, NOT_FOUND), NoData),
        # Of a server on the way: it says nothing about a company.
        *((status_error(404, content), TransientError) for content in (b"", b"<html>Not Found</html>", b"{}", b"[1]", b'{"chart":5}')),
        (status_error(400, b'{"chart":{"error":{"description":"Data doesn\'t exist for startDate = 1"}}}'), yahoo.NoPrices),
        *((status_error(status), TransientError) for status in (401, 403, 408, 425, 500, 503)),
        *((status_error(status), RateLimited) for status in (429, 999)),
        *((status_error(status), PermanentError) for status in (400, 405, 410, 422)),
        (curl.IncompleteRead("half of it"), TransientError),
        *((error("x"), TransientError) for error in (curl.Timeout, curl.ConnectionError, curl.DNSError, curl.ProxyError, curl.SSLError)),
        (json.JSONDecodeError("x", "", 0), TransientError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), TransientError),
        (yf.YFException("Empty fundamentals-timeseries result"), TransientError),
        (yf.YFDataException("*** YAHOO! FINANCE IS CURRENTLY DOWN! ***"), TransientError),
        (IndexError("single positional indexer is out-of-bounds"), NoData),
        (sqlite3.OperationalError("database is locked"), TransientError),
        (peewee.IntegrityError("UNIQUE constraint failed"), TransientError),
        (TimeoutError(), TransientError),
        (ConnectionResetError(), TransientError),
        (KeyError("x"), Unexpected),
        (TypeError("x"), Unexpected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else repr(value)[:40],
)
def test_each_error_is_classified(error: Exception, expected: type[TaskError]) -> None:
    found = yahoo.classify(error)
    assert type(found) is expected
    assert type(error).__name__ in str(found)


def test_the_reasons_for_no_data_are_distinguished() -> None:
    reasons = {name: yahoo.classify(error) for name, error in (("gone", status_error(404, NOT_FOUND)), ("no_statements", IndexError()))}
    assert {name: found.reason for name, found in reasons.items() if isinstance(found, NoData)} == {name: name for name in reasons}


def test_errors_of_the_pipeline_are_not_reclassified() -> None:
    error = NoData("gone")
    assert yahoo.classify(error) is error


def test_retry_after_is_read_from_the_answer() -> None:
    found = yahoo.classify(status_error(429, Retry_After="12"))
    assert isinstance(found, RateLimited)
    assert found.retry_after_seconds == 12


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: Any) -> None:
    assert yahoo.retry_after_seconds(header, now=lambda: 10.0) == seconds
