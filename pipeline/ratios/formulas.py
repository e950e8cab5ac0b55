"""The ratios: one formula each. Pure. Definitions, sources and traps: docs/ratios.md.

Fractions, not percentages; amounts in the statement's currency. A value that can't be computed is None with one reason, never 0,
infinity or NaN; 0 is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache

from pipeline.ratios.figure import Figure, Rank, positive
from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, Fundamentals
from pipeline.ratios.periods import Period, Statement

#: Names of the formulas below that are no key: the first line whose keys are all there, at both dates where two are compared.
NAMES: dict[str, tuple[str, ...]] = {
    "cash": ("CashCashEquivalentsAndShortTermInvestments", "CashAndCashEquivalents"),
    "equity": ("CommonStockEquity", "StockholdersEquity"),
    "preferred": ("StockholdersEquity - CommonStockEquity", "PreferredStockEquity", "PreferredStock", "0"),
    "minority": ("MinorityInterest", "0"),
    "earnings": ("NetIncomeCommonStockholders", "NetIncome"),
    "gross_profit": ("GrossProfit", "TotalRevenue - CostOfRevenue"),
    "free_cash_flow": ("FreeCashFlow", "OperatingCashFlow + CapitalExpenditure"),
    "operating_profit": ("OperatingIncome", "EBIT"),
}

_FLOWS = frozenset(FLOW_KEYS)
_BALANCES = frozenset(BALANCE_KEYS)

Line = tuple[tuple[float, str], ...]


@lru_cache(maxsize=256)
def _lines_of(name: str) -> tuple[Line, ...]:
    """The lines of a name, each as (sign, key) terms; of a key the key itself."""
    return tuple(_parse_line(text) for text in NAMES.get(name, (name,)))


def _parse_line(text: str) -> Line:
    if text == "0":
        return ()
    words = ["+", *text.split()]
    return tuple((-1.0 if sign == "-" else 1.0, key) for sign, key in zip(words[::2], words[1::2], strict=True))


class Figures:
    """What the formulas see of one period: `y["X"]` at its end, `y.avg("X")`, `y.growth("X")`, `y.pair("X")`.

    X is a key of the statements, one of NAMES, a ratio, or one of `market_cap`, `dividends`, `tax_rate`, `interest_expense`.
    """

    def __init__(self, period: Period, market_cap: Figure, split_factor: Callable[[date], float]) -> None:
        self.period = period
        self.lines: dict[str, tuple[date, float]] = {**period.flows.lines, **(period.balance.lines if period.balance else {})}
        self._split_factor = split_factor
        self._now: dict[str, Figure] = {"market_cap": positive(market_cap, Rank.MARKET_CAP, "market_cap").named("market_cap")}
        self._pairs: dict[str, tuple[Figure, Figure]] = {}
        self._means: dict[str, Figure] = {}

    def __getitem__(self, name: str) -> Figure:
        figure = self._now.get(name)
        if figure is None:
            compute = FORMULAS.get(name) or _SPECIAL.get(name)
            figure = self._now[name] = compute(self) if compute else self._chain(name, self.lines)[0]
        return figure

    def value(self, key: str) -> float | None:
        line = self.lines.get(key)
        return line[1] if line else None

    def pair(self, name: str) -> tuple[Figure, Figure]:
        """`name` at the period's end and one year earlier, of the same keys."""
        pair = self._pairs.get(name)
        if pair is None:
            pair = self._pairs[name] = self._compare(name, self._earlier(name))
        return pair

    def avg(self, name: str) -> Figure:
        """Mean of `name` at the period's end and one year earlier."""
        mean = self._means.get(name)
        if mean is None:
            mean = self._means[name] = _mean(*self.pair(name)).named(name)
        return mean

    def growth(self, name: str) -> Figure:
        """`name` / the same one year earlier − 1."""
        return _growth(*self.pair(name), name)

    def shares(self) -> tuple[Figure, Figure]:
        """OrdinarySharesNumber at the period's end and one year earlier, both as after all splits known today."""
        earlier = self._earlier("OrdinarySharesNumber")
        now, before = self.pair("OrdinarySharesNumber")
        return self._split_adjusted(now, self.lines), self._split_adjusted(before, earlier.lines if earlier else {})

    def compare_three_years(self, name: str) -> tuple[Figure, Figure]:
        """`name` at the period's end and three fiscal years earlier."""
        return self._compare(name, self.period.three_years_earlier)

    def _split_adjusted(self, count: Figure, lines: Mapping[str, tuple[date, float]]) -> Figure:
        line = lines.get("OrdinarySharesNumber")
        return count * self._split_factor(line[0]) if line else count

    def _earlier(self, name: str) -> Statement | None:
        terms = _lines_of(name)[0]
        return self.period.earlier_flows if terms[0][1] in _FLOWS else self.period.earlier_balance

    def _compare(self, name: str, earlier: Statement | None) -> tuple[Figure, Figure]:
        if earlier is None:
            return self._chain(name, self.lines)[0], Figure(None, ((Rank.NO_PRIOR_PERIOD, "no_prior_period"),), name)
        now, before = self._chain(name, self.lines, earlier.lines)
        return now, before.but(earlier.currency != self.period.currency, Rank.CURRENCY_CHANGED, "currency_changed")

    def _chain(self, name: str, *sides: Mapping[str, tuple[date, float]]) -> list[Figure]:
        """The first line of `name` that every side has, at each of them."""
        if name not in NAMES and all(name in side for side in sides):
            return [Figure(side[name][1], (), name) for side in sides]
        for line in _lines_of(name):
            if all(key in side for side in sides for _, key in line):
                return [Figure(sum(sign * side[key][1] for sign, key in line), (), name) for side in sides]
        return [Figure(None, ((Rank.MISSING, f"missing:{_lines_of(name)[0][0][1]}"),), name)] * len(sides)


