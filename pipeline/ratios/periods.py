"""The fiscal periods that a company's statement lines make up. Pure. The rules: docs/ratios.md."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import isclose

from pipeline.ratios.amounts import in_one_unit, odd_amounts, split_powers, without_odd_parts
from pipeline.ratios.count_checks import believed_counts
from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, FLOW_KEYS, Fundamentals, Points, Statements, currency_code, major
from pipeline.ratios.quarters import four_quarters, is_a_year
from pipeline.ratios.statement import (
    DATING_KEYS,
    SAME_PERIOD_DAYS,
    YEAR_DAYS,
    Statement,
    apart,
    ending_before,
    ends_of,
    same_period,
    statement_of,
)

#: As many lines of a date are no statement.
_STRAY_LINES = 2
_BALANCES = frozenset(BALANCE_KEYS)
DIVIDEND_KEYS = ("CommonStockDividendPaid", "CashDividendsPaid", "PreferredStockDividendPaid")

#: A fiscal year that is dated anew moves by fewer days than this.
REDATED_DAYS = 20
#: New shares for one old share; outside these it is not a split.
SPLIT_FACTORS = (1e-6, 1e6)
#: A split by the same factor so many days after another is that one.
SAME_SPLIT_DAYS = 10


@dataclass(frozen=True)
class Period:
    """A fiscal year ("annual") or the trailing twelve months ("ttm"), with what it is compared with.

    `balance` is None if there is no balance sheet of that day. The earlier ones are None if no period ends
    350 to 380 days before (three years: 1,050 to 1,140).
    """

    period_type: str
    flows: Statement
    balance: Statement | None
    earlier_flows: Statement | None
    earlier_balance: Statement | None
    three_years_earlier: Statement | None
    #: Whether any date of its year has a line about dividends.
    dividends_seen: bool = False
    #: The lines about dividends in which a quarter of its year has some.
    dividends_paid: frozenset[str] = frozenset()
    #: What was checked of its length: check → what it said.
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def end(self) -> date:
        return self.flows.end

    @property
    def currency(self) -> str:
        return self.flows.currency


def usable(fundamentals: Fundamentals) -> Fundamentals:
    """The same without periods that have not ended, share counts that cannot be believed, and impossible splits."""

    def ended(points: Points) -> Points:
        kept = {key: {day: point for day, point in by_day.items() if day <= fundamentals.as_of} for key, by_day in points.items()}
        return {key: by_day for key, by_day in kept.items() if by_day}

    found = fundamentals.statements
    past = Statements(ended(found.annual), ended(found.quarterly), ended(found.trailing))
    low, high = SPLIT_FACTORS
    splits = {day: factor for day, factor in fundamentals.splits.items() if low < factor < high and day <= fundamentals.as_of}
    splits = _without_repeated(splits) if len(splits) > 1 else splits
    fundamentals = replace(fundamentals, splits=splits)
    return replace(fundamentals, statements=believed_counts(past, fundamentals))


def _without_repeated(splits: Mapping[date, float]) -> dict[date, float]:
    """A split that is listed on the day it was announced for and on the one it was made counts once, on the later."""
    kept: dict[date, float] = {}
    for day, factor in sorted(splits.items(), reverse=True):
        if not any((later - day).days <= SAME_SPLIT_DAYS and isclose(factor, other, rel_tol=1e-3) for later, other in kept.items()):
            kept[day] = factor
    return dict(sorted(kept.items()))


class _Last(threading.local):
    """What this thread asked for last: a first fetch asks before the company's chart is there, and again for its rows."""

    asked: tuple[Statements, str, tuple[float, ...]] | None = None
    found: Sequence[Period] = ()


_last = _Last()


def periods(fundamentals: Fundamentals) -> list[Period]:
    """Up to four fiscal years, newest first, then the trailing twelve months if they are not older than those.

    Of fundamentals as `usable` gives them. They depend on the statements and on the currency of points that name none, and on
    splits only if those are large enough to be taken for another unit.
    """
    default = currency_code(fundamentals.financial_currency) or major(fundamentals.currency)
    asked = fundamentals.statements, default, split_powers(fundamentals.splits)
    if _last.asked != asked:
        _last.found = _periods(*asked)
        _last.asked = asked
    return list(_last.found)


