"""All that is known of one company before anything is computed: its statement lines as reported, prices, splits and rates.

Pure: no network, no database. Amounts are in the statement's currency and in single units, shares in single shares, dates are the
site's `asOfDate` (the month's end, whatever the company's own day).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
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
    "Receivables",
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

#: Trading units in which prices are quoted: unit → its currency, and how much of that one unit is.
MINOR_UNITS = {
    "GBp": ("GBP", 0.01),
    "GBX": ("GBP", 0.01),
    "ZAc": ("ZAR", 0.01),
    "ZAC": ("ZAR", 0.01),
    "ILA": ("ILS", 0.01),
    "KWF": ("KWD", 0.001),
}


#: A quoted market cap that is so many times price × shares, in units of the trading unit, is in that unit (50 to 200 for pence).
_IN_UNITS = (0.5, 2.0)


def major(code: str | None) -> str:
    """The currency of a code that may be a trading unit; "" of none. Case counts in trading units alone: `GBp` is pence, `gbp` pounds."""
    known = currency_code(code)
    return MINOR_UNITS[known][0] if known in MINOR_UNITS else known


def unit_value(code: str | None) -> float:
    """What one unit of the code is worth in its currency: 0.01 for GBp, 1 for a currency."""
    known = currency_code(code)
    return MINOR_UNITS[known][1] if known in MINOR_UNITS else 1.0


@lru_cache(maxsize=256)
def currency_code(code: str | None) -> str:
    """A code as everything here compares it: without spaces, and in capitals unless it is a trading unit's."""
    text = (code or "").strip()
    return text if text in MINOR_UNITS else text.upper()


def in_trading_unit(market_cap: float, price: float | None, shares: float | None) -> bool | None:
    """Whether a quoted market cap is in the trading unit that the price is in (pence), not in its currency; None if nothing tells."""
    if not price or not shares or price <= 0 or shares <= 0:
        return None
    return _IN_UNITS[0] <= market_cap / (price * shares) <= _IN_UNITS[1]


class Point(NamedTuple):
    """One reported figure, finite, and the ISO code of its currency ("" if the site names none)."""

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
    """What one unit of a pair's first currency costs in its second: now, and at the close of past days.

    `today_on` is the day of the present rate. A rate of no known day, or of more than a week ago, is not used.
    `pipeline.ratios.rates.steady` makes these of a series and leaves out what is out of line.
    """

    today: float | None = None
    by_day: Mapping[date, float] = field(default_factory=dict)
    today_on: date | None = None


@dataclass(frozen=True)
class Fundamentals:
    """Everything that a stock's rows are computed from, and nothing else: `rows.ratio_rows` asks for no more.

    Plain values only (texts, numbers, days and mappings of them), so it can be kept and computed anew without the site: keep it, put in
    the new `as_of`, `price`, `market_cap`, `quoted_on` and `rates`, and compute. Ages count from `as_of`.

    `price` is in `currency`, the quote's own, which can be a trading unit such as GBp (pence). `closes` are in `chart_currency`; they are
    restated for later splits, not adjusted for dividends, and of those days only at which a period may end. `steps` says how the
    other closes moved: day → close ÷ the close before, of every day on which it moved by more than two fifths, and of every split's.
    `splits` is day → new shares for one old share. `rates` has pairs named like "GBPUSD", of currencies, never of trading units.
    `site_ratios` are the site's own figures.
    """

    symbol: str
    as_of: date
    name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    currency: str | None = None
    financial_currency: str | None = None
    price: float | None = None
    market_cap: float | None = None
    shares_outstanding: float | None = None
    #: Day of the newest trade; None if unknown.
    quoted_on: date | None = None
    statements: Statements = field(default_factory=Statements)
    #: None if the chart names none; then it is the quote's.
    chart_currency: str | None = None
    closes: Mapping[date, float] = field(default_factory=dict)
    newest_close: tuple[date, float] | None = None
    steps: Mapping[date, float] = field(default_factory=dict)
    splits: Mapping[date, float] = field(default_factory=dict)
    rates: Mapping[str, Rates] = field(default_factory=dict)
    site_ratios: Mapping[str, float] = field(default_factory=dict)