def _mean(one: Figure, other: Figure) -> Figure:
    # Halved before they are added, so that the sum of two large figures stays finite.
    return one * 0.5 + other * 0.5


def _growth(now: Figure, earlier: Figure, name: str) -> Figure:
    return now / positive(earlier, Rank.EARLIER_VALUE, name).named(name) - Figure(1.0)


# Formulas --------------------------------------------------------------------------------------------------------


def _dividends(y: Figures) -> Figure:
    """Dividends on common stock as an amount ≥ 0; none reported beside a cash flow statement is 0."""
    common, total, preferred = (y.value(key) for key in ("CommonStockDividendPaid", "CashDividendsPaid", "PreferredStockDividendPaid"))
    if common is None and total is not None:
        # A company without preferred stock has no line for its dividend.
        common = total - (preferred or 0.0)
        wrong = common > 0 or (preferred or 0.0) > 0
    else:
        wrong = common is not None and common > 0
    if common is None and "OperatingCashFlow" not in y.lines:
        return Figure(None, ((Rank.MISSING, "missing:CommonStockDividendPaid"),))
    return Figure(0.0 - (common or 0.0)).but(wrong, Rank.UNEXPECTED_SIGN, "unexpected_sign")


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
    return y._chain("InterestExpense", y.lines)[0]


def _avg_equity(y: Figures) -> Figure:
    """avg(equity) where it is above zero at both ends."""
    now, earlier = (positive(end, Rank.EQUITY_AT_EITHER_END, "equity") for end in y.pair("equity"))
    return _mean(now, earlier).named("equity")


def _avg_invested_capital(y: Figures) -> Figure:
    capital = y.avg("TotalDebt") + y.avg("equity") + y.avg("preferred") + y.avg("minority") - y.avg("cash")
    return capital.named("invested_capital")


def _after_tax(y: Figures) -> Figure:
    return y["operating_profit"] * (Figure(1.0) - y["tax_rate"])


def _firm(y: Figures) -> Figure:
    """enterprise_value as a numerator: a multiple of a negative one says nothing."""
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
        + 0.6 * (y["market_cap"] / liabilities)
        + y["TotalRevenue"] / assets
    )