def _periods(statements: Statements, default: str, large_splits: tuple[float, ...]) -> list[Period]:
    years = fiscal_years(statements.annual, default)
    trailing = _trailing_year(statements, default, years)
    if trailing:
        newest, *years = without_odd_parts([_in_one(trailing), *years])
        trailing = _with_lines_of(trailing, newest)
    else:
        years = without_odd_parts(years)
    first = [trailing.flows] if trailing else []
    units = odd_amounts([*first, *years], trailing.balance if trailing else None, large_splits)
    years = [replace(year, unit=unit) for year, unit in zip(years, units[len(first) :], strict=True)]
    chosen = []
    for number, year in enumerate(years[:4]):
        earlier = ending_before(years, year.end)
        checks = {"length": "odd" if year.odd_length else "a year" if number + 1 < len(years) else "not shown"}
        three = ending_before(years, year.end, 3)
        chosen.append(Period("annual", year, year, earlier, earlier, three, *_dividends(statements, year.end), checks))
    if trailing and (not years or (years[0].end - trailing.end).days <= SAME_PERIOD_DAYS):
        chosen.append(_in_unit(trailing, units[0]))
    return chosen


def _in_one(trailing: Period) -> Statement:
    """The flows and, if it is in the same currency, the balance sheet of the trailing twelve months as one statement."""
    flows, balance = trailing.flows, trailing.balance
    return replace(flows, lines={**balance.lines, **flows.lines}) if balance and balance.currency == flows.currency else flows


def _with_lines_of(trailing: Period, kept: Statement) -> Period:
    """The trailing twelve months without the lines that `kept` lacks of what `_in_one` made of them."""
    wrong = _in_one(trailing).lines.keys() - kept.lines.keys()

    def rest(part: Statement) -> Statement:
        return replace(part, lines={key: line for key, line in part.lines.items() if key not in wrong})

    return replace(trailing, flows=rest(trailing.flows), balance=trailing.balance and rest(trailing.balance)) if wrong else trailing


def _in_unit(trailing: Period, unit: int) -> Period:
    """The trailing twelve months with their unit, and with another one for what a year earlier is in another."""

    def beside(now: Statement | None, earlier: Statement | None) -> Statement | None:
        return earlier and replace(earlier, unit=unit if not now or in_one_unit(now, earlier) else unit + 1)

    earlier_flows, earlier_balance = beside(trailing.flows, trailing.earlier_flows), beside(trailing.balance, trailing.earlier_balance)
    return replace(trailing, flows=replace(trailing.flows, unit=unit), earlier_flows=earlier_flows, earlier_balance=earlier_balance)


def fiscal_years(annual: Points, default: str) -> list[Statement]:
    """Every fiscal year with TotalAssets and (TotalRevenue or NetIncome), newest first: the fifth year that the site
    can send has two or three keys and is none, but it ends somewhere. `default` is the currency of points that name none."""
    ends = _ends_of_statements(annual)
    years = [statement_of(annual, FLOW_KEYS + BALANCE_KEYS, end, default) for end in ends_of(annual, DATING_KEYS)]
    complete = [year for year in years if "TotalAssets" in year.lines and any(key in year.lines for key in DATING_KEYS)]
    years = _of_one_date(complete)
    # Between two years that have all statements the site can list trailing figures as if they were a fiscal year's.
    after_a_year = {year.end for year in years if (before := _before(year.end, [one.end for one in years])) and _is_a_year(before)}
    return [replace(year, odd_length=year.end not in after_a_year and _odd_length(year.end, ends)) for year in years]


def _ends_of_statements(annual: Points) -> list[date]:
    """The ends of fiscal years, complete or not; a line or two of another date, a share count say, are none."""
    number = Counter(day for by_day in annual.values() for day in by_day)
    dated = {day for key in (*DATING_KEYS, "TotalAssets") for day in annual.get(key, ())}
    return apart(day for day, lines in number.items() if lines > _STRAY_LINES or day in dated)


def _of_one_date(years: list[Statement]) -> list[Statement]:
    """Without years that stand in the answer twice, since they were dated anew: that date stays which is whole years before the newest."""
    found: list[Statement] = []
    for year in years:
        if found and (found[-1].end - year.end).days < REDATED_DAYS:
            if len(found) > 1:
                found[-1] = min(found[-1], year, key=lambda one: _days_off_whole_years(found[0].end, one.end))
        else:
            found.append(year)
    return found


