"""The page object, with a real browser on the local market."""

from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from pipeline.errors import BrowserLost, LayoutChanged, RateLimited, TransientError
from pipeline.screener import page as screener_module
from pipeline.screener.answers import Listing
from pipeline.screener.browser import Browser
from pipeline.screener.page import Screener, State
from pipeline.wire.regions import REGIONS, screener_label
from tests.screener.conftest import LocalMarket

LOW, HIGH = 300_000_000, 2_000_000_000


def listed(screener: Screener) -> list[Listing]:
    return [listing for page in screener.pages() for listing in page]


@pytest.mark.parametrize("region", ["us", "fr", "gb", "de", "jp", "is"])
def test_a_region_lists_its_stocks_of_the_band_and_no_others(browser: Browser, either_market: LocalMarket, region: str) -> None:
    expected = either_market.symbols(region, LOW, HIGH)
    screener = Screener(browser, either_market.url)
    assert screener.open(region, LOW, HIGH) == len(expected)
    found = listed(screener)
    assert sorted(listing.symbol for listing in found) == expected
    names = {company.symbol: company.name for company in either_market.market.companies}
    assert [listing.name for listing in found] == [names[listing.symbol] for listing in found]


def test_the_consent_page_is_answered(browser: Browser, either_market: LocalMarket) -> None:
    screener = Screener(browser, either_market.url)
    screener.open("fr", LOW, HIGH)
    browser.driver.delete_all_cookies()
    assert screener.open("de", LOW, HIGH) == len(either_market.symbols("de", LOW, HIGH))


def test_a_region_without_stocks_lists_nothing(browser: Browser, either_market: LocalMarket) -> None:
    screener = Screener(browser, either_market.url)
    assert screener.open("is", LOW, HIGH) == 0
    assert list(screener.pages()) == []
    assert screener.missing == 0


@pytest.mark.parametrize(("low", "high"), [(20_000_000, 299_999_999), (774_596_670, 2_000_000_000), (300_000_001, 1_999_999_999)])
def test_a_band_includes_both_ends_and_nothing_beside_them(browser: Browser, market: LocalMarket, low: int, high: int) -> None:
    screener = Screener(browser, market.url)
    expected = market.symbols("gb", low, high)
    assert screener.open("gb", low, high) == len(expected)
    assert sorted(listing.symbol for listing in listed(screener)) == expected


