"""Why a value is NULL: one reason, the first that holds. All companies are made up."""

import pytest

from pipeline.ratios.formulas import NOT_FOR_FINANCIALS, RATIOS, is_financial
from pipeline.ratios.fundamentals import FLOW_KEYS, KEYS, Statements
from tests.ratios.companies import (
    EARLIER,
    LINES,
    NOW,
    QUARTER,
    THREE_YEARS_AGO,
    annual,
    changed,
    plain,
    points,
    row,
    trailing,
    ttm,
    with_lines,
)

#: What a bank doesn't report.
NOT_A_BANKS = dict.fromkeys(
    ("CurrentAssets", "CurrentLiabilities", "EBIT", "EBITDA", "Inventory", "GrossProfit", "CostOfRevenue", "OperatingIncome")
)


@pytest.mark.parametrize("industry", ["Banks - Regional", "Banks - Diversified", "Insurance - Life", "Mortgage Finance"])
def test_ratios_without_meaning_for_financial_companies_are_null(industry: str) -> None:
    found = row(plain(industry=industry))
    assert {name for name, reason in found.null_reasons.items() if reason == "not_applicable"} == NOT_FOR_FINANCIALS
    assert found.values["price_to_book"] == pytest.approx(2500 / 750)
    assert found.values["debt_to_assets"] == 0.25
    assert found.values["cash_conversion"] == 1.5
    assert found.values["piotroski_tested"] == 9


@pytest.mark.parametrize("industry", ["Insurance Brokers", "Capital Markets", "Financial Data & Stock Exchanges", "Trucking"])
def test_brokers_and_exchanges_do_not_count_as_banks(industry: str) -> None:
    assert not is_financial(plain(industry=industry))


def test_a_bank_of_unknown_industry_is_recognized_by_missing_items() -> None:
    bank = plain(industry=None, statements=annual(changed(LINES, **NOT_A_BANKS), changed(EARLIER, **NOT_A_BANKS)))
    assert is_financial(bank)
    assert row(bank).null_reasons["current_ratio"] == "not_applicable"
    assert row(bank).null_reasons["enterprise_value"] == "not_applicable"
    for key in ("CurrentAssets", "CurrentLiabilities", "EBITDA", "GrossProfit"):
        lines = changed(LINES, **{**NOT_A_BANKS, key: 0})
        assert not is_financial(plain(industry=None, statements=annual(lines))), key


def test_not_applicable_takes_precedence_over_every_other_reason() -> None:
    bank = plain(industry="Banks - Regional", closes={}, statements=annual(changed(LINES, **NOT_A_BANKS)))
    assert row(bank).null_reasons["ev_to_ebit"] == "not_applicable"
    assert row(bank).null_reasons["price_to_sales"] == "no_price"


def test_a_balance_without_current_items_has_no_liquidity() -> None:
    found = row(with_lines(CurrentAssets=None, CurrentLiabilities=None))
    names = ("current_ratio", "quick_ratio", "cash_ratio", "return_on_capital_employed", "altman_z")
    assert {name: found.null_reasons[name] for name in names} == dict.fromkeys(names, "not_applicable")
    # The year of three years before is not there.
    assert set(found.null_reasons) == {*names, "revenue_cagr_3y"}
    assert row(with_lines(CurrentAssets=None)).null_reasons["current_ratio"] == "missing:CurrentAssets"


def test_a_missing_balance_sheet_is_a_gap_and_not_a_lack_of_current_items() -> None:
    found = ttm(plain(statements=trailing({QUARTER: LINES}, balances={})))
    assert found.null_reasons["current_ratio"] == "missing:CurrentAssets"


#: Ratio → the reason when the line named after the colon is taken away: the first key of its chain.
MISSING = {
    "enterprise_value": "missing:TotalDebt",
    "price_to_sales": "missing:TotalRevenue",
    "price_to_tangible_book": "missing:TangibleBookValue",
    "ev_to_ebitda": "missing:EBITDA",
    "ev_to_ebit": "missing:EBIT",
    "shareholder_yield": "missing:NetCommonStockIssuance",
    "operating_margin": "missing:OperatingIncome",
    "net_margin": "missing:NetIncome",
    "return_on_capital_employed": "missing:CurrentLiabilities",
    "cash_conversion": "missing:OperatingCashFlow",
    "current_ratio": "missing:CurrentAssets",
    "quick_ratio": "missing:AccountsReceivable",
    "debt_to_equity": "missing:TotalDebt",
    "interest_coverage": "missing:InterestExpense",
    "days_inventory": "missing:Inventory",
    "days_sales": "missing:AccountsReceivable",
    "days_payables": "missing:AccountsPayable",
    "cash_conversion_cycle": "missing:CostOfRevenue",
    "diluted_eps_growth": "missing:DilutedEPS",
    "share_count_change": "missing:OrdinarySharesNumber",
    "altman_z": "missing:RetainedEarnings",
}


@pytest.mark.parametrize(("ratio", "reason"), MISSING.items())
def test_a_missing_line_is_named(ratio: str, reason: str) -> None:
    key = reason.split(":")[1]
    assert row(with_lines(**{key: None})).null_reasons[ratio] == reason


