"""Wrong numbers seen in other programs, each with the right one. All companies are made up."""

from datetime import date

import pytest

from pipeline.ratios.fundamentals import Rates
from pipeline.ratios.rows import ratio_rows
from pipeline.yahoo.answers import parse_chart
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
    row,
    trailing,
    ttm,
    with_lines,
)


def test_market_cap_over_revenue_is_price_to_sales_and_never_a_price() -> None:
    found = row(plain())
    assert found.values["price_to_sales"] == 2.5  # 2500 / 1000
    assert found.inputs["market"]["close"] == 25.0


def test_enterprise_value_subtracts_cash() -> None:
    assert row(with_lines(CashCashEquivalentsAndShortTermInvestments=250)).values["enterprise_value"] == 2850  # 100 less than 2950


def test_cash_ratio_is_cash_over_current_liabilities_not_current_assets_over_debt() -> None:
    assert row(plain()).values["cash_ratio"] == pytest.approx(150 / 350)  # not 700 / 500


def test_a_past_year_never_uses_todays_market_cap() -> None:
    rows = ratio_rows(plain(market_cap=3600.0))  # 1.2 times price × shares: the same kind of share
    assert [one.values["market_cap"] for one in rows if one.period_end in (NOW, BEFORE)] == [2500, 2040]


def test_an_inventory_of_zero_is_a_value() -> None:
    found = row(plain(statements=annual(changed(LINES, Inventory=0), changed(EARLIER, Inventory=0))))
    assert found.values["days_inventory"] == 0.0
    assert found.values["cash_conversion_cycle"] == pytest.approx(32.85 - 365 * 80 / 600)
    assert not {"days_inventory", "cash_conversion_cycle"} & found.null_reasons.keys()


def test_a_profit_of_zero_is_a_value() -> None:
    found = row(with_lines(NetIncome=0, NetIncomeCommonStockholders=0))
    for name in ("net_margin", "return_on_assets", "return_on_equity", "earnings_yield"):
        assert found.values[name] == 0.0
    assert found.values["earnings_growth"] == -1.0
    # A price over nothing is none, and says so: not "missing".
    assert found.null_reasons["price_to_earnings"] == "non_positive:earnings"


def test_days_sales_is_receivables_over_revenue_and_not_the_inverse() -> None:
    assert row(plain()).values["days_sales"] == pytest.approx(365 * 90 / 1000)


def test_interest_coverage_does_not_use_capital_expenditure() -> None:
    assert row(with_lines(CapitalExpenditure=-155)).values["interest_coverage"] == 16.0
    # Which comes negative and is added to the cash flow.
    assert row(with_lines(FreeCashFlow=None, CapitalExpenditure=-155)).values["free_cash_flow_margin"] == pytest.approx(0.025)


def test_return_on_invested_capital_uses_operating_profit_after_tax_and_not_net_income() -> None:
    assert row(with_lines(NetIncome=1)).values["return_on_invested_capital"] == pytest.approx(120 / 1120)


@pytest.mark.parametrize("key", ["CurrentAssets", "TotalDebt", "AccountsReceivable", "EBITDA", "Inventory"])
def test_a_missing_figure_is_never_filled_with_zero(key: str) -> None:
    lacking, zero = row(with_lines(**{key: None})), row(with_lines(**{key: 0}))
    told = {name for name, reason in lacking.null_reasons.items() if reason == f"missing:{key}"}
    assert told
    assert not any(zero.null_reasons.get(name) == f"missing:{key}" for name in told)


def test_closes_are_not_adjusted_for_dividends() -> None:
    indicators = {"quote": [{"close": [25.0]}], "adjclose": [{"adjclose": [22.5]}]}
    payload = {"chart": {"result": [{"meta": {}, "timestamp": [1703860200], "indicators": indicators}]}}
    assert parse_chart(payload).closes() == {date(2023, 12, 29): 25.0}


def test_a_restated_split_is_not_corrected_again() -> None:
    # 10 for 1 in 2023; the count of 2022 is given as it would be today.
    before = changed(EARLIER, OrdinarySharesNumber=102)
    found = row(plain(statements=annual(LINES, before), splits={date(2023, 6, 5): 10.0}), BEFORE)
    assert found.values["market_cap"] == 2040  # not 20,400


def test_an_indian_company_that_reports_in_dollars_has_a_sane_price_to_book() -> None:
    # 1,500 rupees × 100 shares = 150,000 rupees = 1,800 dollars at 0.012; the site divides rupees by dollars: 200.
    flows = trailing({QUARTER: LINES})
    company = plain(statements=flows, currency="INR", price=1500.0, market_cap=150_000.0, rates={"INRUSD": Rates(0.012, today_on=TODAY)})
    assert ttm(company).values["price_to_book"] == pytest.approx(2.4)


def test_a_london_stock_in_pence_has_a_sane_price_to_book() -> None:
    # 3,000 pence a share and book value of 7.5 pounds: 4, where the site has 400.
    flows = trailing({QUARTER: LINES}, currency="GBP")
    company = plain(statements=flows, currency="GBp", financial_currency="GBP", price=3000.0, market_cap=3000.0)
    assert ttm(company).values["price_to_book"] == pytest.approx(4.0)


def test_an_adrs_price_is_not_multiplied_by_the_ordinary_shares() -> None:
    # One ADR is four shares: 25 units at 30 dollars are worth 750, and 30 × 100 shares would be 3,000.
    flows = trailing({QUARTER: changed(LINES, DilutedEPS=4 * 1.16)}, annual(LINES, EARLIER).annual)
    company = plain(statements=flows, market_cap=750.0, shares_outstanding=25.0)
    assert ttm(company).values["market_cap"] == 750
    assert row(company).null_reasons["market_cap"] == "share_unit"
