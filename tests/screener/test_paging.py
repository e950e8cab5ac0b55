"""Tables that go on in other ways than by a button for the next page: all is listed, or the error says what does not show the end."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from aiohttp import web

from pipeline.errors import BandCurrencyMismatch, LayoutChanged
from pipeline.screener import page_state, paging
from pipeline.screener.browser import Browser
from tests.screener.conftest import lists
from tests.screener.other_pages import BY_ROLES, LISTS, MARKUP, ONWARD, REGIONS, Site, page, pieces


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """These pages draw their rows and their controls in one go: what stands still for a moment is all."""
    for module in (page_state, paging):
        monkeypatch.setattr(module, "STANDS_SECONDS", 0.5)


def goes_on(site: Site, way: str, says: bool = True) -> None:
    site.page = page(f"const NAMES = {json.dumps(REGIONS)}, WAY = {way!r}, SAYS = {json.dumps(says)}; {BY_ROLES} {ONWARD} show();", MARKUP)
    site.crumb, site.query_path = 404, "/nowhere"
    site.other["/pieces"] = pieces


@pytest.mark.parametrize("way", ["more", "scrolling", "title", "relation", "places"])
def test_a_list_is_read_to_its_total_however_it_goes_on(way: str, site: Site, browser: Browser) -> None:
    goes_on(site, way)
    assert lists(browser, site) == (LISTS["jp"], "table", 0, {})


@pytest.mark.parametrize("way", ["more", "scrolling", "numbers"])
def test_the_end_of_a_list_shows_without_a_total(way: str, site: Site, browser: Browser) -> None:
    """The control is gone or leads nowhere, or the last part is a short one."""
    goes_on(site, way, says=False)
    assert lists(browser, site) == (LISTS["jp"], "table", 0, {})


def test_a_list_whose_end_does_not_show_is_an_error(site: Site, browser: Browser) -> None:
    """Its last part is as long as the others, so that one more may be missing."""
    goes_on(site, "scrolling", says=False)
    with pytest.raises(LayoutChanged, match=r"whether the list ends at its 80 rows.*SCRAPER_SOURCE=api"):
        lists(browser, site, "fr")


def test_a_table_whose_band_is_ignored_is_an_error(site: Site, browser: Browser) -> None:
    """The page has asked for the band, and the market caps in its answer fit none of that width."""
    caps = itertools.count()

    def with_caps(request: web.Request) -> str:
        return re.sub(
            "</tr>", lambda _: f"<td data-testid-cell=intradaymarketcap>{1.2 ** (60 + next(caps)):.0f}</td></tr>", pieces(request)
        )

    goes_on(site, "more")
    site.other["/pieces"] = with_caps
    with pytest.raises(BandCurrencyMismatch, match="does not filter by market cap: 106 stocks"):
        lists(browser, site)
