"""Exchange rates from the site: one request per pair and day, or by way of the dollar if the site lacks the pair."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from datetime import date
from math import isclose

from pipeline.ratios.fundamentals import Rates, major
from pipeline.ratios.rates import RATE_DAYS
from pipeline.wire.currencies import is_plausible

#: Seconds for which the site's word that it lacks a pair is believed: sometimes it is wrong for a moment.
EMPTY_SECONDS = 300.0

_CODE = re.compile("[A-Z]{3}")


class RateCache:
    """Exchange rates of a day: one request for a pair, however many threads ask for it at the same time."""

    def __init__(self, fetch_rates: Callable[[str], Rates], today: Callable[[], date], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch_rates
        self._today = today
        self._clock = clock
        self._lock = threading.Lock()
        self._day: date | None = None
        self._futures: dict[str, Future[Rates]] = {}
        self._empty_until: dict[str, float] = {}

    def get(self, pair: str) -> Rates:
        """Rates of a pair such as "GBPUSD", as the site gives them; empty if it lacks the pair.

        Raises as session.get_json does; the threads that waited for the same answer get the same error, the next one asks again.
        """
        with self._lock:
            day = self._today()
            if day != self._day:
                self._day, self._futures, self._empty_until = day, {}, {}
            futures = self._futures
            if self._empty_until.get(pair, float("inf")) <= self._clock():
                del futures[pair], self._empty_until[pair]
            waiting = futures.get(pair)
            mine: Future[Rates] = Future()
            if waiting is None:
                futures[pair] = mine
        if waiting is not None:
            return waiting.result()
        try:
            rates = self._fetch(pair)
        except BaseException as error:
            with self._lock:
                futures.pop(pair, None)
            mine.set_exception(error)
            raise
        if rates.today is None and not rates.by_day:
            with self._lock:
                self._empty_until[pair] = self._clock() + EMPTY_SECONDS
        mine.set_result(rates)
        return rates

    def ask(self, fetch_rates: Callable[[str], Rates]) -> None:
        """Get rates from `get` from now on."""
        self._fetch = fetch_rates

    def clear(self) -> None:
        """Forget everything, for a process that turns to another site."""
        with self._lock:
            self._day = None


def rates_between(source: str, targets: Iterable[str], as_of: date, get: Callable[[str], Rates]) -> dict[str, Rates]:
    """Rates from one currency (or trading unit) to each of the others, by pair; `get` gives the site's own of a pair."""
    one = major(source)
    codes = sorted({major(target) for target in targets} - {one})
    return {one + other: _between(one, other, as_of, get) for other in codes if _CODE.fullmatch(one) and _CODE.fullmatch(other)}


def _between(source: str, target: str, as_of: date, get: Callable[[str], Rates]) -> Rates:
    """The pair's own rates, or else those by way of the dollar."""
    own = _either_way(source, target, as_of, get)
    if (_is_recent(own, as_of) and not _is_coarse(own.today)) or "USD" in (source, target):
        return own
    across = _product(_either_way(source, "USD", as_of, get), _either_way("USD", target, as_of, get))
    if not _is_recent(across, as_of):
        return own if own.by_day else across
    if _is_coarse(own.today):
        return across
    return Rates(across.today, {**across.by_day, **own.by_day}, across.today_on)


def _either_way(source: str, target: str, as_of: date, get: Callable[[str], Rates]) -> Rates:
    """The pair's own rates, or else those of the inverse pair: the site may have USDSEK alone, or SEKUSD with a single digit."""
    own = _plausible(source, target, get(source + target))
    if _is_recent(own, as_of) and not _is_coarse(own.today):
        return own
    other = _plausible(target, source, get(target + source))
    if not _is_recent(other, as_of) or not other.today:
        return own
    if _is_coarse(own.today):
        own = Rates()
    by_day = {day: 1 / rate for day, rate in other.by_day.items() if rate}
    return Rates(1 / other.today, {**by_day, **own.by_day}, other.today_on)


def _plausible(source: str, target: str, rates: Rates) -> Rates:
    """The rates, or none if they are of a size that the pair never has."""
    newest = rates.today or (rates.by_day[max(rates.by_day)] if rates.by_day else None)
    return rates if newest is None or is_plausible(source, target, newest) else Rates()


def _is_coarse(rate: float | None) -> bool:
    """Whether it is rounded to the last of four digits, by as much as a thirtieth: 0.0001 for 0.00006."""
    return rate is not None and rate < 1.5e-3 and isclose(rate, round(rate, 4), rel_tol=1e-9)


def _is_recent(rates: Rates, as_of: date) -> bool:
    return rates.today is not None and rates.today_on is not None and (as_of - rates.today_on).days <= RATE_DAYS


def _product(one: Rates, other: Rates) -> Rates:
    by_day = {day: rate * other.by_day[day] for day, rate in one.by_day.items() if day in other.by_day}
    if one.today is None or other.today is None or one.today_on is None or other.today_on is None:
        return Rates(None, by_day)
    return Rates(one.today * other.today, by_day, min(one.today_on, other.today_on))
