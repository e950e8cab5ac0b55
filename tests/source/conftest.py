"""A browser and yfinance, both on the same local market."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yfinance
from yfinance import _http

from pipeline.screener.browser import Browser
from pipeline.screener.page import Screener
from pipeline.yahoo import session
from tests.screener.conftest import LocalMarket, local_market


@pytest.fixture(scope="module")
def market() -> Iterator[LocalMarket]:
    """Enough stocks for several pages of the United States, and for more than one call."""
    with local_market("alternate", stocks=900) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture
def page(browser: Browser, market: LocalMarket) -> Screener:
    """A screener whose bound is low, for pages that never come."""
    return Screener(browser, market.url, settle_timeout_seconds=3.0)


@pytest.fixture
def yfinance_on(tmp_path: Path) -> Iterator[object]:
    """Points yfinance at a site; what it was before comes back with the test's end."""
    backend, hidden = _http._backend, yfinance.config.debug.hide_exceptions
    yield lambda url: session.setup(url, tmp_path / "cache", timeout_seconds=10)
    _http._backend = backend
    yfinance.config.debug.hide_exceptions = hidden
