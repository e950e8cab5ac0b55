"""Whether quarters are three months each, and trailing figures a year's; and what four quarters sum to. Pure. The rules: docs/ratios.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import isfinite

from pipeline.ratios.amounts import SHOWN_STEP, UNIT_STEP, odd_amounts
from pipeline.ratios.fundamentals import FLOW_KEYS, Points
from pipeline.ratios.statement import DATING_KEYS, YEAR_DAYS, Statement, ends_of, revenue_of, same_period, statement_of

#: Rates and per-share figures of four quarters don't add up to a year's.
_NOT_SUMMED = frozenset({"TaxRateForCalcs", "DilutedEPS"})

QUARTER_DAYS = (80, 100)
#: Four quarters of a fiscal year sum to its figure within this; the source rounds, and restates one and not the other.
SUM_TOLERANCE = 0.02
#: Trailing figures are a year's if they are within this of a fiscal year, or of four quarters, that ends with them.
TRAILING_TO_SUM = (0.8, 1.25)
#: Trailing figures that are the newest quarter's own, within this, are three months'.
SAME_FIGURE = 1e-3
#: A quarter that is more than this of four may hold six months: that is twice each of the other three, or nearly.
MOST_OF_FOUR = 0.385
#: Six months are so much of a fiscal year, in most lines; fewer lines than that say nothing.
HALF, _LEAST_LINES = (0.4, 0.6), 4
#: One quarter of a fiscal year is this much of it; six months, or a year to date, are more.
QUARTER_SHARE = (0.1, 0.4)


def is_a_year(trailing: Statement, quarterly: Points, default: str, years: list[Statement]) -> bool | None:
    """Whether trailing figures are twelve months', by the fiscal year or the quarters that end with them; None if nothing tells."""
    revenue = revenue_of(trailing)
    year = next((year for year in years if same_period(year.end, trailing.end) and year.currency == trailing.currency), None)
    if revenue is None:
        return False if _is_the_quarters(trailing, quarterly, default) else None
    if year is not None and not year.odd_length and (whole := revenue_of(year)) is not None:
        # Hundreds of times off is another unit (amounts.py), no other length.
        off = revenue / whole
        return None if not 1 / UNIT_STEP < off < UNIT_STEP else _within(off, TRAILING_TO_SUM)
    quarters = [statement_of(quarterly, FLOW_KEYS, end, default) for end in _quarters_until(trailing.end, ends_of(quarterly, DATING_KEYS))]
    parts = [revenue_of(quarter) for quarter in quarters[:4]]
    if len(parts) == 4 and None not in parts and quarters[0].currency == trailing.currency and _agree(quarters, years):
        return _within(revenue / sum(part or 0.0 for part in parts), TRAILING_TO_SUM)
    if revenue < _part_of_a_year(trailing, quarterly, default, years):
        return False
    newest = parts[0] if same_period(quarters[0].end, trailing.end) else None
    if newest is not None and abs(newest - revenue) <= SAME_FIGURE * revenue:
        return False
    return False if _is_half_of(trailing, next((year for year in years if year.end < trailing.end), None)) else None


def _is_half_of(trailing: Statement, year: Statement | None) -> bool:
    """Whether most lines of trailing figures are half of the fiscal year's before: six months. If sales fall, profits fall by more."""
    if year is None or (trailing.end - year.end).days >= YEAR_DAYS[0] or year.odd_length or year.currency != trailing.currency:
        return False
    common = [(line[1], year.lines[key][1]) for key, line in trailing.lines.items() if key not in _NOT_SUMMED and key in year.lines]
    halves = sum(whole != 0 and _within(part / whole, HALF) for part, whole in common)
    return len(common) >= _LEAST_LINES and 3 * halves >= 2 * len(common)


def _is_the_quarters(trailing: Statement, quarterly: Points, default: str) -> bool:
    """Whether the trailing net income of a company without revenue is that of the newest quarter alone: an earlier one has some too."""
    ends = _quarters_until(trailing.end, ends_of(quarterly, DATING_KEYS))[:4]
    quarters = [statement_of(quarterly, ("NetIncome",), end, default).lines.get("NetIncome") for end in ends]
    earned, (newest, *others) = trailing.lines.get("NetIncome"), quarters
    if earned is None or newest is None or abs(newest[1] - earned[1]) > SAME_FIGURE * abs(earned[1]):
        return False
    return any(other and abs(other[1]) > SUM_TOLERANCE * abs(earned[1]) for other in others)


