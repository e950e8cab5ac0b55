"""A company's market value, today's and at a past period's end, in the statement's currency. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from math import log
from typing import Any

from pipeline.ratios.figure import Figure, Rank
from pipeline.ratios.fundamentals import MINOR_UNITS, Fundamentals, Points, Rates
from pipeline.ratios.periods import Period

#: A close this many days before the period's end still is the period's.
CLOSE_DAYS = 10
#: An exchange rate this many days before the close's day still is the day's.
RATE_DAYS = 7
#: market cap ÷ (price × shares) within these: one share is one share.
SHARE_UNIT = (0.67, 1.5)
#: A quoted market cap this many times price × shares is in pence.
PENCE = (50.0, 200.0)
#: How far a jump of the share count may be from a split's factor.
SPLIT_TOLERANCE = 0.2


class ShareCounts:
    """Counts of shares over time, and by what to multiply each so that it fits closes, which are as after every split.

    The site restates counts for later splits at times, closes always: a count was not restated for a split where the
    counts before and after it differ by its factor.
    """

    def __init__(self, series: Points, later: Points, fundamentals: Fundamentals) -> None:
        """`series` are the counts asked for; those in `later` after them, and today's, only tell what happened next."""
        counts = {day: point.value for day, point in series.get("OrdinarySharesNumber", {}).items()}
        newest = max(counts, default=date.min)
        counts |= {day: point.value for day, point in later.get("OrdinarySharesNumber", {}).items() if day > newest}
        today, outstanding = fundamentals.quoted_on, fundamentals.shares_outstanding
        if today and outstanding and today > max(counts, default=date.min):
            counts[today] = outstanding
        self._factors: list[tuple[date, float]] = []
        days = sorted(counts)
        for before, after in pairwise(days):
            factor = 1.0
            for day, split in fundamentals.splits.items():
                factor *= split if before < day <= after else 1.0
            if factor != 1.0 and _jumped(counts[before], counts[after], factor):
                self._factors.append((before, factor))

    def factor(self, day: date) -> float:
        """Shares as after every split for one share as counted on `day`."""
        result = 1.0
        for before, factor in self._factors:
            result *= factor if day <= before else 1.0
        return result


def _jumped(before: float, after: float, factor: float) -> bool:
    if before <= 0 or after <= 0 or factor <= 0:
        return False
    jump = after / before
    if not 0 < jump < float("inf"):
        return False
    # A stock dividend of 5 % lies within the tolerance of no change at all: there the nearer of the two decides.
    return abs(jump / factor - 1) <= SPLIT_TOLERANCE and abs(log(jump / factor)) < abs(log(jump))


@dataclass(frozen=True)
class Market:
    """A company's market value in the quote's currency, as far as it doesn't depend on the period."""

    fundamentals: Fundamentals
    currency: str
    #: What one unit of the quote is in `currency`: 0.01 for pence.
    unit: float
    #: Today's market value, pence taken for what they are.
    market_cap: float | None
    #: Whether today's market value is something else than price × ordinary shares (ADRs, several share classes).
    other_shares: bool
    annual_counts: ShareCounts
    quarterly_counts: ShareCounts


def market_of(fundamentals: Fundamentals) -> Market:
    quoted = fundamentals.currency or ""
    currency, unit = MINOR_UNITS.get(quoted, quoted), 0.01 if quoted in MINOR_UNITS else 1.0
    statements = fundamentals.statements
    annual = ShareCounts(statements.annual, statements.quarterly, fundamentals)
    quarterly = ShareCounts(statements.quarterly, {}, fundamentals)
    counts = [
        (day, point.value * source.factor(day))
        for points, source in ((statements.annual, annual), (statements.quarterly, quarterly))
        for day, point in points.get("OrdinarySharesNumber", {}).items()
    ]
    shares = max(counts)[1] if counts else None
    market_cap = fundamentals.market_cap
    if unit != 1.0 and _times(market_cap, fundamentals.price, unit, fundamentals.shares_outstanding or shares, PENCE):
        market_cap = (market_cap or 0.0) * unit
    comparable = bool(market_cap and fundamentals.price and shares)
    other = comparable and not _times(market_cap, fundamentals.price, unit, shares, SHARE_UNIT)
    return Market(fundamentals, currency, unit, market_cap, other, annual, quarterly)


