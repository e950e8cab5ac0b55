"""What the monitor knows at one moment, and how fast the stages are."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from pipeline.runs.account import Account
from pipeline.runs.lag import GroupLag

#: Seconds over which the rate is measured.
RATE_WINDOW_SECONDS = 30.0


class Rate:
    """Final states a second over the last RATE_WINDOW_SECONDS."""

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
    """All that the monitor knows at one moment.

    account: None if no run is known yet; reading: what stands in the topics is not read to its end yet; ending: the run is
    being stopped; lost_seconds: since when the broker does not answer, None while it does; problem: why not, or why there are no
    groups; throttle, page: one line each, "" for none; rates: final states a second.
    """

    account: Account | None
    elapsed_seconds: float = 0.0
    reading: bool = False
    ending: bool = False
    lost_seconds: float | None = None
    problem: str = ""
    groups: tuple[GroupLag, ...] = ()
    throttle: str = ""
    page: str = ""
    scraping_rate: float = 0.0
    processing_rate: float = 0.0

    @property
    def lost(self) -> str:
        """What to say of a broker that is away; "" while it is there."""
        return "" if self.lost_seconds is None else f"broker not reachable since {self.lost_seconds:.0f} s; trying again"


class StageRates:
    """The rates of both stages of one run."""

    def __init__(self) -> None:
        self._run_id = ""
        self._rates: dict[str, Rate] = {}

    def __call__(self, account: Account | None) -> tuple[float, float]:
        """Final states a second: scraping, processing."""
        if account is None:
            return 0.0, 0.0
        if account.run_id != self._run_id:
            self._run_id = account.run_id
            self._rates = {"scraping": Rate(), "processing": Rate()}
        return self._rates["scraping"](account.scraping.finished), self._rates["processing"](account.processing.finished)
