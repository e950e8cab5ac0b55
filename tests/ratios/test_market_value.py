"""Currencies, pence, splits and kinds of shares: what a company was worth, in its statement's currency. All made up."""

from datetime import date, timedelta
from typing import Any

import pytest

from pipeline.ratios.fundamentals import Fundamentals, Rates, Statements
from tests.ratios.companies import (
    BEFORE,
    EARLIER,
    LINES,
    NOW,
    QUARTER,
    TODAY,
    annual,
    changed,
    plain,
    points,
    row,
    trailing,
    ttm,
)

CLOSE_DAY = date(2023, 12, 29)


def both(reported: str = "USD", **changes: Any) -> Fundamentals:
    """The plain company with two fiscal years and a trailing year, all in the currency `reported`."""
    years = annual(LINES, EARLIER, reported).annual
    return plain(statements=trailing({QUARTER: LINES}, years, reported), financial_currency=reported, **changes)


def test_each_year_has_the_market_value_of_its_closing_day() -> None:
    company = both()
    assert row(company).values["market_cap"] == 2500  # 25 × 100
    assert row(company, BEFORE).values["market_cap"] == 2040  # 20 × 102
    assert ttm(company).values["market_cap"] == 3000


@pytest.mark.parametrize(("days", "there"), [(0, True), (10, True), (11, False), (-1, False)])
def test_a_close_is_used_up_to_ten_days_before_the_end_and_never_after(days: int, there: bool) -> None:
    found = row(plain(closes={NOW - timedelta(days=days): 25.0}))
    assert (found.values["market_cap"] == 2500) is there
    if not there:
        for name in ("market_cap", "enterprise_value", "price_to_earnings", "dividend_yield", "altman_z"):
            assert found.null_reasons[name] == "no_price"
        assert found.values["net_margin"] == 0.12


def test_the_latest_of_several_closes_is_used() -> None:
    assert row(plain(closes={NOW - timedelta(days=5): 1.0, NOW - timedelta(days=2): 25.0})).values["market_cap"] == 2500


def test_a_year_without_a_share_count_names_that_key_as_missing() -> None:
    found = row(plain(statements=annual(changed(LINES, OrdinarySharesNumber=None), EARLIER)))
    assert found.null_reasons["price_to_sales"] == "missing:OrdinarySharesNumber"


def test_a_stock_without_a_quote_has_no_price_today() -> None:
    assert ttm(both(market_cap=None)).null_reasons["price_to_sales"] == "no_price"


# Pence


def london(market_cap: float, **changes: Any) -> Fundamentals:
    """3,000 pence a share, 100 shares: worth 3,000 pounds."""
    return both("GBP", currency="GBp", price=3000.0, market_cap=market_cap, closes={CLOSE_DAY: 2500.0}, **changes)


@pytest.mark.parametrize("quoted", [3000.0, 300_000.0], ids=["in pounds", "in pence"])
def test_a_london_market_cap_is_in_pounds_however_it_is_quoted(quoted: float) -> None:
    company = london(quoted)
    assert ttm(company).values["market_cap"] == pytest.approx(3000)
    assert ttm(company).values["price_to_book"] == pytest.approx(4)
    assert ttm(company).currency == "GBP"
    # A close of 2,500 pence is 25 pounds.
    assert row(company).values["market_cap"] == pytest.approx(2500)


@pytest.mark.parametrize(("times", "is_pence"), [(66, False), (67, True), (150, True), (151, False)])
def test_only_a_factor_near_100_is_taken_for_pence(times: int, is_pence: bool) -> None:
    found = ttm(london(3000.0 * times))
    assert found.values["market_cap"] == (pytest.approx(30 * times) if is_pence else None)
    assert found.null_reasons.get("market_cap") == (None if is_pence else "share_unit")


def test_the_statements_share_count_also_reveals_a_market_cap_in_pence() -> None:
    assert ttm(london(300_000.0, shares_outstanding=None)).values["market_cap"] == pytest.approx(3000)


def test_a_dollar_market_cap_is_never_divided() -> None:
    assert ttm(both(market_cap=300_000.0)).null_reasons["market_cap"] == "share_unit"


@pytest.mark.parametrize(("unit", "currency"), [("ZAc", "ZAR"), ("ILA", "ILS")])
def test_cents_of_johannesburg_and_agorot_are_hundredths(unit: str, currency: str) -> None:
    company = both(currency, currency=unit, price=3000.0, market_cap=300_000.0, closes={CLOSE_DAY: 2500.0})
    assert ttm(company).values["market_cap"] == pytest.approx(3000)
    assert row(company).values["market_cap"] == pytest.approx(2500)


