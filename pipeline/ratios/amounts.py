"""Whether the statements of one company are in one unit: a year given in thousands beside others in single units. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log
from statistics import median
from typing import TYPE_CHECKING

from pipeline.ratios.fundamentals import KEYS

if TYPE_CHECKING:
    from pipeline.ratios.periods import Statement

#: Amounts that are this many times those of the period beside it, in the median of all lines, are in another unit. No company grows so.
UNIT_STEP = 300.0
#: Lines that are no amounts of money.
_NO_AMOUNTS = frozenset({"OrdinarySharesNumber", "TaxRateForCalcs", "DilutedEPS"})
_AMOUNTS = KEYS - _NO_AMOUNTS
#: Fewer lines than this in common say nothing about a unit.
_LEAST_LINES = 3


def odd_amounts(statements: Sequence[Statement]) -> list[int]:
    """A number for each statement, 0 for those in the unit that most of them have; the same number is the same unit.

    Statements in different currencies are not compared. Where there is no most, none gets 0.
    """
    levels = [0] * len(statements)
    for i in range(1, len(statements)):
        levels[i] = levels[i - 1] + _step(statements[i - 1], statements[i])
    counts = Counter(levels).most_common(2)
    usual = counts[0][0] if len(counts) == 1 or (counts and counts[0][1] > counts[1][1]) else None
    return [2 * level + 1 if usual is None else level - usual for level in levels]


def _step(one: Statement, other: Statement) -> int:
    """1 where the other is in units a thousand times larger or so (its figures smaller), -1 the other way round, 0 in one unit."""
    if one.currency != other.currency:
        return 0
    pairs = [(a[1], other.lines[key][1]) for key, a in one.lines.items() if key in _AMOUNTS and key in other.lines]
    pairs = [(abs(a), abs(b)) for a, b in pairs if a * b > 0]
    if len(pairs) < _LEAST_LINES or all(a < UNIT_STEP * b and b < UNIT_STEP * a for a, b in pairs):
        return 0
    middle = median(log(a) - log(b) for a, b in pairs)
    return 0 if abs(middle) < log(UNIT_STEP) else 1 if middle > 0 else -1
