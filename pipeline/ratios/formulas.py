"""The ratios: one formula each. Pure. Definitions, sources and traps: docs/ratios.md.

Fractions, not percentages; amounts in the statement's currency. A value that can't be computed is None with one reason, never 0,
infinity or NaN; 0 is a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isclose

from pipeline.ratios.figure import Figure, Rank, positive
from pipeline.ratios.figures import Figures, growth_of, mean_of
from pipeline.ratios.fundamentals import BALANCE_KEYS, Fundamentals
from pipeline.ratios.periods import DIVIDEND_KEYS, Period, has_cash_flow_statement
from pipeline.ratios.statement import Statement

# Formulas --------------------------------------------------------------------------------------------------------


def _dividends(y: Figures) -> Figure:
    """Dividends on common stock, ≥ 0; 0 if the period's cash-flow statement is there and no line speaks of a dividend.

    A 0 is none if a quarter of the same year has a dividend in the same line.
    """
    common, total, preferred = (y.value(key) for key in DIVIDEND_KEYS)
    used = DIVIDEND_KEYS[0] if common is not None else DIVIDEND_KEYS[1]
    if common is None and total is not None:
        # A company without preferred stock has no line for its dividend.
        common = total - (preferred or 0.0)
        wrong = common > 0 or (preferred or 0.0) > 0
    else:
        wrong = common is not None and common > 0
    denied = y.value(used) == 0 and used in y.period.dividends_paid
    if denied or (common is None and (y.period.dividends_seen or not has_cash_flow_statement(y.period.flows))):
        return Figure(None, ((Rank.MISSING, "missing:CommonStockDividendPaid"),))
    paid = Figure(0.0 - (common or 0.0)).but(wrong, Rank.UNEXPECTED_SIGN, "unexpected_sign")
    return paid.but(y.period.flows.odd_length, Rank.PERIOD_LENGTH, "period_length")


def _free_cash_flow(y: Figures) -> Figure:
    """FreeCashFlow, else what is left of the operating cash flow after capital expenditure, which comes negative."""
    spent = y.value("CapitalExpenditure")
    if "FreeCashFlow" in y.lines:
        given, earned = y.line("FreeCashFlow").named("free_cash_flow"), y.value("OperatingCashFlow")
        # The source's own sum, with the expenditure added in place of taken off.
        added = spent is not None and earned is not None and spent > 0 and isclose(given.value or 0.0, earned + spent, rel_tol=1e-3)
        return given.but(added, Rank.UNEXPECTED_SIGN, "unexpected_sign")
    return y.line("free_cash_flow").but(spent is not None and spent > 0, Rank.UNEXPECTED_SIGN, "unexpected_sign")


def _gross_profit(y: Figures) -> Figure:
    """GrossProfit, else what is left of the revenue after its cost, which comes positive."""
    cost = y.value("CostOfRevenue")
    wrong = "GrossProfit" not in y.lines and cost is not None and cost < 0
    return y.line("gross_profit").but(wrong, Rank.UNEXPECTED_SIGN, "unexpected_sign")


def _avg_assets(y: Figures) -> Figure:
    """avg(TotalAssets), if there are any at both ends."""
    now, earlier = (positive(end, Rank.DENOMINATOR, "TotalAssets") for end in y.pair("TotalAssets"))
    return mean_of(now, earlier).named("TotalAssets")


def _tax_rate(y: Figures) -> Figure:
    """What share of the profit goes to taxes, within 0 and 0.5."""
    pretax, tax, given = y.value("PretaxIncome"), y.value("TaxProvision"), y.value("TaxRateForCalcs")
    if pretax is not None and pretax <= 0:
        return Figure(0.0)
    if pretax is not None and tax is not None:
        rate = (y["TaxProvision"] / y["PretaxIncome"]).value
        # A pretax income near zero: whatever the quotient, it is beyond the bounds.
        rate = rate if rate is not None else (0.5 if tax > 0 else 0.0)
    elif given is not None:
        rate = given
    else:
        return Figure(None, ((Rank.MISSING, f"missing:{'TaxProvision' if tax is None else 'PretaxIncome'}"),))
    return Figure(min(max(rate, 0.0), 0.5))


def _interest_expense(y: Figures) -> Figure:
    """InterestExpense as a denominator: none without debt is no gap in the data."""
    expense, debt = y.value("InterestExpense"), y.value("TotalDebt")
    if expense == 0 or (expense is None and debt == 0):
        return Figure(None, ((Rank.NO_DEBT_COST, "no_debt_cost"),))
    return y.line("InterestExpense")


def _avg_equity(y: Figures) -> Figure:
    """avg(equity), if equity is above zero at both ends."""
    now, earlier = (positive(end, Rank.EQUITY_AT_EITHER_END, "equity") for end in y.pair("equity"))
    return mean_of(now, earlier).named("equity")


def _avg_invested_capital(y: Figures) -> Figure:
    capital = y.avg("TotalDebt") + y.avg("equity") + y.avg("preferred") + y.avg("minority") - y.avg("cash")
    return capital.named("invested_capital")


def _after_tax(y: Figures) -> Figure:
    return y["operating_profit"] * (Figure(1.0) - y["tax_rate"])


def _firm(y: Figures) -> Figure:
    """enterprise_value as a numerator: multiples of a negative one mean nothing."""
    return positive(y["enterprise_value"], Rank.ENTERPRISE_VALUE, "enterprise_value")


def _cagr_3y(y: Figures) -> Figure:
    now, earlier = y.compare_three_years("TotalRevenue")
    # A negative revenue has no real mean growth rate.
    now = now.but(now.value is not None and now.value < 0, Rank.DENOMINATOR, "non_positive:TotalRevenue")
    quotient = now / positive(earlier, Rank.EARLIER_VALUE, "TotalRevenue").named("TotalRevenue")
    return quotient if quotient.value is None else Figure(quotient.value ** (1 / 3) - 1)


def _altman_z(y: Figures) -> Figure:
    """Altman (1968), for listed manufacturers."""
    assets, liabilities = y["TotalAssets"], y["TotalLiabilitiesNetMinorityInterest"]
    return (
        1.2 * ((y["CurrentAssets"] - y["CurrentLiabilities"]) / assets)
        + 1.4 * (y["RetainedEarnings"] / assets)
        + 3.3 * (y["EBIT"] / assets)
        + 0.6 * (y["market_value"] / liabilities)
        + y["TotalRevenue"] / assets
    )


#: Ratio → formula, in the order of the table's columns.
FORMULAS: dict[str, Callable[[Figures], Figure]] = {
    "market_cap": lambda y: y["market_cap"],
    "market_cap_usd": lambda y: y["market_cap_usd"],
    "enterprise_value": lambda y: y["market_value"] + y["TotalDebt"] + y["minority"] + y["preferred"] - y["cash"],
    "price_to_earnings": lambda y: y["market_value"] / y["earnings"],
    "price_to_sales": lambda y: y["market_value"] / y["TotalRevenue"],
    "price_to_book": lambda y: y["market_value"] / y["equity"],
    "price_to_tangible_book": lambda y: y["market_value"] / y["TangibleBookValue"],
    "price_to_free_cash_flow": lambda y: y["market_value"] / y["free_cash_flow"],
    "ev_to_sales": lambda y: _firm(y) / y["TotalRevenue"],
    "ev_to_ebitda": lambda y: _firm(y) / y["EBITDA"],
    "ev_to_ebit": lambda y: _firm(y) / y["EBIT"],
    "ev_to_free_cash_flow": lambda y: _firm(y) / y["free_cash_flow"],
    "earnings_yield": lambda y: y["earnings"] / y["market_value"],
    "free_cash_flow_yield": lambda y: y["free_cash_flow"] / y["market_value"],
    "dividend_yield": lambda y: y["dividends"] / y["market_value"],
    "shareholder_yield": lambda y: (y["dividends"] - y["NetCommonStockIssuance"]) / y["market_value"],
    "payout_ratio": lambda y: y["dividends"] / y["earnings"],
    "gross_margin": lambda y: y["gross_profit"] / y["TotalRevenue"],
    "operating_margin": lambda y: y["OperatingIncome"] / y["TotalRevenue"],
    "ebitda_margin": lambda y: y["EBITDA"] / y["TotalRevenue"],
    "net_margin": lambda y: y["NetIncome"] / y["TotalRevenue"],
    "free_cash_flow_margin": lambda y: y["free_cash_flow"] / y["TotalRevenue"],
    "return_on_equity": lambda y: y["earnings"] / _avg_equity(y),
    "return_on_assets": lambda y: y["NetIncome"] / _avg_assets(y),
    "return_on_invested_capital": lambda y: _after_tax(y) / _avg_invested_capital(y),
    "return_on_capital_employed": lambda y: y["EBIT"] / (y["TotalAssets"] - y["CurrentLiabilities"]).named("capital_employed"),
    "gross_profit_to_assets": lambda y: y["gross_profit"] / y["TotalAssets"],
    "cash_conversion": lambda y: y["OperatingCashFlow"] / y["NetIncome"],
    "current_ratio": lambda y: y["CurrentAssets"] / y["CurrentLiabilities"],
    "quick_ratio": lambda y: (y["cash"] + y["AccountsReceivable"]) / y["CurrentLiabilities"],
    "cash_ratio": lambda y: y["cash"] / y["CurrentLiabilities"],
    "debt_to_equity": lambda y: y["TotalDebt"] / y["equity"],
    "debt_to_assets": lambda y: y["TotalDebt"] / y["TotalAssets"],
    "equity_to_assets": lambda y: y["equity"] / y["TotalAssets"],
    "net_debt_to_ebitda": lambda y: (y["TotalDebt"] - y["cash"]) / y["EBITDA"],
    "interest_coverage": lambda y: y["EBIT"] / y["interest_expense"],
    "equity_multiplier": lambda y: _avg_assets(y) / _avg_equity(y),
    "asset_turnover": lambda y: y["TotalRevenue"] / _avg_assets(y),
    "days_inventory": lambda y: 365 * (y.avg("Inventory") / y["CostOfRevenue"]),
    "days_sales": lambda y: 365 * (y.avg("AccountsReceivable") / y["TotalRevenue"]),
    "days_payables": lambda y: 365 * (y.avg("AccountsPayable") / y["CostOfRevenue"]),
    "cash_conversion_cycle": lambda y: y["days_inventory"] + y["days_sales"] - y["days_payables"],
    "revenue_growth": lambda y: y.growth("TotalRevenue"),
    "earnings_growth": lambda y: y.growth("earnings"),
    "diluted_eps_growth": lambda y: growth_of(*y.per_share("DilutedEPS"), "DilutedEPS"),
    "revenue_cagr_3y": _cagr_3y,
    "share_count_change": lambda y: growth_of(*y.shares(), "OrdinarySharesNumber"),
    "altman_z": _altman_z,
}

_SPECIAL: dict[str, Callable[[Figures], Figure]] = {
    "dividends": _dividends,
    "free_cash_flow": _free_cash_flow,
    "gross_profit": _gross_profit,
    "tax_rate": _tax_rate,
    "interest_expense": _interest_expense,
}

#: Every name that is computed rather than read.
COMPUTED = {**FORMULAS, **_SPECIAL}
#: All ratio columns in table order.
RATIOS: tuple[str, ...] = (*FORMULAS, "piotroski_f", "piotroski_tested")

# Piotroski (2000) ------------------------------------------------------------------------------------------------

#: A score of fewer tests than this can't be told from a low one.
PIOTROSKI_LEAST_TESTS = 8

#: Two figures that differ by no more than this, relatively, are equal.
ROUNDING = 1e-9

At = Callable[[str], Figure]


def _above(left: Figure, right: Figure) -> bool | None:
    """Whether left exceeds right by more than rounding; None if either is missing."""
    if left.value is None or right.value is None:
        return None
    return left.value > right.value and not isclose(left.value, right.value, rel_tol=ROUNDING)


def _two(y: Figures, formula: Callable[[At], Figure]) -> tuple[Figure, Figure]:
    """The formula at the period's end and one year earlier, of the same keys."""
    return formula(lambda name: y.pair(name)[0]), formula(lambda name: y.pair(name)[1])


