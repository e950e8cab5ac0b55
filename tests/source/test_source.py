"""What lists the stocks: page and endpoint give the same, and a page that has changed is one error, kept for a look."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import LayoutChanged, PermanentError, RateLimited, TransientError
from pipeline.screener import endpoint as screener_api
from pipeline.screener import source
from pipeline.screener.answers import Listing
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import Screener
from pipeline.screener.source import Source
from tests.screener.conftest import LocalMarket

LOW, HIGH = 300_000_000, 2_000_000_000
On = Callable[[str], None]


def symbols(pages: Iterator[list[Listing]]) -> list[str]:
    return [listing.symbol for page in pages for listing in page]


@pytest.mark.parametrize("region", ["us", "gb", "is"])
def test_page_and_endpoint_list_the_same_symbols(region: str, page: Screener, market: LocalMarket, yfinance_on: On) -> None:
    yfinance_on(market.url)
    endpoint = ApiScreener()
    total = len(market.symbols(region, LOW, HIGH))
    assert page.open(region, LOW, HIGH) == endpoint.open(region, LOW, HIGH) == total
    by_endpoint = list(endpoint.pages())
    assert all(len(part) <= screener_api.CALL_SIZE for part in by_endpoint)
    assert symbols(iter(by_endpoint)) == sorted(symbols(page.pages())) == market.symbols(region, LOW, HIGH)


def test_names_and_market_caps_come_with_the_endpoint_too(market: LocalMarket, yfinance_on: On) -> None:
    yfinance_on(market.url)
    endpoint = ApiScreener()
    endpoint.open("fr", LOW, HIGH)
    names = {company.symbol: company.name for company in market.market.companies}
    for listing in (listing for part in endpoint.pages() for listing in part):
        assert listing.name == names[listing.symbol]
        assert LOW <= listing.quote["marketCap"] <= HIGH
        assert listing.quote["quoteType"] == "EQUITY"


def test_a_band_of_several_calls_is_listed_once_each(market: LocalMarket, yfinance_on: On, monkeypatch: pytest.MonkeyPatch) -> None:
    yfinance_on(market.url)
    monkeypatch.setattr(screener_api, "CALL_SIZE", 40)
    endpoint = ApiScreener()
    total = endpoint.open("us", LOW, HIGH)
    assert total > 80
    assert symbols(endpoint.pages()) == market.symbols("us", LOW, HIGH)


def test_more_than_the_endpoint_can_give_is_refused_with_advice(
    market: LocalMarket, yfinance_on: On, monkeypatch: pytest.MonkeyPatch
) -> None:
    yfinance_on(market.url)
    monkeypatch.setattr(screener_api, "LARGEST_OFFSET", 10)
    endpoint = ApiScreener()
    endpoint.open("us", LOW, HIGH)
    with pytest.raises(PermanentError, match="choose narrower bands"):
        next(endpoint.pages())


def test_stocks_that_stay_missing_are_an_error_unless_tolerated(
    market: LocalMarket, yfinance_on: On, monkeypatch: pytest.MonkeyPatch
) -> None:
    yfinance_on(market.url)
    endpoint = ApiScreener()
    total = endpoint.open("fr", LOW, HIGH)
    whole = ApiScreener._one_pass
    monkeypatch.setattr(ApiScreener, "_one_pass", lambda self, again: [page[:-1] for page in whole(self, again)])
    with pytest.raises(TransientError, match=f"listed {total - 1} of {total}"):
        list(endpoint.pages())
    assert len(symbols(endpoint.pages(tolerate_missing=True))) == total - 1
    assert endpoint.missing == 1


@pytest.mark.parametrize(("fault", "expected"), [("rate_limit", RateLimited), ("http500", TransientError), ("bad_json", TransientError)])
def test_what_the_site_answers_means_the_same_as_for_a_company(
    fault: str, expected: type[Exception], market: LocalMarket, yfinance_on: On
) -> None:
    yfinance_on(market.url)
    ApiScreener().open("fr", LOW, HIGH)
    with market.faults(**{fault: 1}), pytest.raises(expected):
        ApiScreener().open("fr", LOW, HIGH)


def test_an_answer_without_what_is_needed_is_a_changed_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screener_api.yfinance, "screen", lambda *_, **__: {"quotes": [{"symbol": "A"}]})
    with pytest.raises(LayoutChanged, match="endpoint has changed: its answer has no total"):
        ApiScreener().open("fr", LOW, HIGH)


def test_a_changed_page_is_one_error_with_the_element_the_selectors_and_the_page_itself(
    page: Screener, browser: Browser, market: LocalMarket, tmp_path: Path
) -> None:
    with market.faults(changed_layout=1), pytest.raises(LayoutChanged) as error:
        Source(page, browser, None).open("fr", LOW, HIGH, tmp_path / "logs")
    text = str(error.value)
    assert "missing table" in text
    assert "screener-table" in text
    assert len(text) < 1000, "the path must not be cut off in a message"
    found = re.search(r"The page as it was: (\S+)\.html and \.png", text)
    assert found is not None
    assert Path(found[1]).parent == tmp_path / "logs"
    assert "<html" in Path(found[1] + ".html").read_text()
    assert Path(found[1] + ".png").read_bytes().startswith(b"\x89PNG")


def test_auto_falls_back_to_the_endpoint_and_says_so(
    market: LocalMarket, yfinance_on: On, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yfinance_on(market.url)
    with Browser() as own:
        both = Source(Screener(own, market.url, settle_timeout_seconds=3.0), own, ApiScreener())
        assert both.open("fr", LOW, HIGH, tmp_path) == len(market.symbols("fr", LOW, HIGH))
        assert sorted(symbols(both.pages())) == market.symbols("fr", LOW, HIGH)
        assert both.name == "browser"
        own.kill()  # a page that is up stays the one that it was
        with market.faults(changed_layout=1), caplog.at_level(logging.WARNING, source.__name__):
            assert both.open("de", LOW, HIGH, tmp_path) == len(market.symbols("de", LOW, HIGH))
        assert symbols(both.pages()) == market.symbols("de", LOW, HIGH)
        assert both.name == "api"
        assert own.process_group is None, "a browser that is not needed is not kept"
        (record,) = caplog.records
        assert "listed by the endpoint" in record.message
        assert "missing table" in record.message
        assert (tmp_path / "changed-page-de.png").exists()
        # The page is not tried again: each task would wait for it in vain.
        assert both.open("us", LOW, HIGH, tmp_path) == len(market.symbols("us", LOW, HIGH))
        assert own.process_group is None


def test_a_page_that_changes_in_mid_way_is_followed_by_the_whole_list(tmp_path: Path) -> None:
    class Page:
        def open(self, *_: object) -> int:
            return 3

        def pages(self, tolerate_missing: bool = False) -> Iterator[list[Listing]]:
            yield [Listing("A", "A")]
            raise LayoutChanged("missing the button for the next page")

    class Endpoint:
        def open(self, *_: object) -> int:
            return 3

        def pages(self, tolerate_missing: bool = False) -> Iterator[list[Listing]]:
            yield [Listing(symbol, symbol) for symbol in "ABC"]

    both = Source(Page(), None, Endpoint())
    both.open("fr", LOW, HIGH, tmp_path)
    assert symbols(both.pages()) == ["A", "A", "B", "C"]
    only_page = Source(Page(), None, None)
    only_page.open("fr", LOW, HIGH, tmp_path)
    with pytest.raises(LayoutChanged, match="No browser, no page to keep"):
        list(only_page.pages())
