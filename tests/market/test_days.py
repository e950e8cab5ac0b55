"""The market's days: what happens on each, what stays, and what the site lets one see of it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from local.market import payloads
from local.market.companies import BAND_HIGH, BAND_LOW, REGION_SHARES, Company, Market, build_market
from local.market.regions import MARKET_DAY
from tests.market.conftest import running

STOCKS = 1000


@pytest.fixture(scope="module")
def days() -> dict[int, Market]:
    return {day: build_market(STOCKS, 1, day) for day in (0, 1, 2, 45)}


def happening(days: dict[int, Market], day: int, event: str) -> list[str]:
    return [found.symbol for found in days[0].events(day) if found.event == event]


def company(market: Market, symbol: str) -> Company:
    found = market.company(symbol)
    assert found is not None
    return found


def test_four_percent_of_companies_report_and_some_split_or_restate(days: dict[int, Market]) -> None:
    assert days[0].events(0) == []
    for day in (1, 2, 10):
        counts = Counter(event.event for event in days[0].events(day))
        assert 0.02 < counts["report"] / STOCKS < 0.07
        assert counts["split"]
        assert counts["silent_restatement"]
        # Whatever day it stands on, the market says the same of a day.
        assert days[45].events(day) == days[0].events(day)


def test_companies_without_an_event_keep_statements_and_closes_but_get_a_new_price(days: dict[int, Market]) -> None:
    happened = {event.symbol for event in days[0].events(1)}
    moved = 0
    for before, now in zip(days[0].companies, days[1].companies, strict=True):
        assert now.today == MARKET_DAY + timedelta(days=1)
        if before.symbol not in happened:
            assert now.statements == before.statements
            assert now.prices.closes[:-1] == before.prices.closes
            moved += now.price != before.price
    assert moved > 0.97 * STOCKS


def test_the_band_has_the_requested_stocks_on_every_day(days: dict[int, Market]) -> None:
    for market in days.values():
        assert sum(len(market.in_dollars(region, BAND_LOW, BAND_HIGH)) for region in REGION_SHARES) == STOCKS


def test_a_report_adds_a_period_and_changes_the_quote(days: dict[int, Market]) -> None:
    shown: Counter[str] = Counter()
    for symbol in happening(days, 1, "report"):
        before, now = company(days[0], symbol), company(days[1], symbol)
        quarters = [market.statements.quarterly.get("TotalAssets") for market in (before, now)]
        if quarters[0] and quarters[1]:
            assert quarters[1][-1].day > quarters[0][-1].day
            assert len(quarters[1]) == len(quarters[0])
            assert quarters[1][-1].day <= now.today
        assert (
            payloads.quote(before).get("epsTrailingTwelveMonths") != payloads.quote(now).get("epsTrailingTwelveMonths") or not quarters[0]
        )
        times = [payloads.quote(one).get("earningsTimestamp") for one in (before, now)]
        shown["none" if times[1] is None else "newer" if times[0] != times[1] else "same"] += 1
    assert shown["none"]
    assert shown["newer"]


def test_a_split_changes_prices_and_shares_but_not_the_market_cap(days: dict[int, Market]) -> None:
    for symbol in happening(days, 1, "split"):
        before, now = company(days[0], symbol), company(days[2], symbol)
        assert now.schedule.split is not None
        factor = now.schedule.split.factor
        assert now.price == pytest.approx(before.price / factor, rel=0.05)
        assert now.prices.closes[0] == pytest.approx(before.prices.closes[0] / factor, rel=1e-3)
        assert now.market_cap == pytest.approx(before.market_cap, rel=0.05)
        assert now.prices.splits[MARKET_DAY + timedelta(days=1)] == factor


def test_a_silent_restatement_changes_statements_but_not_the_quote(days: dict[int, Market]) -> None:
    others = {event.symbol for event in days[0].events(1) if event.event != "silent_restatement"}
    silent = [symbol for symbol in happening(days, 1, "silent_restatement") if symbol not in others]
    changed = 0
    for symbol in silent:
        before, now = company(days[0], symbol), company(days[1], symbol)
        changed += before.statements != now.statements
        names = ("sharesOutstanding", "bookValue", "earningsTimestamp")
        assert [payloads.quote(before).get(name) for name in names] == [payloads.quote(now).get(name) for name in names]
    assert changed
    assert changed >= len(silent) - 2


def test_the_server_announces_and_serves_the_events_of_a_day(days: dict[int, Market]) -> None:
    with running("--day", "1", "--stocks", str(STOCKS)) as market:
        assert market.get("/market/events?day=1") == [event._asdict() for event in days[0].events(1)]
        assert market.get("/market/events") == market.get("/market/events?day=1")
        chart = market.get(f"/v8/finance/chart/{days[1].companies[0].symbol}?range=5d")["chart"]["result"][0]
        assert chart["meta"]["regularMarketPrice"] == days[1].companies[0].price == chart["indicators"]["quote"][0]["close"][-1]
