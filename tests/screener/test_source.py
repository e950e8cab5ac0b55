"""What lists the stocks: page and endpoint give the same, and a page that has changed is one error, kept for a look."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import BrowserLost, LayoutChanged, PipelineError, RateLimited, TransientError
from pipeline.screener import endpoint as screener_api
from pipeline.screener import source
from pipeline.screener.answers import Answer, Listing
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.harvest import RegionList
from pipeline.screener.page import PagedScreener
from pipeline.screener.query import CALL_SIZE
from pipeline.screener.source import Source
from tests.screener.conftest import LocalMarket, listed

LOW, HIGH = 300_000_000, 2_000_000_000
PROFILE = ("sector", "industry")
On = Callable[[str], None]


@pytest.mark.parametrize("region", ["us", "gb", "is"])
def test_page_and_endpoint_give_the_same_list_and_the_same_counts(
    region: str, browser: Browser, market: LocalMarket, yfinance_on: On
) -> None:
    yfinance_on(market.url)
    by_page, by_endpoint = PagedScreener(browser, market.url).open(region, LOW, HIGH), ApiScreener().open(region, LOW, HIGH)
    assert (by_page.source, by_endpoint.source) == ("page-data", "api")
    assert by_page.total == by_endpoint.total == len(market.symbols(region, LOW, HIGH))
    pages = list(by_endpoint.pages())
    assert all(len(page) <= CALL_SIZE for page in pages)
    expected = [listing for page in pages for listing in page]
    assert [listing.symbol for listing in expected] == market.symbols(region, LOW, HIGH)
    found = [listing for page in by_page.pages() for listing in page]
    # Only the page's query can ask for the sector and the industry.
    plain = [replace(one, quote={name: value for name, value in one.quote.items() if name not in PROFILE}) for one in found]
    assert plain == expected
    assert not found or any(set(PROFILE) <= set(one.quote) for one in found)


@pytest.mark.parametrize(("fault", "expected"), [("rate_limit", RateLimited), ("http500", TransientError), ("bad_json", TransientError)])
def test_screener_errors_are_classified_like_company_errors(
    fault: str, expected: type[Exception], market: LocalMarket, yfinance_on: On
) -> None:
    yfinance_on(market.url)
    ApiScreener().open("fr", LOW, HIGH)
    with market.faults(**{fault: 1}), pytest.raises(expected):
        ApiScreener().open("fr", LOW, HIGH)


def test_an_answer_without_required_fields_is_a_changed_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screener_api.session, "post_json", lambda *_: {"stocks": [{"symbol": "A"}]})
    with pytest.raises(LayoutChanged, match="endpoint has changed: its answer has no total and no rows"):
        ApiScreener().open("fr", LOW, HIGH)


def test_a_changed_page_is_one_error_with_the_element_the_selectors_and_the_page_itself(
    browser: Browser, market: LocalMarket, tmp_path: Path
) -> None:
    page = PagedScreener(browser, market.url, settle_timeout_seconds=3.0)
    with market.faults(changed_layout=1), pytest.raises(LayoutChanged) as error:
        Source(page, browser, None).open("fr", LOW, HIGH, tmp_path / "logs")
    text = str(error.value)
    assert "missing table" in text
    assert "screener-table" in text
    assert len(text) < 1000, "the path must not be cut off in a message"
    found = re.search(r"The page as it was: (\S+)\.html, \.png and \.network\.json", text)
    assert found is not None
    assert Path(found[1]).parent == tmp_path / "logs"
    assert "<html" in Path(found[1] + ".html").read_text()
    assert Path(found[1] + ".png").read_bytes().startswith(b"\x89PNG")
    network = json.loads(Path(found[1] + ".network.json").read_text())
    assert {"Document", "Fetch"} <= {exchange["kind"] for exchange in network}
    assert all(exchange["status"] for exchange in network)


def test_auto_falls_back_to_the_endpoint_and_says_so(
    market: LocalMarket, yfinance_on: On, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yfinance_on(market.url)
    with Browser() as own:
        both = Source(PagedScreener(own, market.url, settle_timeout_seconds=6.0), own, ApiScreener())
        found = both.open("fr", LOW, HIGH, tmp_path)
        assert listed(found) == market.symbols("fr", LOW, HIGH)
        assert (found.source, both.uses_page) == ("page-data", True)
        own.kill()  # a page that is up stays the one that it was
        with market.faults(changed_layout=1), caplog.at_level(logging.WARNING, source.__name__):
            found = both.open("de", LOW, HIGH, tmp_path)
        assert listed(found) == market.symbols("de", LOW, HIGH)
        assert (found.source, both.uses_page) == ("api", False)
        assert own.process_group is None, "a browser that is not needed is not kept"
        (record,) = caplog.records
        assert "listed by the endpoint" in record.message
        assert "missing table" in record.message
        assert (tmp_path / "changed-page-de.png").exists()
        # The page is not tried again: each task would wait for it in vain.
        assert listed(both.open("us", LOW, HIGH, tmp_path)) == market.symbols("us", LOW, HIGH)
        assert own.process_group is None


def test_a_page_that_changes_midway_is_followed_by_the_endpoints_whole_list(tmp_path: Path) -> None:
    def answers_of(*symbols: str) -> Answer:
        return Answer(3, tuple(Listing(symbol, symbol) for symbol in symbols))

    def changes(number: int) -> Iterator[Answer]:
        yield answers_of("A")
        raise LayoutChanged("missing the button for the next page")

    class Page:
        def open(self, *_: object) -> RegionList:
            return RegionList("a list", "table", 3, changes)

    class Endpoint:
        def open(self, *_: object) -> RegionList:
            return RegionList("a list", "api", 3, lambda number: iter([answers_of("A", "B", "C")]))

    found = Source(Page(), None, Endpoint()).open("fr", LOW, HIGH, tmp_path)
    assert [listing.symbol for page in found.pages() for listing in page] == ["A", "A", "B", "C"]
    assert found.source == "api"
    with pytest.raises(LayoutChanged, match="No browser, no page to keep"):
        list(Source(Page(), None, None).open("fr", LOW, HIGH, tmp_path).pages())


@pytest.mark.parametrize("error", [TransientError("502"), RateLimited("429"), BrowserLost("gone"), LayoutChanged("missing table")])
@pytest.mark.parametrize("late", [False, True], ids=["at once", "in mid-list"])
def test_auto_uses_the_page_unless_its_layout_has_changed(error: PipelineError, late: bool, tmp_path: Path) -> None:
    """With the tests of page and endpoint in each situation, this is what `auto` does there."""

    def fails(number: int) -> Iterator[Answer]:
        raise error
        yield

    class Page:
        def open(self, *_: object) -> RegionList:
            if not late:
                raise error
            return RegionList("a list", "table", 1, fails)

    class Endpoint:
        def open(self, *_: object) -> RegionList:
            return RegionList("a list", "api", 1, lambda number: iter([Answer(1, (Listing("A", "A"),))]))

    both = Source(Page(), None, Endpoint())
    if isinstance(error, LayoutChanged):
        assert listed(both.open("fr", LOW, HIGH, tmp_path)) == ["A"]
        assert not both.uses_page
    else:
        with pytest.raises(type(error)):
            listed(both.open("fr", LOW, HIGH, tmp_path))
        assert both.uses_page
