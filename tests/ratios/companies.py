"""Made-up companies with round figures, so that every expected value can be worked out on paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, Fundamentals, Point, Points, Statements
from pipeline.ratios.rows import RatioRow, ratio_rows

NOW, BEFORE, THREE_YEARS_AGO = date(2023, 12, 31), date(2022, 12, 31), date(2020, 12, 31)
QUARTER, QUARTER_BEFORE = date(2024, 3, 31), date(2023, 3, 31)
TODAY = date(2024, 5, 16)

#: The plain company, in millions (shares too): TotalAssets = liabilities + StockholdersEquity + MinorityInterest.
LINES: dict[str, float] = {
    "TotalRevenue": 1000,
    "CostOfRevenue": 600,
    "GrossProfit": 400,
    "OperatingIncome": 150,
    "EBIT": 160,
    "EBITDA": 200,
    "InterestExpense": 10,
    "PretaxIncome": 150,
    "TaxProvision": 30,
    "TaxRateForCalcs": 0.21,
    "NetIncome": 120,
    "NetIncomeCommonStockholders": 116,
    "DilutedEPS": 1.16,
    "TotalAssets": 2000,
    "TotalLiabilitiesNetMinorityInterest": 1150,
    "StockholdersEquity": 800,
    "CommonStockEquity": 750,
    "MinorityInterest": 50,
    "TangibleBookValue": 700,
    "TotalDebt": 500,
    "LongTermDebt": 400,
    "CurrentAssets": 700,
    "CurrentLiabilities": 350,
    "Inventory": 120,
    "AccountsReceivable": 100,
    "AccountsPayable": 90,
    "CashCashEquivalentsAndShortTermInvestments": 150,
    "CashAndCashEquivalents": 100,
    "RetainedEarnings": 300,
    "OrdinarySharesNumber": 100,
    "OperatingCashFlow": 180,
    "CapitalExpenditure": -80,
    "FreeCashFlow": 100,
    "CommonStockDividendPaid": -40,
    "CashDividendsPaid": -44,
    "PreferredStockDividendPaid": -4,
    "NetCommonStockIssuance": -20,
}
#: The same one year earlier.
EARLIER: dict[str, float] = {
    "TotalRevenue": 800,
    "CostOfRevenue": 500,
    "GrossProfit": 300,
    "OperatingIncome": 100,
    "EBIT": 110,
    "EBITDA": 145,
    "InterestExpense": 12,
    "PretaxIncome": 98,
    "TaxProvision": 18,
    "NetIncome": 80,
    "NetIncomeCommonStockholders": 76,
    "DilutedEPS": 0.8,
    "TotalAssets": 1600,
    "TotalLiabilitiesNetMinorityInterest": 900,
    "StockholdersEquity": 650,
    "CommonStockEquity": 600,
    "MinorityInterest": 50,
    "TangibleBookValue": 560,
    "TotalDebt": 450,
    "LongTermDebt": 400,
    "CurrentAssets": 500,
    "CurrentLiabilities": 300,
    "Inventory": 100,
    "AccountsReceivable": 80,
    "AccountsPayable": 70,
    "CashCashEquivalentsAndShortTermInvestments": 110,
    "CashAndCashEquivalents": 90,
    "RetainedEarnings": 220,
    "OrdinarySharesNumber": 102,
    "OperatingCashFlow": 130,
    "CapitalExpenditure": -60,
    "FreeCashFlow": 70,
    "CommonStockDividendPaid": -30,
}


def points(by_day: Mapping[date, Mapping[str, float]], currency: str | Mapping[date, str] = "USD") -> dict[str, dict[date, Point]]:
    """key → day → point of day → key → figure."""
    found: dict[str, dict[date, Point]] = {}
    for day, lines in by_day.items():
        code = currency if isinstance(currency, str) else currency[day]
        for key, value in lines.items():
            found.setdefault(key, {})[day] = Point(value, code)
    return found


def changed(lines: Mapping[str, float], **changes: float | None) -> dict[str, float]:
    """The lines with some changed; None takes a line away."""
    return {key: value for key, value in {**lines, **changes}.items() if value is not None}


def plain(**changes: Any) -> Fundamentals:
    """The plain company: closed at 25 dollars at the end of 2023, 30 today, 100 shares: worth 2,500 then and 3,000 now."""
    company = Fundamentals(
        symbol="PLAIN",
        as_of=TODAY,
        name="Plain (made up)",
        industry="Trucking",
        currency="USD",
        financial_currency="USD",
        price=30.0,
        market_cap=3000.0,
        shares_outstanding=100.0,
        quoted_on=date(2024, 5, 15),
        statements=Statements(annual=points({THREE_YEARS_AGO: {"TotalRevenue": 512, "TotalAssets": 1200}, BEFORE: EARLIER, NOW: LINES})),
        closes={date(2023, 12, 29): 25.0, date(2022, 12, 30): 20.0},
    )
    return replace(company, **changes)


def annual(now: Mapping[str, float], before: Mapping[str, float] | None = None, currency: str | Mapping[date, str] = "USD") -> Statements:
    """Statements of one or two fiscal years."""
    return Statements(annual=points({**({BEFORE: before} if before else {}), NOW: now}, currency))


def with_lines(**changes: float | None) -> Fundamentals:
    """The plain company with some lines of the newest year changed; None takes a line away."""
    return plain(statements=annual(changed(LINES, **changes), EARLIER))


def flows_of(lines: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in lines.items() if key in FLOW_KEYS}


def balance_of(lines: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in lines.items() if key in BALANCE_KEYS}


def trailing(
    by_day: Mapping[date, Mapping[str, float]],
    years: Points | None = None,
    currency: str = "USD",
    balances: Mapping[date, Mapping[str, float]] | None = None,
) -> Statements:
    """Trailing figures by their end, with the balance sheets of the same days if `balances` has no others."""
    sheets = by_day if balances is None else balances
    return Statements(
        annual=years or {},
        quarterly=points({day: balance_of(lines) for day, lines in sheets.items()}, currency),
        trailing=points({day: flows_of(lines) for day, lines in by_day.items()}, currency),
    )


def row(company: Fundamentals, end: date = NOW, period_type: str = "annual") -> RatioRow:
    """The company's row of that period."""
    return next(one for one in ratio_rows(company) if (one.period_end, one.period_type) == (end, period_type))


def ttm(company: Fundamentals) -> RatioRow:
    return next(one for one in ratio_rows(company) if one.period_type == "ttm")
