"""Exchange rates: which rates of a series can be believed, and which one belongs to a day. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import isfinite, log
from statistics import median
from typing import Any

from pipeline.ratios.fundamentals import Fundamentals, Rates, major, unit_value

#: A rate up to this many days before a day still counts as the day's: holidays close markets for that long.
RATE_DAYS = 7
#: No rate moves by so many times from one day to the next: such a step is a change of the unit, or a mistake.
RATE_STEP = 50.0
#: A rate of a day, or of some days, this many times off those before and after it is a mistake.
RATE_SPIKE = 3.0
#: From so many times on it is asked whether today's rate is the inverse of the newest close.
_INVERTED = log(1.1)
#: Days of a series, to either side, whose median a rate is held against.
_NEIGHBOURS = 15


def steady(series: Mapping[date, float], today: float | None, today_on: date | None) -> Rates:
    """Rates of a pair's series without those that are out of line with it.

    A rate three times off its neighbours to either side is left out. If the whole series changes its unit, only what comes after the
    change is kept, since today's rate belongs to that. Today's rate is left out if it is three times off the series' of the same week, or
    far from the series, or its newest upside down.
    """
    days = sorted(day for day, rate in series.items() if isfinite(rate) and rate > 0)
    rates = [series[day] for day in days]
    if any(_far(later, earlier, RATE_SPIKE) for earlier, later in pairwise(rates)):
        near = [median(rates[max(0, i - _NEIGHBOURS) : i + _NEIGHBOURS + 1]) for i in range(len(rates))]
        kept = [i for i, rate in enumerate(rates) if not _far(rate, near[i], RATE_SPIKE)]
        days, rates = [days[i] for i in kept], [rates[i] for i in kept]
        breaks = [i + 1 for i, (earlier, later) in enumerate(pairwise(rates)) if _far(later, earlier)]
        days, rates = days[max(breaks, default=0) :], rates[max(breaks, default=0) :]
    if today is not None and (not isfinite(today) or today <= 0 or (rates and _is_out_of_line(today, rates))):
        today = None
    if today is not None and rates and today_on is not None and abs((today_on - days[-1]).days) <= RATE_DAYS:
        today = None if _far(today, rates[-1], RATE_SPIKE) else today
    return Rates(today, dict(zip(days, rates, strict=True)), today_on if today is not None else None)


def _far(one: float, other: float, times: float = RATE_STEP) -> bool:
    return not 1 / times < one / other < times


def _is_out_of_line(today: float, rates: list[float]) -> bool:
    off, off_inverse = abs(log(today / rates[-1])), abs(log(today * rates[-1]))
    return _far(today, median(rates[-_NEIGHBOURS:])) or (off > _INVERTED and 2 * off_inverse < off)


@dataclass(frozen=True)
class Rate:
    """What one unit of a currency costs in another on a day, None if there is no rate; and where it came from."""

    value: float | None
    inputs: dict[str, Any]
    #: Days from the rate to the day that it is taken for.
    age_days: int = 0


def rate(fundamentals: Fundamentals, source: str, target: str, day: date | None) -> Rate:
    """From the currency of `source` to `target`, which may be trading units: today's, or that of `day` or up to a week before."""
    unit = unit_value(target)
    if not major(source) or not major(target):
        return Rate(None, {})
    if major(source) == major(target):
        return Rate(1 / unit, {"rate": 1 / unit})
    pair = major(source) + major(target)
    rates = fundamentals.rates.get(pair, Rates())
    when = day or fundamentals.as_of
    if day is None:
        recent = rates.today_on is not None and (fundamentals.as_of - rates.today_on).days <= RATE_DAYS
        found, found_on = (rates.today, rates.today_on) if recent else (None, None)
    else:
        days = (day - timedelta(days=back) for back in range(RATE_DAYS + 1))
        found, found_on = next(((rates.by_day[one], one) for one in days if one in rates.by_day), (None, None))
    if found is None or found_on is None or not 0 < found < float("inf"):
        return Rate(None, {"rate_pair": pair})
    return Rate(found / unit, {"rate": found / unit, "rate_pair": pair, "rate_date": found_on}, (when - found_on).days)
