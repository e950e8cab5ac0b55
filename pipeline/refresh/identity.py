"""Whether a symbol's new statements are those of the company that it had before, or of another one that has taken it over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import chain
from statistics import median

from pipeline.ratios.fundamentals import Point, Points, Statements
from pipeline.ratios.periods import REDATED_DAYS

#: Fewer figures than this in common say nothing.
LEAST_FIGURES = 8
#: Figures of one company that are given again are equal within ROUNDING, at least this share of them: a restatement changes some lines.
SAME_SHARE = 0.1
#: If all are given in another unit, more than this share of them have grown alike.
ALIKE_SHARE = 0.5
ROUNDING = 0.01


def is_another_company(before: Statements, now: Statements) -> bool:
    """By the figures of the periods that both have, or by years of both that end on other days. Without evidence it is the same one."""
    grown = [*_quotients(before.annual, now.annual), *_quotients(before.quarterly, now.quarterly)]
    if len(grown) >= LEAST_FIGURES:
        return _share_near(1.0, grown) < SAME_SHARE and _share_near(median(grown), grown) <= ALIKE_SHARE
    old, new = _ends(before.annual), _ends(now.annual)
    if grown or len(old) < 3 or len(new) < 3 or min(max(old), max(new)) <= max(min(old), min(new)):
        return False
    return all(abs((one - other).days) >= REDATED_DAYS for one in old for other in new)


def _quotients(before: Points, now: Points) -> list[float]:
    pairs = (pair for key, by_day in before.items() for pair in _both(by_day, now.get(key, {})))
    return [new.value / old.value for old, new in pairs if old.value and new.value and old.currency == new.currency]


def _both(before: Mapping[date, Point], now: Mapping[date, Point]) -> list[tuple[Point, Point]]:
    return [(before[day], now[day]) for day in before.keys() & now.keys()]


def _share_near(value: float, found: list[float]) -> float:
    return sum(abs(one - value) <= ROUNDING * abs(value) for one in found) / len(found)


def _ends(points: Points) -> set[date]:
    return set(chain.from_iterable(points.values()))
