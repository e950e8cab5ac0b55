"""The table and its menus, for a page that has no data to ask for, with a real browser on the local market."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from pipeline.errors import BrowserLost, LayoutChanged, RateLimited, TransientError
from pipeline.screener import page as page_module
from pipeline.screener import page_driver
from pipeline.screener.browser import Browser
from pipeline.screener.page import PagedScreener
from pipeline.screener.page_state import State
from pipeline.screener.paging import Paging
from pipeline.screener.table import Table
from pipeline.wire.regions import REGIONS, screener_label
from tests.screener.conftest import LocalMarket, listed

LOW, HIGH = 300_000_000, 2_000_000_000


@pytest.mark.parametrize("region", ["us", "jp"])
def test_a_region_lists_exactly_its_stocks_within_the_band(browser: Browser, either_market: LocalMarket, region: str) -> None:
    found = PagedScreener(browser, either_market.url).open(region, LOW, HIGH)
    assert found.source == "table"
    expected = either_market.symbols(region, LOW, HIGH)
    assert found.total == len(expected)
    names = {listing.symbol: listing.name for page in found.pages() for listing in page}
    assert sorted(names) == expected
    assert names == {company.symbol: company.name for company in either_market.market.companies if company.symbol in names}
    assert (found.missing, found.skipped) == (0, {})


def test_the_consent_page_is_answered(browser: Browser, either_market: LocalMarket) -> None:
    screener = PagedScreener(browser, either_market.url)
    screener.open("fr", LOW, HIGH)
    browser.driver.delete_all_cookies()
    assert listed(PagedScreener(browser, either_market.url).open("de", LOW, HIGH)) == either_market.symbols("de", LOW, HIGH)


@pytest.mark.parametrize(("low", "high"), [(774_596_670, 2_000_000_000), (300_000_001, 1_999_999_999), (1, 2)])
def test_a_band_includes_both_bounds_and_nothing_beyond_them(browser: Browser, table_market: LocalMarket, low: int, high: int) -> None:
    assert listed(PagedScreener(browser, table_market.url).open("gb", low, high)) == table_market.symbols("gb", low, high)


def test_every_stock_is_listed_once_although_rows_move(browser: Browser, table_market: LocalMarket) -> None:
    expected = table_market.symbols("us", LOW, HIGH)
    pages = list(PagedScreener(browser, table_market.url).open("us", LOW, HIGH).pages())
    assert [len(page) for page in pages[:-1]] == [100] * (len(pages) - 1)
    assert [listing.symbol for page in pages for listing in page] == expected


def test_stocks_that_stay_missing_are_an_error(browser: Browser, table_market: LocalMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Paging.answers
    monkeypatch.setattr(Paging, "answers", lambda self, state: iter(list(answers(self, state))[:-1]))
    found = PagedScreener(browser, table_market.url).open("us", LOW, HIGH)
    with pytest.raises(TransientError, match=f"200 of {found.total} stocks were listed in 2 passes"):
        list(found.pages())
    assert found.missing == found.total - 200


def test_one_screener_serves_one_region_after_the_other(browser: Browser, table_market: LocalMarket) -> None:
    screener = PagedScreener(browser, table_market.url)
    for region in ("fr", "us"):
        assert listed(screener.open(region, LOW, HIGH)) == table_market.symbols(region, LOW, HIGH)


def test_a_page_serves_further_regions_and_bands_without_a_reload(browser: Browser, either_market: LocalMarket) -> None:
    screener = PagedScreener(browser, either_market.url)
    assert len(list(screener.open("us", LOW, HIGH).pages())) > 1, "the page is left at its last"
    loads, tables = either_market.requests("page"), either_market.requests("page_rows")
    tasks = [("fr", LOW, HIGH), ("fr", LOW, 774_596_669), ("fr", 774_596_670, HIGH), ("us", LOW, HIGH), ("is", LOW, HIGH)]
    for region, low, high in tasks:
        expected = either_market.symbols(region, low, high)
        assert listed(screener.open(region, low, high)) == expected
    assert either_market.requests("page") == loads
    # One for each choice that differs, and the second page of the United States.
    assert either_market.requests("page_rows") == tables + 7


def test_a_split_task_leaves_its_page_to_the_next(browser: Browser, table_market: LocalMarket) -> None:
    screener = PagedScreener(browser, table_market.url)
    screener.open("us", LOW, HIGH)
    loads = table_market.requests("page")
    assert listed(screener.open("us", LOW, 774_596_669)) == table_market.symbols("us", LOW, 774_596_669)
    assert table_market.requests("page") == loads


def test_the_same_task_again_begins_with_a_new_page(browser: Browser, table_market: LocalMarket) -> None:
    screener = PagedScreener(browser, table_market.url)
    for _ in range(2):
        loads = table_market.requests("page")
        found = screener.open("us", LOW, HIGH)
        assert table_market.requests("page") > loads
        assert listed(found) == table_market.symbols("us", LOW, HIGH)


@pytest.mark.parametrize(
    "what_happened",
    [
        "location.href = 'about:blank'",
        "document.getElementById('nimbus-app').remove()",
        "document.querySelectorAll('button').forEach((button) => (button.disabled = true))",
        "window.fetch = () => new Promise(() => {})",
        # It answers with what it showed before, whatever is chosen.
        "const old = window.fetch('/research-hub/screener/rows', {method: 'POST', body: JSON.stringify({regions: ['de'], low: 3e8,"
        " high: 2e9, start: 0, count: 100, sortField: 'ticker', sortAsc: true})}); window.fetch = async () => (await old).clone()",
    ],
    ids=["elsewhere", "emptied", "dead buttons", "no answers", "old answers"],
)
def test_a_page_that_no_longer_works_is_reloaded(table_market: LocalMarket, browser: Browser, what_happened: str) -> None:
    screener = PagedScreener(browser, table_market.url, settle_timeout_seconds=6.0)
    listed(screener.open("de", LOW, HIGH))
    browser.execute(what_happened)
    loads = table_market.requests("page")
    assert listed(screener.open("fr", LOW, HIGH)) == table_market.symbols("fr", LOW, HIGH)
    assert table_market.requests("page") > loads


@pytest.mark.parametrize(
    ("first", "then"),
    [(("is", LOW, HIGH), ("fr", LOW, HIGH)), (("us", LOW, 400_000_000), ("us", LOW, HIGH)), (("fr", 1, 2), ("fr", LOW, HIGH))],
    ids=["after nothing", "after a part of it", "after an empty band"],
)
def test_a_page_whose_rows_could_be_mistaken_for_the_answer_is_not_reused(
    browser: Browser, table_market: LocalMarket, first: tuple[str, int, int], then: tuple[str, int, int]
) -> None:
    """A page that names its filters at once, answers late, and shows no sign of it meanwhile."""
    screener = PagedScreener(browser, table_market.url, grace_seconds=0.5)
    listed(screener.open(*first))
    browser.execute("""
        const draw = window.render, ask = window.fetch;
        window.render = (data) => { menus.show(); if (data) draw(data); };
        window.fetch = async (...request) => { await new Promise((done) => setTimeout(done, 3000)); return ask(...request); };""")
    assert listed(screener.open(*then)) == table_market.symbols(*then)


def test_a_page_is_reused_neither_after_an_error_nor_for_ever(
    browser: Browser, table_market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener = PagedScreener(browser, table_market.url)
    next(screener.open("us", LOW, HIGH).pages())  # given up in mid-way
    loads = table_market.requests("page")
    listed(screener.open("fr", LOW, HIGH))
    assert table_market.requests("page") > loads
    monkeypatch.setattr(page_module.time, "monotonic", lambda clock=time.monotonic: clock() + page_module.KEEP_SECONDS)
    loads = table_market.requests("page")
    screener.open("de", LOW, HIGH)
    assert table_market.requests("page") > loads


def test_rows_of_another_region_are_never_returned(quick: PagedScreener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "_choose_region", lambda self: self._driver.state())
    with pytest.raises(TransientError, match=r"outside the band|another region|does not show"):
        quick.open("fr", LOW, HIGH)


def after_load(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have the page changed by a script each time it was loaded."""
    load = Table._load

    def load_and_change(self: Table) -> State:
        state = load(self)
        self._driver.browser.execute(script)
        return state

    monkeypatch.setattr(Table, "_load", load_and_change)


