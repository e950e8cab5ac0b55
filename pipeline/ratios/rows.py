"""The ratios: one formula each, why a value is NULL, and what it was computed from.

Pure: no network, no database. Definitions, sources and traps: docs/ratios.md. Fractions, not percentages; amounts in the
statement's currency. A value that can't be computed is None with one reason, never 0, infinity or NaN; 0 is a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise
from math import isfinite, log
from typing import Any

from pipeline.ratios.statements import BALANCE_KEYS, FLOW_KEYS, MINOR_UNITS, Fundamentals, Period, Points, Rates, Statement, periods

# Reasons ---------------------------------------------------------------------------------------------------------

#: Where several reasons hold, the one of the lowest rank is told; of equal ranks the first in the formula.
_NO_MARKET_VALUE = 2.0  # no_price, share_unit, fx_unavailable: one of them at a time, looked for in this order
_MISSING = 3.0
_NO_PRIOR_PERIOD = 4.0
_CURRENCY_CHANGED = 4.1
_UNEXPECTED_SIGN = 4.2
_DENOMINATOR = 5.0
_EQUITY_AT_EITHER_END = 5.1
_EARLIER_VALUE = 5.2
_ENTERPRISE_VALUE = 5.3
_MARKET_CAP = 5.4
_NO_DEBT_COST = 6.0
_NON_FINITE = 7.0  # beyond a double's range

Problem = tuple[float, str]


class Figure:
    """A number, or the problems that kept it from being one. `+ - * /` work on both and never raise.

    Exactly one of `value` and `problems` is there, but for a number that is fit for some uses only (an enterprise value
    of zero or less): those uses add their problem. `name` is what `non_positive:` calls it as a denominator.
    """

    __slots__ = ("name", "problems", "value")

    def __init__(self, value: float | None, problems: tuple[Problem, ...] = (), name: str = "") -> None:
        if value is not None and not isfinite(value):
            value, problems = None, (*problems, (_NON_FINITE, "non_finite"))
        self.value = None if problems else value
        self.problems = problems
        self.name = name

    @property
    def reason(self) -> str:
        return min(self.problems, key=lambda problem: problem[0])[1]

    def named(self, name: str) -> Figure:
        return Figure(self.value, self.problems, name)

    def but(self, holds: bool, rank: float, reason: str) -> Figure:
        """The same figure, with a problem more if `holds`."""
        return Figure(self.value, (*self.problems, (rank, reason)), self.name) if holds else self

    def __add__(self, other: Figure) -> Figure:
        if self.value is None or other.value is None:
            return Figure(None, self.problems + other.problems)
        return Figure(self.value + other.value)

    def __sub__(self, other: Figure) -> Figure:
        if self.value is None or other.value is None:
            return Figure(None, self.problems + other.problems)
        return Figure(self.value - other.value)

    def __mul__(self, other: Figure | float) -> Figure:
        factor = other.value if isinstance(other, Figure) else other
        if self.value is None or factor is None:
            return Figure(None, self.problems + (other.problems if isinstance(other, Figure) else ()))
        return Figure(self.value * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Figure) -> Figure:
        divisor = other.value
        problems = self.problems + other.problems
        if divisor is not None and divisor <= 0:
            problems += ((_DENOMINATOR, f"non_positive:{other.name}"),)
        if problems or self.value is None or divisor is None:
            return Figure(None, problems)
        return Figure(self.value / divisor)


def positive(figure: Figure, rank: float, name: str) -> Figure:
    """The figure where it is above zero."""
    return figure.but(figure.value is not None and figure.value <= 0, rank, f"non_positive:{name}")


# Names -----------------------------------------------------------------------------------------------------------

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
        self._now: dict[str, Figure] = {"market_cap": positive(market_cap, _MARKET_CAP, "market_cap").named("market_cap")}
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
            return self._chain(name, self.lines)[0], Figure(None, ((_NO_PRIOR_PERIOD, "no_prior_period"),), name)
        now, before = self._chain(name, self.lines, earlier.lines)
        return now, before.but(earlier.currency != self.period.currency, _CURRENCY_CHANGED, "currency_changed")

    def _chain(self, name: str, *sides: Mapping[str, tuple[date, float]]) -> list[Figure]:
        """The first line of `name` that every side has, at each of them."""
        if name not in NAMES and all(name in side for side in sides):
            return [Figure(side[name][1], (), name) for side in sides]
        for line in _lines_of(name):
            if all(key in side for side in sides for _, key in line):
                return [Figure(sum(sign * side[key][1] for sign, key in line), (), name) for side in sides]
        return [Figure(None, ((_MISSING, f"missing:{_lines_of(name)[0][0][1]}"),), name)] * len(sides)


def _mean(one: Figure, other: Figure) -> Figure:
    # Halved before they are added, so that the sum of two large figures stays finite.
    return one * 0.5 + other * 0.5


def _growth(now: Figure, earlier: Figure, name: str) -> Figure:
    return now / positive(earlier, _EARLIER_VALUE, name).named(name) - Figure(1.0)


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
        return Figure(None, ((_MISSING, "missing:CommonStockDividendPaid"),))
    return Figure(0.0 - (common or 0.0)).but(wrong, _UNEXPECTED_SIGN, "unexpected_sign")


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
        return Figure(None, ((_MISSING, f"missing:{'TaxProvision' if tax is None else 'PretaxIncome'}"),))
    return Figure(min(max(rate, 0.0), 0.5))


def _interest_expense(y: Figures) -> Figure:
    """InterestExpense as a denominator: none without debt is no gap in the data."""
    expense, debt = y.value("InterestExpense"), y.value("TotalDebt")
    if expense == 0 or (expense is None and debt == 0):
        return Figure(None, ((_NO_DEBT_COST, "no_debt_cost"),))
    return y._chain("InterestExpense", y.lines)[0]


def _avg_equity(y: Figures) -> Figure:
    """avg(equity) where it is above zero at both ends."""
    now, earlier = (positive(end, _EQUITY_AT_EITHER_END, "equity") for end in y.pair("equity"))
    return _mean(now, earlier).named("equity")


def _avg_invested_capital(y: Figures) -> Figure:
    capital = y.avg("TotalDebt") + y.avg("equity") + y.avg("preferred") + y.avg("minority") - y.avg("cash")
    return capital.named("invested_capital")


def _after_tax(y: Figures) -> Figure:
    return y["operating_profit"] * (Figure(1.0) - y["tax_rate"])


def _firm(y: Figures) -> Figure:
    """enterprise_value as a numerator: a multiple of a negative one says nothing."""
    return positive(y["enterprise_value"], _ENTERPRISE_VALUE, "enterprise_value")


def _cagr_3y(y: Figures) -> Figure:
    now, earlier = y.compare_three_years("TotalRevenue")
    # A negative revenue has no real mean growth rate.
    now = now.but(now.value is not None and now.value < 0, _DENOMINATOR, "non_positive:TotalRevenue")
    quotient = now / positive(earlier, _EARLIER_VALUE, "TotalRevenue").named("TotalRevenue")
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


def _not_applicable(period: Period, financial: bool) -> frozenset[str]:
    names: frozenset[str] = NOT_FOR_FINANCIALS if financial else frozenset()
    if period.balance and not {"CurrentAssets", "CurrentLiabilities"} & period.balance.lines.keys() and _has_balance(period.balance):
        names |= NOT_WITHOUT_CURRENT_ITEMS
    return names | {"revenue_cagr_3y"} if period.period_type == "ttm" else names


def _has_balance(statement: Statement) -> bool:
    # A share count alone is no balance sheet.
    return any(key in statement.lines for key in BALANCE_KEYS if key != "OrdinarySharesNumber")


# Market value ----------------------------------------------------------------------------------------------------

#: A close this many days before the period's end still is the period's.
CLOSE_DAYS = 10
#: An exchange rate this many days before the close's day still is the day's.
RATE_DAYS = 7
#: market cap ÷ (price × shares) within these: one share is one share.
SHARE_UNIT = (0.67, 1.5)
#: A quoted market cap this many times price × shares is in pence.
PENCE = (50.0, 200.0)
#: How far a jump of the share count may be from a split's factor.
SPLIT_TOLERANCE = 0.2


class ShareCounts:
    """Counts of shares over time, and by what to multiply each so that it fits closes, which are as after every split.

    The site restates counts for later splits at times, closes always: a count was not restated for a split where the
    counts before and after it differ by its factor.
    """

    def __init__(self, series: Points, later: Points, fundamentals: Fundamentals) -> None:
        """`series` are the counts asked for; those in `later` after them, and today's, only tell what happened next."""
        counts = {day: point.value for day, point in series.get("OrdinarySharesNumber", {}).items()}
        newest = max(counts, default=date.min)
        counts |= {day: point.value for day, point in later.get("OrdinarySharesNumber", {}).items() if day > newest}
        today, outstanding = fundamentals.quoted_on, fundamentals.shares_outstanding
        if today and outstanding and today > max(counts, default=date.min):
            counts[today] = outstanding
        self._factors: list[tuple[date, float]] = []
        days = sorted(counts)
        for before, after in pairwise(days):
            factor = 1.0
            for day, split in fundamentals.splits.items():
                factor *= split if before < day <= after else 1.0
            if factor != 1.0 and _jumped(counts[before], counts[after], factor):
                self._factors.append((before, factor))

    def factor(self, day: date) -> float:
        """Shares as after every split for one share as counted on `day`."""
        result = 1.0
        for before, factor in self._factors:
            result *= factor if day <= before else 1.0
        return result


