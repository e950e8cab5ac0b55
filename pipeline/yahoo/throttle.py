"""Courtesy towards the site: a rate for all threads of a process, that gives way at once and comes back slowly.

Timing alone, by the clock it is given: no IO. What other processes are told, and what they tell: pipeline/yahoo/shared_throttle.py.

- A 429, or an error from 500 on, halves the rate at once. Answers to requests of the same moment are one warning.
- A 429 also pauses all threads: for as long as the site's Retry-After says, and longer with each further warning.
- Good answers bring the rate back in even steps, never above the setting.
- Without a setting there is no limit until the first 429. Then half of what was measured is one, and it ends when the
  measured rate is reached again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

#: First pause after a 429 in seconds; doubles with each further one until the site answers well again.
FIRST_PAUSE_SECONDS = 1.0
LARGEST_PAUSE_SECONDS = 60.0
#: Seconds after a halving in which further warnings are taken for the same one: they were on their way already.
SAME_WARNING_SECONDS = 1.0
#: Seconds of good answers that bring the rate from nothing to the whole; from half of it, half as long.
RECOVERY_SECONDS = 30.0
#: The rate is never cut below this fraction of the whole: a pause, not a slower rate, is the answer to a site that goes on warning.
LEAST_FRACTION = 1 / 8
#: Without a setting, the limit after a 429 is at least so many requests a second, whatever was measured.
LEAST_UNLIMITED_RATE = 1.0
#: The recent rate is measured over at most so many seconds, and over so many requests.
MEASURED_SECONDS = 5.0
MEASURED_REQUESTS = 2_000


#: What scraping consumers that list by the endpoint get of the whole rate: one request lists 250 stocks, of which each costs three.
LISTING_SHARE = 0.1


def shares(requests_per_second: float, processors: int, listers: int) -> tuple[float, float]:
    """The rate of each processing consumer, and of each scraping consumer that may list by the endpoint; 0 is no limit.

    All of them together have `requests_per_second`. Pure.
    """
    listing = (LISTING_SHARE if processors else 1.0) if listers else 0.0
    each_processor = requests_per_second * (1.0 - listing) / processors if processors else 0.0
    return each_processor, requests_per_second * listing / listers if listers else 0.0


@dataclass(frozen=True)
class Warned:
    """One warning of the site: what it answered, and the seconds in which no request should start (0: only slower)."""

    status: int
    pause_seconds: float


class Throttle:
    """Hands out the moments at which requests may start. `requests_per_second` 0 is no limit. Safe in many threads.

    on_warning: told of each warning that this process's own answers held, in the thread that got it; must not block.
    """

    def __init__(
        self,
        requests_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        on_warning: Callable[[Warned], None] | None = None,
    ) -> None:
        self._setting = max(requests_per_second, 0.0)
        self._clock = clock
        self._sleep = sleep
        self.on_warning = on_warning
        self._lock = threading.Lock()
        #: The rate to come back to, and the one now, in requests a second; 0 is no limit.
        self._whole = self._rate = self._setting
        self._next = 0.0
        self._pause_seconds = 0.0
        self._paused_until = 0.0
        self._halved_at = float("-inf")
        self._recovered_at = 0.0
        self._reason = ""
        # Threads that sleep until a moment of an older generation queue again: it was given out at the old rate.
        self._generation = 0
        self._starts: deque[float] = deque(maxlen=MEASURED_REQUESTS)

    def wait(self) -> None:
        """Return when this thread's next request may start."""
        while True:
            with self._lock:
                now = self._clock()
                start = max(now, self._next, self._paused_until)
                self._next = start + (1.0 / self._rate if self._rate else 0.0)
                generation = self._generation
                if start <= now:
                    self._starts.append(now)
                    return
            self._sleep(start - now)
            with self._lock:
                if self._generation == generation:
                    self._starts.append(self._clock())
                    return

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        """Hear how a request went: status, and the Retry-After in seconds that came with it, if any."""
        warned = None
        with self._lock:
            now = self._clock()
            if status == 429 or (status >= 500 and self._rate):
                warned = self._warn(now, status, min(retry_after_seconds or 0.0, LARGEST_PAUSE_SECONDS))
            elif status < 400 and now >= self._paused_until:
                self._pause_seconds = 0.0
                self._recover(now)
        if warned is not None and self.on_warning is not None:
            self.on_warning(warned)

    def slow_down(self, status: int, pause_seconds: float, reason: str) -> None:
        """Act on a warning that another process got: the same cut, and the same pause."""
        with self._lock:
            now = self._clock()
            self._pause(now, min(pause_seconds, LARGEST_PAUSE_SECONDS))
            if self._rate or status == 429:
                self._halve(now, reason)

    def state(self) -> dict[str, Any]:
        """`requests_per_second` now (0: no limit), `paused_seconds` still to go, `reason` ("" where nothing is slowed down)."""
        with self._lock:
            left = max(0.0, self._paused_until - self._clock())
            throttled = left > 0 or self._rate < self._whole
            return {
                "requests_per_second": round(self._rate, 3),
                "paused_seconds": round(left, 3),
                "reason": self._reason if throttled else "",
            }

    # -- with the lock held -----------------------------------------------------------------------------------------

    def _warn(self, now: float, status: int, retry_after_seconds: float) -> Warned | None:
        """Slow down; None where this warning is one that is acted on already."""
        if now < self._paused_until:
            return None
        if status != 429 and now - self._halved_at < SAME_WARNING_SECONDS and not retry_after_seconds:
            return None
        pause = retry_after_seconds
        if status == 429:
            self._pause_seconds = min(max(self._pause_seconds * 2, FIRST_PAUSE_SECONDS), LARGEST_PAUSE_SECONDS)
            pause = max(pause, self._pause_seconds)
        # Before the pause: what was measured is what the site found too much.
        self._halve(now, f"the site answered {status}")
        self._pause(now, pause)
        return Warned(status, pause)

    def _pause(self, now: float, seconds: float) -> None:
        if now + seconds > self._paused_until and seconds > 0:
            self._paused_until = now + seconds
            self._generation += 1

    def _halve(self, now: float, reason: str) -> None:
        if now - self._halved_at < SAME_WARNING_SECONDS:
            return
        if not self._rate:
            self._whole = max(self._measured(now), 2 * LEAST_UNLIMITED_RATE)
            self._rate = self._whole
        self._rate = max(self._rate / 2, self._whole * LEAST_FRACTION)
        self._halved_at = self._recovered_at = now
        self._reason = reason
        # Moments that were given out at the old rate are given back.
        self._next = now
        self._generation += 1

    def _recover(self, now: float) -> None:
        """Come back a step: as far as the time since the last good answer goes, at most a second's worth, so that silence earns nothing."""
        if self._rate >= self._whole:
            return
        passed = min(max(0.0, now - max(self._recovered_at, self._paused_until)), 1.0)
        self._recovered_at = now
        self._rate = min(self._whole, self._rate + self._whole * passed / RECOVERY_SECONDS)
        if self._rate >= self._whole:
            # Recovered: with no setting the limit goes again.
            self._whole = self._rate = self._setting
            self._reason = ""

    def _measured(self, now: float) -> float:
        """Requests a second that were started lately."""
        recent = [start for start in self._starts if now - start <= MEASURED_SECONDS]
        return len(recent) / max(now - recent[0], 1.0) if recent else 0.0
