"""Which of a company's share counts can be believed at all. Pure. Rules: docs/ratios.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from math import log
from statistics import median

from pipeline.ratios.fundamentals import Fundamentals, Point, Points, Statements
from pipeline.ratios.share_counts import SHARES, counts_of_the_quote, product, shares_behind

#: A count this many times off both its neighbours is none.
COUNT_STEP = 100.0
#: What the site fills in where it knows no count.
PLACEHOLDERS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
#: A count that moves by so many times from one date to the next, with no split to explain it, needs a witness.
LARGE_MOVE = log(2.5)
#: Counts within this of each other say the same.
_ABOUT_EQUAL = log(1.5)
#: Days within which two dates are of one period.
_SAME_DAYS = 7
#: Earnings per share are of a mean over the period: a new count shows in full only in the period after.
_LATER_DAYS = 400

Count = tuple[date, float]


def believed_counts(statements: Statements, fundamentals: Fundamentals) -> Statements:
    """The statements without share counts that are none: fillers, and counts far off their neighbours that nothing speaks for."""
    counts = sorted(
        {(day, point.value) for table in (statements.annual, statements.quarterly) for day, point in table.get(SHARES, {}).items()}
    )
    counts = [(day, count) for day, count in counts if count > 0]
    least, most = min((count for _, count in counts), default=0.0), max((count for _, count in counts), default=0.0)
    if least > max(PLACEHOLDERS) and log(most / least) < LARGE_MOVE:
        return statements
    quoted = fundamentals.shares_outstanding
    around = [*counts, (fundamentals.as_of, quoted)] if quoted and quoted > 0 else counts
    wrong = {one for one in counts if _is_filler(one, around, fundamentals.splits) or _is_spike(one, counts, fundamentals.splits)}
    wrong |= _Witnesses(statements, fundamentals).contradicted([one for one in counts if one not in wrong])
    if not wrong:
        return statements

    def cleaned(points: Points) -> Points:
        kept: dict[date, Point] = {day: point for day, point in points.get(SHARES, {}).items() if (day, point.value) not in wrong}
        others = {key: by_day for key, by_day in points.items() if key != SHARES}
        return {**others, SHARES: kept} if kept else others

    return Statements(cleaned(statements.annual), cleaned(statements.quarterly), statements.trailing)


def _neighbours(one: Count, counts: list[Count]) -> tuple[Count | None, Count | None]:
    before = [other for other in counts if other[0] <= one[0] and other != one][-1:]
    after = [other for other in counts if other[0] > one[0]][:1]
    return (before[0] if before else None, after[0] if after else None)


def _is_filler(one: Count, counts: list[Count], splits: Mapping[date, float]) -> bool:
    """Whether a count is a hundred times off both its neighbours, or a round filler that far off all others."""
    day, count = one
    others = [other for other in counts if other != one]
    if not others:
        return False
    later = product(factor for when, factor in splits.items() if when > day)

    def off(other: float) -> bool:
        # A reverse split of 1 for 190 is no mistake.
        return min(abs(log(count) - log(other) + sign * log(later)) for sign in (-1, 0, 1)) >= log(COUNT_STEP) - 1e-9

    if count in PLACEHOLDERS and off(median(other for _, other in others)):
        return True
    before, after = _neighbours(one, counts)
    return len(others) > 1 and before is not None and after is not None and off(before[1]) and off(after[1])


def _is_spike(one: Count, counts: list[Count], splits: Mapping[date, float]) -> bool:
    """Whether a count is far off both its neighbours, which agree, and no split is near: nobody issues shares and takes them back."""
    before, after = _neighbours(one, counts)
    if before is None or after is None or any(when > before[0] and abs(log(factor)) > log(1.02) for when, factor in splits.items()):
        return False
    up, down = log(one[1]) - log(before[1]), log(one[1]) - log(after[1])
    return up * down > 0 and min(abs(up), abs(down)) >= LARGE_MOVE and abs(up - down) <= _ABOUT_EQUAL


@dataclass(frozen=True)
class _Move:
    """From a count to a later one: by how much it moved (logarithm), and how much of that no split explains."""

    moved: float
    unexplained: float
    factors: frozenset[float]


class _Witnesses:
    """What else tells of a number of shares: earnings ÷ earnings per share of the same periods, and the quote."""

    def __init__(self, statements: Statements, fundamentals: Fundamentals) -> None:
        self._splits = fundamentals.splits
        self._quoted = counts_of_the_quote(fundamentals)
        self._behind = sorted({**shares_behind(statements.quarterly), **shares_behind(statements.annual)}.items())

    def contradicted(self, counts: list[Count]) -> set[Count]:
        """Counts far off the next one that is believed, while the earnings per share say that nothing changed."""
        wrong: set[Count] = set()
        believed: Count | None = None
        for number in reversed(range(len(counts))):
            one = counts[number]
            if believed is None:
                earlier = counts[number - 1] if number else None
                if earlier and self._is_contradicted(earlier, one) and self._is_quoted(earlier[1]) and not self._is_quoted(one[1]):
                    wrong.add(one)
                    continue
            elif self._is_contradicted(one, believed):
                wrong.add(one)
                continue
            believed = one
        return wrong

    def _is_quoted(self, count: float) -> bool:
        return any(abs(log(quoted) - log(count)) <= _ABOUT_EQUAL for quoted in self._quoted)

    def _is_contradicted(self, one: Count, later: Count) -> bool:
        move = self._move(one, later)
        if move.unexplained < LARGE_MOVE:
            return False
        here = self._behind_on(one[0])
        after = [behind for day, behind in self._behind if -_SAME_DAYS <= (day - later[0]).days <= _LATER_DAYS]
        if here is None or not after:
            return move.unexplained >= log(COUNT_STEP) - 1e-9
        grew = (log(behind) - log(here) for behind in after)
        return not any(abs(one - move.moved - log(factor)) <= move.unexplained / 2 for one in grew for factor in move.factors)

    def _behind_on(self, day: date) -> float | None:
        return next((behind for when, behind in self._behind if abs((when - day).days) <= _SAME_DAYS), None)

    def _move(self, one: Count, later: Count) -> _Move:
        products = [self._product(one[0], later[0]), self._product(one[0], date.max), self._product(later[0], date.max)]
        factors = frozenset({1.0, *products, *(1 / factor for factor in products)})
        moved = log(later[1]) - log(one[1])  # the quotient may be beyond a double
        return _Move(moved, min(abs(moved - log(factor)) for factor in factors), factors)

    def _product(self, after: date, until: date) -> float:
        return product(self._between(after, until))

    def _between(self, after: date, until: date) -> Iterable[float]:
        return (factor for day, factor in self._splits.items() if after < day <= until)
