"""The page's own query, sent again from within the page: how often the site is asked, and what renews it."""

from __future__ import annotations

import pytest

from pipeline.errors import TransientError
from pipeline.screener.browser import Browser
from pipeline.screener.page import PagedScreener
from tests.screener.conftest import LocalMarket, listed

BAND = (300_000_000, 2_000_000_000)


def counts(market: LocalMarket) -> tuple[int, int, int]:
    """Page loads, queries, and requests for a crumb."""
    return market.requests("page"), market.requests("page_screener"), market.requests("page_crumb")


def test_one_page_and_few_queries_serve_all_regions(browser: Browser, market: LocalMarket) -> None:
    screener = PagedScreener(browser, market.url)
    listed(screener.open("fr", *BAND))
    before = counts(market)
    for region in ("us", "gb", "is"):
        assert listed(screener.open(region, *BAND)) == market.symbols(region, *BAND)
    assert len(market.symbols("us", *BAND)) > 250
    # The empty list is asked for twice.
    assert [after - at_first for after, at_first in zip(counts(market), before, strict=True)] == [0, 5, 0]


def test_a_crumb_refused_midway_is_renewed_and_nothing_is_lost(browser: Browser, market: LocalMarket) -> None:
    with market.page(crumb_lasts=2):
        screener = PagedScreener(browser, market.url)
        for region in ("us", "fr", "us"):
            assert listed(screener.open(region, *BAND)) == market.symbols(region, *BAND)
    assert market.requests("page_crumb") > 0


@pytest.mark.parametrize("page_too", [True, False], ids=["page gone blank", "page still there"])
def test_a_site_replaced_between_two_tasks_costs_one_page_load(browser: Browser, market: LocalMarket, page_too: bool) -> None:
    screener = PagedScreener(browser, market.url)
    listed(screener.open("fr", *BAND))
    market.restart()
    if page_too:
        browser.load("about:blank")
    before = market.requests("page")
    assert listed(screener.open("us", *BAND)) == market.symbols("us", *BAND)
    assert market.requests("page") == before + 1


def test_a_site_replaced_within_a_list_loses_nothing(browser: Browser, market: LocalMarket) -> None:
    found = PagedScreener(browser, market.url).open("us", *BAND)
    pages = found.pages()
    first = next(pages)
    market.restart()
    rest = [listing for page in pages for listing in page]
    assert sorted(listing.symbol for listing in (*first, *rest)) == market.symbols("us", *BAND)


def test_a_page_with_data_is_listed_even_if_its_layout_changed(browser: Browser, market: LocalMarket) -> None:
    screener = PagedScreener(browser, market.url)
    with market.faults(page_never_settles=1):
        assert listed(screener.open("fr", *BAND)) == market.symbols("fr", *BAND)


def test_a_failed_answer_is_reported_with_its_status_and_without_the_crumb(browser: Browser, market: LocalMarket) -> None:
    screener = PagedScreener(browser, market.url)
    screener.open("fr", *BAND)
    with market.faults(page_error=1), pytest.raises(TransientError, match="crumb=- answers 500"):
        screener.open("us", *BAND)


def test_a_replaced_fetch_function_is_noticed(browser: Browser, market: LocalMarket) -> None:
    screener = PagedScreener(browser, market.url)
    screener.open("fr", *BAND)
    browser.execute("window.fetch = () => Promise.reject(new TypeError('no more'))")
    assert listed(screener.open("us", *BAND)) == market.symbols("us", *BAND)


class Counted:
    """Counts as the throttle does."""

    def __init__(self) -> None:
        self.acquired = self.heard = self.noted_ones = 0

    def acquire(self) -> None:
        self.acquired += 1

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        self.heard += 1

    def unanswered(self) -> None:
        self.heard += 1

    def noted(self, status: int) -> None:
        self.noted_ones += 1


@pytest.mark.parametrize("data", ["post", "html"])
def test_every_request_to_the_site_is_counted(browser: Browser, market: LocalMarket, data: str) -> None:
    kinds = ("page", "page_rows", "page_screener", "page_crumb", "consent", "collect_consent", "icon")
    browser.load("about:blank")
    browser.devtools("Network.clearBrowserCookies")
    counted = Counted()
    with market.page(data=data):
        before = sum(map(market.requests, kinds))
        screener = PagedScreener(browser, market.url, courtesy=counted)
        for region in ("us", "fr"):
            assert listed(screener.open(region, *BAND)) == market.symbols(region, *BAND)
        screener.network.read()
        assert counted.acquired == counted.heard
        assert counted.heard + counted.noted_ones == sum(map(market.requests, kinds)) - before