def _times(market_cap: float | None, price: float | None, unit: float, shares: float | None, bounds: tuple[float, float]) -> bool:
    """Whether the market cap is between so many times price × shares."""
    if not market_cap or not price or not shares:
        return False
    computed = price * unit * shares
    return computed > 0 and bounds[0] <= market_cap / computed <= bounds[1]


def market_now(market: Market, period: Period) -> tuple[Figure, dict[str, Any]]:
    """Today's market value in the statement's currency, and what it was made from."""
    fundamentals = market.fundamentals
    inputs: dict[str, Any] = {
        "quote_currency": fundamentals.currency,
        "quoted_market_cap": fundamentals.market_cap,
        "price": fundamentals.price,
        "shares_outstanding": fundamentals.shares_outstanding,
        "quoted_on": fundamentals.quoted_on,
    }
    if market.market_cap is None:
        return _no_market_value("no_price"), inputs
    rate = _rate(market, period.currency, None)
    inputs |= rate.inputs
    return _converted(market.market_cap, rate), inputs


def market_then(market: Market, period: Period) -> tuple[Figure, dict[str, Any]]:
    """The market value at the period's end, and what it was made from: never today's against an old statement."""
    fundamentals = market.fundamentals
    line = period.flows.lines.get("OrdinarySharesNumber")
    days = (period.end - timedelta(days=back) for back in range(CLOSE_DAYS + 1))
    day = next((day for day in days if day in fundamentals.closes), None)
    inputs: dict[str, Any] = {"quote_currency": fundamentals.currency}
    if day is None:
        return _no_market_value("no_price"), inputs
    inputs |= {"close": fundamentals.closes[day], "close_date": day}
    if market.other_shares:
        return _no_market_value("share_unit"), inputs
    rate = _rate(market, period.currency, day)
    inputs |= rate.inputs
    if rate.value is None:
        return _no_market_value("fx_unavailable"), inputs
    if line is None:
        return Figure(None, ((Rank.MISSING, "missing:OrdinarySharesNumber"),)), inputs
    factor = market.annual_counts.factor(line[0])
    inputs |= {"shares": line[1], "split_factor": factor}
    return _converted(fundamentals.closes[day] * market.unit * line[1] * factor, rate), inputs


def _no_market_value(reason: str) -> Figure:
    return Figure(None, ((Rank.NO_PRICE, reason),))


@dataclass(frozen=True)
class _Rate:
    value: float | None
    inputs: dict[str, Any]


def _rate(market: Market, currency: str, day: date | None) -> _Rate:
    """What one unit of the market value's currency is in `currency`: today, or at the close of `day`."""
    unit = 0.01 if currency in MINOR_UNITS else 1.0
    target = MINOR_UNITS.get(currency, currency)
    if not target or not market.currency:
        return _Rate(None, {})
    if target == market.currency:
        return _Rate(1 / unit, {"rate": 1 / unit})
    pair = market.currency + target
    rates = market.fundamentals.rates.get(pair, Rates())
    found: tuple[float | None, date | None] = (rates.today, None)
    if day is not None:
        days = (day - timedelta(days=back) for back in range(RATE_DAYS + 1))
        found = next(((rates.by_day[when], when) for when in days if when in rates.by_day), (None, None))
    if found[0] is None or not 0 < found[0] < float("inf"):
        return _Rate(None, {"rate_pair": pair})
    return _Rate(found[0] / unit, {"rate": found[0] / unit, "rate_pair": pair, "rate_date": found[1]})


def _converted(market_cap: float, rate: _Rate) -> Figure:
    return _no_market_value("fx_unavailable") if rate.value is None else Figure(market_cap * rate.value)
