"""A real browser, and local markets for it in processes of their own."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yfinance
from yfinance import _http

from local.market.companies import Market, build_market
from pipeline.screener.browser import Browser
from pipeline.screener.harvest import RegionList
from pipeline.screener.page import PagedScreener
from pipeline.screener.source import StockList
from pipeline.yahoo import session
from tests.screener.other_pages import Site, serving

BAND = (300_000_000, 2_000_000_000)
PROJECT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 20.0


class LocalMarket:
    """`python -m local.market`, and the same companies here to compare with."""

    def __init__(self, url: str, market: Market, switches: dict[str, object]) -> None:
        self.url = url
        self.market = market
        self._switches = switches

    def symbols(self, region: str, low: int, high: int) -> list[str]:
        return [company.symbol for company in self.market.in_band(region, low, high)]

    @contextlib.contextmanager
    def faults(self, **rates: float) -> Iterator[None]:
        self._post("faults", rates)
        try:
            yield
        finally:
            self._post("faults", {})

    @contextlib.contextmanager
    def page(self, **switches: object) -> Iterator[None]:
        """The page with these switches (local/market/page_switches.py) beside the market's own."""
        self._post("page", {**self._switches, **switches})
        try:
            yield
        finally:
            self._post("page", self._switches)

    def restart(self) -> None:
        """As if the site had been replaced: the cookies and crumbs of open pages are refused."""
        self._post("restart", {})

    def requests(self, name: str) -> int:
        """How many requests of a kind it has had."""
        with urllib.request.urlopen(f"{self.url}/market/counts", timeout=60) as answer:
            return int(json.load(answer)["requests"].get(name, 0))

    def _post(self, what: str, body: object) -> None:
        request = urllib.request.Request(f"{self.url}/market/{what}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()


@contextlib.contextmanager
def local_market(menu: str, stocks: int, page_latency_ms: int = 0, **switches: object) -> Iterator[LocalMarket]:
    arguments = ["--port", "0", "--stocks", str(stocks), "--seed", "1", "--menu", menu, "--page-latency-ms", str(page_latency_ms)]
    arguments += ["--page", ",".join(f"{name}={value}" for name, value in switches.items())]
    process = subprocess.Popen([sys.executable, "-m", "local.market", *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", line_within(process, START_TIMEOUT_SECONDS))
        assert found is not None
        yield LocalMarket(found[0], build_market(stocks, 1), switches)
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def line_within(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line of a process's output; fails after `seconds`."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, f"{process.args!r} said nothing for {seconds} s"
    return process.stdout.readline()


@pytest.fixture(scope="session", params=["1", "2"], ids=["menu-1", "menu-2"])
def either_market(request: pytest.FixtureRequest) -> Iterator[LocalMarket]:
    """A market whose page has no data to ask for: either filter menu, and a table."""
    with local_market(request.param, 300, data="html") as market:
        yield market


@pytest.fixture(scope="session")
def table_market() -> Iterator[LocalMarket]:
    """The same with both menus in turn, and enough stocks for several pages of the United States."""
    with local_market("alternate", 600, data="html") as market:
        yield market


@pytest.fixture(scope="session")
def market() -> Iterator[LocalMarket]:
    """A market whose page asks for its own data, with enough stocks for more than one answer for the United States."""
    with local_market("alternate", 900) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    found = Site()
    with serving(found):
        yield found


@pytest.fixture
def site(running: Site, browser: Browser) -> Iterator[Site]:
    running.reset()
    browser.load("about:blank")
    browser.devtools("Network.clearBrowserCookies")
    browser.devtools("Storage.clearDataForOrigin", origin=running.url, storageTypes="all")
    browser.devtools("Network.setBypassServiceWorker", bypass=False)
    yield running
    running.reset()


@pytest.fixture
def quick(browser: Browser, table_market: LocalMarket) -> PagedScreener:
    """A screener of a table, whose bound is low, for pages that never come."""
    return PagedScreener(browser, table_market.url, settle_timeout_seconds=3.0)


@pytest.fixture
def yfinance_on(tmp_path: Path) -> Iterator[object]:
    """Points yfinance at a site; what it was before comes back with the test's end."""
    backend, hidden = _http._backend, yfinance.config.debug.hide_exceptions
    yield lambda url: session.setup(url, tmp_path / "cache", timeout_seconds=10)
    _http._backend = backend
    yfinance.config.debug.hide_exceptions = hidden


def listed(found: RegionList | StockList) -> list[str]:
    """The symbols of a list, sorted; fails if one comes twice."""
    symbols = [listing.symbol for page in found.pages() for listing in page]
    assert len(symbols) == len(set(symbols))
    return sorted(symbols)


def lists(browser: Browser, site: Site, region: str = "jp", seconds: float = 20.0) -> tuple[list[str], str, int, dict[str, int]]:
    """The symbols, what served, how many are missing, and what was skipped."""
    found = PagedScreener(browser, site.url, settle_timeout_seconds=seconds).open(region, *BAND)
    return listed(found), found.source, found.missing, dict(found.skipped)