# Currencies

RATES = {"USDEUR": Rates(0.9, {CLOSE_DAY: 0.8, date(2022, 12, 28): 0.95}, TODAY)}


def test_market_values_are_converted_at_todays_rate_and_at_the_closes_days() -> None:
    company = both("EUR", rates=RATES)
    assert ttm(company).values["market_cap"] == pytest.approx(2700)  # 3000 × 0.9
    assert row(company).values["market_cap"] == pytest.approx(2000)  # 2500 × 0.8
    assert row(company).values["enterprise_value"] == pytest.approx(2450)  # 2000 + 500 + 50 + 50 − 150, all in euros
    assert row(company, BEFORE).values["market_cap"] == pytest.approx(1938)  # 2040 × 0.95, two days older than the close
    assert row(company).currency == "EUR"
    assert row(company).inputs["market"]["rate"] == 0.8
    assert row(company, BEFORE).inputs["market"]["rate_date"] == "2022-12-28"


@pytest.mark.parametrize(("days", "there"), [(7, True), (8, False), (-1, False)])
def test_a_rate_is_used_up_to_seven_days_before_the_close(days: int, there: bool) -> None:
    company = both("EUR", rates={"USDEUR": Rates(0.9, {CLOSE_DAY - timedelta(days=days): 0.8}, TODAY)})
    assert (row(company).values["market_cap"] is not None) is there


def test_without_a_rate_only_ratios_of_price_and_statement_are_null() -> None:
    for company in (both("EUR"), both("EUR", rates={"EURUSD": Rates(1.1, today_on=TODAY)}), both("EUR", currency=None)):
        for found in (row(company), ttm(company)):
            assert found.null_reasons["market_cap"] == "fx_unavailable"
            assert found.null_reasons["ev_to_ebitda"] == "fx_unavailable"
            assert found.null_reasons["dividend_yield"] == "fx_unavailable"
            assert found.values["current_ratio"] == 2.0
            assert found.values["net_margin"] == 0.12


def test_pence_and_dollars_are_both_converted() -> None:
    # 3,000 pence = 30 pounds; × 100 shares × 1.25 dollars a pound.
    company = both("USD", currency="GBp", price=3000.0, market_cap=3000.0, rates={"GBPUSD": Rates(1.25, today_on=TODAY)})
    assert ttm(company).values["market_cap"] == pytest.approx(3750)


def test_a_statement_in_pence_gets_its_market_value_in_pence() -> None:
    assert ttm(both("GBp", currency="GBp", price=3000.0, market_cap=3000.0)).values["market_cap"] == pytest.approx(300_000)
    in_dollars = both("GBp", rates={"USDGBP": Rates(0.8, today_on=TODAY)})
    assert ttm(in_dollars).values["market_cap"] == pytest.approx(240_000)  # 3000 × 0.8 pounds


def test_a_missing_price_takes_precedence_over_a_missing_rate() -> None:
    assert row(both("EUR", closes={})).null_reasons["market_cap"] == "no_price"


# Splits: the closes are as after every split, whatever the share counts are.

SPLIT = {date(2023, 6, 5): 4.0}


def counts(before: float, now: float, **changes: Any) -> Fundamentals:
    return plain(
        statements=annual(changed(LINES, OrdinarySharesNumber=now), changed(EARLIER, OrdinarySharesNumber=before)),
        shares_outstanding=now,
        market_cap=30 * now,
        **changes,
    )


def test_a_split_already_in_the_share_counts_is_not_corrected() -> None:
    found = row(counts(408, 400, splits=SPLIT), BEFORE)
    assert found.values["market_cap"] == 20 * 408
    assert found.inputs["market"]["split_factor"] == 1.0


def test_a_split_missing_from_the_share_counts_is_corrected() -> None:
    # 102 shares at 80 dollars then are 408 at today's 20.
    company = counts(102, 400, splits=SPLIT)
    assert row(company, BEFORE).values["market_cap"] == 20 * 408
    assert row(company, BEFORE).inputs["market"]["split_factor"] == 4.0
    assert row(company).values["market_cap"] == 25 * 400
    assert row(company).values["share_count_change"] == pytest.approx(400 / 408 - 1)
    assert row(company).inputs["piotroski"]["no_new_shares"] == 1


