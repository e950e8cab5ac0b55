"""Currencies and what they cost. Pure."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple


class DayRate(NamedTuple):
    """What one unit of a pair's first currency costs in its second, and the day of that price. `USDJPY` is the yen for one dollar."""

    day: date
    rate: float
