"""Exchange rates from quotes: what is believed, and what is refused with which reason."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any

import pytest

from local.market.regions import MARKET_DAY, quoted_rate
from pipeline.errors import TransientError
from pipeline.wire.currencies import REGION_CURRENCIES, DayRate
from pipeline.yahoo.rates import dollar_rates, read_quotes

TODAY = date(2026, 11, 28)


def stamp(day: int, month: int = 11) -> int:
    return int(datetime(2026, month, day, 21, tzinfo=timezone.utc).timestamp())


def quote(**fields: Any) -> dict[str, Any]:
    usual = {"symbol": "JPY=X", "quoteType": "CURRENCY", "currency": "JPY", "regularMarketPrice": 149.2, "regularMarketTime": stamp(27)}
    return {name: value for name, value in (usual | fields).items() if value != "gone"}


def answer(*quotes: Any) -> dict[str, Any]:
    return {"quoteResponse": {"result": list(quotes), "error": None}}


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({}, 27),
        ({"regularMarketPrice": {"raw": 149.2, "fmt": "149.20"}}, 27),
        ({"symbol": "USDJPY=X"}, 27),
        ({"currency": "gone"}, 27),
        ({"regularMarketTime": stamp(21)}, 21),
        ({"regularMarketTime": "gone"}, 28),
        ({"regularMarketTime": "yesterday"}, 28),
        ({"regularMarketTime": stamp(27) * 1000}, 28),
        ({"regularMarketTime": stamp(28)}, 28),
        ({"regularMarketTime": stamp(20, 12)}, 28),
    ],
)
def test_a_rate_has_the_day_of_its_quote(fields: dict[str, Any], day: int) -> None:
    found = read_quotes(answer(quote(symbol="KRW=X", currency="KRW", regularMarketPrice=1400), quote(**fields)), ["JPY"], TODAY, {})
    assert (found.rates, found.refused) == ({"USDJPY": DayRate(date(2026, 11, day), 149.2)}, {})


@pytest.mark.parametrize(
    ("quotes", "reason"),
    [
        ([], "the site gives none"),
        ([None, "JPY=X", {}], "the site gives none"),
        ([quote(symbol="KRW=X")], "the site gives none"),
        ([quote(symbol="JPYUSD=X")], "the site gives none"),
        ([quote(currency="KRW")], "the site's quote is in 'KRW', not in JPY"),
        ([quote(currency="USD", regularMarketPrice=0.0067)], "the site's quote is in 'USD', not in JPY"),
        ([quote(currency="gone", regularMarketPrice=0.0067)], "the site's 0.0067 stands upside down"),
        ([quote(regularMarketPrice=0)], "the site's '0' is no rate"),
        ([quote(regularMarketPrice=-149.2)], "the site's '-149.2' is no rate"),
        ([quote(regularMarketPrice="149.2")], "the site's '149.2' is no rate"),
        ([quote(regularMarketPrice="Infinity")], "the site's 'Infinity' is no rate"),
        ([quote(regularMarketPrice=float("nan"))], "the site's 'nan' is no rate"),
        ([quote(regularMarketPrice=None)], "the site's 'None' is no rate"),
        ([quote(regularMarketPrice=True)], "the site's 'True' is no rate"),
        ([quote(regularMarketPrice={})], "the site's '{}' is no rate"),
        ([quote(regularMarketPrice=1e-300)], "the site's '1e-300' is no rate"),
        ([quote(regularMarketTime=stamp(20))], "the site's is of 2026-11-20"),
        ([quote(), quote(regularMarketPrice=151.0)], "the site gives several: 149.2, 151.0"),
    ],
)
def test_an_answer_that_is_not_a_rate_of_the_pair_is_refused(quotes: list[Any], reason: str) -> None:
    found = read_quotes(answer(*quotes), ["JPY"], TODAY, {})
    assert (found.rates, found.refused) == ({}, {"USDJPY": reason})


def test_the_last_stored_rate_distinguishes_a_rate_near_one_from_its_inverse() -> None:
    upside_down = answer(quote(symbol="EUR=X", currency="gone", regularMarketPrice=1.15))
    stored = {"USDEUR": DayRate(date(2026, 11, 26), 0.87)}
    assert read_quotes(upside_down, ["EUR"], TODAY, stored).refused == {"USDEUR": "the site's 1.15 stands upside down"}
    assert read_quotes(upside_down, ["EUR"], TODAY, {}).rates == {"USDEUR": DayRate(date(2026, 11, 27), 1.15)}


@pytest.mark.parametrize("payload", [None, [], {}, {"quoteResponse": None}, {"quoteResponse": {"result": None}}, "text"])
def test_an_answer_of_another_shape_is_requested_again(payload: Any) -> None:
    with pytest.raises(TransientError, match="another shape"):
        read_quotes(payload, ["JPY"], TODAY, {})


def test_one_request_brings_all_rates_and_only_unknown_ones_are_missing(local_market: str) -> None:
    found = dollar_rates(REGION_CURRENCIES.values(), MARKET_DAY, {})
    known = set(REGION_CURRENCIES.values()) - {"USD", "VES"}
    assert found.rates == {f"USD{money}": DayRate(MARKET_DAY, quoted_rate("USD", money, MARKET_DAY)) for money in known}
    assert found.refused == {"USDVES": "the site gives none"}
