"""A site on loopback whose answers a test scripts: cookie and crumb as usual, all else as told."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: The day that a test's ages count from.
TODAY = date(2024, 5, 16)
#: The not-found of a chart, as the site puts it.
NO_CHART = {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}


class Site:
    """`answers[part of the path]` is a body (JSON-able, or bytes), (status, body), (status, body, headers), a list of
    these that are given in turn, the last one for ever, or a function of the request's query.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        #: The request targets as they came, but for those of cookie and crumb.
        self.requests: list[str] = []
        self.sessions: list[str] = []
        self.delay_seconds = 0.0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Site:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, target: str) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(target)
        special = parts.hostname == "fc.yahoo.com" or parts.path == "/v1/test/getcrumb"
        with self._lock:
            (self.sessions if special else self.requests).append(target)
        if parts.hostname == "fc.yahoo.com":
            return 404, b"", {"Set-Cookie": "A3=made-up; Domain=.yahoo.com; Path=/; Max-Age=86400"}
        found = next((answer for part, answer in self.answers.items() if part in parts.path), None)
        if found is None and special:
            return 200, b"crumb", {}
        if found is None:
            return 404, b'{"finance":{"result":null,"error":{"code":"Not Found","description":"nothing here"}}}', {}
        time.sleep(self.delay_seconds)
        if isinstance(found, list):
            with self._lock:
                found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Callable):  # type: ignore[arg-type]
            found = found(parse_qs(parts.query))
        status, body, headers = (found + ({},) * (3 - len(found)))[:3] if isinstance(found, tuple) else (200, found, {})
        return status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                status, body, headers = site._answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                # One that timed out has gone.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def summary(**modules: dict[str, Any]) -> dict[str, Any]:
    """A quoteSummary answer."""
    return {"quoteSummary": {"result": [modules], "error": None}}


def timeseries(**series: list[tuple[str, float]]) -> dict[str, Any]:
    """A timeseries answer in dollars: prefixed key → (asOfDate, figure) points."""
    types = {"annual": "12M", "quarterly": "3M", "trailing": "TTM"}
    result: list[dict[str, Any]] = [{"meta": {"type": ["annualGoodwill"]}}]
    for name, points in series.items():
        period_type = next(value for prefix, value in types.items() if name.startswith(prefix))
        result.append(
            {
                "meta": {"type": [name]},
                "timestamp": [0] * len(points),
                name: [
                    {"asOfDate": day, "periodType": period_type, "currencyCode": "USD", "reportedValue": {"raw": value}}
                    for day, value in points
                ],
            }
        )
    return {"timeseries": {"result": result, "error": None}}


def chart(stamps: list[int], closes: list[float], **meta: Any) -> dict[str, Any]:
    indicators = {"quote": [{"close": closes}], "adjclose": [{"adjclose": [close / 2 for close in closes]}]}
    return {"chart": {"result": [{"meta": meta, "timestamp": stamps, "indicators": indicators}], "error": None}}


def plain_answers(site: Site) -> None:
    """One plain company that reports in dollars and is quoted in them."""
    site.answers |= {
        "quoteSummary": summary(
            price={"longName": "Plain (made up)", "currency": "USD", "regularMarketPrice": 30.0, "marketCap": 3000, "exchange": "NYQ"},
            assetProfile={"sector": "Industrials", "industry": "Trucking"},
            defaultKeyStatistics={"sharesOutstanding": 100},
            financialData={"financialCurrency": "USD", "currentRatio": 2.0},
        ),
        "timeseries": timeseries(
            annualTotalRevenue=[("2022-12-31", 800), ("2023-12-31", 1000)],
            annualTotalAssets=[("2022-12-31", 1600), ("2023-12-31", 2000)],
            annualOrdinarySharesNumber=[("2023-12-31", 100)],
        ),
        "chart": chart([1703860200], [25.0], currency="USD", exchangeTimezoneName="America/New_York"),
    }
