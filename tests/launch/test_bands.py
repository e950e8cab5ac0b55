"""Bands in one money at the day's rates: from a site whose answers the test writes, and from the store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yfinance
from yfinance import _http

import config
from config import Database, Settings
from config.values import LOCAL
from launch import bands
from launch.bands import Converter
from pipeline.errors import ServiceError
from pipeline.storage import database, fx_rates
from pipeline.wire.bands import WantedBand
from pipeline.wire.currencies import DayRate
from pipeline.wire.regions import AskedBand, RegionBand
from tests.yahoo.site import Site

TODAY = date(2026, 11, 28)
RATES = {"JPY": 149.2, "EUR": 0.86, "GBP": 0.76, "KRW": 1400.0, "IDR": 16_500.0, "KWD": 0.3071}
LOW, HIGH = 300_000_000, 2_000_000_000


@pytest.fixture
def site() -> Iterator[Site]:
    backend, hidden = _http._backend, yfinance.config.debug.hide_exceptions
    with Site() as scripted:
        yield scripted
    _http._backend = backend
    yfinance.config.debug.hide_exceptions = hidden


@pytest.fixture
def settings(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a producer without a database, which waits no longer than a moment for a site that fails."""
    monkeypatch.setattr(bands, "LONGEST_WAIT_SECONDS", 0.05)
    environ = {"YAHOO_BASE_URL": site.url, "PIPELINE_TODAY": TODAY.isoformat(), "PIPELINE_HOME": str(tmp_path), "MAX_ATTEMPTS": "3"}
    return config.load(environ=environ, env_file=tmp_path / "none")


@pytest.fixture
def stored(settings: Settings, tables: Database) -> Callable[..., Settings]:
    """Settings with a database in which a rate of yen, so many days old, is stored."""

    def with_rate(days_old: int, rate: float = 150.0) -> Settings:
        with closing(database.connect(tables)) as connection:
            fx_rates.store(connection, {"USDJPY": DayRate(TODAY - timedelta(days=days_old), rate)})
        return replace(settings, database=tables)

    return with_rate


def rates_of(**changes: Any) -> Callable[[dict[str, list[str]]], dict[str, Any]]:
    """An answer of the pairs that are asked for."""
    known = {money: rate for money, rate in (RATES | changes).items() if rate != "gone"}

    def answer(query: dict[str, list[str]]) -> dict[str, Any]:
        asked = [symbol.removesuffix("=X") for symbol in query["symbols"][0].split(",")]
        quotes = [{"symbol": f"{money}=X", "regularMarketPrice": known[money]} for money in asked if money in known]
        return {"quoteResponse": {"result": quotes, "error": None}}

    return answer


def asked(code: str, currency: str = "USD", low: int = LOW, high: int = HIGH) -> AskedBand:
    return AskedBand(code, low, high, currency)


def test_one_request_converts_all_regions(site: Site, settings: Settings) -> None:
    site.answers["quote"] = rates_of()
    converter = Converter(settings)
    found = converter.bands([asked(code) for code in ("us", "jp", "kr", "id", "gb", "kw")])
    assert [band[:3] for band in found] == [
        ("us", 300_000_000, 2_000_000_000),
        ("jp", 44_700_000_000, 299_000_000_000),
        ("kr", 420_000_000_000, 2_800_000_000_000),
        ("id", 4_950_000_000_000, 33_000_000_000_000),
        ("gb", 228_000_000, 1_520_000_000),
        ("kw", 92_100_000, 615_000_000),
    ]
    assert found[0].wanted == WantedBand(LOW, HIGH, "USD", 1.0, TODAY)
    assert found[1].wanted == WantedBand(LOW, HIGH, "USD", 149.2, TODAY)
    assert converter.bands([asked("fr")])[0].market_cap_min == 258_000_000
    assert len(site.requests) == 1


def test_any_two_currencies_are_converted_through_the_dollar(site: Site, settings: Settings) -> None:
    site.answers["quote"] = rates_of(BGN=1.7)
    in_euros, in_yen, in_levs, own = Converter(settings).bands(
        [asked("jp", "EUR"), asked("us", "JPY"), asked("us", "BGN"), asked("jp", "JPY")]
    )
    assert in_euros.wanted is not None
    assert in_euros.wanted.rate == pytest.approx(149.2 / 0.86)
    assert in_euros[:3] == ("jp", 52_000_000_000, 347_000_000_000)  # 52.05 and 346.98 billion
    assert in_yen[:3] == ("us", 2_010_000, 13_500_000)  # 2.0107 and 13.405 million
    assert in_levs[:3] == ("us", 176_000_000, 1_180_000_000)  # 176.47 and 1176.5 million
    assert own == RegionBand("jp", LOW, HIGH, WantedBand(LOW, HIGH, "JPY", 1.0, TODAY))
    assert len(site.requests) == 1


def test_local_bounds_need_neither_rate_nor_site(site: Site, settings: Settings) -> None:
    assert Converter(settings).bands([asked("jp", LOCAL)]) == [RegionBand("jp", LOW, HIGH)]
    assert Converter(settings).bands([asked("us")])[0][1:3] == (LOW, HIGH), "nor do dollars in dollars"
    assert (site.requests, site.sessions) == ([], [])