def _rose(y: Figures, formula: Callable[[At], Figure]) -> bool | None:
    return _above(*_two(y, formula))


def _long_term_debt_fell(y: Figures) -> bool | None:
    now, earlier = _two(y, lambda at: at("LongTermDebt") / at("TotalAssets"))
    return True if now.value == 0 and earlier.value == 0 else _above(earlier, now)


def _no_new_shares(y: Figures) -> bool | None:
    rose = _above(*y.shares())
    return None if rose is None else not rose


#: The nine tests: name → whether the company passes, None if a figure is missing.
PIOTROSKI: dict[str, Callable[[Figures], bool | None]] = {
    "return_on_assets_positive": lambda y: _above(y["NetIncome"] / y["TotalAssets"], Figure(0.0)),
    "operating_cash_flow_positive": lambda y: _above(y["OperatingCashFlow"], Figure(0.0)),
    "return_on_assets_rose": lambda y: _rose(y, lambda at: at("NetIncome") / at("TotalAssets")),
    "cash_flow_above_income": lambda y: _above(y["OperatingCashFlow"] / y["TotalAssets"], y["NetIncome"] / y["TotalAssets"]),
    "long_term_debt_fell": _long_term_debt_fell,
    "current_ratio_rose": lambda y: _rose(y, lambda at: at("CurrentAssets") / at("CurrentLiabilities")),
    "no_new_shares": _no_new_shares,
    "gross_margin_rose": lambda y: _rose(y, lambda at: at("gross_profit") / at("TotalRevenue")),
    "asset_turnover_rose": lambda y: _rose(y, lambda at: at("TotalRevenue") / at("TotalAssets")),
}