def _part_of_a_year(trailing: Statement, quarterly: Points, default: str, years: list[Statement]) -> float:
    """The revenue of a fiscal year until the end of the trailing figures in it, which cannot be less; 0 if that is not known."""
    year = next((year for year in reversed(years) if year.end > trailing.end and not same_period(year.end, trailing.end)), None)
    if year is None or (year.end - trailing.end).days >= YEAR_DAYS[0] or year.odd_length or year.currency != trailing.currency:
        return 0.0
    after = [
        end
        for end in _quarters_until(year.end, ends_of(quarterly, DATING_KEYS))
        if end > trailing.end and not same_period(end, trailing.end)
    ]
    rest = [revenue_of(statement_of(quarterly, FLOW_KEYS, end, default)) for end in after]
    if None in rest or not QUARTER_DAYS[0] <= (after[-1] - trailing.end).days <= QUARTER_DAYS[1]:
        return 0.0
    part = (revenue_of(year) or 0.0) - sum(one or 0.0 for one in rest)
    return part * (1 - SUM_TOLERANCE) if part < UNIT_STEP * (revenue_of(trailing) or 0.0) else 0.0


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def four_quarters(quarterly: Points, default: str, years: list[Statement]) -> Statement | None:
    """The sum of the newest four quarters that follow one another, in one currency, if they agree with a fiscal year.

    A stray quarter among them, or after them, is left out.
    """
    ends = ends_of(quarterly, DATING_KEYS)
    for newest in ends:
        if (ends[0] - newest).days > QUARTER_DAYS[1]:
            break
        chain = _quarters_until(newest, ends)
        quarters = [statement_of(quarterly, FLOW_KEYS, end, default) for end in chain]
        if len(quarters) >= 4 and _agree(quarters, years) and not _holds_more(quarters, years):
            return _sum(quarters[:4], _of_the_year_so_far(quarters, years))
    return None


def _quarters_until(newest: date, ends: Sequence[date]) -> list[date]:
    """Ends from `newest` back, each a quarter before the one before it."""
    chain = [newest]
    while True:
        low, high = QUARTER_DAYS
        before = [end for end in ends if low <= (chain[-1] - end).days <= high]
        if not before:
            return chain
        chain.append(min(before, key=lambda end: abs((chain[-1] - end).days - 91)))


def _agree(quarters: list[Statement], years: list[Statement]) -> bool:
    """Whether they are three months each, by the fiscal year whose end lies among the newest four."""
    among = [(number, year) for number, quarter in enumerate(quarters[:4]) for year in years if same_period(quarter.end, year.end)]
    if not among or len({quarter.currency for quarter in quarters[:4]}) > 1:
        return False
    revenues = [revenue_of(quarter) or 0.0 for quarter in quarters[:4]]
    if not max(revenues) < SHOWN_STEP * min(revenues) and any(odd_amounts(quarters[:4])):
        return False
    number, year = among[0]
    for key in DATING_KEYS:
        whole, parts = year.lines.get(key), [quarter.lines.get(key) for quarter in quarters[number : number + 4]]
        if whole is None or year.currency != quarters[0].currency or year.odd_length:
            continue
        values = [part[1] for part in parts if part is not None]
        if len(values) == 4:
            return abs(sum(values) - whole[1]) <= SUM_TOLERANCE * abs(whole[1])
        if parts[0] is not None and whole[1] and key == "TotalRevenue":
            return QUARTER_SHARE[0] <= parts[0][1] / whole[1] <= QUARTER_SHARE[1]
    return False


def _holds_more(quarters: list[Statement], years: list[Statement]) -> bool:
    """Whether a quarter since the newest fiscal year holds six months or more: by its part of the four, unless it was so a year before."""
    revenues = [revenue_of(quarter) or 0.0 for quarter in quarters]
    for number, revenue in enumerate(revenues[:4]):
        if any(same_period(quarters[number].end, year.end) for year in years):
            break
        before = revenues[number + 4] if number + 4 < len(revenues) else 0.0
        if revenue > MOST_OF_FOUR * sum(revenues[:4]) and not before / 1.5 < revenue < before * 1.5:
            return True
    return False


def _of_the_year_so_far(quarters: list[Statement], years: list[Statement]) -> set[str]:
    """The lines that hold the fiscal year so far, as cash flows may: its last quarter has the whole year's, and another has some."""
    found = next(((n, year) for n, one in enumerate(quarters[:4]) for year in years if same_period(one.end, year.end)), None)
    if found is None or found[1].currency != quarters[0].currency:
        return set()
    number, year = found

    def is_some(figure: float, whole: float) -> bool:
        return abs(figure) > SUM_TOLERANCE * abs(whole)

    def value(statement: Statement, key: str) -> float:
        return statement.lines[key][1] if key in statement.lines else 0.0

    return {
        key
        for key, (_, whole) in year.lines.items()
        if whole and not is_some(value(quarters[number], key) - whole, whole)
        if any(is_some(value(one, key), whole) for one in quarters[number + 1 : number + 4])
    }


def _sum(quarters: list[Statement], without: set[str]) -> Statement:
    end = quarters[0].end
    sums = {
        key: (end, sum(quarter.lines[key][1] for quarter in quarters))
        for key in FLOW_KEYS
        if key not in _NOT_SUMMED and key not in without and all(key in quarter.lines for quarter in quarters)
    }
    return Statement(end, quarters[0].currency, {key: line for key, line in sums.items() if isfinite(line[1])})