def test_a_band_without_stocks_lists_nothing(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    assert screener.open("us", 1, 2) == 0
    assert list(screener.pages()) == []


def test_every_page_is_listed_once_although_rows_move(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    expected = market.symbols("us", LOW, HIGH)
    assert screener.open("us", LOW, HIGH) == len(expected)
    pages = list(screener.pages())
    assert [len(page) for page in pages[:-1]] == [100] * (len(pages) - 1)
    assert [listing.symbol for page in pages for listing in page] == expected


def test_pages_of_a_table_that_cannot_be_sorted_are_gone_through_again(
    browser: Browser, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screener, "_sort_by_symbol", lambda self, state: state)
    screener = Screener(browser, market.url)
    expected = market.symbols("us", LOW, HIGH)
    screener.open("us", LOW, HIGH)
    found = [listing.symbol for page in screener.pages(tolerate_missing=True) for listing in page]
    assert len(found) == len(set(found))
    assert len(found) + screener.missing == len(expected)


def test_symbols_that_stay_missing_are_an_error_unless_tolerated(
    browser: Browser, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screener_module, "MOST_PASSES", 1)
    screener = Screener(browser, market.url)
    total = screener.open("us", LOW, HIGH)
    whole_pass = Screener._one_pass
    monkeypatch.setattr(Screener, "_one_pass", lambda self: list(whole_pass(self))[:-1])
    with pytest.raises(TransientError, match=f"listed 200 of {total}"):
        list(screener.pages())
    assert screener.missing == total - 200
    screener.open("us", LOW, HIGH)
    assert sum(map(len, screener.pages(tolerate_missing=True))) == 200
    assert screener.missing == total - 200


def test_one_screener_serves_one_region_after_the_other(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    for region in ("fr", "us"):
        screener.open(region, LOW, HIGH)
        assert sorted(listing.symbol for listing in listed(screener)) == market.symbols(region, LOW, HIGH)


def test_a_page_serves_the_next_regions_and_bands_without_being_loaded_again(browser: Browser, either_market: LocalMarket) -> None:
    screener = Screener(browser, either_market.url)
    screener.open("us", LOW, HIGH)
    assert len(list(screener.pages())) > 1, "the page is left at its last"
    loads, tables = either_market.requests("page"), either_market.requests("page_rows")
    tasks = [("fr", LOW, HIGH), ("fr", LOW, 774_596_669), ("fr", 774_596_670, HIGH), ("us", LOW, HIGH), ("is", LOW, HIGH)]
    for region, low, high in tasks:
        expected = either_market.symbols(region, low, high)
        assert screener.open(region, low, high) == len(expected)
        assert sorted(listing.symbol for listing in listed(screener)) == expected
    assert either_market.requests("page") == loads
    # One for each choice that differs, and the second page of the United States.
    assert either_market.requests("page_rows") == tables + 7


def test_a_split_task_leaves_its_page_to_the_next(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    screener.open("us", LOW, HIGH)
    loads = market.requests("page")
    screener.open("us", LOW, 774_596_669)
    assert sorted(listing.symbol for listing in listed(screener)) == market.symbols("us", LOW, 774_596_669)
    assert market.requests("page") == loads


def test_the_same_task_again_begins_with_a_new_page(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    for _ in range(2):
        loads = market.requests("page")
        screener.open("us", LOW, HIGH)
        assert market.requests("page") > loads
        assert sorted(listing.symbol for listing in listed(screener)) == market.symbols("us", LOW, HIGH)


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
def test_a_page_that_serves_no_longer_is_loaded_anew(quick: Screener, market: LocalMarket, browser: Browser, what_happened: str) -> None:
    quick.open("de", LOW, HIGH)
    listed(quick)
    browser.execute(what_happened)
    loads = market.requests("page")
    assert quick.open("fr", LOW, HIGH) == len(market.symbols("fr", LOW, HIGH))
    assert sorted(listing.symbol for listing in listed(quick)) == market.symbols("fr", LOW, HIGH)
    assert market.requests("page") > loads


@pytest.mark.parametrize(
    ("first", "then"),
    [(("is", LOW, HIGH), ("fr", LOW, HIGH)), (("us", LOW, 400_000_000), ("us", LOW, HIGH)), (("fr", 1, 2), ("fr", LOW, HIGH))],
    ids=["after nothing", "after a part of it", "after an empty band"],
)
def test_what_could_be_taken_for_the_answer_is_no_page_to_go_on_with(
    browser: Browser, market: LocalMarket, first: tuple[str, int, int], then: tuple[str, int, int]
) -> None:
    """A page that names its filters at once, answers late, and shows no sign of it meanwhile."""
    screener = Screener(browser, market.url, grace_seconds=0.5)
    screener.open(*first)
    listed(screener)
    browser.execute("""
        const draw = window.render, ask = window.fetch;
        window.render = (data) => { menus.show(); if (data) draw(data); };
        window.fetch = async (...request) => { await new Promise((done) => setTimeout(done, 3000)); return ask(...request); };""")
    assert screener.open(*then) == len(market.symbols(*then))
    assert sorted(listing.symbol for listing in listed(screener)) == market.symbols(*then)


def test_a_page_is_not_kept_after_an_error_nor_for_ever(quick: Screener, market: LocalMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.open("us", LOW, HIGH)
    next(quick.pages())  # given up in mid-way
    loads = market.requests("page")
    quick.open("fr", LOW, HIGH)
    listed(quick)
    assert market.requests("page") > loads
    monkeypatch.setattr(screener_module.time, "monotonic", lambda clock=time.monotonic: clock() + screener_module.KEEP_SECONDS)
    loads = market.requests("page")
    quick.open("de", LOW, HIGH)
    assert market.requests("page") > loads


def test_rows_of_another_region_are_never_handed_out(quick: Screener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screener, "_choose_region", Screener._state)
    with pytest.raises(TransientError, match="does not show the band"):
        quick.open("fr", LOW, HIGH)


def after_load(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Have the page changed by a script each time it was loaded."""
    load = Screener._load

    def load_and_change(self: Screener) -> State:
        state = load(self)
        self._browser.execute(script)
        return state

    monkeypatch.setattr(Screener, "_load", load_and_change)


def test_a_page_that_takes_no_plain_numbers_gets_short_ones(quick: Screener, market: LocalMarket, monkeypatch: pytest.MonkeyPatch) -> None:
    after_load(monkeypatch, "const plain = window.amount; window.amount = (text) => (/[KMBT]$/.test(text) ? plain(text) : NaN)")
    for _ in range(2):  # the second time in short form at once
        assert quick.open("fr", LOW, HIGH) == len(market.symbols("fr", LOW, HIGH))
    assert sorted(listing.symbol for listing in listed(quick)) == market.symbols("fr", LOW, HIGH)


def test_caps_in_another_currency_than_the_filter_s_are_taken_where_the_page_names_the_band(
    quick: Screener, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
        const plain = window.fetch;
        window.fetch = async (...request) => {
            const data = await (await plain(...request)).json();
            data.rows.forEach((row) => (row.intradaymarketcap *= 150));
            return { ok: true, json: async () => data };
        };"""
    after_load(monkeypatch, script)
    assert quick.open("jp", LOW, HIGH) == len(market.symbols("jp", LOW, HIGH))
    assert sorted(listing.symbol for listing in listed(quick)) == market.symbols("jp", LOW, HIGH)


def test_a_browser_that_dies_between_two_pages_is_replaced(browser: Browser, market: LocalMarket) -> None:
    screener = Screener(browser, market.url)
    screener.open("us", LOW, HIGH)
    pages = screener.pages()
    next(pages)
    assert browser.process_group is not None
    os.killpg(browser.process_group, signal.SIGKILL)
    with pytest.raises(BrowserLost):
        next(pages)
    screener.open("us", LOW, HIGH)
    assert sorted(listing.symbol for listing in listed(screener)) == market.symbols("us", LOW, HIGH)


def test_a_changed_layout_is_named_with_the_selectors_that_were_tried(quick: Screener, market: LocalMarket) -> None:
    with market.faults(changed_layout=1), pytest.raises(LayoutChanged, match=r"missing .*table.*screener-table"):
        quick.open("fr", LOW, HIGH)


def test_a_missing_filter_menu_is_named(quick: Screener, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"region_button": ("button.gone",), "add_filters_button": ("button.gone-too",)}
    monkeypatch.setattr(screener_module, "SELECTORS", {**screener_module.SELECTORS, **changed})
    with pytest.raises(LayoutChanged, match=r"filter menu.*button\.gone.*button\.gone-too"):
        quick.open("fr", LOW, HIGH)


def test_a_next_page_that_never_comes_is_an_error_and_not_the_last(
    browser: Browser, market: LocalMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    screener = Screener(browser, market.url)
    screener.open("us", LOW, HIGH)
    screener._settle_timeout_seconds = 2.0
    pages = screener.pages()
    next(pages)
    browser.execute("window.fetch = () => new Promise(() => {}); window.XMLHttpRequest = undefined;")
    with pytest.raises(TransientError, match="within 2 s"):
        next(pages)


def test_a_page_that_never_settles_is_given_up(quick: Screener, market: LocalMarket) -> None:
    with market.faults(page_never_settles=1), pytest.raises(TransientError, match="did not settle within 3 s"):
        quick.open("fr", LOW, HIGH)


def test_rows_that_the_site_cannot_give_are_a_transient_error(quick: Screener, market: LocalMarket) -> None:
    with market.faults(page_error=1), pytest.raises(TransientError):
        quick.open("fr", LOW, HIGH)


def test_a_blocked_page_is_rate_limited(quick: Screener, market: LocalMarket) -> None:
    with market.faults(blocked_page=1), pytest.raises(RateLimited, match="too many requests"):
        quick.open("fr", LOW, HIGH)


def test_a_site_out_of_reach_is_named_with_what_to_do(browser: Browser) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(TransientError, match=rf"{address}.*ERR_CONNECTION_REFUSED.*--demo"):
            Screener(browser, address).open("fr", LOW, HIGH)


def test_an_endless_script_is_noticed_and_the_next_region_works(market: LocalMarket) -> None:
    with Browser(script_timeout_seconds=2) as browser:
        screener = Screener(browser, market.url)
        screener.open("fr", LOW, HIGH)
        browser.driver.set_page_load_timeout(3)
        started = time.monotonic()
        with market.faults(endless_script=1), pytest.raises(BrowserLost):
            screener.open("fr", LOW, HIGH)
        assert time.monotonic() - started < 15
        assert screener.open("fr", LOW, HIGH) == len(market.symbols("fr", LOW, HIGH))


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
