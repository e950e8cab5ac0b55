"""The local market as a subprocess, a small scripted site, and yfinance pointed at either of them."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
import yfinance
from yfinance import _http

from local.market.companies import Market, build_market
from local.market.regions import MARKET_DAY
from pipeline.yahoo import fetch, session
from tests.yahoo.site import TODAY, Site

PROJECT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0


def _first_line(stream: IO[str]) -> str:
    """The first line, or nothing when the deadline is over."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=READY_SECONDS)
    except queue.Empty:
        return ""


@pytest.fixture(scope="session")
def market_url() -> Iterator[str]:
    command = [sys.executable, "-m", "local.market", "--port", "0", "--stocks", "60", "--seed", "1"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = _first_line(process.stdout)
            ready = re.search(r"http://[\d.]+:\d+", line)
            assert ready, f"the local market was not ready within {READY_SECONDS:g} s: {line!r}"
            yield ready.group()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def market() -> Market:
    """The companies that the subprocess serves."""
    return build_market(stocks=60, seed=1)


@pytest.fixture
def fresh_yfinance() -> Iterator[None]:
    """What a test sets up in yfinance, and the exchange rates it fetched, end with it."""
    backend, hidden = _http._backend, yfinance.config.debug.hide_exceptions
    fetch.exchange_rates.clear()
    yield
    fetch.exchange_rates.clear()
    _http._backend = backend
    yfinance.config.debug.hide_exceptions = hidden


@pytest.fixture
def local_market(fresh_yfinance: None, market_url: str, tmp_path: Path) -> str:
    """yfinance pointed at the local market; its URL."""
    session.setup(market_url, tmp_path / "cache", today=lambda: MARKET_DAY)
    return market_url


@pytest.fixture
def site(fresh_yfinance: None, tmp_path: Path) -> Iterator[Site]:
    """yfinance pointed at a site whose answers the test writes itself."""
    with Site() as scripted:
        session.setup(scripted.url, tmp_path / "cache", timeout_seconds=5, today=lambda: TODAY)
        yield scripted