def test_every_year_before_an_unadjusted_split_is_corrected() -> None:
    two_before = date(2021, 12, 31)
    lines = {two_before: changed(EARLIER, OrdinarySharesNumber=104), BEFORE: changed(EARLIER, OrdinarySharesNumber=102)}
    statements = Statements(annual=points({**lines, NOW: changed(LINES, OrdinarySharesNumber=400)}))
    company = plain(statements=statements, splits=SPLIT, closes={two_before: 10.0}, market_cap=12_000.0, shares_outstanding=400.0)
    assert row(company, two_before).values["market_cap"] == 10 * 416
    assert row(company, BEFORE).values["share_count_change"] == pytest.approx(102 / 104 - 1)


def test_a_reverse_split_is_corrected_the_same_way() -> None:
    company = counts(1020, 100, splits={date(2023, 6, 5): 0.1})
    assert row(company, BEFORE).values["market_cap"] == pytest.approx(20 * 102)


@pytest.mark.parametrize(("jump", "factor"), [(1.5, 1.0), (1.6, None), (2.5, None), (2.53, 4.0), (3.2, 4.0), (8, 4.0)])
def test_a_count_is_classified_if_one_reading_is_twice_as_near(jump: float, factor: float | None) -> None:
    # By 4: as near to the one as to the other at a jump of 2, twice as near to 1 up to 4^(1/3), to 4 from 4^(2/3) on.
    found = row(counts(100, 100 * jump, splits=SPLIT), BEFORE)
    assert found.inputs["market"].get("split_factor") == factor
    if factor is None:
        assert found.null_reasons["market_cap"] == "split_unclear"
        assert row(counts(100, 100 * jump, splits=SPLIT)).null_reasons["share_count_change"] == "split_unclear"


def test_a_small_stock_dividend_is_not_taken_for_a_jump_if_the_count_stays() -> None:
    assert row(counts(100, 100, splits={date(2023, 6, 5): 1.05}), BEFORE).inputs["market"]["split_factor"] == 1.0
    assert row(counts(100, 105, splits={date(2023, 6, 5): 1.05}), BEFORE).inputs["market"]["split_factor"] == 1.05


def test_a_split_after_the_last_fiscal_year_is_found_in_a_quarter_or_todays_count() -> None:
    later = {date(2024, 2, 5): 4.0}
    for quarterly, outstanding in ((points({QUARTER: {"OrdinarySharesNumber": 400}}), 400.0), ({}, 400.0)):
        statements = Statements(annual=annual(LINES, EARLIER).annual, quarterly=quarterly)
        company = plain(statements=statements, splits=later, shares_outstanding=outstanding, market_cap=12_000.0)
        assert row(company).values["market_cap"] == 25 * 400
        assert row(company, BEFORE).values["market_cap"] == 20 * 408


def test_a_split_before_a_period_does_not_touch_it() -> None:
    assert row(counts(100, 400, splits=SPLIT)).values["market_cap"] == 25 * 400


def test_a_count_dated_on_the_splits_day_already_includes_it() -> None:
    assert row(counts(408, 400, splits={BEFORE: 4.0}), BEFORE).values["market_cap"] == 20 * 408
    # A jump after that day is none of the split's.
    assert row(counts(102, 408, splits={BEFORE: 4.0}), BEFORE).inputs["market"]["split_factor"] == 1.0


def test_quarterly_counts_do_not_hide_a_split_that_annual_ones_show() -> None:
    company = counts(102, 400, splits=SPLIT)
    restated = points({date(2023, 3, 31): {"OrdinarySharesNumber": 404}, QUARTER: {"OrdinarySharesNumber": 400}})
    statements = Statements(annual=company.statements.annual, quarterly=restated)
    mixed = plain(statements=statements, splits=SPLIT, market_cap=12_000.0, shares_outstanding=400.0)
    assert row(mixed, BEFORE).values["market_cap"] == 20 * 408


# Shares of another kind


@pytest.mark.parametrize(("market_cap", "same"), [(1980.0, False), (2040.0, True), (4470.0, True), (4530.0, False)])
def test_a_market_cap_far_from_price_times_shares_means_another_share_class(market_cap: float, same: bool) -> None:
    # Price × shares is 3,000: the bounds are 2,010 and 4,500.
    company = both(market_cap=market_cap)
    assert (row(company).values["market_cap"] == 2500) is same
    if not same:
        assert row(company).null_reasons["price_to_earnings"] == "share_unit"
        assert row(company).null_reasons["altman_z"] == "share_unit"
    # Earnings per share say the same, so nothing speaks for the quoted one either.
    assert ttm(company).null_reasons.get("market_cap") == (None if same else "share_unit")


