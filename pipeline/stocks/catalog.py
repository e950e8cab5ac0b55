"""The ratios for people: label, family, unit, formula, and the inputs of each formula. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from pipeline.ratios.figures import NAMES
from pipeline.ratios.formulas import PIOTROSKI, RATIOS
from pipeline.ratios.fundamentals import KEYS

#: Units: amounts in the statement's currency, amounts in dollars, multiples, fractions shown in percent, days, plain numbers.
AMOUNT, DOLLARS, MULTIPLE, PERCENT, DAYS, SCORE = "amount", "dollars", "multiple", "percent", "days", "score"


@dataclass(frozen=True)
class Ratio:
    name: str
    label: str
    family: str
    unit: str
    formula: str


_TABLE = r"""
Value
market_cap                 | Market cap              | amount   | price × shares, in the statement's currency
market_cap_usd             | Market cap in dollars   | dollars  | market_cap × the rate to the dollar
enterprise_value           | Enterprise value        | amount   | market_cap + TotalDebt + minority + preferred − cash
Multiples
price_to_earnings          | P/E                     | multiple | market_cap / earnings
price_to_sales             | P/S                     | multiple | market_cap / TotalRevenue
price_to_book              | P/B                     | multiple | market_cap / equity
price_to_tangible_book     | P/tangible book         | multiple | market_cap / TangibleBookValue
price_to_free_cash_flow    | P/FCF                   | multiple | market_cap / free_cash_flow
ev_to_sales                | EV/sales                | multiple | enterprise_value / TotalRevenue
ev_to_ebitda               | EV/EBITDA               | multiple | enterprise_value / EBITDA
ev_to_ebit                 | EV/EBIT                 | multiple | enterprise_value / EBIT
ev_to_free_cash_flow       | EV/FCF                  | multiple | enterprise_value / free_cash_flow
Yields
earnings_yield             | Earnings yield          | percent  | earnings / market_cap
free_cash_flow_yield       | FCF yield               | percent  | free_cash_flow / market_cap
dividend_yield             | Dividend yield          | percent  | dividends / market_cap
shareholder_yield          | Shareholder yield       | percent  | (dividends − NetCommonStockIssuance) / market_cap
payout_ratio               | Payout ratio            | percent  | dividends / earnings
Margins
gross_margin               | Gross margin            | percent  | gross_profit / TotalRevenue
operating_margin           | Operating margin        | percent  | OperatingIncome / TotalRevenue
ebitda_margin              | EBITDA margin           | percent  | EBITDA / TotalRevenue
net_margin                 | Net margin              | percent  | NetIncome / TotalRevenue
free_cash_flow_margin      | FCF margin              | percent  | free_cash_flow / TotalRevenue
Returns
return_on_equity           | Return on equity        | percent  | earnings / avg(equity)
return_on_assets           | Return on assets        | percent  | NetIncome / avg(TotalAssets)
return_on_invested_capital | ROIC                    | percent  | operating_profit × (1 − tax_rate) / \
avg(TotalDebt + equity + preferred + minority − cash)
return_on_capital_employed | ROCE                    | percent  | EBIT / (TotalAssets − CurrentLiabilities)
gross_profit_to_assets     | Gross profit/assets     | percent  | gross_profit / TotalAssets
cash_conversion            | Cash conversion         | multiple | OperatingCashFlow / NetIncome
Liquidity
current_ratio              | Current ratio           | multiple | CurrentAssets / CurrentLiabilities
quick_ratio                | Quick ratio             | multiple | (cash + AccountsReceivable) / CurrentLiabilities
cash_ratio                 | Cash ratio              | multiple | cash / CurrentLiabilities
Debt
debt_to_equity             | Debt/equity             | multiple | TotalDebt / equity
debt_to_assets             | Debt/assets             | percent  | TotalDebt / TotalAssets
equity_to_assets           | Equity/assets           | percent  | equity / TotalAssets
net_debt_to_ebitda         | Net debt/EBITDA         | multiple | (TotalDebt − cash) / EBITDA
interest_coverage          | Interest coverage       | multiple | EBIT / interest_expense
equity_multiplier          | Equity multiplier       | multiple | avg(TotalAssets) / avg(equity)
Efficiency
asset_turnover             | Asset turnover          | multiple | TotalRevenue / avg(TotalAssets)
days_inventory             | Days inventory          | days     | 365 × avg(Inventory) / CostOfRevenue
days_sales                 | Days sales              | days     | 365 × avg(AccountsReceivable) / TotalRevenue
days_payables              | Days payables           | days     | 365 × avg(AccountsPayable) / CostOfRevenue
cash_conversion_cycle      | Cash conversion cycle   | days     | days_inventory + days_sales − days_payables
Growth
revenue_growth             | Revenue growth          | percent  | TotalRevenue / TotalRevenue one year earlier − 1
earnings_growth            | Earnings growth         | percent  | earnings / earnings one year earlier − 1
diluted_eps_growth         | EPS growth              | percent  | DilutedEPS / DilutedEPS one year earlier − 1
revenue_cagr_3y            | Revenue growth, 3 years | percent  | (TotalRevenue / TotalRevenue three years earlier)^(1/3) − 1
share_count_change         | Share count change      | percent  | OrdinarySharesNumber / OrdinarySharesNumber one year earlier − 1
Scores
altman_z                   | Altman Z                | score    | 1.2 (CurrentAssets − CurrentLiabilities)/TotalAssets \
+ 1.4 RetainedEarnings/TotalAssets + 3.3 EBIT/TotalAssets + 0.6 market_cap/TotalLiabilitiesNetMinorityInterest + TotalRevenue/TotalAssets
piotroski_f                | Piotroski F             | score    | tests passed, of the nine below
piotroski_tested           | Piotroski tests made    | score    | tests for which the figures are there
"""


def _parse(table: str) -> dict[str, Ratio]:
    found: dict[str, Ratio] = {}
    family = ""
    for line in filter(None, table.replace("\\\n", "").split("\n")):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 1:
            family = cells[0]
        else:
            found[cells[0]] = Ratio(cells[0], cells[1], family, cells[2], cells[3])
    # A ratio that is missing in this table is shown too.
    return {name: found.get(name) or Ratio(name, name.replace("_", " ").capitalize(), "Others", SCORE, "") for name in RATIOS}


#: Every ratio column, in table order.
CATALOG: dict[str, Ratio] = _parse(_TABLE)
#: Amounts are compared in dollars, because a billion yen is not a billion pounds: amount → the column to sort, filter and draw by.
IN_DOLLARS = {"market_cap": "market_cap_usd", "enterprise_value": "enterprise_value_usd"}
FAMILIES: dict[str, list[Ratio]] = {}
for _ratio in CATALOG.values():
    FAMILIES.setdefault(_ratio.family, []).append(_ratio)


def as_compared(name: str) -> Ratio:
    """A ratio in the unit in which companies are compared: amounts are in dollars."""
    ratio = CATALOG[name]
    return replace(ratio, label=f"{ratio.label} in dollars", unit=DOLLARS) if name in IN_DOLLARS else ratio


#: Meaning and keys of the names in formulas that are neither a key of the statements nor one of pipeline.ratios.NAMES.
_SPECIAL = {
    "dividends": (
        "−CommonStockDividendPaid, else −(CashDividendsPaid − PreferredStockDividendPaid), "
        "else 0 if the cash-flow statement is there and no date of the year has a dividend",
        ("CommonStockDividendPaid", "CashDividendsPaid", "PreferredStockDividendPaid"),
    ),
    "tax_rate": (
        "TaxProvision / PretaxIncome within 0 and 50 %, else TaxRateForCalcs",
        ("TaxProvision", "PretaxIncome", "TaxRateForCalcs"),
    ),
    "interest_expense": ("InterestExpense, of a company with debt", ("InterestExpense", "TotalDebt")),
}
_WORD = re.compile(r"[A-Za-z_]{3,}")
_PIOTROSKI_KEYS = (
    *("NetIncome", "TotalAssets", "OperatingCashFlow", "LongTermDebt", "CurrentAssets", "CurrentLiabilities"),
    *("OrdinarySharesNumber", "GrossProfit", "CostOfRevenue", "TotalRevenue"),
)


@dataclass(frozen=True)
class Uses:
    """The inputs of a formula: statement keys, names with their meaning, and whether it uses the market value."""

    keys: tuple[str, ...] = ()
    names: tuple[tuple[str, str], ...] = ()
    market: bool = False
    piotroski: bool = False


@lru_cache(maxsize=256)
def uses(ratio: str) -> Uses:
    """The inputs of a ratio, down to the statement lines."""
    if ratio.startswith("piotroski"):
        return Uses(keys=_PIOTROSKI_KEYS, piotroski=True)
    if ratio in ("market_cap", "market_cap_usd"):
        return Uses(market=True)
    keys: dict[str, None] = {}
    names: dict[str, str] = {}
    market = False
    todo = _WORD.findall(CATALOG[ratio].formula)
    while todo:
        word = todo.pop(0)
        if word in KEYS:
            keys[word] = None
        elif word == "market_cap":
            market = True
        elif word in _SPECIAL:
            names[word], more = _SPECIAL[word]
            keys |= dict.fromkeys(more)
        elif word in NAMES:
            names[word] = ", else ".join(NAMES[word]).replace(" - ", " − ")
            keys |= {key: None for line in NAMES[word] for key in _WORD.findall(line)}
        elif word in CATALOG:
            todo += _WORD.findall(CATALOG[word].formula)
    return Uses(tuple(keys), tuple(names.items()), market)


def piotroski_label(test: str) -> str:
    return test.replace("_", " ").capitalize()


#: Name of a Piotroski test → label, in order.
PIOTROSKI_TESTS = {test: piotroski_label(test) for test in PIOTROSKI}

_REASONS = {
    "not_applicable": "not applicable to this kind of company or period",
    "no_price": "no price near the period's end",
    "price_unit": "the closes since then are not in one unit, or not in that of the quoted price",
    "share_unit": "the quote is for another kind of share than the statement counts",
    "split_unclear": "nothing shows whether a share count, or earnings per share, are from before or after a split",
    "fx_unavailable": "no exchange rate for that day",
    "no_prior_period": "no period one year earlier",
    "period_length": "the period is not a year long, or the one it is compared with",
    "amount_unit": "the amounts are in another unit than those of the other years, or than earnings per share",
    "currency_changed": "the statement's currency changed within the year",
    "unexpected_sign": "a payment is reported with the wrong sign",
    "no_debt_cost": "no debt, or no interest on it",
    "not_enough_tests": "fewer than eight of the nine tests could be made",
    "non_finite": "beyond what a number can hold",
}


def reason_text(reason: str) -> str:
    """A reason of `null_reasons` in words."""
    kind, _, what = reason.partition(":")
    if kind == "missing" and what:
        return f"{what} is not reported"
    if kind == "non_positive" and what:
        return f"{what.replace('_', ' ')} is zero or negative"
    return _REASONS.get(reason, reason.replace("_", " "))
