"""All that is known of one company before anything is computed: its statement lines as reported, prices, splits and rates.

Pure: no network, no database. Amounts are in the statement's currency and in single units, shares in single shares, dates are the
site's `asOfDate` (the month's end, whatever the company's own day).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

INCOME_KEYS = (
    "TotalRevenue",
    "CostOfRevenue",
    "GrossProfit",
    "OperatingIncome",
    "EBIT",
    "EBITDA",
    "InterestExpense",
    "PretaxIncome",
    "TaxProvision",
    "TaxRateForCalcs",
    "NetIncome",
    "NetIncomeCommonStockholders",
    "DilutedEPS",
)
BALANCE_KEYS = (
    "TotalAssets",
    "TotalLiabilitiesNetMinorityInterest",
    "StockholdersEquity",
    "CommonStockEquity",
    "MinorityInterest",
    "PreferredStockEquity",
    "PreferredStock",
    "TangibleBookValue",
    "TotalDebt",
    "LongTermDebt",
    "CurrentAssets",
    "CurrentLiabilities",
    "Inventory",
    "AccountsReceivable",
    "AccountsPayable",
    "CashCashEquivalentsAndShortTermInvestments",
    "CashAndCashEquivalents",
    "RetainedEarnings",
    "OrdinarySharesNumber",
)
CASH_FLOW_KEYS = (
    "OperatingCashFlow",
    "CapitalExpenditure",
    "FreeCashFlow",
    "CommonStockDividendPaid",
    "CashDividendsPaid",
    "PreferredStockDividendPaid",
    "NetCommonStockIssuance",
)
FLOW_KEYS = INCOME_KEYS + CASH_FLOW_KEYS
KEYS = frozenset(FLOW_KEYS + BALANCE_KEYS)

#: Trading units that are a hundredth of a currency: unit → currency.
MINOR_UNITS = {"GBp": "GBP", "ZAc": "ZAR", "ILA": "ILS"}


class Point(NamedTuple):
    """One reported figure, finite, and the ISO code of its currency ("" where the site names none)."""

    value: float
    currency: str


#: key without prefix → asOfDate → figure
Points = Mapping[str, Mapping[date, Point]]


@dataclass(frozen=True)
class Statements:
    """All points of one company by frequency."""

    annual: Points = field(default_factory=dict)
    quarterly: Points = field(default_factory=dict)
    trailing: Points = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """What one unit of the first currency of a pair costs in the second: today, and at the close of past days."""

    today: float | None = None
    by_day: Mapping[date, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fundamentals:
    """All that is known of one stock before anything is computed.

    `price` and `closes` are in `currency`, the quote's own, which can be a trading unit such as GBp (pence); `closes`
    are restated for later splits and not adjusted for dividends. `splits` is the day → new shares for one old share.
    `rates` has pairs named like "GBPUSD", of currencies, never of trading units. `site_ratios` are the site's own figures.
    """

    symbol: str
    name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    currency: str | None = None
    financial_currency: str | None = None
    price: float | None = None
    market_cap: float | None = None
    shares_outstanding: float | None = None
    quoted_on: date | None = None
    statements: Statements = field(default_factory=Statements)
    closes: Mapping[date, float] = field(default_factory=dict)
    splits: Mapping[date, float] = field(default_factory=dict)
    rates: Mapping[str, Rates] = field(default_factory=dict)
    site_ratios: Mapping[str, float] = field(default_factory=dict)
