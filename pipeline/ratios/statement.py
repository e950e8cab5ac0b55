"""The lines of one period of a company's statements, in one currency. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pipeline.ratios.fundamentals import Point, Points

#: Keys whose figures are in no currency, so a currency code of their own means nothing.
_WITHOUT_CURRENCY = frozenset({"OrdinarySharesNumber", "TaxRateForCalcs"})
#: Keys that may carry the quote's currency code beside statements in another: kept, with the code they carry.
_OF_A_SHARE = frozenset({"DilutedEPS"})
_NOT_IN_ONE_CURRENCY = _WITHOUT_CURRENCY | _OF_A_SHARE
#: Keys that show that a period's income statement is there.
DATING_KEYS = ("TotalRevenue", "NetIncome")

#: Ends at most this many days apart are of one period.
SAME_PERIOD_DAYS = 7
#: A period that ends this many days before another is the one a year earlier.
YEAR_DAYS = (350, 380)


@dataclass(frozen=True)
class Statement:
    """Lines of one period in one currency: key → (asOfDate, value). A line in another currency is left out."""

    end: date
    currency: str
    lines: Mapping[str, tuple[date, float]]
    #: Currency code of the lines that may have one of their own.
    codes: Mapping[str, str] = field(default_factory=dict)
    #: Whether it covers something else than a year, by the end of the fiscal year before: its flows cannot be compared with a year's.
    odd_length: bool = False
    #: 0 if the amounts are in the company's usual unit. Statements with different numbers are in different units.
    unit: int = 0


def same_period(one: date, other: date) -> bool:
    return abs((one - other).days) <= SAME_PERIOD_DAYS


def revenue_of(statement: Statement) -> float | None:
    """Revenue above zero."""
    line = statement.lines.get("TotalRevenue")
    return line[1] if line and line[1] > 0 else None


def ends_of(points: Points, keys: tuple[str, ...]) -> list[date]:
    """The period ends that `keys` have, newest first; ends within a week of a newer one are the newer one."""
    return apart({day for key in keys for day in points.get(key, ())})


def apart(days: Iterable[date]) -> list[date]:
    """The days, newest first, without those within a week of a newer one."""
    ends: list[date] = []
    for day in sorted(days, reverse=True):
        if not ends or (ends[-1] - day).days > SAME_PERIOD_DAYS:
            ends.append(day)
    return ends


def statement_of(points: Points, keys: tuple[str, ...], end: date, default: str, currency: str | None = None) -> Statement:
    """The lines that end within a week of `end`, each with the asOfDate it has, all in one currency."""
    found: dict[str, tuple[date, Point]] = {}
    for key in keys:
        by_day = points.get(key)
        if not by_day:
            continue
        if end in by_day:
            found[key] = (end, by_day[end])
        elif near := [day for day in by_day if same_period(day, end)]:
            day = min(near, key=lambda other: (abs((other - end).days), end > other))
            found[key] = (day, by_day[day])
    if currency is None:
        # The income statement's, else the first line's that has one.
        lines = [key for key in found if key not in _NOT_IN_ONE_CURRENCY]
        dated = [key for key in DATING_KEYS if key in found] or lines
        currency = (found[dated[0]][1].currency if dated else "") or default
        if len({found[key][1].currency for key in lines}) > 1:
            # One wrong label costs one line.
            number = Counter(found[key][1].currency or default for key in lines)
            currency = max(number, key=lambda code: (number[code], code == currency))
    kept = {
        key: (day, point.value)
        for key, (day, point) in found.items()
        if (point.currency or default) == currency or key in _NOT_IN_ONE_CURRENCY
    }
    codes = {key: found[key][1].currency or default for key in _OF_A_SHARE if key in found}
    return Statement(end, currency, kept, codes)


def ending_before(statements: list[Statement], end: date, years: int = 1) -> Statement | None:
    """The statement that ends `years` years before `end`, the nearest to 365 days each."""
    low, high = (days * years for days in YEAR_DAYS)
    fitting = [one for one in statements if low <= (end - one.end).days <= high]
    return min(fitting, key=lambda one: abs((end - one.end).days - 365 * years)) if fitting else None