def test_one_witness_is_enough_for_the_quoted_market_cap() -> None:
    # An ADR of four shares: its earnings per share are those of an ADR.
    per_adr = trailing({QUARTER: changed(LINES, DilutedEPS=4 * 1.16)})
    company = plain(statements=per_adr, market_cap=750.0, shares_outstanding=25.0)
    assert ttm(company).values["market_cap"] == 750
    assert ttm(company).quality["market_cap"] == "price_times_earnings_by_eps"


def test_a_market_cap_without_a_witness_is_used_and_marked() -> None:
    without = trailing({QUARTER: changed(LINES, DilutedEPS=None)}, balances={})
    found = ttm(plain(statements=without, market_cap=750.0))
    assert (found.values["market_cap"], found.quality["market_cap"]) == (750, "no witness")


@pytest.mark.parametrize(("days", "there"), [(10, True), (11, False), (None, False)])
def test_an_old_quote_gives_no_market_value(days: int | None, there: bool) -> None:
    found = ttm(both(quoted_on=None if days is None else TODAY - timedelta(days=days)))
    assert (found.values["market_cap"] == 3000) is there
    assert found.null_reasons.get("market_cap") == (None if there else "no_price")


# Units of a series


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({"steps": {date(2024, 2, 1): 100.0}}, False),
        ({"steps": {date(2024, 2, 1): 1 / 1000}}, False),
        ({"steps": {date(2024, 2, 1): 0.1}}, True),  # a crash is none
        ({"steps": {date(2023, 2, 1): 100.0}}, True),  # before the close that is used
        ({"steps": {date(2024, 2, 1): 3.9}, "splits": {date(2024, 2, 6): 4.0}}, False),
        ({"steps": {date(2024, 2, 1): 0.26}, "splits": {date(2024, 2, 6): 4.0}}, False),
        ({"steps": {date(2024, 2, 1): 1.05}, "splits": {date(2024, 2, 1): 4.0}}, True),
        ({"steps": {date(2024, 2, 1): 3.9}, "splits": {date(2024, 3, 1): 4.0}}, True),  # not near its day
        ({"newest_close": (date(2024, 5, 15), 31.0)}, True),
        ({"newest_close": (date(2024, 2, 1), 31.0), "splits": {date(2024, 2, 5): 2.0}}, False),  # no close since
        ({"newest_close": (date(2024, 5, 15), 3000.0)}, False),
        ({"newest_close": (date(2024, 5, 15), 3000.0), "chart_currency": "USD"}, False),
        ({"newest_close": (date(2024, 5, 15), 30.0), "chart_currency": "SEK"}, False),
    ],
)
def test_closes_in_mixed_units_give_no_value(changes: dict[str, Any], holds: bool) -> None:
    statements = Statements(annual=annual(LINES, EARLIER).annual, quarterly=points({QUARTER: {"OrdinarySharesNumber": 100}}))
    found = row(plain(statements=statements, **changes))
    assert found.null_reasons.get("market_cap") == (None if holds else "price_unit")


def test_closes_are_in_the_charts_own_unit() -> None:
    company = both("GBP", currency="GBP", closes={CLOSE_DAY: 2500.0}, chart_currency="GBp", newest_close=(date(2024, 5, 15), 3000.0))
    assert row(company).values["market_cap"] == pytest.approx(2500)


def test_a_share_is_taken_as_ordinary_only_with_evidence() -> None:
    assert row(both(market_cap=None)).values["market_cap"] == 2500  # by the shares outstanding
    assert row(both(market_cap=None, shares_outstanding=25.0)).null_reasons["market_cap"] == "share_unit"
    assert row(both(market_cap=None, shares_outstanding=None)).null_reasons["market_cap"] == "share_unit"
    assert row(both(price=0.0, shares_outstanding=None)).null_reasons["market_cap"] == "share_unit"


# More about splits and counts


def test_a_spin_off_listed_as_a_split_changes_no_count() -> None:
    when = date(2023, 6, 5)
    company = counts(100, 100, splits={when: 1.281}, steps={when: 1.01})
    assert row(company).values["share_count_change"] == 0
    # Closes before it are divided by it.
    assert row(company, BEFORE).values["market_cap"] == pytest.approx(20 * 100 * 1.281)
    assert row(company).values["market_cap"] == 2500
    undivided = counts(100, 100, splits={when: 1.281}, steps={when: 1 / 1.281})
    assert row(undivided, BEFORE).null_reasons["market_cap"] == "split_unclear"


