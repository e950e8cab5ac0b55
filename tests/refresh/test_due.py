"""Due or not: one case a reason, and what holds for every quote."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.refresh import due
from pipeline.refresh.due import Evidence, after_fetch, from_json, to_json, verdict

FETCHED = datetime(2026, 6, 30, 22, tzinfo=timezone.utc)
NIGHT = FETCHED + timedelta(days=1)
QUOTE = {
    "regularMarketPrice": 50.0,
    "marketCap": 5_000_000_000,
    "sharesOutstanding": 100_000_000,
    "epsTrailingTwelveMonths": 2.35,
    "bookValue": 20.123,
    "currency": "USD",
    "financialCurrency": "USD",
    "earningsTimestamp": int((FETCHED - timedelta(days=40)).timestamp()),
}
LAST = Evidence(FETCHED, QUOTE, date(2026, 3, 31), first=False)


def asked(last: Evidence | None = LAST, now: datetime = NIGHT, max_age: float = 45, all_: bool = False, **changed: Any) -> tuple[bool, str]:
    quote = {name: value for name, value in {**QUOTE, **changed}.items() if value is not None}
    return verdict(quote, last, now, max_age, all_, "ABC")


def stamp(when: datetime) -> int:
    return int(when.timestamp())


def test_an_ordinary_day_is_not_due() -> None:
    assert asked(regularMarketPrice=51.3, marketCap=5_130_000_000) == (False, "unchanged")


@pytest.mark.parametrize("field", due.EARNINGS_FIELDS)
def test_an_earnings_time_since_the_last_fetch_makes_due_whichever_field_has_it(field: str) -> None:
    assert asked(**{field: stamp(FETCHED + timedelta(hours=3))}) == (True, "earnings_time")
    assert asked(**{field: stamp(NIGHT + timedelta(hours=3))}) == (False, "unchanged"), "not yet"
    assert asked(**{field: stamp(FETCHED - timedelta(hours=3))}) == (False, "unchanged"), "the fetch came after it"


def test_a_remembered_earnings_time_makes_due_even_if_the_quote_names_the_next_one() -> None:
    then = replace(LAST, quote={**QUOTE, "earningsTimestamp": stamp(FETCHED + timedelta(hours=5))})
    assert asked(then, earningsTimestamp=stamp(NIGHT + timedelta(days=90))) == (True, "earnings_time")


@pytest.mark.parametrize("written", [lambda t: str(t), lambda t: 1000 * t, lambda t: f"{datetime.fromtimestamp(t, timezone.utc):%FT%TZ}"])
def test_an_earnings_time_may_be_a_text_or_in_milliseconds(written: Callable[[int], Any]) -> None:
    assert asked(earningsTimestamp=written(stamp(FETCHED + timedelta(hours=3)))) == (True, "earnings_time")
    assert asked(earningsTimestamp=written(stamp(NIGHT + timedelta(hours=3)))) == (False, "unchanged")
    then = replace(LAST, quote={**QUOTE, "earningsTimestampEnd": written(stamp(FETCHED + timedelta(hours=3)))})
    assert asked(then, earningsTimestamp=None) == (True, "earnings_time")


def test_a_postponed_report_is_due_when_it_comes_and_an_early_one_at_once() -> None:
    day = timedelta(days=1)
    then = replace(LAST, quote={**QUOTE, "earningsTimestamp": stamp(FETCHED + day / 2)})
    assert asked(then, earningsTimestamp=stamp(FETCHED + 10 * day)) == (False, "unchanged"), "put off"
    assert asked(then, FETCHED + 11 * day, earningsTimestamp=stamp(FETCHED + 10 * day)) == (True, "earnings_time")
    assert asked(then, FETCHED + 11 * day, earningsTimestamp=stamp(FETCHED + 100 * day)) == (True, "earnings_time"), "names the one after"
    then = replace(LAST, quote={**QUOTE, "earningsTimestamp": stamp(FETCHED + 9 * day)})
    assert asked(then, earningsTimestamp=stamp(FETCHED + 5 * day)) == (False, "unchanged"), "brought forward"
    assert asked(then, FETCHED + 6 * day, earningsTimestamp=stamp(FETCHED + 5 * day)) == (True, "earnings_time")
    assert asked(then, FETCHED + 6 * day, earningsTimestamp=stamp(FETCHED + 96 * day)) == (True, "earnings_time"), "names the one after"


def test_fields_that_a_later_quote_lacks_are_remembered() -> None:
    then = replace(LAST, quote={**QUOTE, "earningsTimestamp": stamp(FETCHED + timedelta(days=20))})
    bare = {"regularMarketPrice": 51.0, "marketCap": 5_100_000_000, "currency": "USD"}
    last = after_fetch(bare, then, "age", date(2026, 3, 31), NIGHT, False)
    assert verdict(bare, last, NIGHT + timedelta(days=1), 45) == (False, "unchanged")
    assert verdict(bare, last, NIGHT + timedelta(days=20), 1000) == (True, "earnings_time")
    assert verdict({**bare, "epsTrailingTwelveMonths": 2.9}, last, NIGHT + timedelta(days=1), 45) == (True, "eps_changed")


@pytest.mark.parametrize("shares", [0, -1, "", "n/a", float("nan"), pytest.param(10**400, id="huge"), None])
def test_a_share_count_of_zero_is_not_a_change(shares: Any) -> None:
    assert asked(sharesOutstanding=shares) == (False, "unchanged")
    assert asked(replace(LAST, quote={**QUOTE, "sharesOutstanding": shares})) == (False, "unchanged")


def test_a_price_of_0_is_no_price_and_a_suspended_stock_is_not_fetched_every_night() -> None:
    assert asked(regularMarketPrice=0) == (True, "no_quote")
    suspended = after_fetch({**QUOTE, "regularMarketPrice": 0}, LAST, "no_quote", LAST.newest_period, FETCHED, False)
    assert asked(suspended, regularMarketPrice=None) == (False, "unchanged")
    assert asked(suspended, regularMarketPrice=None, bookValue=3.1) == (True, "book_value_changed")


def test_a_symbol_taken_over_by_another_company_is_due() -> None:
    other = {"regularMarketPrice": 50.4, "marketCap": 900_000_000, "epsTrailingTwelveMonths": -0.4, "bookValue": 3.1}
    for name in ("epsTrailingTwelveMonths", "bookValue"):
        assert asked(**{name: other[name]})[0]
    assert asked(**other)[0]


def test_a_vanished_stock_that_has_a_quote_again_is_due() -> None:
    gone = after_fetch({"currency": "USD"}, replace(LAST, newest_period=None), "report_awaited", None, FETCHED, False)
    assert gone.ask_on is not None
    assert verdict({"currency": "USD"}, gone, NIGHT, 45) == (False, "unchanged")
    assert verdict(QUOTE, gone, NIGHT, 45) == (True, "figures_appeared")
    back = after_fetch(QUOTE, gone, "figures_appeared", None, NIGHT, False)
    assert verdict(QUOTE, back, NIGHT + timedelta(days=1), 45) == (False, "unchanged"), "the site still has no statements"
    kept = after_fetch({}, LAST, "report_awaited", LAST.newest_period, FETCHED, False)
    assert verdict(QUOTE, kept, FETCHED + timedelta(hours=9), 45) == (True, "figures_appeared")


def test_a_clock_set_back_makes_due_only_if_the_fetch_is_too_far_in_the_future() -> None:
    assert asked(now=FETCHED - timedelta(hours=3)) == (False, "unchanged")
    assert asked(now=FETCHED - timedelta(days=9)) == (False, "unchanged")
    assert asked(now=FETCHED - timedelta(days=46)) == (True, "age")
    assert asked(now=FETCHED - timedelta(days=9), earningsTimestamp=stamp(FETCHED - timedelta(days=4))) == (False, "unchanged")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"epsTrailingTwelveMonths": 2.41}, "eps_changed"),
        ({"bookValue": 20.901}, "book_value_changed"),
        ({"sharesOutstanding": 101_000_000}, "shares_changed"),
        ({"currency": "EUR"}, "currency_changed"),
        ({"financialCurrency": "EUR"}, "currency_changed"),
        ({"regularMarketPrice": 25.4}, "price_step"),
        ({"regularMarketPrice": 151.0, "marketCap": 5_050_000_000}, "price_step"),
        ({"regularMarketPrice": 5.02, "marketCap": 502_000_000}, "price_step"),
    ],
)
def test_evidence_in_the_quote_makes_a_stock_due(changed: dict[str, Any], why: str) -> None:
    assert asked(**changed) == (True, why)


@pytest.mark.parametrize(
    "changed",
    [
        {"epsTrailingTwelveMonths": 2.36},
        {"bookValue": 20.124},
        {"sharesOutstanding": 100_050_000},
        {"regularMarketPrice": 38.0, "marketCap": 3_800_000_000},
        {"epsTrailingTwelveMonths": None, "bookValue": None, "earningsTimestamp": None, "sharesOutstanding": None},
    ],
)
def test_rounding_small_buybacks_bad_days_and_missing_fields_are_not_evidence(changed: dict[str, Any]) -> None:
    assert asked(**changed) == (False, "unchanged")


def test_earnings_in_another_currency_may_change_with_the_rate() -> None:
    foreign = replace(LAST, quote={**QUOTE, "financialCurrency": "JPY"})
    assert asked(foreign, financialCurrency="JPY", epsTrailingTwelveMonths=2.40) == (False, "unchanged")
    assert asked(foreign, financialCurrency="JPY", epsTrailingTwelveMonths=2.60) == (True, "eps_changed")


def test_a_stock_without_a_price_is_due() -> None:
    assert asked(regularMarketPrice=None) == (True, "no_quote")


def test_stocks_never_fetched_are_due_and_so_is_everything_with_refresh_all() -> None:
    assert asked(None) == (True, "first_fetch")
    assert asked(all_=True) == (True, "refresh_all")


def test_old_statements_become_due_by_age_but_not_all_in_one_night() -> None:
    first = replace(LAST, first=True)
    nights = {
        symbol: next(day for day in range(100) if verdict(QUOTE, first, FETCHED + timedelta(days=day), 45, False, symbol).due)
        for symbol in map(str, range(900))
    }
    assert min(nights.values()) >= 15
    assert max(nights.values()) == 45
    assert max(list(nights.values()).count(day) for day in range(46)) < 900 / 15
    assert asked(now=FETCHED + timedelta(days=45)) == (True, "age")


def test_a_report_missing_from_the_statements_is_requested_at_growing_intervals() -> None:
    last, now, nights = LAST, NIGHT, []
    quote = {**QUOTE, "earningsTimestamp": stamp(NIGHT - timedelta(hours=2))}
    for day in range(40):
        found = verdict(quote, last, now + timedelta(days=day), 1000, False, "ABC")
        if found.due:
            nights.append((day, found.why))
            last = after_fetch(quote, last, found.why, date(2026, 3, 31), now + timedelta(days=day), False)
    assert nights == [
        (0, "earnings_time"),
        (1, "report_awaited"),
        (3, "report_awaited"),
        (7, "report_awaited"),
        (15, "report_awaited"),
        (31, "report_awaited"),
    ]


@pytest.mark.parametrize("why", ["refresh_all", "shares_changed", "currency_changed", "figures_appeared"])
def test_a_report_is_awaited_whatever_else_the_fetch_was_made_for(why: str) -> None:
    for news in ({"epsTrailingTwelveMonths": 2.41}, {"earningsTimestamp": stamp(FETCHED + timedelta(hours=3))}):
        last = after_fetch({**QUOTE, **news}, LAST, why, LAST.newest_period, NIGHT, False)
        assert asked(last, NIGHT + timedelta(days=1), **news) == (True, "report_awaited")
    last = after_fetch(QUOTE, LAST, why, LAST.newest_period, NIGHT, False)
    assert last.ask_on is None, "nothing was published"


@pytest.mark.parametrize(
    ("told", "step", "awaited"),
    [
        (date(2026, 6, 30), 91, True),  # the last report came after the next period's end
        (date(2026, 5, 2), 91, False),  # it is that of the newest period
        (date(2026, 10, 20), 91, True),  # the next report is of the period after the next one
        (date(2026, 8, 2), 91, False),  # it is of the next period
        (date(2026, 6, 30), 182, False),  # half-yearly
        (date(2026, 6, 30), None, False),  # of one period alone, nothing is known
        (date(2025, 12, 2), 91, False),  # the quote is older than the statements
        (date(2027, 6, 30), 91, False),  # the statements are no longer given, rather than late
    ],
)
def test_a_first_fetch_just_after_a_report_awaits_its_period(told: date, step: int | None, awaited: bool) -> None:
    quote = {**QUOTE, "earningsTimestamp": stamp(datetime(told.year, told.month, told.day, 12, tzinfo=timezone.utc))}
    last = after_fetch(quote, None, "first_fetch", date(2026, 3, 31), FETCHED, True, step)
    assert verdict(quote, last, NIGHT, 45, symbol="ABC") == ((True, "report_awaited") if awaited else (False, "unchanged"))


def test_the_step_between_two_periods_is_the_newest_one_of_a_quarter_to_a_year() -> None:
    quarter, half, year = date(2026, 3, 31), date(2025, 9, 30), date(2025, 3, 31)
    assert due.step_of([quarter, date(2025, 12, 31), year]) == 90
    assert due.step_of([quarter, quarter - timedelta(days=3), half]) == 182
    assert due.step_of([quarter, year]) == 365
    assert [due.step_of([]), due.step_of([quarter]), due.step_of([quarter, date(2024, 3, 31)])] == [None, None, None]


def test_nothing_is_awaited_once_the_period_is_there() -> None:
    waiting = after_fetch(QUOTE, LAST, "earnings_time", date(2026, 3, 31), NIGHT, False)
    assert waiting.ask_on == date(2026, 7, 2)
    found = after_fetch(QUOTE, waiting, "report_awaited", date(2026, 6, 30), NIGHT + timedelta(days=1), False)
    assert (found.asked, found.ask_on, found.newest_period) == (0, None, date(2026, 6, 30))


def test_a_symbol_without_statements_is_requested_at_growing_intervals() -> None:
    last, nights = after_fetch(QUOTE, None, "first_fetch", None, FETCHED, False), []
    for day in range(40):
        if verdict(QUOTE, last, FETCHED + timedelta(days=day), 1000, False, "ABC").due:
            nights.append(day)
            last = after_fetch(QUOTE, last, "report_awaited", None, FETCHED + timedelta(days=day), False)
    assert nights == [4, 12, 28]


NUMBERS = st.one_of(
    st.none(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**15), 10**15), st.booleans(), st.text(max_size=3)
)
QUOTES = st.dictionaries(st.sampled_from(due.KEPT_FIELDS), NUMBERS)


@given(QUOTES, QUOTES, st.integers(0, 400), st.floats(0.1, 1000))
def test_every_quote_gives_a_verdict_with_a_reason(now: dict[str, Any], then: dict[str, Any], days: int, age: float) -> None:
    last = replace(LAST, quote=then)
    found = verdict(now, last, FETCHED + timedelta(days=days), age, False, "ABC")
    assert found.why
    assert found.due == (found.why != "unchanged")
    assert found.due or days < age


@given(QUOTES, st.booleans())
@example({"regularMarketPrice": 1.0, "marketCap": 5e-324}, False)
def test_a_quote_just_fetched_is_not_evidence_and_reads_back_as_stored(quote: dict[str, Any], first: bool) -> None:
    kept = {name: value for name, value in quote.items() if not isinstance(value, str)}
    last = after_fetch({**kept, "regularMarketPrice": 3.0}, None if first else LAST, "age", date(2026, 3, 31), FETCHED, True)
    assert verdict({**kept, "regularMarketPrice": 3.0}, last, FETCHED + timedelta(minutes=1), 45, False, "ABC") == (False, "unchanged")
    assert from_json(to_json(last), FETCHED) == last
