"""Stored exchange rates: one request per day and pair, however many processes need it, and none to compute rows again."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from pipeline.ratios.fundamentals import Rates
from pipeline.ratios.rates import RATE_DAYS
from pipeline.refresh.reader import Reader
from pipeline.storage import fx_rates

#: A stored series that goes back this many days was fetched whole. A single day's rate can come from elsewhere.
WHOLE_DAYS = 1500
#: First key of the advisory locks: one process at a time asks for a pair.
_LOCK = 720_311


class KeptRates:
    """`kept(pair)`: today's rates from `fx_rate` if a process has fetched them, else from the site, and then kept."""

    def __init__(self, reader: Reader, fetch: Callable[[str], Rates], today: Callable[[], date]) -> None:
        self._reader = reader
        self._fetch = fetch
        self._today = today

    def __call__(self, pair: str) -> Rates:
        """Raises what `fetch` raises."""
        return self._reader.read(lambda connection: self._of(connection, pair))

    def _of(self, connection: Any, pair: str) -> Rates:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", (_LOCK, zlib.crc32(pair.encode()) - 2**31))
            series = fx_rates.series(cursor, pair)
            if is_whole(series, self._today()):
                return of_series(series, self._today())
            found = self._fetch(pair)
            news = {**found.by_day, **({found.today_on: found.today} if found.today and found.today_on else {})}
            fx_rates.add(cursor, pair, {day: rate for day, rate in news.items() if 0 < rate < float("inf")})
            return replace(found, by_day=news)


def is_whole(series: Mapping[date, float], today: date) -> bool:
    """Whether a series has today's rate, goes far back, and has no gap of the last year that a fetch would close."""
    days = sorted(day for day in series if day <= today)
    if not days or days[-1] != today or days[0] > today - timedelta(days=WHOLE_DAYS):
        return False
    recent = [day for day in days if day > today - timedelta(days=400)]
    return all((later - earlier).days <= RATE_DAYS for earlier, later in pairwise(recent))


def of_series(series: Mapping[date, float], today: date) -> Rates:
    """Stored rates as they were on `today`: the newest one is the present rate of its own day."""
    by_day = {day: rate for day, rate in series.items() if day <= today}
    newest = max(by_day, default=None)
    return Rates(by_day[newest] if newest else None, by_day, newest)