def _jumped(before: float, after: float, factor: float) -> bool:
    if before <= 0 or after <= 0 or factor <= 0:
        return False
    jump = after / before
    if not 0 < jump < float("inf"):
        return False
    # A stock dividend of 5 % lies within the tolerance of no change at all: there the nearer of the two decides.
    return abs(jump / factor - 1) <= SPLIT_TOLERANCE and abs(log(jump / factor)) < abs(log(jump))


@dataclass(frozen=True)
class Market:
    """A company's market value in the quote's currency, as far as it doesn't depend on the period."""

    fundamentals: Fundamentals
    currency: str
    #: What one unit of the quote is in `currency`: 0.01 for pence.
    unit: float
    #: Today's market value, pence taken for what they are.
    market_cap: float | None
    #: Whether today's market value is something else than price × ordinary shares (ADRs, several share classes).
    other_shares: bool
    annual_counts: ShareCounts
    quarterly_counts: ShareCounts


def _market(fundamentals: Fundamentals) -> Market:
    quoted = fundamentals.currency or ""
    currency, unit = MINOR_UNITS.get(quoted, quoted), 0.01 if quoted in MINOR_UNITS else 1.0
    statements = fundamentals.statements
    annual = ShareCounts(statements.annual, statements.quarterly, fundamentals)
    quarterly = ShareCounts(statements.quarterly, {}, fundamentals)
    counts = [
        (day, point.value * source.factor(day))
        for points, source in ((statements.annual, annual), (statements.quarterly, quarterly))
        for day, point in points.get("OrdinarySharesNumber", {}).items()
    ]
    shares = max(counts)[1] if counts else None
    market_cap = fundamentals.market_cap
    if unit != 1.0 and _times(market_cap, fundamentals.price, unit, fundamentals.shares_outstanding or shares, PENCE):
        market_cap = (market_cap or 0.0) * unit
    comparable = bool(market_cap and fundamentals.price and shares)
    other = comparable and not _times(market_cap, fundamentals.price, unit, shares, SHARE_UNIT)
    return Market(fundamentals, currency, unit, market_cap, other, annual, quarterly)


