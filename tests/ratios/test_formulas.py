"""Every formula on the plain made-up company, with the arithmetic beside it."""

import json
from datetime import date

import pytest

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.fundamentals import CASH_FLOW_KEYS, Point, Statements
from pipeline.ratios.rows import ratio_rows
from tests.ratios.companies import (
    BEFORE,
    EARLIER,
    LINES,
    NOW,
    QUARTER,
    QUARTER_BEFORE,
    annual,
    changed,
    plain,
    points,
    row,
    trailing,
    ttm,
    with_lines,
)

EXPECTED = {
    "market_cap": 2500,  # 25 × 100
    "market_cap_usd": 2500,
    "enterprise_value": 2950,  # 2500 + 500 debt + 50 minority + (800 − 750) preferred − 150 cash
    "price_to_earnings": 2500 / 116,
    "price_to_sales": 2.5,
    "price_to_book": 2500 / 750,
    "price_to_tangible_book": 2500 / 700,
    "price_to_free_cash_flow": 25,
    "ev_to_sales": 2.95,
    "ev_to_ebitda": 14.75,  # 2950 / 200
    "ev_to_ebit": 18.4375,  # 2950 / 160
    "ev_to_free_cash_flow": 29.5,
    "earnings_yield": 0.0464,  # 116 / 2500
    "free_cash_flow_yield": 0.04,
    "dividend_yield": 0.016,  # 40 / 2500
    "shareholder_yield": 0.024,  # (40 + 20) / 2500
    "payout_ratio": 40 / 116,
    "gross_margin": 0.4,
    "operating_margin": 0.15,
    "ebitda_margin": 0.2,
    "net_margin": 0.12,
    "free_cash_flow_margin": 0.1,
    "return_on_equity": 116 / 675,  # (750 + 600) / 2
    "return_on_assets": 120 / 1800,  # (2000 + 1600) / 2
    # 150 × (1 − 30/150) = 120; capital 500+750+50+50−150 = 1200 and 450+600+50+50−110 = 1040, mean 1120
    "return_on_invested_capital": 120 / 1120,
    "return_on_capital_employed": 160 / 1650,  # 2000 − 350
    "gross_profit_to_assets": 0.2,
    "cash_conversion": 1.5,  # 180 / 120
    "current_ratio": 2,
    "quick_ratio": 250 / 350,
    "cash_ratio": 150 / 350,
    "debt_to_equity": 500 / 750,
    "debt_to_assets": 0.25,
    "equity_to_assets": 0.375,
    "net_debt_to_ebitda": 1.75,  # (500 − 150) / 200
    "interest_coverage": 16,
    "equity_multiplier": 1800 / 675,
    "asset_turnover": 1000 / 1800,
    "days_inventory": 365 * 110 / 600,
    "days_sales": 32.85,  # 365 × 90 / 1000
    "days_payables": 365 * 80 / 600,
    "cash_conversion_cycle": 51.1,  # 66.91667 + 32.85 − 48.66667
    "revenue_growth": 0.25,
    "earnings_growth": 116 / 76 - 1,
    "diluted_eps_growth": 0.45,  # 1.16 / 0.8 − 1
    "revenue_cagr_3y": 0.25,  # 1000 / 512 = 1.25³
    "share_count_change": -2 / 102,
    # 1.2 × 350/2000 + 1.4 × 300/2000 + 3.3 × 160/2000 + 0.6 × 2500/1150 + 1000/2000
    "altman_z": 0.21 + 0.21 + 0.264 + 0.6 * 2500 / 1150 + 0.5,
    # All but the turnover, which is 0.5 at both ends.
    "piotroski_f": 8,
    "piotroski_tested": 9,
}


def test_every_ratio_of_the_plain_company_equals_the_hand_calculation() -> None:
    found = row(plain())
    assert found.values == pytest.approx(EXPECTED, rel=1e-12)
    assert found.null_reasons == {}
    assert tuple(found.values) == RATIOS
    assert (found.symbol, found.currency) == ("PLAIN", "USD")