def test_a_year_without_assets_is_not_used_for_comparison() -> None:
    found = row(plain(statements=annual(LINES, changed(EARLIER, TotalAssets=None))))
    assert found.null_reasons["return_on_assets"] == "no_prior_period"


@pytest.mark.parametrize(
    ("gone", "ratio", "reason"),
    [
        (("GrossProfit", "CostOfRevenue"), "gross_margin", "missing:GrossProfit"),
        (("FreeCashFlow", "CapitalExpenditure"), "free_cash_flow_margin", "missing:FreeCashFlow"),
        (("CommonStockEquity", "StockholdersEquity"), "price_to_book", "missing:CommonStockEquity"),
        (("NetIncomeCommonStockholders", "NetIncome"), "price_to_earnings", "missing:NetIncomeCommonStockholders"),
        (
            ("CashCashEquivalentsAndShortTermInvestments", "CashAndCashEquivalents"),
            "cash_ratio",
            "missing:CashCashEquivalentsAndShortTermInvestments",
        ),
        (("OperatingIncome", "EBIT"), "return_on_invested_capital", "missing:OperatingIncome"),
        (("TaxProvision", "TaxRateForCalcs"), "return_on_invested_capital", "missing:TaxProvision"),
        (("PretaxIncome", "TaxRateForCalcs"), "return_on_invested_capital", "missing:PretaxIncome"),
    ],
)
def test_a_wholly_missing_chain_is_named_by_its_first_key(gone: tuple[str, ...], ratio: str, reason: str) -> None:
    assert row(with_lines(**dict.fromkeys(gone))).null_reasons[ratio] == reason


#: Key → the ratios that use it, none of its own chain's others left. Every other ratio must stay as it was.
USES = {
    "Inventory": {"days_inventory", "cash_conversion_cycle"},
    "AccountsPayable": {"days_payables", "cash_conversion_cycle"},
    "EBITDA": {"ev_to_ebitda", "ebitda_margin", "net_debt_to_ebitda"},
    "InterestExpense": {"interest_coverage"},
    "DilutedEPS": {"diluted_eps_growth"},
    "RetainedEarnings": {"altman_z"},
    "TangibleBookValue": {"price_to_tangible_book"},
    "NetCommonStockIssuance": {"shareholder_yield"},
    "TotalLiabilitiesNetMinorityInterest": {"altman_z"},
    "CurrentAssets": {"current_ratio", "altman_z", "piotroski_f", "piotroski_tested"},
    "LongTermDebt": {"piotroski_f", "piotroski_tested"},
}


@pytest.mark.parametrize(("key", "users"), USES.items())
def test_a_missing_line_touches_only_the_ratios_that_use_it(key: str, users: set[str]) -> None:
    whole, lacking = row(plain()), row(plain(statements=_without(key)))
    assert {name for name in RATIOS if lacking.values[name] != whole.values[name]} == users


def _without(key: str) -> Statements:
    statements = plain().statements
    return Statements(annual={name: points for name, points in statements.annual.items() if name != key})


def test_reasons_rank_missing_then_no_prior_period_then_denominator() -> None:
    alone = annual(changed(LINES, Inventory=None, CommonStockEquity=-1, NetIncomeCommonStockholders=None, NetIncome=None))
    found = row(plain(statements=alone))
    assert found.null_reasons["days_inventory"] == "missing:Inventory"
    assert found.null_reasons["days_sales"] == "no_prior_period"
    assert found.null_reasons["equity_multiplier"] == "no_prior_period"
    assert found.null_reasons["return_on_equity"] == "missing:NetIncomeCommonStockholders"
    assert found.null_reasons["price_to_earnings"] == "missing:NetIncomeCommonStockholders"


def test_a_missing_price_takes_precedence_over_a_missing_line() -> None:
    assert row(plain(closes={}, statements=annual(changed(LINES, EBITDA=None)))).null_reasons["ev_to_ebitda"] == "no_price"


@pytest.mark.parametrize("value", [0, -5])
@pytest.mark.parametrize(
    ("key", "ratio", "what"),
    [
        ("NetIncomeCommonStockholders", "price_to_earnings", "earnings"),
        ("NetIncomeCommonStockholders", "payout_ratio", "earnings"),
        ("CommonStockEquity", "price_to_book", "equity"),
        ("CommonStockEquity", "debt_to_equity", "equity"),
        ("TangibleBookValue", "price_to_tangible_book", "TangibleBookValue"),
        ("FreeCashFlow", "ev_to_free_cash_flow", "free_cash_flow"),
        ("EBITDA", "net_debt_to_ebitda", "EBITDA"),
        ("EBIT", "ev_to_ebit", "EBIT"),
        ("NetIncome", "cash_conversion", "NetIncome"),
        ("TotalRevenue", "net_margin", "TotalRevenue"),
        ("CostOfRevenue", "days_inventory", "CostOfRevenue"),
        ("CurrentLiabilities", "current_ratio", "CurrentLiabilities"),
        ("TotalLiabilitiesNetMinorityInterest", "altman_z", "TotalLiabilitiesNetMinorityInterest"),
    ],
)
def test_a_denominator_of_zero_or_less_is_named(key: str, ratio: str, what: str, value: float) -> None:
    assert row(with_lines(**{key: value})).null_reasons[ratio] == f"non_positive:{what}"


