"""The data that the monitor shows at one moment, and the stages' rates."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from pipeline.runs.account import Account
from pipeline.runs.lag import GroupLag

#: Seconds over which the rate is measured.
RATE_WINDOW_SECONDS = 30.0


class Rate:
    """Finished tasks per second over the last RATE_WINDOW_SECONDS."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def __call__(self, count: int) -> float:
        now = time.monotonic()
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()  # another run
        self._seen.append((now, count))
        while now - self._seen[0][0] > RATE_WINDOW_SECONDS:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return (count - self._seen[0][1]) / seconds if seconds > 0 else 0.0


@dataclass(frozen=True)
class MonitorView:
    """Everything that the monitor shows at one moment.

    account: None if no run is known yet. reading: old records are still being read. ending: the run is being stopped.
    lost_seconds: for how long the broker has not answered, None if it answers. problem: why it does not answer, or why there are
    no groups. throttle, page: one line each, "" for none. waits: what the consumers wait for, if it is the site.
    rates: finished tasks per second.
    """

    account: Account | None
    elapsed_seconds: float = 0.0
    reading: bool = False
    ending: bool = False
    lost_seconds: float | None = None
    problem: str = ""
    groups: tuple[GroupLag, ...] = ()
    throttle: str = ""
    waits: str = ""
    page: str = ""
    scraping_rate: float = 0.0
    processing_rate: float = 0.0

    @property
    def lost(self) -> str:
        """A line about a broker that does not answer; "" if it answers."""
        return "" if self.lost_seconds is None else f"broker not reachable for {self.lost_seconds:.0f} s; trying again"


class StageRates:
    """The rates of both stages of one run."""

    def __init__(self) -> None:
        self._run_id = ""
        self._rates: dict[str, Rate] = {}

    def __call__(self, account: Account | None) -> tuple[float, float]:
        """Finished tasks per second: scraping, processing."""
        if account is None:
            return 0.0, 0.0
        if account.run_id != self._run_id:
            self._run_id = account.run_id
            self._rates = {"scraping": Rate(), "processing": Rate()}
        return self._rates["scraping"](account.scraping.finished), self._rates["processing"](account.processing.finished)