@pytest.mark.parametrize(
    ("taken", "ratio", "value"),
    [
        ("CashCashEquivalentsAndShortTermInvestments", "cash_ratio", 100 / 350),
        ("CommonStockEquity", "price_to_book", 2500 / 800),
        ("NetIncomeCommonStockholders", "price_to_earnings", 2500 / 120),
        ("GrossProfit", "gross_margin", 0.4),
        ("FreeCashFlow", "free_cash_flow_margin", 0.1),
        ("MinorityInterest", "enterprise_value", 2900),
        ("CommonStockDividendPaid", "dividend_yield", 0.016),  # −(−44 − −4) = 40
        ("OperatingIncome", "return_on_invested_capital", 160 * 0.8 / 1120),
        ("PretaxIncome", "return_on_invested_capital", 150 * 0.79 / 1120),  # TaxRateForCalcs 0.21
        ("TaxProvision", "return_on_invested_capital", 150 * 0.79 / 1120),
    ],
)
def test_a_missing_line_is_replaced_by_the_next_of_its_chain(taken: str, ratio: str, value: float) -> None:
    assert row(with_lines(**{taken: None})).values[ratio] == pytest.approx(value)


def test_preferred_stock_follows_its_chain_when_common_equity_is_missing() -> None:
    # 2500 + 500 + 50 + preferred − 150
    base = {"CommonStockEquity": None}
    assert row(with_lines(**base)).values["enterprise_value"] == 2900
    assert row(with_lines(**base, PreferredStock=30)).values["enterprise_value"] == 2930
    assert row(with_lines(**base, PreferredStock=30, PreferredStockEquity=40)).values["enterprise_value"] == 2940


def test_an_average_takes_the_same_key_at_both_dates() -> None:
    # The year before has no CommonStockEquity, so StockholdersEquity it is at both: (800 + 650) / 2.
    company = plain(statements=annual(LINES, changed(EARLIER, CommonStockEquity=None)))
    assert row(company).values["return_on_equity"] == pytest.approx(116 / 725)
    # A ratio of one date still takes the first.
    assert row(company).values["price_to_book"] == pytest.approx(2500 / 750)
    # Growth too: 120 / 80 − 1.
    company = plain(statements=annual(LINES, changed(EARLIER, NetIncomeCommonStockholders=None)))
    assert row(company).values["earnings_growth"] == pytest.approx(0.5)


def test_a_cash_flow_statement_without_a_dividend_line_means_no_dividend() -> None:
    none = {"CommonStockDividendPaid": None, "CashDividendsPaid": None, "PreferredStockDividendPaid": None}
    found = row(with_lines(**none))
    assert (found.values["dividend_yield"], found.values["payout_ratio"]) == (0.0, 0.0)
    assert row(with_lines(**dict.fromkeys(CASH_FLOW_KEYS))).null_reasons["payout_ratio"] == "missing:CommonStockDividendPaid"


@pytest.mark.parametrize("day", [QUARTER_BEFORE, date(2023, 9, 30), NOW])
def test_a_dividend_line_in_another_period_means_missing_instead_of_zero(day: date) -> None:
    none = {"CommonStockDividendPaid": None, "CashDividendsPaid": None, "PreferredStockDividendPaid": None}
    years = annual(changed(LINES, **none), EARLIER).annual
    for table in ("quarterly", "trailing"):
        statements = Statements(**{"annual": years, table: points({day: {"CashDividendsPaid": -5}})})
        assert row(plain(statements=statements)).null_reasons["payout_ratio"] == "missing:CommonStockDividendPaid"


def test_capital_expenditure_of_the_wrong_sign_is_not_used() -> None:
    found = row(with_lines(FreeCashFlow=None, CapitalExpenditure=80))
    assert found.null_reasons["free_cash_flow_margin"] == "unexpected_sign"
    assert row(with_lines(CapitalExpenditure=80)).values["free_cash_flow_margin"] == 0.1


def test_earnings_per_share_may_carry_the_quotes_currency_code() -> None:
    for codes, growth in ((("USD", "USD"), 0.45), (("CNY", "USD"), None)):
        statements = annual(LINES, EARLIER, "CNY")
        eps = {day: Point(point.value, code) for (day, point), code in zip(statements.annual["DilutedEPS"].items(), codes, strict=True)}
        found = row(plain(statements=Statements({**statements.annual, "DilutedEPS": eps}), financial_currency="CNY"))
        assert found.values["diluted_eps_growth"] == (None if growth is None else pytest.approx(growth))
        assert found.null_reasons.get("diluted_eps_growth") == (None if growth else "currency_changed")


