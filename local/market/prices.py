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
from local.market.regions import FIRST_DAY, MARKET_DAY, quoted_rate

if TYPE_CHECKING:
    from local.market.companies import Company


def _weekdays() -> list[date]:
    days = (FIRST_DAY + timedelta(days=i) for i in range((MARKET_DAY - FIRST_DAY).days + 1))
    return [day for day in days if day.weekday() < 5 and (day.month, day.day) not in ((1, 1), (12, 25))]


#: Every trading day of every exchange: weekdays but for New Year and Christmas.
TRADING_DAYS = _weekdays()


@lru_cache(maxsize=32)
def timestamps(timezone: str, opens: time) -> list[int]:
    """Epoch seconds of the opening on every trading day."""
    zone = ZoneInfo(timezone)
    return [int(datetime.combine(day, opens, zone).timestamp()) for day in TRADING_DAYS]


@dataclass(frozen=True)
class Prices:
    """Closes for TRADING_DAYS, not adjusted for dividends; events by day."""

    closes: list[float]
    dividends: dict[date, float]
    splits: dict[date, int]

    def close_at(self, day: date) -> float | None:
        """Close of the last trading day at or before `day`."""
        index = bisect_right(TRADING_DAYS, day) - 1
        return self.closes[index] if index >= 0 else None

    def adjusted(self) -> list[float]:
        """Closes adjusted for every later dividend: what a ratio must not use."""
        cuts = {bisect_left(TRADING_DAYS, day): amount for day, amount in self.dividends.items()}
        factor, adjusted = 1.0, []
        for i in reversed(range(len(self.closes))):
            adjusted.append(round(self.closes[i] * factor, 4))
            if i in cuts and i:
                factor *= 1 - cuts[i] / self.closes[i - 1]
        return adjusted[::-1]


def build(company: Company) -> Prices:
    """A random walk that ends at the company's price on the market's day."""
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
    splits = {_trading_day(happened[0]): happened[1]} if happened else {}
    dividends = {}
    if not company.traits & {"no_dividends", "loss"}:
        yearly = rng.uniform(0.01, 0.05)
        for year in range(FIRST_DAY.year, MARKET_DAY.year + 1):
            day = _trading_day(date(year, 5, 12))
            dividends[day] = round(closes[bisect_left(TRADING_DAYS, day)] * yearly, 4)
    return Prices(closes, dividends, splits)


@lru_cache(maxsize=64)
def exchange_rates(source: str, target: str) -> list[float]:
    """Rate on every trading day."""
    return [quoted_rate(source, target, day) for day in TRADING_DAYS]


def _trading_day(day: date) -> date:
    """`day`, or the next trading day after it."""
    return TRADING_DAYS[bisect_left(TRADING_DAYS, day)]
