"""The fiscal periods that a company's statement lines make up. Pure. The rules: docs/ratios.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import isfinite

from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, MINOR_UNITS, Fundamentals, Point, Points

#: Keys whose figures are in no currency, so a currency code of their own means nothing.
_WITHOUT_CURRENCY = frozenset({"OrdinarySharesNumber", "TaxRateForCalcs"})
#: Keys that say a period's income statement is there.
_DATING_KEYS = ("TotalRevenue", "NetIncome")
#: Rates and per-share figures of four quarters don't add up to a year's.
_NOT_SUMMED = frozenset({"TaxRateForCalcs", "DilutedEPS"})

#: Ends this many days apart or fewer are one period.
SAME_PERIOD_DAYS = 7
#: A period that ends this many days before another is the one a year earlier.
YEAR_DAYS = (350, 380)
QUARTER_DAYS = (80, 100)


@dataclass(frozen=True)
class Statement:
    """Lines of one period in one currency: key → (asOfDate, value). A line in another currency is left out."""

    end: date
    currency: str
    lines: Mapping[str, tuple[date, float]]


@dataclass(frozen=True)
class Period:
    """A fiscal year ("annual") or the trailing twelve months ("ttm"), with what it is compared with.

    `balance` is None where there is no balance sheet of that day. The earlier ones are None where no period ends
    350 to 380 days before (three years: 1,050 to 1,140).
    """

    period_type: str
    flows: Statement
    balance: Statement | None
    earlier_flows: Statement | None
    earlier_balance: Statement | None
    three_years_earlier: Statement | None

    @property
    def end(self) -> date:
        return self.flows.end

    @property
    def currency(self) -> str:
        return self.flows.currency


def periods(fundamentals: Fundamentals) -> list[Period]:
    """Up to four fiscal years, newest first, then the trailing twelve months where they are not older than those."""
    years = fiscal_years(fundamentals)
    chosen = []
    for year in years[:4]:
        earlier = _ending_before(years, year.end)
        chosen.append(Period("annual", year, year, earlier, earlier, _ending_before(years, year.end, 3)))
    trailing = trailing_year(fundamentals)
    if trailing and (not years or (years[0].end - trailing.end).days <= SAME_PERIOD_DAYS):
        chosen.append(trailing)
    return chosen


def fiscal_years(fundamentals: Fundamentals) -> list[Statement]:
    """Every fiscal year with TotalAssets and (TotalRevenue or NetIncome), newest first: the fifth year that the site
    can send has two or three keys and is none."""
    annual = fundamentals.statements.annual
    default = _default_currency(fundamentals)
    years = [_statement(annual, FLOW_KEYS + BALANCE_KEYS, end, default) for end in _ends(annual, _DATING_KEYS)]
    return [year for year in years if "TotalAssets" in year.lines and any(key in year.lines for key in _DATING_KEYS)]


def trailing_year(fundamentals: Fundamentals) -> Period | None:
    """The trailing twelve months: of the site's own trailing points, else of four quarters; the balance is a quarter's."""
    trailing, quarterly = fundamentals.statements.trailing, fundamentals.statements.quarterly
    default = _default_currency(fundamentals)
    ends = _ends(trailing, _DATING_KEYS)
    if ends:
        points = [_statement(trailing, FLOW_KEYS, end, default) for end in ends]
        flows, earlier_flows = points[0], _ending_before(points, ends[0])
    else:
        summed = _four_quarters(quarterly, default)
        if summed is None:
            return None
        flows, earlier_flows = summed, None
    balances = [_statement(quarterly, BALANCE_KEYS, end, default, flows.currency) for end in _ends(quarterly, BALANCE_KEYS)]
    near = [balance for balance in balances if abs((balance.end - flows.end).days) <= SAME_PERIOD_DAYS]
    balance = min(near, key=lambda one: abs((one.end - flows.end).days)) if near else None
    return Period("ttm", flows, balance, earlier_flows, _earlier_balance(quarterly, flows.end, default), None)


def _earlier_balance(quarterly: Points, end: date, default: str) -> Statement | None:
    # In a currency of its own: whether that is the later one's is what the comparison asks.
    return _ending_before([_statement(quarterly, BALANCE_KEYS, day, default) for day in _ends(quarterly, BALANCE_KEYS)], end)


def _default_currency(fundamentals: Fundamentals) -> str:
    """Currency of points that name none."""
    quoted = fundamentals.currency or ""
    return fundamentals.financial_currency or MINOR_UNITS.get(quoted, quoted)


def _ends(points: Points, keys: tuple[str, ...]) -> list[date]:
    """The period ends that `keys` have, newest first; ends within a week of a newer one are the newer one."""
    ends: list[date] = []
    for day in sorted({day for key in keys for day in points.get(key, ())}, reverse=True):
        if not ends or (ends[-1] - day).days > SAME_PERIOD_DAYS:
            ends.append(day)
    return ends


def _statement(points: Points, keys: tuple[str, ...], end: date, default: str, currency: str | None = None) -> Statement:
    """The lines that end within a week of `end`, each with the asOfDate it has, all in one currency."""
    found: dict[str, tuple[date, Point]] = {}
    for key in keys:
        by_day = points.get(key)
        if not by_day:
            continue
        day = end if end in by_day else min(by_day, key=lambda other: (abs((other - end).days), end > other))
        if abs((day - end).days) <= SAME_PERIOD_DAYS:
            found[key] = (day, by_day[day])
    if currency is None:
        # The income statement's, else the first line's that has one.
        lines = [key for key in found if key not in _WITHOUT_CURRENCY]
        dated = [key for key in _DATING_KEYS if key in found] or lines
        currency = (found[dated[0]][1].currency if dated else "") or default
    kept = {
        key: (day, point.value)
        for key, (day, point) in found.items()
        if key in _WITHOUT_CURRENCY or (point.currency or default) == currency
    }
    return Statement(end, currency, kept)


def _ending_before(statements: list[Statement], end: date, years: int = 1) -> Statement | None:
    """The statement that ends `years` years before `end`, the nearest to 365 days each."""
    low, high = (days * years for days in YEAR_DAYS)
    fitting = [one for one in statements if low <= (end - one.end).days <= high]
    return min(fitting, key=lambda one: abs((end - one.end).days - 365 * years)) if fitting else None


def _four_quarters(quarterly: Points, default: str) -> Statement | None:
    """The sum of the newest four quarters, where they follow one another and are in one currency."""
    ends = _ends(quarterly, _DATING_KEYS)[:4]
    gaps = [(later - earlier).days for later, earlier in pairwise(ends)]
    if len(ends) < 4 or not all(QUARTER_DAYS[0] <= gap <= QUARTER_DAYS[1] for gap in gaps):
        return None
    quarters = [_statement(quarterly, FLOW_KEYS, end, default) for end in ends]
    if len({quarter.currency for quarter in quarters}) > 1:
        return None
    sums = {
        key: (ends[0], sum(quarter.lines[key][1] for quarter in quarters))
        for key in FLOW_KEYS
        if key not in _NOT_SUMMED and all(key in quarter.lines for quarter in quarters)
    }
    return Statement(ends[0], quarters[0].currency, {key: line for key, line in sums.items() if isfinite(line[1])})
