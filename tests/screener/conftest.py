"""A real browser, and local markets for it in processes of their own."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.market.companies import Market, build_market
from pipeline.screener.browser import Browser
from pipeline.screener.page import Screener

PROJECT = Path(__file__).resolve().parents[2]
START_TIMEOUT_SECONDS = 20.0


class LocalMarket:
    """`python -m local.market`, and the same companies here to compare with."""

    def __init__(self, url: str, market: Market) -> None:
        self.url = url
        self.market = market

    def symbols(self, region: str, low: int, high: int) -> list[str]:
        return [company.symbol for company in self.market.in_band(region, low, high)]

    @contextlib.contextmanager
    def faults(self, **rates: float) -> Iterator[None]:
        self._set_faults(rates)
        try:
            yield
        finally:
            self._set_faults({})

    def requests(self, name: str) -> int:
        """How many requests of a kind it has had."""
        with urllib.request.urlopen(f"{self.url}/market/counts", timeout=5) as answer:
            return int(json.load(answer)["requests"].get(name, 0))

    def _set_faults(self, rates: dict[str, float]) -> None:
        request = urllib.request.Request(f"{self.url}/market/faults", json.dumps(rates).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()


@contextlib.contextmanager
def local_market(menu: str, stocks: int, page_latency_ms: int = 0) -> Iterator[LocalMarket]:
    arguments = ["--port", "0", "--stocks", str(stocks), "--seed", "1", "--menu", menu, "--page-latency-ms", str(page_latency_ms)]
    process = subprocess.Popen([sys.executable, "-m", "local.market", *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", line_within(process, START_TIMEOUT_SECONDS))
        assert found is not None
        yield LocalMarket(found[0], build_market(stocks, 1))
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def line_within(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line of a process's output; fails after `seconds`."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, f"{process.args!r} said nothing for {seconds} s"
    return process.stdout.readline()


def wait_until(condition: object, what: str, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="session", params=["1", "2"], ids=["menu-1", "menu-2"])
def either_market(request: pytest.FixtureRequest) -> Iterator[LocalMarket]:
    with local_market(request.param, stocks=300) as market:
        yield market


@pytest.fixture(scope="session")
def market() -> Iterator[LocalMarket]:
    """Enough stocks for several pages of the United States."""
    with local_market("alternate", stocks=600) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture
def quick(browser: Browser, market: LocalMarket) -> Screener:
    """A screener whose bound is low, for pages that never come."""
    return Screener(browser, market.url, settle_timeout_seconds=3.0)