def test_negative_equity_at_either_end_makes_return_on_equity_null() -> None:
    later = row(with_lines(CommonStockEquity=-10))
    earlier = row(plain(statements=annual(changed(LINES, CommonStockEquity=5000), changed(EARLIER, CommonStockEquity=-10))))
    for found in (later, earlier):
        assert found.null_reasons["return_on_equity"] == "non_positive:equity"
        assert found.null_reasons["equity_multiplier"] == "non_positive:equity"
    # What divides by equity at one date only, and what has it as a summand, stands.
    assert earlier.values["price_to_book"] == pytest.approx(0.5)
    assert later.values["equity_to_assets"] == pytest.approx(-0.005)
    assert later.values["return_on_invested_capital"] is not None


def test_growth_from_a_loss_or_from_zero_is_null() -> None:
    for value in (0, -3):
        before = changed(EARLIER, NetIncomeCommonStockholders=value, DilutedEPS=value, TotalRevenue=value)
        found = row(plain(statements=annual(LINES, before)))
        assert found.null_reasons["earnings_growth"] == "non_positive:earnings"
        assert found.null_reasons["diluted_eps_growth"] == "non_positive:DilutedEPS"
        assert found.null_reasons["revenue_growth"] == "non_positive:TotalRevenue"
    # Growth into a loss is.
    assert row(with_lines(NetIncomeCommonStockholders=-76)).values["earnings_growth"] == -2.0


def test_a_negative_enterprise_value_is_stored_without_multiples() -> None:
    found = row(with_lines(CashCashEquivalentsAndShortTermInvestments=5000))
    assert found.values["enterprise_value"] == -1900  # 2500 + 500 + 50 + 50 − 5000
    for name in ("ev_to_sales", "ev_to_ebitda", "ev_to_ebit", "ev_to_free_cash_flow"):
        assert found.null_reasons[name] == "non_positive:enterprise_value"
    # The denominator comes first.
    assert row(with_lines(CashCashEquivalentsAndShortTermInvestments=5000, EBIT=-1)).null_reasons["ev_to_ebit"] == "non_positive:EBIT"


@pytest.mark.parametrize("quoted", [0.0, -1.0])
def test_a_market_cap_of_zero_or_less_is_null(quoted: float) -> None:
    flows = trailing({QUARTER: LINES})
    found = ttm(plain(statements=flows, market_cap=quoted))
    for name in ("market_cap", "enterprise_value", "price_to_sales", "earnings_yield", "altman_z"):
        assert found.null_reasons[name] == "non_positive:market_cap"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"InterestExpense": 0}, "no_debt_cost"),
        ({"InterestExpense": None, "TotalDebt": 0}, "no_debt_cost"),
        ({"InterestExpense": None}, "missing:InterestExpense"),
        ({"InterestExpense": None, "TotalDebt": None}, "missing:InterestExpense"),
        ({"InterestExpense": -10}, "non_positive:InterestExpense"),
        ({"InterestExpense": 0, "EBIT": None}, "missing:EBIT"),
    ],
)
def test_interest_coverage_distinguishes_no_debt_from_a_gap(changes: dict[str, float | None], reason: str) -> None:
    assert row(with_lines(**changes)).null_reasons["interest_coverage"] == reason


def test_a_figure_beyond_a_double_is_missing() -> None:
    found = row(with_lines(TotalRevenue=5e-324, TotalAssets=1e308, TotalDebt=1e308))
    assert found.null_reasons["price_to_sales"] == "non_finite"
    assert found.null_reasons["gross_margin"] == "non_finite"
    assert found.values["debt_to_assets"] == 1.0


def test_a_company_of_zeros_gives_reasons_and_no_error() -> None:
    zeros = dict.fromkeys(KEYS, 0.0)
    found = row(plain(statements=annual(zeros, zeros)))
    assert set(found.null_reasons) == {name for name in RATIOS if found.values[name] is None}
    # market_cap is 25 × 0.
    assert found.null_reasons["market_cap"] == "non_positive:market_cap"
    assert found.values["piotroski_tested"] is not None
    assert set(FLOW_KEYS) < KEYS


@pytest.mark.parametrize(("revenue", "growth"), [(-10.0, None), (0.0, -1.0)])
def test_negative_revenue_has_no_mean_growth_and_zero_revenue_has_minus_100_percent(revenue: float, growth: float | None) -> None:
    lines = {THREE_YEARS_AGO: {"TotalRevenue": 512, "TotalAssets": 1200}, NOW: changed(LINES, TotalRevenue=revenue)}
    found = row(plain(statements=Statements(annual=points(lines))))
    assert found.values["revenue_cagr_3y"] == growth
    assert found.null_reasons.get("revenue_cagr_3y") == (None if growth else "non_positive:TotalRevenue")
