"""A band in dollars, listed on the stand-in by each source: exactly the companies that are worth it, symbol by symbol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import config
from launch.bands import Converter
from local.market.companies import BAND_HIGH, BAND_LOW
from local.market.regions import MARKET_DAY, quoted_rate
from pipeline.errors import BandCurrencyMismatch
from pipeline.screener.band_check import BandCheck
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.page import PagedScreener
from pipeline.screener.source import Source
from pipeline.wire.currencies import DayRate
from pipeline.wire.messages import ScrapingTask
from pipeline.wire.regions import AskedBand, RegionBand
from tests.screener.conftest import LocalMarket

#: In yen, won, rupiah, pence, dinar and dollars. In the second, third and fifth one company has a listing each.
REGIONS = ("jp", "kr", "id", "gb", "kw", "us")
On = Callable[[str], None]


@pytest.fixture(scope="module")
def bands(market: LocalMarket, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RegionBand]:
    """The default band of each region, as a producer converts it."""
    home = tmp_path_factory.mktemp("home")
    environ = {"YAHOO_BASE_URL": market.url, "PIPELINE_TODAY": MARKET_DAY.isoformat(), "PIPELINE_HOME": str(home)}
    settings = config.load(environ=environ, env_file=home / "none")
    before = market.requests("quote")
    found = Converter(settings).bands([AskedBand(code, BAND_LOW, BAND_HIGH, "USD") for code in REGIONS])
    assert market.requests("quote") == before + 1, "one request for all rates"
    return {band.code: band for band in found}


@pytest.fixture(params=["browser", "api", "auto"])
def source(request: pytest.FixtureRequest, browser: Browser, market: LocalMarket, yfinance_on: On) -> Source:
    yfinance_on(market.url)
    page = PagedScreener(browser, market.url) if request.param != "api" else None
    api = ApiScreener() if request.param != "browser" else None
    return Source(page, browser if page else None, api)


def stored_rates() -> Mapping[str, DayRate]:
    return {f"USD{money}": DayRate(MARKET_DAY, quoted_rate("USD", money, MARKET_DAY)) for money in ("JPY", "GBP", "EUR")}


def listed(source: Source, band: RegionBand, folder: Path) -> tuple[list[str], BandCheck]:
    check = BandCheck(ScrapingTask("20261124T071326Z-1f3a", band.code, band.code, *band[1:]), stored_rates)
    found = source.open(*band[:3], folder)
    return sorted(listing.symbol for page in check.pages(found.pages()) for listing in page), check


def test_exactly_the_companies_of_the_band_in_dollars_are_listed(
    source: Source, bands: dict[str, RegionBand], market: LocalMarket, tmp_path: Path
) -> None:
    three = set()
    for code, band in bands.items():
        symbols, check = listed(source, band, tmp_path)
        assert symbols == [company.symbol for company in market.market.in_dollars(code, BAND_LOW, BAND_HIGH)], code
        assert symbols
        # What the site lists between these bounds is that, and what the check has kept out.
        assert len(market.symbols(code, *band[1:3])) == len(symbols) + check.outside
        three |= set(symbols) & {company.symbol for company in market.market.with_trait("listed_in_three")}
    assert len(three) == 3, "the same company in three countries"


def test_a_site_that_filters_in_dollars_is_caught(
    source: Source, bands: dict[str, RegionBand], market: LocalMarket, tmp_path: Path
) -> None:
    with market.faults(dollar_filter=1), pytest.raises(BandCurrencyMismatch, match="lists are not 41"):
        listed(source, bands["jp"], tmp_path)
