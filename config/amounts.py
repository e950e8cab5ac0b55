"""Market caps as people write them, such as 300M. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

#: The suffixes of a number and their factors, from the smallest to the largest.
UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_PATTERN = re.compile(rf"\s*([0-9]{{1,20}}(?:\.[0-9]{{1,12}})?)\s*([{''.join(UNITS)}{''.join(UNITS).lower()}]?)\s*")


def parse_market_cap(value: str | int | float) -> int:
    """`"300M"`, `"2B"`, `"1.5T"` or a plain number → whole units of currency. Raises ValueError for anything else.

    Commas are refused, because 1,5B and 1,500M mean the same to different people.
    """
    match = _PATTERN.fullmatch(f"{value:f}" if isinstance(value, float) else str(value))
    if match is None or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a market capitalization: expected a number followed by K, M, B or T, such as 300M")
    return int(Decimal(match[1]) * UNITS.get(match[2].upper(), 1))
