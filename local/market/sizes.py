"""Market caps of made-up companies: sizes in dollars, written in the listing's own currency at the market day's rate."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import lru_cache

from local.market.regions import EXCHANGES, MARKET_DAY, major, quoted_rate

#: The band that `--stocks` fills, in dollars, both ends included.
BAND_LOW = 300_000_000
BAND_HIGH = 2_000_000_000
#: Regions beside the five of the default run: a few companies each. Of the last one's currency the site has no exchange rate.
FURTHER_REGIONS = ("se", "ch", "kr", "id", "kw", "ve")
#: Beside a bound: nearer than the third digit of a bound in the region's own currency, mostly.
_BESIDE = 0.0003


@lru_cache(maxsize=8192)
def per_dollar(currency: str, day: date = MARKET_DAY) -> Decimal:
    """How much of `currency` (of its major unit) the site says that a dollar costs."""
    return Decimal(1) if major(currency) == "USD" else Decimal(repr(quoted_rate("USD", major(currency), day)))


def at_least(dollars: float, currency: str, day: date = MARKET_DAY) -> int:
    """The smallest whole amount that is worth so many dollars."""
    return math.ceil(Decimal(dollars) * per_dollar(currency, day))


def at_most(dollars: float, currency: str, day: date = MARKET_DAY) -> int:
    """The largest whole amount that is worth no more than so many dollars."""
    return math.floor(Decimal(dollars) * per_dollar(currency, day))


@lru_cache(maxsize=8192)
def _band(currency: str, day: date) -> tuple[int, int]:
    return at_least(BAND_LOW, currency, day), at_most(BAND_HIGH, currency, day)


def within_band(market_cap: float, currency: str, day: date) -> bool:
    """Whether a market cap in `currency` lies within the band in dollars."""
    low, high = _band(currency, day)
    return low <= market_cap <= high


def log_uniform(rng: random.Random, low: int, high: int) -> int:
    return min(high, max(low, round(low * (high / low) ** rng.random())))


def just_inside(currency: str) -> tuple[int, int]:
    """Market caps right beside the band's ends, within it."""
    return at_least(BAND_LOW * (1 + _BESIDE), currency), at_most(BAND_HIGH * (1 - _BESIDE), currency)


def outside_by_region(rng: random.Random) -> Iterator[tuple[str, str, int]]:
    """(region, currency, market cap) of companies that the band in dollars leaves out, and another reading of it would not.

    In each of the five default regions one right below the band and one right above it; in Tokyo some that lie within the same
    numbers in yen, and some that do in dollars once the bounds are yen; in London listings in dollars below the band, of which
    the numbers lie within the band in pounds.
    """
    for region in ("us", "jp", "gb", "fr", "de"):
        currency = EXCHANGES[region].currency
        yield region, currency, at_most(BAND_LOW * (1 - _BESIDE), currency)
        yield region, currency, at_least(BAND_HIGH * (1 + _BESIDE), currency)
    for _ in range(3):
        yield "jp", "JPY", log_uniform(rng, BAND_LOW, BAND_HIGH)
    for _ in range(8):
        yield "jp", "JPY", at_least(log_uniform(rng, 50_000_000_000, 250_000_000_000), "JPY")
    for _ in range(2):
        yield "gb", "USD", log_uniform(rng, at_least(BAND_LOW, "GBp") + 5_000_000, BAND_LOW - 5_000_000)


def of_further_regions(rng: random.Random) -> Iterator[tuple[str, int]]:
    """(region, market cap) of the companies beside the five default regions: on both sides of each bound."""
    for region in FURTHER_REGIONS:
        currency = EXCHANGES[region].currency
        for _ in range(7):
            yield region, at_least(log_uniform(rng, 100_000_000, 5_000_000_000), currency)
        yield region, at_most(BAND_LOW * (1 - _BESIDE), currency)
        yield region, at_least(BAND_HIGH * (1 + _BESIDE), currency)
        yield from ((region, cap) for cap in just_inside(currency))
        # The same numbers in the currency itself: what comes where nothing is converted.
        yield region, log_uniform(rng, BAND_LOW, BAND_HIGH)