def test_a_page_that_rejects_plain_numbers_gets_abbreviated_ones(
    browser: Browser, table_market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener = PagedScreener(browser, table_market.url, settle_timeout_seconds=8.0)
    after_load(monkeypatch, "const plain = window.amount; window.amount = (text) => (/[KMBT]$/.test(text) ? plain(text) : NaN)")
    for _ in range(2):  # the second time in short form at once
        assert listed(screener.open("fr", LOW, HIGH)) == table_market.symbols("fr", LOW, HIGH)


def test_a_browser_that_dies_between_two_pages_is_replaced(browser: Browser, table_market: LocalMarket) -> None:
    screener = PagedScreener(browser, table_market.url)
    pages = screener.open("us", LOW, HIGH).pages()
    next(pages)
    assert browser.process_group is not None
    os.killpg(browser.process_group, signal.SIGKILL)
    with pytest.raises(BrowserLost):
        next(pages)
    assert listed(screener.open("us", LOW, HIGH)) == table_market.symbols("us", LOW, HIGH)


def test_a_changed_layout_is_named_with_the_selectors_that_were_tried(quick: PagedScreener, table_market: LocalMarket) -> None:
    with table_market.faults(changed_layout=1), pytest.raises(LayoutChanged, match=r"missing .*table.*screener-table"):
        quick.open("fr", LOW, HIGH)


def test_a_missing_filter_menu_is_named(quick: PagedScreener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(page_driver.SELECTORS, "add_filters_button", ("button.gone",))
    after_load(monkeypatch, "")
    monkeypatch.setattr(page_driver, "_SCRIPT", page_driver._SCRIPT.replace(r"/\b(region|country)\b/i", "/nothing such/"))
    with pytest.raises(LayoutChanged, match=r"filter menu.*button\.gone"):
        quick.open("fr", LOW, HIGH)


def test_a_next_page_that_never_comes_is_an_error_and_not_the_end(
    browser: Browser, table_market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener = PagedScreener(browser, table_market.url)
    pages = screener.open("us", LOW, HIGH).pages()
    screener._driver.settle_timeout_seconds = 2.0
    next(pages)
    browser.execute("window.fetch = () => new Promise(() => {}); window.XMLHttpRequest = undefined;")
    with pytest.raises(TransientError, match="within 2 s"):
        next(pages)


def test_a_page_that_never_settles_is_given_up(quick: PagedScreener, table_market: LocalMarket) -> None:
    with table_market.faults(page_never_settles=1), pytest.raises(TransientError, match="did not settle within 3 s"):
        quick.open("fr", LOW, HIGH)


def test_rows_that_the_site_fails_to_deliver_are_a_transient_error(quick: PagedScreener, table_market: LocalMarket) -> None:
    with table_market.faults(page_error=1), pytest.raises(TransientError):
        quick.open("fr", LOW, HIGH)


def test_a_blocked_page_is_rate_limited(quick: PagedScreener, table_market: LocalMarket) -> None:
    with table_market.faults(blocked_page=1), pytest.raises(RateLimited, match="answers 429"):
        quick.open("fr", LOW, HIGH)


def test_an_unreachable_site_is_reported_with_what_to_do(browser: Browser) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransientError, match=rf"{address}.*ERR_CONNECTION_REFUSED.*--demo"):
            PagedScreener(browser, address).open("fr", LOW, HIGH)


def test_an_endless_script_is_noticed_and_the_next_region_works(table_market: LocalMarket) -> None:
    with Browser(script_timeout_seconds=2) as browser:
        screener = PagedScreener(browser, table_market.url)
        screener.open("fr", LOW, HIGH)
        browser.driver.set_page_load_timeout(3)
        started = time.monotonic()
        with table_market.faults(endless_script=1), pytest.raises(BrowserLost):
            screener.open("fr", LOW, HIGH)
        assert time.monotonic() - started < 60, "three limits, of 2 and 3 s"
        assert listed(screener.open("fr", LOW, HIGH)) == table_market.symbols("fr", LOW, HIGH)


def test_every_region_has_a_label() -> None:
    assert len(REGIONS) == 59
    assert {code: screener_label(code) for code in ("hk", "cz", "gb", "kr", "tr")} == {
        "hk": "Hong Kong SAR China",
        "cz": "Czechia",
        "gb": "United Kingdom",
        "kr": "South Korea",
        "tr": "Turkey",
    }
    assert len({screener_label(code) for code in REGIONS}) == 59