def test_a_year_in_thousands_is_compared_with_no_other_year() -> None:
    whole = ("OrdinarySharesNumber", "DilutedEPS", "TaxRateForCalcs")
    thousandths = {key: value if key in whole else value / 1000 for key, value in EARLIER.items()}
    years = {date(2021, 12, 31): EARLIER, BEFORE: thousandths, NOW: LINES}
    company = plain(statements=Statements(annual=points(years)))
    odd, newest = row(company, BEFORE), row(company)
    assert odd.null_reasons["price_to_sales"] == odd.null_reasons["revenue_growth"] == "amount_unit"
    assert (odd.values["market_cap"], odd.values["net_margin"]) == (2040, pytest.approx(0.1))
    assert newest.null_reasons["return_on_equity"] == newest.null_reasons["revenue_growth"] == "amount_unit"
    assert newest.values["price_to_sales"] == 2.5


def test_without_preferred_stock_all_dividends_are_common() -> None:
    found = row(with_lines(CommonStockDividendPaid=None, PreferredStockDividendPaid=None))
    assert found.values["payout_ratio"] == pytest.approx(44 / 116)


@pytest.mark.parametrize(
    "changes",
    [
        {"CommonStockDividendPaid": 40},
        {"CommonStockDividendPaid": None, "CashDividendsPaid": 44},
        {"CommonStockDividendPaid": None, "PreferredStockDividendPaid": 4},
        {"CommonStockDividendPaid": None, "PreferredStockDividendPaid": -60},
    ],
)
def test_a_dividend_of_the_wrong_sign_is_not_used(changes: dict[str, float | None]) -> None:
    found = row(with_lines(**changes))
    for name in ("dividend_yield", "shareholder_yield", "payout_ratio"):
        assert found.null_reasons[name] == "unexpected_sign"
    # Before a denominator that is not above zero.
    assert row(with_lines(**changes, NetIncomeCommonStockholders=-5)).null_reasons["payout_ratio"] == "unexpected_sign"


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({"TaxProvision": 90}, 0.5),  # 0.6
        ({"TaxProvision": -15}, 0.0),
        ({"PretaxIncome": -10}, 0.0),
        ({"PretaxIncome": 0}, 0.0),
        ({"PretaxIncome": -10, "TaxProvision": None}, 0.0),
        ({"PretaxIncome": 5e-324}, 0.5),
        ({"TaxProvision": None, "TaxRateForCalcs": 0.7}, 0.5),
    ],
)
def test_the_tax_rate_is_clamped_between_zero_and_one_half(changes: dict[str, float | None], rate: float) -> None:
    assert row(with_lines(**changes)).values["return_on_invested_capital"] == pytest.approx(150 * (1 - rate) / 1120)


def test_the_trailing_year_uses_the_quarters_balance_and_todays_market_value() -> None:
    years = points({BEFORE: EARLIER, NOW: LINES})
    newest = changed(LINES, TotalRevenue=1100, NetIncomeCommonStockholders=125)
    balances = {QUARTER_BEFORE: EARLIER, QUARTER: changed(LINES, CommonStockEquity=760)}
    found = ttm(plain(statements=trailing({QUARTER: newest}, years, balances=balances)))
    assert found.period_end == QUARTER
    assert found.values["market_cap"] == 3000  # as quoted
    assert found.values["price_to_sales"] == pytest.approx(3000 / 1100)
    assert found.values["price_to_book"] == pytest.approx(3000 / 760)
    assert found.values["return_on_equity"] == pytest.approx(125 / 680)  # (760 + 600) / 2
    assert found.null_reasons["revenue_cagr_3y"] == "not_applicable"
    # One trailing point alone: nothing to grow from, and three of the nine tests can be made, with LongTermDebt, the
    # current ratio and the shares, which are balances.
    assert found.null_reasons["revenue_growth"] == "no_prior_period"
    assert found.values["piotroski_tested"] == 6
    assert found.null_reasons["piotroski_f"] == "not_enough_tests"


