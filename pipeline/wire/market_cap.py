"""Market caps and bands: parse and format them, and cut a band in two. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isqrt

from config import SettingsError
from config.amounts import UNITS, parse_market_cap

#: The header with the number of times that a task's band was cut.
CUTS = "cuts"
#: The largest bound that a message can carry.
LARGEST = 10**20 - 1


def read_market_cap(shown: str | None) -> int | None:
    """The site's text → whole units of currency, or None if it is not an amount, such as `"--"`. Commas separate thousands."""
    try:
        return parse_market_cap((shown or "").replace(",", ""))
    except ValueError:
        return None


def format_market_cap(value: int) -> str:
    """`value` with the largest suffix that it reaches, and with all its digits: 300000000 → `"300M"`, 1234567 → `"1.234567M"`."""
    for letter, unit in reversed(UNITS.items()):
        if value >= unit:
            return f"{(Decimal(value) / unit).normalize():f}{letter}"
    return str(value)


def parse_band(low: str | int | float, high: str | int | float) -> tuple[int, int]:
    """Both bounds of a band, both included. Raises SettingsError for an invalid bound, or a lower bound above the upper one."""
    bounds = []
    for name, value in (("market-cap-min", low), ("market-cap-max", high)):
        try:
            bounds.append(parse_market_cap(value))
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
    if bounds[0] > bounds[1]:
        raise SettingsError(f"market-cap-min {low} is above market-cap-max {high}: expected the lower bound first")
    return bounds[0], bounds[1]


def cut_of(low: int, high: int) -> int | None:
    """Where to cut a band that is too wide: the geometric mean, rounded; None if it cannot be cut.

    It depends on the bounds only, so a task that is delivered again splits in the same way.
    """
    product = max(low, 1) * high
    root = isqrt(product)
    cut = root + 1 if product - root * root > root else root
    return cut if low < cut < high else None


def places_of_halves(headers: Mapping[str, str], partition: int, partition_count: int) -> tuple[tuple[int, int], dict[str, str]]:
    """Partitions for the two halves of a task that came with these headers from this partition, and the halves' headers.

    The first half goes to the parent's partition, the second to the opposite one. Each further cut halves that distance. With the
    full distance each time, the second cut would lead back, and all bands of a region would be in two partitions.
    """
    origin, cuts = headers.get("original-partition", ""), headers.get(CUTS, "")
    first = (int(origin) if origin.isdecimal() else partition) % partition_count
    depth = int(cuts) if cuts.isdecimal() and len(cuts) < 4 else 0
    distance = max(partition_count >> (depth + 1), 1)
    return (first, (first + distance) % partition_count), {CUTS: str(depth + 1)}