#: Ratio → formula, in the order of the table's columns.
FORMULAS: dict[str, Callable[[Figures], Figure]] = {
    "market_cap": lambda y: y["market_cap"],
    "enterprise_value": lambda y: y["market_cap"] + y["TotalDebt"] + y["minority"] + y["preferred"] - y["cash"],
    "price_to_earnings": lambda y: y["market_cap"] / y["earnings"],
    "price_to_sales": lambda y: y["market_cap"] / y["TotalRevenue"],
    "price_to_book": lambda y: y["market_cap"] / y["equity"],
    "price_to_tangible_book": lambda y: y["market_cap"] / y["TangibleBookValue"],
    "price_to_free_cash_flow": lambda y: y["market_cap"] / y["free_cash_flow"],
    "ev_to_sales": lambda y: _firm(y) / y["TotalRevenue"],
    "ev_to_ebitda": lambda y: _firm(y) / y["EBITDA"],
    "ev_to_ebit": lambda y: _firm(y) / y["EBIT"],
    "ev_to_free_cash_flow": lambda y: _firm(y) / y["free_cash_flow"],
    "earnings_yield": lambda y: y["earnings"] / y["market_cap"],
    "free_cash_flow_yield": lambda y: y["free_cash_flow"] / y["market_cap"],
    "dividend_yield": lambda y: y["dividends"] / y["market_cap"],
    "shareholder_yield": lambda y: (y["dividends"] - y["NetCommonStockIssuance"]) / y["market_cap"],
    "payout_ratio": lambda y: y["dividends"] / y["earnings"],
    "gross_margin": lambda y: y["gross_profit"] / y["TotalRevenue"],
    "operating_margin": lambda y: y["OperatingIncome"] / y["TotalRevenue"],
    "ebitda_margin": lambda y: y["EBITDA"] / y["TotalRevenue"],
    "net_margin": lambda y: y["NetIncome"] / y["TotalRevenue"],
    "free_cash_flow_margin": lambda y: y["free_cash_flow"] / y["TotalRevenue"],
    "return_on_equity": lambda y: y["earnings"] / _avg_equity(y),
    "return_on_assets": lambda y: y["NetIncome"] / y.avg("TotalAssets"),
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
    "equity_multiplier": lambda y: y.avg("TotalAssets") / _avg_equity(y),
    "asset_turnover": lambda y: y["TotalRevenue"] / y.avg("TotalAssets"),
    "days_inventory": lambda y: 365 * (y.avg("Inventory") / y["CostOfRevenue"]),
    "days_sales": lambda y: 365 * (y.avg("AccountsReceivable") / y["TotalRevenue"]),
    "days_payables": lambda y: 365 * (y.avg("AccountsPayable") / y["CostOfRevenue"]),
    "cash_conversion_cycle": lambda y: y["days_inventory"] + y["days_sales"] - y["days_payables"],
    "revenue_growth": lambda y: y.growth("TotalRevenue"),
    "earnings_growth": lambda y: y.growth("earnings"),
    "diluted_eps_growth": lambda y: y.growth("DilutedEPS"),
    "revenue_cagr_3y": _cagr_3y,
    "share_count_change": lambda y: _growth(*y.shares(), "OrdinarySharesNumber"),
    "altman_z": _altman_z,
}

_SPECIAL: dict[str, Callable[[Figures], Figure]] = {
    "dividends": _dividends,
    "tax_rate": _tax_rate,
    "interest_expense": _interest_expense,
}

#: All ratio columns in table order.
RATIOS: tuple[str, ...] = (*FORMULAS, "piotroski_f", "piotroski_tested")

# Piotroski (2000) ------------------------------------------------------------------------------------------------

#: A score of fewer tests than this can't be told from a low one.
PIOTROSKI_LEAST_TESTS = 8

At = Callable[[str], Figure]


def _above(left: Figure, right: Figure) -> bool | None:
    """left > right; None where either is not there."""
    return None if left.value is None or right.value is None else left.value > right.value


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


#: The nine tests: name → whether the company passes, None where a figure is missing.
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
        return fundamentals.industry.startswith(("Banks", "Insurance -")) or fundamentals.industry == "Mortgage Finance"
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