@pytest.mark.parametrize("count", [1.0, 1000.0, 0.5])
def test_a_count_far_from_both_neighbours_is_rejected(count: float) -> None:
    two_before = date(2021, 12, 31)
    years = {day: changed(EARLIER, OrdinarySharesNumber=n) for day, n in ((two_before, 1e6), (BEFORE, count), (NOW, 1e6))}
    company = plain(statements=Statements(annual=points(years)), shares_outstanding=1e6, market_cap=3e7)
    assert row(company, BEFORE).null_reasons["market_cap"] == "missing:OrdinarySharesNumber"
    assert row(company).null_reasons["share_count_change"] == "missing:OrdinarySharesNumber"
    assert row(company).values["market_cap"] == 25e6


@pytest.mark.parametrize(
    ("outstanding", "market_cap", "days", "factor"),
    [
        (400.0, 12_000.0, 5, 4.0),  # the quote knows of it already
        (100.0, 3_000.0, 40, 1.0),  # old enough: the counts were restated
        (100.0, 3_000.0, 5, None),  # restated, or nothing was
        (25.0, 750.0, 5, 1.0),  # the statements were restated, the quote not yet
    ],
)
def test_only_the_quote_can_decide_a_split_after_every_statement(
    outstanding: float, market_cap: float, days: int, factor: float | None
) -> None:
    splits = {TODAY - timedelta(days=days): 4.0}
    company = plain(statements=annual(LINES, EARLIER), splits=splits, shares_outstanding=outstanding, market_cap=market_cap)
    found = row(company)
    if factor is None:
        assert found.null_reasons["market_cap"] == "split_unclear"
        assert ttm(both(splits=splits)).null_reasons["market_cap"] == "split_unclear"
    elif found.values["market_cap"] is None:
        assert found.null_reasons["market_cap"] == "share_unit"
    else:
        assert found.values["market_cap"] == 25 * 100 * factor


def test_a_single_restated_count_is_recognized_by_its_jump() -> None:
    two_before = date(2021, 12, 31)
    years = {two_before: 400, BEFORE: 100, NOW: 400}
    lines = {day: changed(EARLIER, OrdinarySharesNumber=count) for day, count in years.items()}
    company = plain(
        statements=Statements(annual=points(lines)),
        splits=SPLIT,
        closes={two_before: 10.0, BEFORE: 10.0},
        market_cap=12e3,
        shares_outstanding=400.0,
    )
    assert row(company, two_before).values["market_cap"] == row(company, BEFORE).values["market_cap"] == 4000


@pytest.mark.parametrize(
    ("eps", "before", "growth"),
    [(1.16, 0.76, 1.16 / 0.76), (1.16, 3.04, 1.16 / 0.76), (1.16, 1.5, None)],
)
def test_growth_of_earnings_per_share_is_adjusted_for_splits(eps: float, before: float, growth: float | None) -> None:
    # 116 of earnings on 100 shares; 76 on 100, given as on 25 before the split.
    company = plain(statements=annual(changed(LINES, DilutedEPS=eps), changed(EARLIER, DilutedEPS=before)), splits=SPLIT)
    found = row(company)
    assert found.values["diluted_eps_growth"] == (None if growth is None else pytest.approx(growth - 1))
    assert found.null_reasons.get("diluted_eps_growth") == (None if growth else "split_unclear")


def test_the_share_unit_is_checked_against_the_newest_count() -> None:
    company = both(market_cap=6000.0, shares_outstanding=200.0)
    newer = {**company.statements.quarterly, **points({QUARTER: {"OrdinarySharesNumber": 200}})}
    statements = Statements(company.statements.annual, newer, company.statements.trailing)
    assert row(plain(statements=statements, market_cap=6000.0)).values["market_cap"] == 2500


def test_pence_are_not_mistaken_for_another_share_class() -> None:
    assert row(london(300_000.0)).values["market_cap"] == pytest.approx(2500)


def test_a_missing_price_takes_precedence_over_the_share_class() -> None:
    assert row(both(market_cap=12_000.0, closes={})).null_reasons["market_cap"] == "no_price"
    assert row(both("EUR", market_cap=12_000.0)).null_reasons["market_cap"] == "share_unit"
