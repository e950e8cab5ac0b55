"""Reading the site's answers: timeseries and charts."""

from datetime import date
from typing import Any

import pytest

from pipeline.ratios.fundamentals import Point
from pipeline.yahoo.answers import parse_chart, parse_timeseries


def series(name: str, *points: Any) -> dict[str, Any]:
    return {"timeseries": {"result": [{"meta": {"type": [name]}, "timestamp": [1], name: list(points)}], "error": None}}


def point(day: str, raw: Any, period_type: str = "12M", currency: str = "USD") -> dict[str, Any]:
    return {"asOfDate": day, "periodType": period_type, "currencyCode": currency, "reportedValue": {"raw": raw, "fmt": "x"}}


def test_points_are_read_by_frequency_key_and_day() -> None:
    found = parse_timeseries(series("annualTotalDebt", point("2022-09-30", 1.5), point("2023-09-30", 2, currency="EUR")))
    assert found.annual == {"TotalDebt": {date(2022, 9, 30): Point(1.5, "USD"), date(2023, 9, 30): Point(2.0, "EUR")}}
    assert found.quarterly == found.trailing == {}


@pytest.mark.parametrize(
    ("name", "period_type", "counts"),
    [
        ("annualEBIT", "12M", True),
        ("annualEBIT", "3M", False),
        ("annualEBIT", "9M", False),
        ("quarterlyEBIT", "3M", True),
        ("quarterlyEBIT", "6M", False),
        ("trailingEBIT", "TTM", True),
        ("trailingEBIT", "12M", False),
    ],
)
def test_only_points_of_the_requested_frequency_are_read(name: str, period_type: str, counts: bool) -> None:
    found = parse_timeseries(series(name, point("2023-09-30", 1.0, period_type)))
    assert bool(found.annual or found.quarterly or found.trailing) is counts


def test_the_later_of_two_points_for_one_day_wins() -> None:
    found = parse_timeseries(series("annualEBIT", point("2023-09-30", 1.0), point("2022-09-30", 5.0), point("2023-09-30", 2.0)))
    assert found.annual["EBIT"] == {date(2023, 9, 30): Point(2.0, "USD"), date(2022, 9, 30): Point(5.0, "USD")}
    # Of another period type it is no point at all; without a figure it is the last word.
    assert parse_timeseries(series("annualEBIT", point("2023-09-30", 1.0), point("2023-09-30", 2.0, "3M"))).annual
    assert not parse_timeseries(series("annualEBIT", point("2023-09-30", 1.0), point("2023-09-30", None))).annual


@pytest.mark.parametrize("raw", [None, "5", "", float("nan"), float("inf"), 10**400, True, [], {}])
def test_values_that_are_not_finite_numbers_are_missing(raw: Any) -> None:
    assert parse_timeseries(series("annualEBIT", point("2023-09-30", raw))).annual == {}


@pytest.mark.parametrize("broken", [None, 5, "x", {}, {"asOfDate": "2023-02-30"}, {**point("", 1.0), "asOfDate": None}, point("soon", 1.0)])
def test_a_broken_point_is_skipped_and_the_others_are_kept(broken: Any) -> None:
    assert len(parse_timeseries(series("annualEBIT", broken, point("2023-09-30", 1.0))).annual["EBIT"]) == 1


@pytest.mark.parametrize("day", ["0001-01-01", "1899-12-31", "2200-01-01", "9999-12-31"])
def test_an_impossible_statement_date_is_rejected(day: str) -> None:
    assert parse_timeseries(series("annualEBIT", point(day, 1.0))).annual == {}


@pytest.mark.parametrize("stamp", [-(10**11) + 1, -(10**12), 10**11 - 1, 10**18, 10**30])
def test_an_impossible_price_time_is_rejected(stamp: int) -> None:
    splits = {"1": {"date": stamp, "numerator": 3, "denominator": 2}}
    payload = chart([stamp], [5.0], events={"splits": splits})
    payload["chart"]["result"][0]["meta"]["regularMarketTime"] = stamp
    found = parse_chart(payload)
    assert (found.closes(), found.splits, found.quoted_on) == ({}, {}, None)


def test_unknown_keys_and_keys_without_data_are_left_out() -> None:
    payload = {"timeseries": {"result": [{"meta": {"type": ["annualEBIT"]}}, series("annualGoodwill", point("2023-09-30", 1.0))]}}
    assert parse_timeseries(payload).annual == {}


# Charts


def chart(stamps: list[Any], closes: list[Any], zone: str = "America/New_York", **more: Any) -> dict[str, Any]:
    meta = {"currency": "USD", "exchangeTimezoneName": zone, "regularMarketPrice": 9.5, "regularMarketTime": 1704142800}
    return {"chart": {"result": [{"meta": meta, "timestamp": stamps, "indicators": {"quote": [{"close": closes}]}, **more}]}}


def test_a_close_is_dated_by_the_exchanges_local_day() -> None:
    # Midnight in London in summer is 23:00 UTC of the day before; 10:00 in Auckland is 21:00 UTC of the day before.
    assert parse_chart(chart([1688166000], [1.3], "Europe/London")).closes() == {date(2023, 7, 1): 1.3}
    assert parse_chart(chart([1704142800], [5.0], "Pacific/Auckland")).closes() == {date(2024, 1, 2): 5.0}


def test_an_unknown_zone_falls_back_on_the_offset_and_then_on_utc() -> None:
    payload = chart([1704142800], [5.0], "No/Where")
    assert parse_chart(payload).closes() == {date(2024, 1, 1): 5.0}
    payload["chart"]["result"][0]["meta"]["gmtoffset"] = 46_800
    assert parse_chart(payload).closes() == {date(2024, 1, 2): 5.0}


def test_unsorted_null_and_non_positive_closes_do_no_harm() -> None:
    day = 86_400
    found = parse_chart(chart([3 * day, day, None, 2 * day, 4 * day, 5 * day, day], [3.0, 1.0, 9.0, None, -1.0, 0.0, 1.5], "UTC"))
    assert found.closes() == {date(1970, 1, 2): 1.5, date(1970, 1, 4): 3.0}
    assert list(found.timestamps) == sorted(found.timestamps)


def test_closes_near_a_day_are_found_without_reading_all() -> None:
    day = 86_400
    found = parse_chart(chart([n * day + 52_200 for n in range(1000)], [float(n + 1) for n in range(1000)]))
    assert found.closes_until(date(1971, 1, 1), 2) == {date(1970, 12, 30): 364.0, date(1970, 12, 31): 365.0, date(1971, 1, 1): 366.0}


def test_splits_are_new_shares_per_old_share() -> None:
    splits = {"1": {"date": 1704119400, "numerator": 3, "denominator": 2}, "2": {"date": 0, "numerator": 1, "denominator": 0}, "3": None}
    found = parse_chart(chart([], [], events={"splits": splits}))
    assert found.splits == {date(2024, 1, 1): 1.5}


def test_price_currency_and_day_come_from_the_charts_meta_data() -> None:
    found = parse_chart(chart([], []))
    assert (found.price, found.currency, found.quoted_on) == (9.5, "USD", date(2024, 1, 1))
    empty = parse_chart({"chart": {"result": None, "error": {}}})
    assert (empty.price, empty.currency, empty.quoted_on, empty.closes(), empty.splits) == (None, None, None, {}, {})
