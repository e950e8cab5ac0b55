"""Queries of the screener: what is included, what is refused, and where it repeats itself."""

from __future__ import annotations

import random
from typing import Any

import pytest

from local.market.companies import BAND_HIGH, BAND_LOW, Market, build_market
from local.market.faults import Faults, parse
from local.market.screening import QueryError, matches, page_rows, screen


@pytest.fixture(scope="module")
def market() -> Market:
    return build_market()


def between(low: float, high: float) -> dict[str, Any]:
    return {"operator": "BTWN", "operands": ["intradaymarketcap", low, high]}


def test_between_includes_both_ends_at_the_endpoint_and_on_the_page(market: Market) -> None:
    low, high = market.with_trait("at_lower_bound")[0], market.with_trait("at_upper_bound")[0]
    for company in (low, high):
        cap = int(company.market_cap)
        for bounds in ((cap, cap + 1), (cap - 1, cap)):
            assert matches(between(*bounds), company)
            wanted = {"regions": [company.region], "low": bounds[0], "high": bounds[1], "count": 100}
            assert company.symbol in [row["ticker"] for row in page_rows(market, wanted, random.Random(0))["rows"]]
        assert not matches(between(cap + 1, 2 * cap), company)
        assert not matches(between(0, cap - 1), company)


def test_market_caps_are_compared_in_the_listings_currency_unless_a_fault_uses_dollars(market: Market) -> None:
    for company in market.companies:
        within = BAND_LOW <= company.market_cap <= BAND_HIGH
        assert matches(between(BAND_LOW, BAND_HIGH), company) == within
        in_dollars = company in market.in_dollars(company.region, BAND_LOW, BAND_HIGH)
        assert matches(between(BAND_LOW, BAND_HIGH), company, dollars=True) == in_dollars


def test_queries_can_be_joined_with_and_and_or(market: Market) -> None:
    regions = {"operator": "OR", "operands": [{"operator": "EQ", "operands": ["region", code]} for code in ("fr", "de")]}
    body = {"query": {"operator": "AND", "operands": [regions, between(0, 1e15)]}, "size": 250}
    assert screen(market, body)["finance"]["result"][0]["total"] == len(market.in_band("fr", 0, 1e15) + market.in_band("de", 0, 1e15))


def test_beyond_ten_thousand_the_endpoint_repeats_its_rows() -> None:
    market = build_market(9_000)
    assert len(market.companies) > 10_500
    pages = [screen(market, {"query": between(0, 1e15), "size": 250, "offset": offset}) for offset in (9_750, 10_000, 10_250)]
    symbols = [[quote["symbol"] for quote in page["finance"]["result"][0]["quotes"]] for page in pages]
    assert symbols[0] == symbols[1] == symbols[2]


@pytest.mark.parametrize(
    "body",
    [
        {"query": between(0, 1), "size": 251},
        {"query": between(0, 1), "offset": -1},
        {"query": between(0, 1), "sortField": "nothing"},
        {"query": {"operator": "EQ", "operands": ["nothing", 1]}},
        {"query": {"operator": "LIKE", "operands": ["ticker", "A"]}},
        {"query": []},
        {},
    ],
)
def test_unusable_queries_are_refused(market: Market, body: dict[str, Any]) -> None:
    with pytest.raises(QueryError):
        screen(market, body)


@pytest.mark.parametrize("text", ["no_such=0.1", "drop", "drop=", "drop=2", "drop=-0.1", "drop=nan"])
def test_an_unusable_fault_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="expected name=rate"):
        parse(text)


def test_one_fault_does_not_shift_the_draws_of_another() -> None:
    alone, together = Faults({"drop": 0.3}, 1), Faults({"drop": 0.3, "http500": 0.5}, 1)
    assert [alone.strikes("drop") for _ in range(50)] == [
        together.strikes("http500") is None or together.strikes("drop") for _ in range(50)
    ]
    assert alone.injected["drop"] == together.injected["drop"] > 0
