"""Share counts over time: which of them can be believed, and whether each was restated for the splits after it. Pure.

The site restates closes for later splits always, counts at times. Which it was is decided by evidence: how the count moved across the
split. Rules: docs/ratios.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from math import log
from statistics import median

from pipeline.ratios.fundamentals import Fundamentals, Point, Points, Statements, unit_value

SHARES = "OrdinarySharesNumber"
#: A count this many times off both its neighbours is none.
COUNT_STEP = 100.0
#: What the site fills in where it knows no count.
PLACEHOLDERS = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
#: After so many days the quote's count and market cap are as after a split; before, they can still be those before it.
SPLIT_SETTLED_DAYS = 30
#: One explanation is believed where it is so many times nearer than the other, in logarithms.
TIMES_AS_NEAR = 2.0
#: A count that jumps by a factor that no split between explains, from here on, may be one restated beside one that was not.
_FLIP = log(1.4)
#: Factors nearer to 1 than this make no difference that would be worth a doubt.
_NEGLIGIBLE = log(1.02)
#: A real split's factor is a ratio of whole numbers, the smaller of them at most this.
_LARGEST_WHOLE = 100


def without_placeholders(statements: Statements, fundamentals: Fundamentals) -> Statements:
    """The statements without share counts that are none: fillers, and counts a hundred times off both neighbours."""
    counts = sorted(
        {(day, point.value) for table in (statements.annual, statements.quarterly) for day, point in table.get(SHARES, {}).items()}
    )
    if fundamentals.shares_outstanding and fundamentals.shares_outstanding > 0:
        counts.append((fundamentals.as_of, fundamentals.shares_outstanding))
    wrong = {(day, count) for day, count in counts if count > 0 and _is_none(day, count, counts, fundamentals.splits)}
    if not wrong:
        return statements

    def cleaned(points: Points) -> Points:
        kept: dict[date, Point] = {day: point for day, point in points.get(SHARES, {}).items() if (day, point.value) not in wrong}
        others = {key: by_day for key, by_day in points.items() if key != SHARES}
        return {**others, SHARES: kept} if kept else others

    return Statements(cleaned(statements.annual), cleaned(statements.quarterly), statements.trailing)


def _is_none(day: date, count: float, counts: list[tuple[date, float]], splits: Mapping[date, float]) -> bool:
    others = [(other_day, other) for other_day, other in counts if (other_day, other) != (day, count) and other > 0]
    if not others:
        return False
    later = product(factor for when, factor in splits.items() if when > day)

    def off(other: float) -> bool:
        # A reverse split of 1 for 190 is no mistake.
        return min(abs(log(count) - log(other) + sign * log(later)) for sign in (-1, 0, 1)) >= log(COUNT_STEP) - 1e-9

    if count in PLACEHOLDERS and off(median(other for _, other in others)):
        return True
    before = [other for other_day, other in others if other_day <= day][-1:]
    after = [other for other_day, other in others if other_day > day][:1]
    return len(others) > 1 and bool(before) and bool(after) and all(off(other) for other in before + after)


def product(factors: Iterable[float]) -> float:
    result = 1.0
    for factor in factors:
        result *= factor
    return result


def is_real_split(factor: float) -> bool:
    """Whether it is a ratio of small whole numbers (4:1, 23:20, 1:190); a spin-off that comes as a split is none (1281:1000)."""
    larger = max(factor, 1 / factor)
    if larger > 1e6:
        return True
    nearest = Fraction(larger).limit_denominator(_LARGEST_WHOLE)
    return abs(float(nearest) - larger) <= 1e-6 * larger


def nearest(jump: float, factors: Iterable[float]) -> float | None:
    """The one of `factors` that explains the jump; None where none is twice as near as all others, in logarithms."""
    if not 0 < jump < float("inf"):
        return None
    different: list[float] = []
    for factor in factors:
        if not any(abs(log(factor / other)) < 1e-9 for other in different):
            different.append(factor)
    ranked = sorted((abs(log(jump) - log(factor)), factor) for factor in different)
    if len(ranked) == 1 or ranked[0][0] * TIMES_AS_NEAR <= ranked[1][0] + 1e-9 or abs(log(ranked[0][1] / ranked[1][1])) < _NEGLIGIBLE:
        return ranked[0][1]
    return None


class ShareCounts:
    """Counts of shares by day, and by what to multiply each so that it fits closes, which are as after every split.

    `spin_offs` are the days of splits that are none: an odd factor, and no count moved by it.
    """

    def __init__(self, series: Points, later: Points, fundamentals: Fundamentals) -> None:
        """`series` are the counts asked for; those in `later` after them, and today's, only tell what happened next."""
        counts = {day: point.value for day, point in series.get(SHARES, {}).items() if point.value > 0}
        newest = max(counts, default=date.min)
        counts |= {day: point.value for day, point in later.get(SHARES, {}).items() if day > newest and point.value > 0}
        self._splits = fundamentals.splits
        self._counts = dict(sorted(counts.items()))
        self._factors: dict[date, float | None] = {}
        self.spin_offs: set[date] = set()
        days = list(self._counts)
        if days:
            self._factors[days[-1]] = self._of_newest(days[-1], fundamentals)
        for day, after in reversed(list(pairwise(days))):
            self._factors[day] = self._of_earlier(day, after)

    def newest(self) -> tuple[date, float] | None:
        """Day and count, as it was given."""
        return next(reversed(self._counts.items()), None)

    def factor(self, day: date) -> float | None:
        """Shares as after every split for one share as counted on `day`; None where that can't be told."""
        return self._factors.get(day, 1.0)

    def _between(self, after: date, until: date) -> dict[date, float]:
        return {day: factor for day, factor in self._splits.items() if after < day <= until}

    def _of_newest(self, day: date, fundamentals: Fundamentals) -> float | None:
        """By what the quote says, dated today. A quote that didn't move can be one that doesn't know of the split yet."""
        splits = self._between(day, date.max)
        factor = product(splits.values())
        if not splits or abs(log(factor)) < 1e-9:
            return 1.0
        settled = max(splits) <= fundamentals.as_of - timedelta(days=SPLIT_SETTLED_DAYS)
        verdicts: set[str] = set()
        for today in _counts_of_the_quote(fundamentals):
            verdict = nearest(today / self._counts[day], (1.0, factor, 1 / factor))
            # The statement was restated already, and the quote was not.
            if verdict is not None:
                verdicts.add({1.0: "still", factor: "reported"}.get(verdict, "restated"))
        odd = {when for when, one in splits.items() if not is_real_split(one)}
        if "reported" in verdicts and "restated" not in verdicts:
            return factor
        if "restated" in verdicts and "reported" not in verdicts:
            return 1.0
        if verdicts == {"still"} and settled:
            self.spin_offs |= odd
            return 1.0
        return None

    def _of_earlier(self, day: date, after: date) -> float | None:
        """By how the count moved from `day` to the next count, whose factor is known."""
        known = self._factors[after]
        if known is None:
            return None
        jump = self._counts[after] / self._counts[day]
        if not 0 < jump < float("inf"):
            return None
        splits = self._between(day, after)
        factor = product(splits.values())
        chosen = nearest(jump, (1.0, factor))
        own = None if chosen is None else known if chosen == 1.0 else known * factor
        if chosen == 1.0:
            self.spin_offs |= {when for when, one in splits.items() if not is_real_split(one)}
        return own if chosen is None else self._flipped(day, jump, known, own)

    def _flipped(self, day: date, jump: float, known: float, own: float | None) -> float | None:
        """`own`, or another factor where the count was restated and the next one was not, or the other way round."""
        moved = abs(log(jump) + log(known) - log(own or 1.0))
        if own is None or moved < _FLIP:
            return own
        for other in (1.0, product(self._between(day, date.max).values())):
            off = abs(log(jump) + log(known) - log(other))
            if abs(log(other / own)) >= _FLIP and off < _FLIP and off * TIMES_AS_NEAR <= moved:
                return other
        return own