def test_trailing_growth_is_measured_from_the_trailing_point_one_year_earlier() -> None:
    found = ttm(plain(statements=trailing({QUARTER_BEFORE: EARLIER, QUARTER: LINES})))
    assert found.values["revenue_growth"] == pytest.approx(0.25)
    assert (found.values["piotroski_f"], found.values["piotroski_tested"]) == (8, 9)


def test_a_year_of_decline_scores_low() -> None:
    # The two years swapped, so that every comparison turns round but the turnover, which stays: ROA 0.05 > 0, OCF 130 > 0,
    # ROA fell, 130/1600 > 80/1600, debt rose from 0.2 to 0.25, current ratio fell, more shares, margin fell: 3 of 9.
    found = row(plain(statements=annual(EARLIER, LINES)))
    assert (found.values["piotroski_f"], found.values["piotroski_tested"]) == (3, 9)
    assert found.inputs["piotroski"]["cash_flow_above_income"] == 1
    assert found.inputs["piotroski"]["no_new_shares"] == 0


def test_the_debt_test_passes_without_debt_and_fails_with_unchanged_debt() -> None:
    none = plain(statements=annual(changed(LINES, LongTermDebt=0), changed(EARLIER, LongTermDebt=0)))
    assert row(none).inputs["piotroski"]["long_term_debt_fell"] == 1
    same = plain(statements=annual(changed(LINES, LongTermDebt=500), EARLIER))  # 0.25 at both
    assert row(same).inputs["piotroski"]["long_term_debt_fell"] == 0


def test_an_unchanged_share_count_passes_its_test() -> None:
    company = plain(statements=annual(LINES, changed(EARLIER, OrdinarySharesNumber=100)))
    assert row(company).inputs["piotroski"]["no_new_shares"] == 1
    assert row(company).values["share_count_change"] == 0.0


def test_a_score_needs_eight_tests() -> None:
    eight = row(with_lines(LongTermDebt=None))
    assert (eight.values["piotroski_f"], eight.values["piotroski_tested"]) == (7, 8)
    seven = row(with_lines(LongTermDebt=None, OrdinarySharesNumber=None))
    assert (seven.values["piotroski_f"], seven.values["piotroski_tested"]) == (None, 7)
    assert seven.null_reasons["piotroski_f"] == "not_enough_tests"


def test_inputs_contain_lines_with_both_dates_and_the_parts_of_the_market_value() -> None:
    inputs = row(plain()).inputs
    assert inputs["lines"]["TotalRevenue"] == {"2020-12-31": 512, "2022-12-31": 800, "2023-12-31": 1000}
    assert inputs["lines"]["Inventory"] == {"2022-12-31": 100, "2023-12-31": 120}
    assert inputs["market"] == {
        "quote_currency": "USD",
        "close": 25.0,
        "close_date": "2023-12-29",
        "rate": 1.0,
        "shares": 100,
        "split_factor": 1.0,
        "rate_to_usd": 1.0,
    }
    assert inputs["piotroski"]["asset_turnover_rose"] == 0
    json.dumps(inputs, allow_nan=False)


def test_inputs_of_the_trailing_year_contain_the_sites_own_ratios() -> None:
    flows = trailing({QUARTER: LINES})
    inputs = ttm(plain(statements=flows, site_ratios={"trailingPE": 25.9})).inputs
    assert inputs["site_ratios"] == {"trailingPE": 25.9}
    assert inputs["market"]["quoted_market_cap"] == 3000.0
    assert inputs["market"]["quoted_on"] == "2024-05-15"


def test_no_statements_give_no_rows() -> None:
    assert ratio_rows(plain(statements=Statements())) == []


def test_there_are_fifty_columns_in_the_order_of_the_contract() -> None:
    assert len(RATIOS) == len(set(RATIOS)) == 50
    assert RATIOS[:3] == ("market_cap", "market_cap_usd", "enterprise_value")
    assert RATIOS[-3:] == ("altman_z", "piotroski_f", "piotroski_tested")
    assert row(plain(), NOW).period_type == "annual"