def _times(market_cap: float | None, price: float | None, unit: float, shares: float | None, bounds: tuple[float, float]) -> bool:
    """Whether the market cap is between so many times price × shares."""
    if not market_cap or not price or not shares:
        return False
    computed = price * unit * shares
    return computed > 0 and bounds[0] <= market_cap / computed <= bounds[1]


def _market_now(market: Market, period: Period) -> tuple[Figure, dict[str, Any]]:
    """Today's market value in the statement's currency, and what it was made from."""
    fundamentals = market.fundamentals
    inputs: dict[str, Any] = {
        "quote_currency": fundamentals.currency,
        "quoted_market_cap": fundamentals.market_cap,
        "price": fundamentals.price,
        "shares_outstanding": fundamentals.shares_outstanding,
        "quoted_on": fundamentals.quoted_on,
    }
    if market.market_cap is None:
        return _no_market_value("no_price"), inputs
    rate = _rate(market, period.currency, None)
    inputs |= rate.inputs
    return _converted(market.market_cap, rate), inputs


def _market_then(market: Market, period: Period) -> tuple[Figure, dict[str, Any]]:
    """The market value at the period's end, and what it was made from: never today's against an old statement."""
    fundamentals = market.fundamentals
    line = period.flows.lines.get("OrdinarySharesNumber")
    days = (period.end - timedelta(days=back) for back in range(CLOSE_DAYS + 1))
    day = next((day for day in days if day in fundamentals.closes), None)
    inputs: dict[str, Any] = {"quote_currency": fundamentals.currency}
    if day is None:
        return _no_market_value("no_price"), inputs
    inputs |= {"close": fundamentals.closes[day], "close_date": day}
    if market.other_shares:
        return _no_market_value("share_unit"), inputs
    rate = _rate(market, period.currency, day)
    inputs |= rate.inputs
    if rate.value is None:
        return _no_market_value("fx_unavailable"), inputs
    if line is None:
        return Figure(None, ((_MISSING, "missing:OrdinarySharesNumber"),)), inputs
    factor = market.annual_counts.factor(line[0])
    inputs |= {"shares": line[1], "split_factor": factor}
    return _converted(fundamentals.closes[day] * market.unit * line[1] * factor, rate), inputs


def _no_market_value(reason: str) -> Figure:
    return Figure(None, ((_NO_MARKET_VALUE, reason),))


