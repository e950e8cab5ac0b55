"""Which points make a period, and what it is compared with. All companies are made up."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from pipeline.ratios.fundamentals import Fundamentals, Points, Statements
from pipeline.ratios.periods import fiscal_years, periods
from pipeline.ratios.rows import ratio_rows
from tests.ratios.companies import (
    BEFORE,
    EARLIER,
    LINES,
    NOW,
    QUARTER,
    TODAY,
    annual,
    balance_of,
    changed,
    flows_of,
    plain,
    points,
    row,
    trailing,
    ttm,
)

YEARS = {date(year, 12, 31): LINES for year in range(2019, 2024)}


def ends(company: Fundamentals) -> list[tuple[str, date]]:
    return [(one.period_type, one.period_end) for one in ratio_rows(company)]


def test_four_fiscal_years_are_kept_newest_first() -> None:
    assert [end.year for _, end in ends(plain(statements=Statements(annual=points(YEARS))))] == [2023, 2022, 2021, 2020]


def test_a_complete_fifth_year_still_serves_for_comparison() -> None:
    oldest = ratio_rows(plain(statements=Statements(annual=points(YEARS))))[3]
    assert oldest.values["revenue_growth"] == 0.0


def test_a_sparse_fifth_year_is_not_a_fiscal_year_and_not_compared_with() -> None:
    sparse = {**YEARS, date(2019, 12, 31): {"TotalRevenue": 900, "TotalDebt": 5, "OrdinarySharesNumber": 90}}
    rows = ratio_rows(plain(statements=Statements(annual=points(sparse))))
    assert [one.period_end.year for one in rows] == [2023, 2022, 2021, 2020]
    assert rows[3].null_reasons["revenue_growth"] == "no_prior_period"


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        ({"TotalAssets": 1, "TotalRevenue": 1}, True),
        ({"TotalAssets": 1, "NetIncome": 0}, True),
        ({"TotalAssets": 1, "EBIT": 1}, False),
        ({"TotalRevenue": 1, "NetIncome": 1}, False),
    ],
)
def test_a_fiscal_year_needs_assets_and_revenue_or_income(lines: dict[str, float], counts: bool) -> None:
    assert bool(fiscal_years(points({NOW: lines}), "USD")) is counts


def test_the_year_after_a_missing_year_has_no_comparison() -> None:
    gap = {day: lines for day, lines in YEARS.items() if day.year != 2022}
    rows = ratio_rows(plain(statements=Statements(annual=points(gap))))
    assert [one.period_end.year for one in rows] == [2023, 2021, 2020, 2019]
    assert rows[0].null_reasons["revenue_growth"] == "no_prior_period"
    assert rows[0].null_reasons["return_on_equity"] == "no_prior_period"
    assert rows[1].values["revenue_growth"] == 0.0
    # Three years earlier is there all the same.
    assert rows[0].values["revenue_cagr_3y"] == 0.0


def test_ends_within_a_week_are_one_period_dated_by_the_income_statement() -> None:
    other = NOW - timedelta(days=7)
    company = plain(statements=Statements(annual=points({NOW: flows_of(LINES), other: balance_of(LINES)})))
    found = row(company)
    assert ends(company) == [("annual", NOW)]
    assert found.values["price_to_book"] == pytest.approx(2500 / 750)
    assert found.inputs["lines"]["TotalAssets"] == {other.isoformat(): 2000}


def test_ends_eight_days_apart_are_two_periods() -> None:
    company = plain(statements=Statements(annual=points({NOW: flows_of(LINES), NOW - timedelta(days=8): balance_of(LINES)})))
    assert ends(company) == []


@pytest.mark.parametrize(("days", "found"), [(349, False), (350, True), (380, True), (381, False)])
def test_one_year_earlier_is_350_to_380_days_before(days: int, found: bool) -> None:
    company = plain(statements=Statements(annual=points({NOW - timedelta(days=days): EARLIER, NOW: LINES})))
    assert (row(company).values["revenue_growth"] is not None) is found


def test_the_earlier_period_nearest_to_365_days_is_used() -> None:
    near = NOW - timedelta(days=366)
    for far in (NOW - timedelta(days=352), NOW - timedelta(days=380)):
        company = plain(statements=Statements(annual=points({far: changed(EARLIER, TotalRevenue=1), near: EARLIER, NOW: LINES})))
        assert row(company).values["revenue_growth"] == pytest.approx(0.25)


def test_a_changed_currency_blocks_only_ratios_that_need_both_years() -> None:
    found = row(plain(statements=annual(LINES, EARLIER, {BEFORE: "EUR", NOW: "USD"})))
    assert found.currency == "USD"
    for name in ("revenue_growth", "return_on_equity", "return_on_assets", "days_sales", "share_count_change"):
        assert found.null_reasons[name] == "currency_changed"
    assert found.values["net_margin"] == 0.12
    # Two of the nine tests need one year only, and cash flow above income is one of three.
    assert found.values["piotroski_tested"] == 3


def test_a_missing_line_takes_precedence_over_a_changed_currency() -> None:
    found = row(plain(statements=annual(changed(LINES, Inventory=None), EARLIER, {BEFORE: "EUR", NOW: "USD"})))
    assert found.null_reasons["days_inventory"] == "missing:Inventory"


def test_a_line_in_another_currency_than_the_statement_is_missing() -> None:
    statements = annual(LINES, EARLIER)
    foreign = points({NOW: {"Inventory": 120}}, "EUR")
    company = plain(statements=Statements(annual={**statements.annual, **foreign}))
    assert row(company).null_reasons["days_inventory"] == "missing:Inventory"


def test_points_without_a_currency_are_in_the_financial_currency() -> None:
    assert row(plain(statements=annual(LINES, EARLIER, ""), financial_currency="SEK")).currency == "SEK"
    assert row(plain(statements=annual(LINES, EARLIER, ""), financial_currency=None, currency="GBp")).currency == "GBP"


# The trailing twelve months


def test_a_stale_trailing_point_is_missing_even_if_another_key_is_fresh() -> None:
    # The site returns share counts and EPS of last year beside this year's revenue.
    fresh = changed(LINES, DilutedEPS=None, EBITDA=None)
    found = ttm(plain(statements=trailing({NOW: {"DilutedEPS": 1.0, "EBITDA": 7}, QUARTER: fresh}, balances={QUARTER: LINES})))
    assert found.null_reasons["diluted_eps_growth"] == "missing:DilutedEPS"
    assert found.null_reasons["ebitda_margin"] == "missing:EBITDA"
    assert found.values["net_margin"] == 0.12


def quarters(*days: date, **changes: float | None) -> dict[date, dict[str, float]]:
    quarter = {key: value / 4 for key, value in flows_of(LINES).items()}
    return {day: changed({**quarter, **balance_of(LINES)}, **changes) for day in days}


QUARTERS = (date(2023, 6, 30), date(2023, 9, 30), date(2023, 12, 31), date(2024, 3, 31))


def summed(quarterly: Points) -> Fundamentals:
    """A company without trailing points, with the fiscal year that its quarters are held against."""
    return plain(statements=Statements(annual=points({NOW: LINES}), quarterly=quarterly))


def test_four_quarters_are_summed_if_there_are_no_trailing_points() -> None:
    found = ttm(summed(points(quarters(*QUARTERS))))
    assert found.period_end == QUARTER
    assert found.values["net_margin"] == pytest.approx(0.12)
    assert found.values["price_to_sales"] == pytest.approx(3.0)  # 3000 / (4 × 250)
    assert found.values["current_ratio"] == 2.0  # of the balance, not four times it
    assert found.inputs["lines"]["OrdinarySharesNumber"] == {"2024-03-31": 100}


def test_quarterly_tax_rates_and_earnings_per_share_are_never_summed() -> None:
    found = ttm(summed(points(quarters(*QUARTERS))))
    assert found.null_reasons["diluted_eps_growth"] == "missing:DilutedEPS"
    assert not {"DilutedEPS", "TaxRateForCalcs"} & found.inputs["lines"].keys()


def test_a_key_missing_in_one_quarter_is_missing_in_the_sum() -> None:
    by_day = quarters(*QUARTERS)
    del by_day[QUARTERS[1]]["EBITDA"]
    assert ttm(summed(points(by_day))).null_reasons["ebitda_margin"] == "missing:EBITDA"


@pytest.mark.parametrize(
    "days",
    [
        QUARTERS[1:],  # three only
        (date(2022, 9, 30), date(2023, 3, 31), date(2023, 9, 30), date(2024, 3, 31)),  # half-yearly
        (date(2023, 3, 31), date(2023, 9, 30), date(2023, 12, 31), date(2024, 3, 31)),  # one quarter is missing
    ],
)
def test_quarters_with_a_gap_are_not_summed(days: tuple[date, ...]) -> None:
    assert ends(summed(points(quarters(*days)))) == [("annual", NOW)]


def test_quarters_in_two_currencies_are_not_summed() -> None:
    currencies = dict(zip(QUARTERS, ("EUR", "USD", "USD", "USD"), strict=True))
    assert ends(summed(points(quarters(*QUARTERS), currencies))) == [("annual", NOW)]


@pytest.mark.parametrize(("share", "there"), [(0.41, False), (0.4, True), (0.1, True), (0.09, False)])
def test_a_year_end_quarter_must_be_about_a_quarter_of_the_year(share: float, there: bool) -> None:
    # Two of the fiscal year's quarters are there, so its own last one tells whether they are three months each.
    days = (date(2023, 9, 30), NOW, QUARTER, date(2024, 6, 30))
    by_day = {**quarters(*days), NOW: changed(quarters(NOW)[NOW], TotalRevenue=1000 * share)}
    company = replace(summed(points(by_day)), as_of=date(2024, 8, 1))
    assert (len(ends(company)) == 2) is there


@pytest.mark.parametrize(("off", "there"), [(0.02, True), (0.021, False)])
def test_the_four_quarters_of_a_fiscal_year_must_add_up_to_it(off: float, there: bool) -> None:
    days = (date(2023, 3, 31), date(2023, 6, 30), date(2023, 9, 30), NOW)
    by_day = quarters(*days, TotalRevenue=250 * (1 + off))
    assert (len(ends(summed(points(by_day)))) == 2) is there


def test_quarters_without_a_fiscal_year_among_them_are_not_summed() -> None:
    company = plain(statements=Statements(annual=points({BEFORE: LINES}), quarterly=points(quarters(*QUARTERS))))
    assert ends(company) == [("annual", BEFORE)]


@pytest.mark.parametrize("stray", [date(2024, 4, 30), date(2023, 11, 15)])
def test_a_stray_quarter_removes_no_row(stray: date) -> None:
    by_day = {**quarters(*QUARTERS), stray: {"TotalRevenue": 5.0}}
    assert ttm(summed(points(by_day))).values["price_to_sales"] == pytest.approx(3.0)


def test_a_period_that_ends_after_today_is_ignored() -> None:
    later = date(2024, 12, 31)
    statements = Statements(points({NOW: LINES, later: LINES}), {}, points({QUARTER: flows_of(LINES), later: flows_of(LINES)}))
    assert ends(plain(statements=statements)) == [("annual", NOW), ("ttm", QUARTER)]


HALF = date(2023, 6, 30)


@pytest.mark.parametrize(
    ("before", "odd"), [(BEFORE, True), (date(2022, 6, 30), False), (date(2021, 6, 30), False), (date(2021, 12, 31), True)]
)
def test_the_length_of_a_fiscal_year_follows_from_the_previous_year_end(before: date, odd: bool) -> None:
    found = row(plain(statements=Statements(annual=points({before: EARLIER, HALF: LINES}))), HALF)
    assert (found.null_reasons.get("net_margin") == "period_length") is odd
    assert found.values["current_ratio"] == 2.0
    assert found.quality["length"] == ("odd" if odd else "a year")


def test_comparisons_with_a_year_of_another_length_are_null_but_averages_are_not() -> None:
    later = date(2024, 6, 30)
    company = plain(statements=Statements(annual=points({BEFORE: EARLIER, HALF: EARLIER, later: LINES})), as_of=date(2024, 9, 1))
    found = row(company, later)
    assert found.null_reasons["revenue_growth"] == "period_length"
    assert found.values["return_on_assets"] == pytest.approx(120 / 1800)


def test_a_half_yearly_reporter_has_a_trailing_year_from_the_sites_points() -> None:
    half_years = {date(2023, 6, 30): EARLIER, NOW: LINES}
    found = ttm(plain(statements=trailing({NOW: LINES}, annual(LINES, EARLIER).annual, balances=half_years)))
    assert found.period_end == NOW
    assert found.values["current_ratio"] == 2.0
    # The quarterly balance of a year before is not there, but the fiscal year's own.
    assert found.values["return_on_equity"] == row(plain(statements=annual(LINES, EARLIER))).values["return_on_equity"]


def test_a_trailing_year_older_than_the_newest_fiscal_year_is_left_out() -> None:
    september = date(2023, 9, 30)
    assert ends(plain(statements=trailing({september: LINES}, points({NOW: LINES})))) == [("annual", NOW)]
    assert ends(plain(statements=trailing({september: LINES}, points({BEFORE: LINES})))) == [("annual", BEFORE), ("ttm", september)]


def test_a_trailing_year_that_ends_with_the_fiscal_year_is_kept() -> None:
    assert ends(plain(statements=trailing({NOW: LINES}, points({NOW: LINES})))) == [("annual", NOW), ("ttm", NOW)]


def test_the_trailing_balance_is_dated_within_a_week_of_the_trailing_year() -> None:
    def balance_on(day: date) -> Statements:
        return trailing({QUARTER: LINES}, balances={day: LINES})

    assert ttm(plain(statements=balance_on(QUARTER + timedelta(days=7)))).values["current_ratio"] == 2.0
    other = ttm(plain(statements=balance_on(QUARTER - timedelta(days=8))))
    assert other.null_reasons["current_ratio"] == "missing:CurrentAssets"
    assert other.values["net_margin"] == 0.12


def test_the_trailing_balance_is_annual_only_on_the_fiscal_years_last_day() -> None:
    years = annual(LINES, EARLIER).annual
    assert ttm(plain(statements=trailing({NOW: LINES}, years, balances={}))).values["price_to_book"] == 4
    found = ttm(plain(statements=trailing({QUARTER: LINES}, years, balances={})))
    assert found.null_reasons["price_to_book"] == "missing:CommonStockEquity"


def test_a_trailing_year_in_a_new_currency_takes_no_balance_in_the_old_one() -> None:
    in_euros = Statements({}, points({QUARTER: balance_of(LINES)}, "EUR"), points({QUARTER: flows_of(LINES)}))
    company = plain(statements=in_euros)
    assert ttm(company).null_reasons["price_to_book"] == "missing:CommonStockEquity"
    # The share count, in no currency, is left: that makes no balance sheet without current items.
    assert ttm(company).null_reasons["current_ratio"] == "missing:CurrentAssets"


def test_a_company_without_points_has_no_periods() -> None:
    assert periods(Fundamentals("NONE", TODAY)) == []


def test_the_periods_of_one_company_are_never_given_for_another() -> None:
    statements = Statements(annual=points({NOW: {"TotalAssets": 1, "TotalRevenue": 1}}, ""))
    first, other = plain(statements=statements, financial_currency="EUR"), plain(statements=Statements())
    assert [one.currency for one in periods(first)] == ["EUR"]
    assert [one.currency for one in periods(first)] == ["EUR"]
    assert [one.currency for one in periods(replace(first, financial_currency="USD"))] == ["USD"]
    assert periods(other) == []
    assert [one.currency for one in periods(first)] == ["EUR"]
