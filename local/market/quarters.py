"""Quarter by quarter lines of a made-up company, before anything is summed or taken away."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.market.companies import Company

_INCOME = [
    "TotalRevenue",
    "OperatingRevenue",
    "CostOfRevenue",
    "GrossProfit",
    "OperatingExpense",
    "OperatingIncome",
    "EBIT",
    "EBITDA",
    "ReconciledDepreciation",
    "InterestExpense",
    "PretaxIncome",
    "TaxProvision",
    "NetIncomeIncludingNoncontrollingInterests",
    "MinorityInterests",
    "NetIncome",
    "PreferredStockDividends",
    "NetIncomeCommonStockholders",
]
_BALANCE = [
    "TotalAssets",
    "TotalLiabilitiesNetMinorityInterest",
    "StockholdersEquity",
    "CommonStockEquity",
    "MinorityInterest",
    "PreferredStockEquity",
    "PreferredStock",
    "TotalEquityGrossMinorityInterest",
    "Goodwill",
    "TangibleBookValue",
    "TotalDebt",
    "LongTermDebt",
    "CurrentDebt",
    "CapitalLeaseObligations",
    "CurrentAssets",
    "CurrentLiabilities",
    "Inventory",
    "AccountsReceivable",
    "AccountsPayable",
    "CashCashEquivalentsAndShortTermInvestments",
    "CashAndCashEquivalents",
    "RetainedEarnings",
    "WorkingCapital",
]
_CASH = [
    "OperatingCashFlow",
    "CapitalExpenditure",
    "FreeCashFlow",
    "CommonStockDividendPaid",
    "CashDividendsPaid",
    "PreferredStockDividendPaid",
    "NetCommonStockIssuance",
    "RepurchaseOfCapitalStock",
]

INCOME_KEYS = frozenset((*_INCOME, "TaxRateForCalcs", "DilutedEPS", "BasicEPS", "DilutedAverageShares"))
BALANCE_KEYS = frozenset((*_BALANCE, "OrdinarySharesNumber"))
CASH_KEYS = frozenset(_CASH)
#: Everything that is an amount of money, in the order of the statements.
AMOUNTS = (*_INCOME, *_BALANCE, *_CASH)


@dataclass
class Quarter:
    end: date
    lines: dict[str, int]
    #: Ordinary shares at the end, restated for later splits.
    shares: float


@dataclass(frozen=True)
class _Shape:
    """The constants that make one company differ from another: margins and shares of revenue or of market value."""

    sales: float
    growth: float
    season: tuple[float, float, float, float]
    gross_margin: float
    expense: float
    depreciation: float
    tax: float
    debt: float
    debt_cost: float
    capex: float
    payout: float
    buyback: float
    book: float
    minority: float
    preferred: float
    inventory: float


def _shape(company: Company, rng: random.Random) -> _Shape:
    traits, cap = company.traits, company.statement_market_cap
    swing = rng.uniform(0, 0.15)
    gross_margin = rng.uniform(0.2, 0.75)
    margin = rng.uniform(-0.4, -0.06) if "loss" in traits else rng.uniform(0.03, 0.24)
    return _Shape(
        sales=cap / rng.uniform(0.5, 5.0),
        growth=rng.uniform(-0.04, 0.16),
        season=(1 - swing, 1.0, 1 + swing / 2, 1 + swing / 2),
        gross_margin=gross_margin,
        expense=gross_margin - margin,
        depreciation=rng.uniform(0.02, 0.08),
        tax=rng.uniform(0.15, 0.3),
        debt=0.0 if "zero_debt" in traits else cap * rng.uniform(0.05, 0.8),
        debt_cost=rng.uniform(0.02, 0.07),
        capex=rng.uniform(0.01, 0.09),
        payout=0.0 if "no_dividends" in traits else rng.uniform(0.15, 0.6),
        buyback=rng.choice((0.0, 0.0, 0.004, 0.01, -0.006)),
        book=cap / rng.uniform(0.6, 4.5),
        minority=rng.uniform(0.02, 0.12) if "minority" in traits else 0.0,
        preferred=cap * rng.uniform(0.01, 0.06) if "preferred" in traits else 0.0,
        inventory=0.0 if "zero_inventory" in traits else rng.uniform(0.04, 0.2),
    )


def build_quarters(company: Company, ends: list[date], rng: random.Random) -> list[Quarter]:
    """One Quarter an end, oldest first."""
    shape = _shape(company, rng)
    financial = bool(company.traits & {"bank", "insurance"})
    count = len(ends)
    flows = []
    for i, end in enumerate(ends):
        age = (count - 1 - i) / 4
        sales = shape.sales / 4 * (1 + shape.growth) ** -age * shape.season[(end.month - 1) // 3] * rng.uniform(0.95, 1.05)
        flows.append(_financial_flows(company, shape, sales, rng) if financial else _flows(company, shape, sales, rng))
    retained = [_retained(line) for line in flows]
    # Large enough that equity, rolled back through good years, does not fall below zero.
    positive = max(shape.book, 1.5 * max(_tail_sums(retained)))
    common = round(-0.4 * shape.book if "negative_equity" in company.traits else positive)
    quarters: list[Quarter] = []
    shares = company.shares * company.shares_per_unit
    issued = _issued(shape)
    for i in reversed(range(count)):
        balance = _financial_balance if financial else _balance
        lines = flows[i] | balance(shape, flows[i]["TotalRevenue"] * 4, common, rng)
        _drop_dividends(company, lines)
        quarters.append(Quarter(ends[i], lines, shares * (1 + issued) ** -((count - 1 - i) / 4)))
        common -= retained[i]
    return quarters[::-1]


def further_quarters(company: Company, last: Quarter, ends: list[date]) -> list[Quarter]:
    """The quarters after the newest of day 0, each from a generator of its own; none of the earlier ones changes."""
    shape = _shape(company, random.Random(f"{company.seed}:statements"))
    financial = bool(company.traits & {"bank", "insurance"})
    common = last.lines["CommonStockEquity"]
    found = []
    for number, end in enumerate(ends, 1):
        rng = random.Random(f"{company.seed}:{end}")
        sales = shape.sales / 4 * (1 + shape.growth) ** (number / 4) * shape.season[(end.month - 1) // 3] * rng.uniform(0.95, 1.05)
        flows = _financial_flows(company, shape, sales, rng) if financial else _flows(company, shape, sales, rng)
        common += _retained(flows)
        balance = _financial_balance if financial else _balance
        lines = flows | balance(shape, flows["TotalRevenue"] * 4, common, rng)
        _drop_dividends(company, lines)
        found.append(Quarter(end, lines, last.shares * (1 + _issued(shape)) ** (number / 4)))
    return found


def growth_of_shares(company: Company) -> float:
    """Shares a year later for one share, by what is issued or bought back."""
    return 1 + _issued(_shape(company, random.Random(f"{company.seed}:statements")))


def _issued(shape: _Shape) -> float:
    """By how much the shares grow in a year."""
    return 0.01 if shape.buyback < 0 else -shape.buyback


def _retained(flows: dict[str, int]) -> int:
    return flows["NetIncomeCommonStockholders"] + flows["CommonStockDividendPaid"] + flows["NetCommonStockIssuance"]


def _drop_dividends(company: Company, lines: dict[str, int]) -> None:
    """Of companies that pay nothing, not even on preferred stock, the site shows either zeros or no such line."""
    if "no_dividends" in company.traits and company.shares % 2 and not lines.get("PreferredStockDividendPaid"):
        for key in ("CommonStockDividendPaid", "CashDividendsPaid"):
            lines.pop(key, None)


def _tail_sums(values: list[int]) -> list[int]:
    """Sums of the last 0, 1, 2, … values."""
    sums = [0]
    for value in reversed(values):
        sums.append(sums[-1] + value)
    return sums


def _flows(company: Company, shape: _Shape, sales: float, rng: random.Random) -> dict[str, int]:
    revenue = round(sales)
    cost = round(sales * (1 - shape.gross_margin) * rng.uniform(0.97, 1.03))
    expense = round(sales * shape.expense * rng.uniform(0.95, 1.05))
    operating = revenue - cost - expense
    interest = round(shape.debt * shape.debt_cost / 4)
    pretax = operating - interest + round(sales * rng.uniform(-0.004, 0.008))
    disclosed = "interest_not_disclosed" not in company.traits and not (interest == 0 and company.shares % 3 == 0)
    depreciation = round(sales * shape.depreciation)
    ebit = pretax + (interest if disclosed else 0)
    lines = {
        "TotalRevenue": revenue,
        "OperatingRevenue": revenue,
        "CostOfRevenue": cost,
        "GrossProfit": revenue - cost,
        "OperatingExpense": expense,
        "OperatingIncome": operating,
        "EBIT": ebit,
        "EBITDA": ebit + depreciation,
        "ReconciledDepreciation": depreciation,
        "PretaxIncome": pretax,
    }
    if disclosed:
        lines["InterestExpense"] = interest
    return lines | _below_pretax(shape, pretax, depreciation, sales, rng)


def _financial_flows(company: Company, shape: _Shape, sales: float, rng: random.Random) -> dict[str, int]:
    """A bank or an insurer: no cost of revenue, gross profit, operating income, EBIT or EBITDA."""
    revenue = round(sales)
    pretax = round(sales * rng.uniform(0.15, 0.4)) if "loss" not in company.traits else -round(sales * 0.1)
    lines = {
        "TotalRevenue": revenue,
        "OperatingRevenue": revenue,
        "InterestExpense": round(sales * rng.uniform(0.15, 0.35)),
        "PretaxIncome": pretax,
    }
    return lines | _below_pretax(shape, pretax, round(sales * 0.02), sales, rng)


def _below_pretax(shape: _Shape, pretax: int, depreciation: int, sales: float, rng: random.Random) -> dict[str, int]:
    """From tax to net income, and the cash flow that follows from it."""
    tax = round(max(pretax, 0) * shape.tax)
    whole = pretax - tax
    minority = round(whole * shape.minority)
    net = whole - minority
    preferred = round(shape.preferred * 0.05 / 4)
    operating_cash = whole + depreciation + round(sales * rng.uniform(-0.03, 0.03))
    capex = -round(sales * shape.capex)
    dividends = -round(max(net, 0) * shape.payout)
    issuance = -round(abs(sales) * shape.buyback)
    lines = {
        "TaxProvision": tax,
        "NetIncomeIncludingNoncontrollingInterests": whole,
        "NetIncome": net,
        "NetIncomeCommonStockholders": net - preferred,
        "OperatingCashFlow": operating_cash,
        "CapitalExpenditure": capex,
        "FreeCashFlow": operating_cash + capex,
        "CommonStockDividendPaid": dividends,
        "CashDividendsPaid": dividends - preferred,
        "NetCommonStockIssuance": issuance,
        "RepurchaseOfCapitalStock": min(issuance, 0),
    }
    if shape.minority:
        lines["MinorityInterests"] = -minority
    if preferred:
        lines |= {"PreferredStockDividends": preferred, "PreferredStockDividendPaid": -preferred}
    return lines


def _equity(shape: _Shape, common: int, paid_in: int) -> tuple[dict[str, int], int]:
    """Equity lines and the total that assets must cover besides liabilities."""
    preferred = round(shape.preferred)
    minority = round(abs(shape.book) * shape.minority)
    goodwill = round(abs(shape.book) * 0.15)
    lines = {
        "StockholdersEquity": common + preferred,
        "CommonStockEquity": common,
        "TotalEquityGrossMinorityInterest": common + preferred + minority,
        "Goodwill": goodwill,
        "TangibleBookValue": common - goodwill,
        "RetainedEarnings": common - paid_in,
    }
    if minority:
        lines["MinorityInterest"] = minority
    if preferred:
        lines |= {"PreferredStockEquity": preferred, "PreferredStock": preferred}
    return lines, common + preferred + minority


def _balance(shape: _Shape, sales: float, common: int, rng: random.Random) -> dict[str, int]:
    lines, equity = _equity(shape, common, round(abs(shape.book) * 0.3))
    cash = round(sales * rng.uniform(0.05, 0.25))
    inventory = round(sales * (1 - shape.gross_margin) * shape.inventory)
    receivables = round(sales * rng.uniform(0.08, 0.16))
    payables = round(sales * rng.uniform(0.05, 0.12))
    current = cash + inventory + receivables + round(sales * 0.03)
    long_term, short_term, leases = round(shape.debt * 0.75), round(shape.debt * 0.15), round(shape.debt * 0.1)
    current_liabilities = payables + short_term + round(sales * rng.uniform(0.05, 0.15))
    other = round(sales * 0.1)
    liabilities = current_liabilities + long_term + leases + other
    # Fixed assets are what is left; where that would be too little, further long-term obligations make up for it.
    short = current + lines["Goodwill"] + round(sales * 0.2) - (liabilities + equity)
    liabilities += max(short, 0)
    return lines | {
        "TotalAssets": liabilities + equity,
        "TotalLiabilitiesNetMinorityInterest": liabilities,
        "TotalDebt": long_term + short_term + leases,
        "LongTermDebt": long_term,
        "CurrentDebt": short_term,
        "CapitalLeaseObligations": leases,
        "CurrentAssets": current,
        "CurrentLiabilities": current_liabilities,
        "WorkingCapital": current - current_liabilities,
        "Inventory": inventory,
        "AccountsReceivable": receivables,
        "AccountsPayable": payables,
        "CashCashEquivalentsAndShortTermInvestments": cash,
        "CashAndCashEquivalents": round(cash * 0.8),
    }


def _financial_balance(shape: _Shape, sales: float, common: int, rng: random.Random) -> dict[str, int]:
    """No current items, no inventory, no trade receivables or payables; liabilities many times the equity."""
    lines, equity = _equity(shape, common, round(abs(shape.book) * 0.3))
    liabilities = round(abs(shape.book) * rng.uniform(7.5, 8.5))
    cash = round(liabilities * 0.1)
    debt = round(liabilities * 0.12)
    return lines | {
        "TotalAssets": liabilities + equity,
        "TotalLiabilitiesNetMinorityInterest": liabilities,
        "TotalDebt": debt,
        "LongTermDebt": round(debt * 0.8),
        "CurrentDebt": debt - round(debt * 0.8),
        "CashCashEquivalentsAndShortTermInvestments": cash,
        "CashAndCashEquivalents": cash,
    }
