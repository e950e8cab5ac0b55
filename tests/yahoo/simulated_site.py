"""A simulated site with limits of several kinds, and processes that ask it through real throttles: hours in a second, without a clock."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from local.market.allowance import Allowance, Limit
from pipeline.yahoo.throttle import LOOK_SECONDS, Throttle

#: When a world begins.
START = 1000.0
THREADS = 32
#: Seconds from a report to the others, and between two reports of a busy process.
HEARD_SECONDS = 0.3
REPORT_SECONDS = 0.5


class Site(Protocol):
    """What a site allows."""

    def admits(self, now: float) -> bool: ...


@dataclass
class FixedWindow:
    """At most so many in each window, which begins with the clock's own minute, say; refused requests may count."""

    requests: int
    seconds: int
    counts_refused: bool = False

    def __post_init__(self) -> None:
        self._window, self._count = -1, 0

    def admits(self, now: float) -> bool:
        if self._window != now // self.seconds:
            self._window, self._count = int(now // self.seconds), 0
        good = self._count < self.requests
        self._count += good or self.counts_refused
        return good


@dataclass
class Bucket:
    """So many at once, and then so many in so many seconds, evenly."""

    requests: int
    seconds: int

    def __post_init__(self) -> None:
        self._left, self._at = float(self.requests), 0.0

    def admits(self, now: float) -> bool:
        self._left = min(float(self.requests), self._left + (now - self._at) * self.requests / self.seconds)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass
class EverythingCounts:
    """A sliding window that refused requests take a place in too."""

    requests: int
    seconds: int

    def __post_init__(self) -> None:
        self._asked: deque[float] = deque(maxlen=self.requests)

    def admits(self, now: float) -> bool:
        good = len(self._asked) < self.requests or self._asked[0] <= now - self.seconds
        self._asked.append(now)
        return good


def now_and_then(part: float, seconds: float, seed: int = 1) -> Callable[[float], int | None]:
    """Faults for a World: a 429 with that probability, whatever was asked before, and so for some seconds."""
    chance, until = random.Random(seed), -1.0

    def fault(now: float) -> int | None:
        nonlocal until
        if now >= until and chance.random() < part:
            until = now + seconds
            return 429
        return 429 if now < until else None

    return fault


@dataclass
class Process:
    throttle: Throttle
    free: int
    told_at: float = -1.0
    alive: bool = True
    waking: bool = False
    #: Requests that it has to make; None for any number.
    work: int | None = None


@dataclass
class World:
    """One site and the processes that ask it. `answered` and `refused` hold the moments of requests.

    limits: (requests, seconds) of sliding windows in which refused requests take no place, or a site of another kind.
    """

    limits: Sequence[tuple[int, int]] | Site
    latency: float = 0.1
    #: (requests a second) for all; 0 for no such setting.
    ceiling: float = 0.0
    now: float = START
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    #: Statuses that the site answers in place of 200, by a function of the moment; None for none.
    faults: Callable[[float], int | None] = lambda now: None

    def __post_init__(self) -> None:
        self._site = Allowance([Limit(*limit) for limit in self.limits]) if isinstance(self.limits, Sequence) else self.limits
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    # -- what a test does -------------------------------------------------------------------------------------------

    def join(
        self,
        name: str,
        stage: str = "processing",
        share: Callable[[], float] | None = None,
        *,
        work: int | None = None,
        learned: dict[str, Any] | None = None,
    ) -> Throttle:
        """Start a process that asks as often as it may; share: of its stage's partitions, evenly if it is not given."""
        clock = lambda: self.now  # noqa: E731
        throttle = Throttle(self.ceiling, stage, share or (lambda: 1 / max(1, self._alive(stage))), sender=name, clock=clock, wall=clock)
        process = self.processes[name] = Process(throttle, THREADS, work=work)
        if learned is not None:
            throttle.remember(learned)
        throttle.on_news = lambda: self._tell(process, HEARD_SECONDS)
        self._wake(process, 0.0)
        self._at(REPORT_SECONDS, lambda: self._report(process))
        return throttle

    def kill(self, name: str) -> None:
        self.processes[name].alive = False

    def allow(self, *limits: tuple[int, int]) -> None:
        assert isinstance(self._site, Allowance)
        self._site.replace([Limit(*limit) for limit in limits])

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.now = end

    def rate(self, begin: float, end: float) -> float:
        """Answered requests a second between two moments, counted from the beginning of the world."""
        return sum(START + begin <= at < START + end for at in self.answered) / (end - begin)

    def refused_part(self, begin: float, end: float) -> float:
        refused = sum(START + begin <= at < START + end for at in self.refused)
        return refused / max(1.0, refused + self.rate(begin, end) * (end - begin))

    # -- the inside -------------------------------------------------------------------------------------------------

    def _alive(self, stage: str) -> int:
        return sum(process.alive and process.throttle.stage == stage for process in self.processes.values())

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def _wake(self, process: Process, seconds: float) -> None:
        if not process.waking:
            process.waking = True
            self._at(seconds, lambda: self._start(process))

    def _start(self, process: Process) -> None:
        process.waking = False
        while process.alive and process.free and process.work != 0:
            wait = process.throttle.try_start()
            if wait > 0:
                # Whoever waits for long looks less often than a real process, which saves most of a simulated hour.
                self._wake(process, min(wait, LOOK_SECONDS if wait < 2 * REPORT_SECONDS else REPORT_SECONDS))
                return
            process.free -= 1
            process.work = None if process.work is None else process.work - 1
            ticket = process.throttle._local.ticket
            self._at(self.latency / 2, lambda ticket=ticket: self._arrive(process, ticket))

    def _arrive(self, process: Process, ticket: Any) -> None:
        status = self.faults(self.now)
        if status is None:
            status = 200 if self._site.admits(self.now) else 429
        (self.refused if status == 429 else self.answered).append(self.now)

        def answer() -> None:
            if not process.alive:
                return
            process.free += 1
            if status == 429 and process.work is not None:
                process.work += 1
            process.throttle._local.ticket = ticket
            process.throttle.answered(status)
            self._wake(process, 0.0)

        self._at(self.latency / 2, answer)

    def _report(self, process: Process) -> None:
        if process.alive:
            if process.throttle.has_news():
                self._tell(process, HEARD_SECONDS)
            self._at(REPORT_SECONDS, lambda: self._report(process))

    def _tell(self, process: Process, seconds: float) -> None:
        report = process.throttle.report()
        self._at(seconds, lambda: self._hear(report))

    def _hear(self, report: dict[str, Any]) -> None:
        for process in self.processes.values():
            if process.alive:
                process.throttle.heard(report)


def picture(world: World, seconds: int, step: int) -> str:
    """Answered/refused a second, step by step."""
    lines = []
    for begin in range(0, seconds, step):
        answered = world.rate(begin, begin + step)
        refused = sum(START + begin <= at < START + begin + step for at in world.refused)
        lines.append(f"{begin:5} {answered:7.2f} {refused:4}")
    return "\n".join(lines)