def _counts_of_the_quote(fundamentals: Fundamentals) -> list[float]:
    """What the quote says of the number of shares: directly, and by its market cap and price."""
    found = [fundamentals.shares_outstanding]
    if fundamentals.price and fundamentals.market_cap:
        found.append(fundamentals.market_cap / fundamentals.price / unit_value(fundamentals.currency))
    return [count for count in found if count and 0 < count < float("inf")]


def growth_by_splits(jump: float | None, between: Iterable[float], later: Iterable[float]) -> float | None:
    """How many shares as now each share behind an earlier figure per share is, 1 where both are per share alike; None: can't be told.

    `jump` is by how much the shares behind the two figures (earnings ÷ earnings per share) grew, None if that is not known. `between`
    and `later` are the factors of the splits between the two dates and after them.
    """
    factor, after = product(between), product(later)
    if abs(log(factor)) < 1e-9 and abs(log(after)) < _FLIP:
        return 1.0
    if jump is None or not 0 < jump < float("inf"):
        # Splits after both dates alone: both figures come in one answer, restated or not.
        return 1.0 if abs(log(factor)) < 1e-9 else None
    if abs(log(factor)) < 1e-9:
        return 1.0 if nearest(jump, (1.0, after, 1 / after)) == 1.0 else None
    return nearest(jump, (1.0, factor))