def test_a_missing_rate_is_reported_with_its_pair_and_what_to_do(site: Site, settings: Settings) -> None:
    site.answers["quote"] = rates_of(KRW="gone")
    with pytest.raises(ServiceError, match=r"no exchange rate for EURKRW: for USDKRW the site gives none.*--market-cap-currency local"):
        Converter(settings).bands([asked("jp"), asked("kr", "EUR")])
    # The other regions have theirs.
    assert Converter(settings).bands([asked("jp"), asked("gb")])[1].market_cap_min == 228_000_000


@pytest.mark.parametrize("odd", [0, -149.2, "149.2", None, 1 / 149.2, {"raw": "149.2"}, 1e300, float("nan"), "NaN", float("inf"), True, []])
def test_an_implausible_rate_is_rejected(odd: Any, site: Site, settings: Settings) -> None:
    site.answers["quote"] = rates_of(JPY=odd)
    with pytest.raises(ServiceError, match="no exchange rate for USDJPY: the site"):
        Converter(settings).bands([asked("jp")])


def test_a_stale_rate_from_the_site_is_rejected(site: Site, settings: Settings) -> None:
    def answer(days_old: int) -> dict[str, Any]:
        traded = datetime.combine(TODAY - timedelta(days=days_old), datetime.min.time(), timezone.utc).timestamp()
        return {"quoteResponse": {"result": [{"symbol": "JPY=X", "regularMarketPrice": 149.2, "regularMarketTime": traded}]}}

    site.answers["quote"] = answer(8)
    with pytest.raises(ServiceError, match=r": the site's is of 2026-11-20"):
        Converter(settings).bands([asked("jp")])
    site.answers["quote"] = answer(7)
    (band,) = Converter(settings).bands([asked("jp")])
    assert band.wanted is not None
    assert band.wanted.rate_day == TODAY - timedelta(days=7)


def test_bands_of_large_numbers_keep_their_three_digits(site: Site, settings: Settings) -> None:
    site.answers["quote"] = rates_of(VND=26_300.0)
    found = Converter(settings).bands([asked("vn", high=5 * 10**12), asked("us", "VND"), asked("id", "VND"), asked("vn", "KWD")])
    assert [band[:3] for band in found] == [
        ("vn", 7_890_000_000_000, 132_000_000_000_000_000),  # 131.5 quadrillion
        ("us", 11_400, 76_100),  # 11,406.8 and 76,045.6
        ("id", 188_000_000, 1_260_000_000),  # 188.2 and 1254.7 million
        ("vn", 25_600_000_000_000, 172_000_000_000_000),  # 25.69 and 171.3 trillion
    ]


def test_a_stored_rate_is_valid_for_seven_days(site: Site, stored: Callable[..., Settings], caplog: pytest.LogCaptureFixture) -> None:
    site.answers["quote"] = rates_of(JPY="gone")
    with caplog.at_level(logging.WARNING, bands.__name__):
        (band,) = Converter(stored(7)).bands([asked("jp")])
    assert band == RegionBand("jp", 45_000_000_000, 300_000_000_000, WantedBand(LOW, HIGH, "USD", 150.0, date(2026, 11, 21)))
    assert "USDJPY: using the stored one of 2026-11-21; the site gives none" in caplog.text


def test_a_stored_rate_older_than_seven_days_is_rejected(site: Site, stored: Callable[..., Settings]) -> None:
    site.answers["quote"] = rates_of(JPY="gone")
    with pytest.raises(ServiceError, match="none of the last 7 days is stored"):
        Converter(stored(8)).bands([asked("jp")])


def test_rates_from_the_site_are_stored_and_override_stored_ones(site: Site, stored: Callable[..., Settings], tables: Database) -> None:
    site.answers["quote"] = rates_of()
    (band,) = Converter(stored(1)).bands([asked("jp")])
    assert band.wanted is not None
    assert band.wanted.rate == 149.2
    with closing(database.connect(tables)) as connection:
        assert fx_rates.newest(connection, TODAY, 0) == {f"USD{money}": DayRate(TODAY, rate) for money, rate in RATES.items()}


def test_a_failing_site_is_asked_again_unless_a_stored_rate_is_valid(
    site: Site, settings: Settings, stored: Callable[..., Settings]
) -> None:
    site.answers["quote"] = [(500, {}), rates_of()]
    assert Converter(settings).bands([asked("jp")])[0].market_cap_min == 44_700_000_000
    site.answers["quote"] = [(500, {}), rates_of()]
    assert Converter(stored(2)).bands([asked("jp")])[0].market_cap_min == 45_000_000_000


def test_a_site_that_keeps_failing_is_named_as_the_reason(site: Site, settings: Settings) -> None:
    site.answers["quote"] = (503, {})
    with pytest.raises(ServiceError, match=r"no exchange rate for USDJPY: the site gives none \(.*503"):
        Converter(settings).bands([asked("jp")])
    assert len(site.requests) == settings.max_attempts
    # Dollars in the United States need no rate.
    assert Converter(settings).bands([asked("us")])[0][1:3] == (LOW, HIGH)


def test_an_unreachable_database_costs_only_the_stored_rates(site: Site, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    site.answers["quote"] = rates_of()
    away = replace(settings, database=Database(name="none", user="none", host="127.0.0.1", port=1))
    assert Converter(away).bands([asked("jp")])[0].market_cap_min == 44_700_000_000
    assert "neither read from it nor stored" in caplog.text
