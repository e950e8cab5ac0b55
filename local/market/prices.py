"""Daily prices of a made-up company and of a currency pair, as the chart endpoint gives them: restated for splits."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from local.market import shareholders
from local.market.regions import FIRST_DAY, MARKET_DAY, day_of, quoted_rate

if TYPE_CHECKING:
    from local.market.companies import Company


@lru_cache(maxsize=8)
def trading_days(today: date) -> list[date]:
    """Every trading day of every exchange by `today`: weekdays but for New Year and Christmas.

    After day 0 there is trading on each day, so that every day has prices of its own.
    """
    days = (FIRST_DAY + timedelta(days=i) for i in range((today - FIRST_DAY).days + 1))
    return [day for day in days if day > MARKET_DAY or (day.weekday() < 5 and (day.month, day.day) not in ((1, 1), (12, 25)))]


#: Those of day 0.
TRADING_DAYS = trading_days(MARKET_DAY)


@lru_cache(maxsize=64)
def timestamps(timezone: str, opens: time, today: date) -> list[int]:
    """Epoch seconds of the opening on every trading day by `today`."""
    zone = ZoneInfo(timezone)
    return [int(datetime.combine(day, opens, zone).timestamp()) for day in trading_days(today)]


@dataclass(frozen=True)
class Prices:
    """Closes for each of `days`, not adjusted for dividends; events by day."""

    days: list[date]
    closes: list[float]
    dividends: dict[date, float]
    splits: dict[date, float]

    def close_at(self, day: date) -> float | None:
        """Close of the last trading day at or before `day`."""
        index = bisect_right(self.days, day) - 1
        return self.closes[index] if index >= 0 else None

    def adjusted(self) -> list[float]:
        """Closes adjusted for every later dividend: what a ratio must not use."""
        cuts = {bisect_left(self.days, day): amount for day, amount in self.dividends.items()}
        factor, adjusted = 1.0, []
        for i in reversed(range(len(self.closes))):
            adjusted.append(round(self.closes[i] * factor, 4))
            if i in cuts and i:
                factor *= 1 - cuts[i] / self.closes[i - 1]
        return adjusted[::-1]


def build(company: Company) -> Prices:
    """A random walk that ends at the company's price on day 0, the closes of later days, and all as after the splits so far."""
    origin, first = company.origin, _build(company.origin)
    if company is origin:
        return first
    factor, splits = company.schedule.factor(company.day), dict(first.splits)
    if company.schedule.split and factor != 1.0:
        splits[day_of(company.schedule.split.day)] = factor
    closes = [*first.closes, *company.moves]
    return Prices(
        trading_days(company.today),
        [rounded(origin, close / factor) for close in closes],
        {day: round(amount / factor, 4) for day, amount in first.dividends.items()},
        splits,
    )


def rounded(company: Company, price: float) -> float:
    """A price with the digits that this company's have. Splits and the years change nothing about them."""
    return round(price, 4 if company.origin.price < 50 else 2)


def _build(company: Company) -> Prices:
    rng = random.Random(f"{company.seed}:prices")
    digits = 4 if company.price < 50 else 2
    drift = rng.uniform(-0.0002, 0.0006)
    close = company.price
    closes = []
    for _ in TRADING_DAYS:
        closes.append(round(close, digits))
        close /= 1 + drift + 0.016 * (rng.random() + rng.random() - 1)
    closes.reverse()
    happened = shareholders.split(company)
    splits: dict[date, float] = {_trading_day(happened[0]): happened[1]} if happened else {}
    dividends = {}
    if not company.traits & {"no_dividends", "loss"}:
        yearly = rng.uniform(0.01, 0.05)
        for year in range(FIRST_DAY.year, MARKET_DAY.year + 1):
            day = _trading_day(date(year, 5, 12))
            dividends[day] = round(closes[bisect_left(TRADING_DAYS, day)] * yearly, 4)
    return Prices(TRADING_DAYS, closes, dividends, splits)


@lru_cache(maxsize=64)
def exchange_rates(source: str, target: str, today: date = MARKET_DAY) -> list[float]:
    """Rate on every trading day by `today`."""
    return [quoted_rate(source, target, day) for day in trading_days(today)]


def _trading_day(day: date) -> date:
    """`day`, or the next trading day after it."""
    return TRADING_DAYS[bisect_left(TRADING_DAYS, day)]