# What does not apply ---------------------------------------------------------------------------------------------

_LIQUIDITY = ("current_ratio", "quick_ratio", "cash_ratio")
#: What says nothing about a bank or an insurer, whose debt is raw material and whose balance has no current items.
NOT_FOR_FINANCIALS = frozenset(
    {
        *("enterprise_value", "ev_to_sales", "ev_to_ebitda", "ev_to_ebit", "ev_to_free_cash_flow"),
        *("price_to_free_cash_flow", "free_cash_flow_yield", "free_cash_flow_margin"),
        *("gross_margin", "operating_margin", "ebitda_margin", "gross_profit_to_assets"),
        *("return_on_invested_capital", "return_on_capital_employed", *_LIQUIDITY),
        *("debt_to_equity", "net_debt_to_ebitda", "interest_coverage"),
        *("days_inventory", "days_sales", "days_payables", "cash_conversion_cycle", "altman_z", "piotroski_f"),
    }
)
NOT_WITHOUT_CURRENT_ITEMS = frozenset({*_LIQUIDITY, "return_on_capital_employed", "altman_z"})


def is_financial(fundamentals: Fundamentals) -> bool:
    """Whether this is a bank, an insurer or a mortgage lender: by its industry, else by what its statements lack."""
    if fundamentals.industry:
        # Without its dashes, of which there are many kinds, with spaces or without.
        words = " ".join(re.sub(r"[-‐-―−﹘﹣－]", " ", fundamentals.industry).casefold().split())
        insurer = words.startswith("insurance ") and not words.startswith("insurance brokers")
        return words.startswith("banks") or insurer or words == "mortgage finance"
    statements = fundamentals.statements
    others = ("CurrentAssets", "CurrentLiabilities", "EBITDA", "GrossProfit")
    return not any(points.get(key) for points in (statements.annual, statements.quarterly, statements.trailing) for key in others)


def not_applicable(period: Period, financial: bool) -> frozenset[str]:
    names: frozenset[str] = NOT_FOR_FINANCIALS if financial else frozenset()
    if period.balance and not {"CurrentAssets", "CurrentLiabilities"} & period.balance.lines.keys() and _has_balance(period.balance):
        names |= NOT_WITHOUT_CURRENT_ITEMS
    return names | {"revenue_cagr_3y"} if period.period_type == "ttm" else names


def _has_balance(statement: Statement) -> bool:
    # A share count alone is no balance sheet.
    return any(key in statement.lines for key in BALANCE_KEYS if key != "OrdinarySharesNumber")
