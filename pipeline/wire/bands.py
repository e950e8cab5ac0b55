"""A band as the user asked for it, and its bounds converted to a region's own currency. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from pipeline.wire.market_cap import LARGEST, format_market_cap, parse_market_cap

#: Digits that a converted bound keeps.
DIGITS = 3


@dataclass(frozen=True)
class WantedBand:
    """A band as the user asked for it, in whole units of `currency`, both ends included. None is an open end.

    rate: what one unit of `currency` costs in the region's own currency, on `rate_day`.
    """

    low: int | None
    high: int | None
    currency: str
    rate: float
    rate_day: date

    def fields(self) -> dict[str, Any]:
        """The fields in a message."""
        return {
            "min": self.low,
            "max": self.high,
            "currency": self.currency,
            "rate": self.rate,
            "rate_day": self.rate_day.isoformat(),
        }

    @classmethod
    def read(cls, value: Any) -> WantedBand:
        """Parse the output of `fields`. Raises ValueError that names the field."""
        if not isinstance(value, Mapping):
            raise ValueError(f"expected an object, found {type(value).__name__}")
        low, high = (None if value.get(name) is None else _bound(name, value[name]) for name in ("min", "max"))
        if low is not None and high is not None and low > high:
            raise ValueError(f"min {low} is above max {high}")
        currency, rate, day = value.get("currency"), value.get("rate"), value.get("rate_day")
        if not (isinstance(currency, str) and len(currency) == 3 and currency.isascii() and currency.isalpha() and currency.isupper()):
            raise ValueError(f"currency {str(currency)[:20]!r}: expected an ISO code such as USD")
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 10**18 or not math.isfinite(rate):
            raise ValueError(f"rate {str(rate)[:20]!r}: expected a number above 0")
        try:
            return cls(low, high, currency, float(rate), date.fromisoformat(day if isinstance(day, str) else ""))
        except ValueError:
            raise ValueError(f"rate_day {str(day)[:20]!r}: expected a day such as 2026-06-30") from None

    def __str__(self) -> str:
        """`300M to 2B USD`."""
        return f"{band_text(self.low, self.high)} {self.currency}"


def _bound(name: str, value: Any) -> int:
    try:
        return parse_market_cap(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def converted(low: int, high: int, rate: float) -> tuple[int, int]:
    """Both bounds times `rate`, rounded outward to three digits, so that no wanted value is excluded. A rate of 1 changes nothing."""
    if rate == 1:
        return low, high
    exact = Fraction(Decimal(repr(rate)))
    return min(_rounded(low * exact, math.floor), LARGEST), min(_rounded(high * exact, math.ceil), LARGEST)


def _rounded(value: Fraction, to_whole: Any) -> int:
    digits = len(str(math.floor(value)))
    step = 10 ** max(digits - DIGITS, 0)
    return int(to_whole(value / step)) * step


def band_text(low: int | None, high: int | None) -> str:
    """`300M to 2B`."""
    return " to ".join("any" if bound is None else format_market_cap(bound) for bound in (low, high))


def rate_text(rate: float) -> str:
    """A rate with four digits and no exponent: 149.2, 16520, 0.3071."""
    return f"{Decimal(f'{rate:.4g}'):f}"


def amount_text(amount: float) -> str:
    """A market cap with three digits: 36.5T, 450M."""
    step = 10 ** max(len(str(int(amount))) - DIGITS, 0)
    return format_market_cap(round(amount / step) * step)
