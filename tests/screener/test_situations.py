"""Situations of the site's page that were met, one switch of the stand-in each, in a real browser.

With the page's own data, and with a page that has none, so that the menus and the table have to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from local.market.oddities import ODD
from pipeline.errors import RateLimited, TransientError
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import PagedScreener
from tests.screener.conftest import LocalMarket, listed, local_market

BAND = (300_000_000, 2_000_000_000)
#: Deadline of a page that these tests must not reach, in seconds.
IN_VAIN_SECONDS = 90.0
#: Ways in which the page gets its rows, with their own name in a completion.
WAYS = [({"data": "post"}, "page-data"), ({"data": "html"}, "table")]


@pytest.fixture(scope="module")
def site() -> Iterator[LocalMarket]:
    """A site that takes 0.7 s for rows, as long as the real one: what stands in the page meanwhile can be seen."""
    with local_market("1", 300, page_latency_ms=700) as found:
        yield found


def by_endpoint(region: str) -> list[str]:
    return listed(ApiScreener().open(region, *BAND))


#: Situations in which all is listed.
LISTED: dict[str, dict[str, Any]] = {
    "0 results stands in the page while requests are under way": {"first_text": "zero"},
    "the other filter menu beside headers with tracking words": {"menu": "2"},
    "options come three seconds after the menu, Apply is enabled": {"options_after_ms": 3000},
    "an overlay swallows every click": {"overlay": True},
    "the total is written in German": {"total_words": "de"},
    "no chip names region and band, caps are in yen": {"chips": False},
    "a table without test ids": {"test_ids": False},
    "a total that is off by two": {"total_off": 2},
}


@pytest.mark.parametrize(("way", "source"), WAYS, ids=["data", "table"])
@pytest.mark.parametrize("situation", LISTED)
def test_everything_is_listed_where(
    situation: str, way: dict[str, Any], source: str, browser: Browser, site: LocalMarket, yfinance_on: Any
) -> None:
    with site.page(**way, **LISTED[situation]):
        found = PagedScreener(browser, site.url, settle_timeout_seconds=IN_VAIN_SECONDS).open("jp", *BAND)
        started = time.monotonic()
        assert listed(found) == site.symbols("jp", *BAND)
        assert found.source == source
        assert found.missing == LISTED[situation].get("total_off", 0)
        assert time.monotonic() - started < IN_VAIN_SECONDS, "without waiting for a deadline"
        yfinance_on(site.url)
        assert by_endpoint("jp") == site.symbols("jp", *BAND)


@pytest.mark.parametrize(
    "switches",
    [
        {"data": "embedded"},
        {"data": "embedded", "embedded_as": "plain", "menu": "none"},
        {"shape": "records"},
        {"numbers": "formatted"},
        {"shape": "records", "numbers": "formatted", "data": "embedded"},
    ],
    ids=lambda switches: " ".join(f"{name}={value}" for name, value in switches.items()),
)
def test_the_pages_data_is_read_in_every_shape(switches: dict[str, Any], browser: Browser, site: LocalMarket, yfinance_on: Any) -> None:
    yfinance_on(site.url)
    with site.page(**switches):
        assert by_endpoint("fr") == site.symbols("fr", *BAND)
        found = PagedScreener(browser, site.url).open("fr", *BAND)
        listings = [listing for page in found.pages() for listing in page]
        assert found.source == "page-data"
        assert sorted(listing.symbol for listing in listings) == site.symbols("fr", *BAND)
        companies = {company.symbol: company for company in site.market.companies}
        for listing in listings:
            assert listing.name == companies[listing.symbol].name
            assert listing.quote["marketCap"] == round(companies[listing.symbol].quoted_market_cap)
            assert listing.quote["currency"] == companies[listing.symbol].currency


@pytest.mark.parametrize("switches", [{}, {"empty": "sentence", "chips": False}, {"first_text": "zero", "menu": "2"}])
def test_an_empty_region_completes_with_0_stocks_in_seconds(
    switches: dict[str, Any], browser: Browser, site: LocalMarket, yfinance_on: Any
) -> None:
    yfinance_on(site.url)
    assert by_endpoint("is") == []
    for way, _ in WAYS:
        with site.page(**way, **switches):
            started = time.monotonic()
            found = PagedScreener(browser, site.url, settle_timeout_seconds=IN_VAIN_SECONDS).open("is", *BAND)
            assert (found.total, listed(found), found.missing) == (0, [], 0)
            assert time.monotonic() - started < IN_VAIN_SECONDS, "without waiting for a deadline"


@pytest.mark.parametrize(("way", "source"), WAYS, ids=["data", "table"])
@pytest.mark.parametrize(
    ("switch", "skipped"),
    [("no_symbol", {"no_symbol": 1}), ("doubled", {"doubled": 1}), ("funds", {"not_equity": 1})],
)
def test_one_odd_row_costs_only_that_row(
    switch: str, skipped: dict[str, int], way: dict[str, Any], source: str, browser: Browser, site: LocalMarket, yfinance_on: Any
) -> None:
    if (switch, source) == ("funds", "table"):
        pytest.skip("a table does not say what is no equity")
    with site.page(**way, **{switch: True}):
        found = PagedScreener(browser, site.url).open("us", *BAND)
        symbols = listed(found)
        assert (found.missing, found.skipped) == (0, skipped)
        assert set(symbols) <= set(site.symbols("us", *BAND))
        assert len(symbols) == len(site.symbols("us", *BAND)) - (switch != "doubled")
        if way["data"] == "post":
            yfinance_on(site.url)
            assert by_endpoint("us") == symbols


@pytest.mark.parametrize(("way", "source"), WAYS, ids=["data", "table"])
def test_hostile_symbols_and_names_are_kept_unchanged(way: dict[str, Any], source: str, browser: Browser, site: LocalMarket) -> None:
    with site.page(**way, odd_symbols=True, dash_names=True):
        found = PagedScreener(browser, site.url).open("us", *BAND)
        names = {listing.symbol: listing.name for page in found.pages() for listing in page}
    assert {symbol: names[symbol] for symbol, _ in ODD} == dict(ODD)
    assert "--" not in names.values()
    symbols = site.symbols("us", *BAND)
    assert names[symbols[-2]] == symbols[-2], "no name anywhere: the symbol"
    if source == "table":
        assert names[symbols[-1]] == next(company.name for company in site.market.companies if company.symbol == symbols[-1])


@pytest.mark.parametrize(
    ("switches", "expected", "text"),
    [
        ({"page_status": 429, "page_words": "Please come back when you have rested"}, RateLimited, "answers 429"),
        ({"page_status": 403, "page_words": "Access Denied"}, RateLimited, "answers 403"),
        ({"page_status": 999, "page_words": "Sorry"}, RateLimited, "answers 999"),
        ({"page_words": "Sorry about this, but there were too many requests"}, RateLimited, "too many requests"),
        ({"page_words": "Zugriff verweigert"}, RateLimited, "Zugriff verweigert"),
        ({"page_status": 503, "page_words": "Not now"}, TransientError, "answers 503"),
        ({"page_status": 404, "page_words": "Nothing here"}, TransientError, "answers 404"),
    ],
)
def test_a_refusal_page_is_not_a_changed_layout(
    switches: dict[str, Any], expected: type[Exception], text: str, browser: Browser, site: LocalMarket
) -> None:
    with site.page(**switches), pytest.raises(TransientError, match=text) as error:
        PagedScreener(browser, site.url).open("fr", *BAND)
    assert type(error.value) is expected


@pytest.mark.parametrize(("way", "source"), WAYS, ids=["data", "table"])
@pytest.mark.parametrize(("status", "expected"), [(429, RateLimited), (403, RateLimited), (500, TransientError)])
def test_a_refused_query_behind_a_visible_table_is_an_error_at_once(
    status: int, expected: type[Exception], way: dict[str, Any], source: str, browser: Browser, site: LocalMarket, yfinance_on: Any
) -> None:
    yfinance_on(site.url)
    with site.page(rows_status=status), pytest.raises(TransientError) as by_api:
        by_endpoint("fr")
    assert type(by_api.value) is expected
    with site.page(**way, rows_status=status, rows_before=1):
        started = time.monotonic()
        with pytest.raises(TransientError, match=f"answers {status}") as error:
            listed(PagedScreener(browser, site.url, settle_timeout_seconds=IN_VAIN_SECONDS).open("fr", *BAND))
        assert type(error.value) is expected
        assert time.monotonic() - started < IN_VAIN_SECONDS, "without waiting for a deadline"


@pytest.mark.parametrize("consent", ["german", "scroll"])
def test_other_consent_pages_are_answered(consent: str, browser: Browser, site: LocalMarket) -> None:
    with site.page(consent=consent):
        browser.load(site.url)
        browser.driver.delete_all_cookies()
        assert listed(PagedScreener(browser, site.url).open("fr", *BAND)) == site.symbols("fr", *BAND)