@dataclass(frozen=True)
class _Rate:
    value: float | None
    inputs: dict[str, Any]


def _rate(market: Market, currency: str, day: date | None) -> _Rate:
    """What one unit of the market value's currency is in `currency`: today, or at the close of `day`."""
    unit = 0.01 if currency in MINOR_UNITS else 1.0
    target = MINOR_UNITS.get(currency, currency)
    if not target or not market.currency:
        return _Rate(None, {})
    if target == market.currency:
        return _Rate(1 / unit, {"rate": 1 / unit})
    pair = market.currency + target
    rates = market.fundamentals.rates.get(pair, Rates())
    found: tuple[float | None, date | None] = (rates.today, None)
    if day is not None:
        days = (day - timedelta(days=back) for back in range(RATE_DAYS + 1))
        found = next(((rates.by_day[when], when) for when in days if when in rates.by_day), (None, None))
    if found[0] is None or not 0 < found[0] < float("inf"):
        return _Rate(None, {"rate_pair": pair})
    return _Rate(found[0] / unit, {"rate": found[0] / unit, "rate_pair": pair, "rate_date": found[1]})


def _converted(market_cap: float, rate: _Rate) -> Figure:
    return _no_market_value("fx_unavailable") if rate.value is None else Figure(market_cap * rate.value)


# Rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RatioRow:
    """One row of financial_ratios. `values` has every name of RATIOS, `null_reasons` exactly those whose value is None.

    `inputs` is JSON-able, of finite numbers and text: `lines` (key → asOfDate → figure, of the period and of those it is
    compared with), `market` (price or close, shares, rate and their days), `piotroski` (test → 1 or 0) and, of `ttm`,
    `site_ratios` (the site's own).
    """

    symbol: str
    period_type: str
    period_end: date
    currency: str
    values: dict[str, float | None]
    null_reasons: dict[str, str]
    inputs: dict[str, Any]


def ratio_rows(fundamentals: Fundamentals) -> list[RatioRow]:
    """All ratios for up to four fiscal years, newest first, and for the trailing twelve months. Never raises."""
    market = _market(fundamentals)
    financial = is_financial(fundamentals)
    return [_row(fundamentals, period, market, financial) for period in periods(fundamentals)]


def _row(fundamentals: Fundamentals, period: Period, market: Market, financial: bool) -> RatioRow:
    ttm = period.period_type == "ttm"
    market_cap, market_inputs = (_market_now if ttm else _market_then)(market, period)
    y = Figures(period, market_cap, (market.quarterly_counts if ttm else market.annual_counts).factor)
    not_applicable = _not_applicable(period, financial)
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in FORMULAS:
        figure = y[name]
        values[name] = None if name in not_applicable else figure.value
        if values[name] is None:
            reasons[name] = "not_applicable" if name in not_applicable else figure.reason
    tests = {name: passed for name, test in PIOTROSKI.items() if (passed := test(y)) is not None}
    values["piotroski_f"] = float(sum(tests.values()))
    values["piotroski_tested"] = float(len(tests))
    if "piotroski_f" in not_applicable or len(tests) < PIOTROSKI_LEAST_TESTS:
        values["piotroski_f"] = None
        reasons["piotroski_f"] = "not_applicable" if "piotroski_f" in not_applicable else "not_enough_tests"
    inputs: dict[str, Any] = {
        "lines": _lines_used(period),
        "market": _plain(market_inputs),
        "piotroski": {name: int(passed) for name, passed in tests.items()},
    }
    if ttm and fundamentals.site_ratios:
        inputs["site_ratios"] = _plain(fundamentals.site_ratios)
    return RatioRow(fundamentals.symbol, period.period_type, period.end, period.currency, values, reasons, inputs)


def _lines_used(period: Period) -> dict[str, dict[str, float]]:
    """key → asOfDate → figure at the period's end, one year earlier and, of the revenue, three."""
    lines: dict[str, dict[str, float]] = {}
    three = period.three_years_earlier
    if three and "TotalRevenue" in three.lines:
        day, value = three.lines["TotalRevenue"]
        lines["TotalRevenue"] = {day.isoformat(): value}
    for statement, keys in (
        (period.earlier_flows, _FLOWS),
        (period.earlier_balance, _BALANCES),
        (period.balance, None),
        (period.flows, None),
    ):
        for key, (day, value) in statement.lines.items() if statement else ():
            if keys is None or key in keys:
                lines.setdefault(key, {})[day.isoformat()] = value
    return lines


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able, without what isn't there."""
    kept = {key: value.isoformat() if isinstance(value, date) else value for key, value in inputs.items()}
    return {key: value for key, value in kept.items() if value is not None and (not isinstance(value, float) or isfinite(value))}