def _days_off_whole_years(end: date, other: date) -> float:
    days = (end - other).days
    return abs(days - 365.25 * round(days / 365.25))


def _odd_length(end: date, ends: Sequence[date]) -> bool:
    """Whether the fiscal year before ended neither a year before nor a whole number of years."""
    days = _before(end, ends)
    return days is not None and not _is_a_year(days, max(1, round(days / 365.25)))


def _before(end: date, ends: Sequence[date]) -> int | None:
    """How many days before `end` the one before it is."""
    return min((days for other in ends if (days := (end - other).days) >= REDATED_DAYS), default=None)


def _is_a_year(days: int, years: int = 1) -> bool:
    return YEAR_DAYS[0] * years <= days <= YEAR_DAYS[1] * years


def _dividends(statements: Statements, end: date) -> tuple[bool, frozenset[str]]:
    """Whether any date of the year until `end` has a line about dividends; the lines in which a quarter of it has some."""
    first, last = end - timedelta(days=YEAR_DAYS[0]), end + timedelta(days=SAME_PERIOD_DAYS)
    tables = (statements.annual, statements.quarterly, statements.trailing)
    seen = any(first < day <= last for table in tables for key in DIVIDEND_KEYS for day in table.get(key, ()))
    quarters = ((key, statements.quarterly.get(key, {})) for key in DIVIDEND_KEYS) if seen else ()
    return seen, frozenset(key for key, by_day in quarters if any(first < day <= last and one.value for day, one in by_day.items()))


def _trailing_year(statements: Statements, default: str, years: list[Statement]) -> Period | None:
    """The trailing twelve months: of the site's own trailing points, else of four quarters that agree with the fiscal year among them."""
    trailing, quarterly = statements.trailing, statements.quarterly
    points = [statement_of(trailing, FLOW_KEYS, end, default) for end in ends_of(trailing, DATING_KEYS)]
    lengths = [is_a_year(one, quarterly, default, years) for one in points]
    if lengths and lengths[0] is not False:
        flows = points[0]
        earlier_flows = ending_before([one for one, length in zip(points, lengths, strict=True) if length is not False], flows.end)
        checks = {"length": "trailing figures of the site"}
    else:
        summed = four_quarters(quarterly, default, years)
        if summed is None:
            return None
        flows, earlier_flows = summed, None
        checks = {"length": "four quarters that agree with the fiscal year"}
    balances = [statement_of(quarterly, BALANCE_KEYS, end, default) for end in ends_of(quarterly, BALANCE_KEYS)]
    year = next((year for year in years if same_period(year.end, flows.end)), None)
    balance = _of_the_day(balances, flows.end, year)
    if balance and balance.currency != flows.currency:
        # In another currency than the flows, so it cannot be set against them.
        balance = statement_of(quarterly, BALANCE_KEYS, balance.end, default, flows.currency)
    earlier = ending_before(balances, flows.end)
    if year is not None:
        earlier = _filled(earlier, ending_before(years, flows.end))
    return Period("ttm", flows, balance, earlier_flows, earlier, None, *_dividends(statements, flows.end), checks)


def _of_the_day(balances: list[Statement], end: date, year: Statement | None) -> Statement | None:
    """The quarterly balance sheet of that day; on a fiscal year's last day, the annual one has what the quarterly one lacks."""
    near = min((one for one in balances if same_period(one.end, end)), key=lambda one: abs((one.end - end).days), default=None)
    return _filled(near, year)


def _filled(quarterly: Statement | None, annual: Statement | None) -> Statement | None:
    """A quarterly balance sheet with the lines that only the annual one of the same day has; the annual one if it is none."""
    if annual is None or (quarterly is not None and not same_period(quarterly.end, annual.end)):
        return quarterly
    if quarterly is None or "TotalAssets" not in quarterly.lines:
        return annual
    if quarterly.currency != annual.currency or all(key in quarterly.lines for key in BALANCE_KEYS if key in annual.lines):
        return quarterly
    missing = {key: line for key, line in annual.lines.items() if key in _BALANCES and key not in quarterly.lines}
    return replace(quarterly, lines={**missing, **quarterly.lines})


def has_cash_flow_statement(statement: Statement) -> bool:
    """Whether the period's cash-flow statement is there: any of its lines but those about dividends."""
    return any(key in statement.lines for key in CASH_FLOW_KEYS if key not in DIVIDEND_KEYS)
