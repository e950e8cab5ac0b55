"""Courtesy towards the site: a rate for all threads of a process, and patience when the site asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: First pause after a 429 in seconds; doubles with each further one until the site answers well again.
FIRST_PAUSE_SECONDS = 1.0
LARGEST_PAUSE_SECONDS = 60.0


class Throttle:
    """Hands out the moments at which requests may start. `requests_per_second` 0 is no limit."""

    def __init__(
        self,
        requests_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1.0 / requests_per_second if requests_per_second > 0 else 0.0
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self._pause_seconds = 0.0
        self._paused_until = 0.0

    def wait(self) -> None:
        """Return when this thread's next request may start."""
        while True:
            with self._lock:
                now = self._clock()
                start = max(now, self._next, self._paused_until)
                self._next = start + self._interval
            if start > now:
                self._sleep(start - now)
            with self._lock:
                if self._paused_until <= self._clock():
                    return  # else a pause began meanwhile, and this thread queues again

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        """Hear how a request went: a 429 pauses all threads, a good answer ends the growth of the pauses."""
        with self._lock:
            now = self._clock()
            if status == 429:
                if now >= self._paused_until:  # answers to requests of the same moment are one warning, not many
                    self._pause_seconds = min(max(self._pause_seconds * 2, FIRST_PAUSE_SECONDS), LARGEST_PAUSE_SECONDS)
                    wanted = min(retry_after_seconds or 0.0, LARGEST_PAUSE_SECONDS)
                    self._paused_until = now + max(self._pause_seconds, wanted)
            elif status < 400 and now >= self._paused_until:
                self._pause_seconds = 0.0
