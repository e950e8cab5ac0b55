"""One process's share of the request rate: decides when each of its requests may start.

Pure timing by a given clock, without IO. governor.py finds out what the site allows, peers.py which part of that is this process's,
and shared_throttle.py carries the processes' reports.

- A 429 stops all processes until the site answers again, and teaches them its limits.
- A server error halves the rate at once, if there is a rate. Good answers bring it back within half a minute.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.errors import RateLimited
from pipeline.wire.request_count import RequestCount
from pipeline.yahoo.courtesy import Courtesy
from pipeline.yahoo.governor import Governor
from pipeline.yahoo.history import FINEST_SECONDS
from pipeline.yahoo.peers import WORD_SECONDS, Peers, Word, word

#: The longest time in seconds between two looks at the rate while a request waits.
LOOK_SECONDS = 0.2
#: The rate in a report if no limit is known.
NO_LIMIT = 1e9
#: The rate is computed anew after this many seconds, or when something has happened.
RATE_SECONDS = 0.05
#: A process counts as busy for this many seconds after its last request.
BUSY_SECONDS = 2.0
#: A single request to a site that refuses counts as lost after this many seconds.
PROBE_SECONDS = 40.0
#: Requests that were not made in time may be made up for, up to this many seconds' worth.
CREDIT_SECONDS = 0.25
#: How many requests that a page has made by itself are made up for at most.
MOST_OWED = 20.0
#: A process that has not even read its own reports for this many seconds is cut off from the others.
CUT_OFF_SECONDS = 4.0
#: A refusal that another process reports belongs to a request that started at most this many seconds ago.
LATE_SECONDS = 1.0
#: Seconds for which a process that is stopping still waits for its turn.
CLOSING_SECONDS = 1.0


@dataclass(frozen=True)
class _Ticket:
    """A request in flight: when it started, and whether it is the single one sent to a site that refuses."""

    started: float
    probe: bool


class _Credit:
    """Requests that may start. They accrue at the rate, and hardly any are saved up."""

    def __init__(self, now: float) -> None:
        self._credit = 1.0
        self._at = now

    def take(self, rate: float, now: float) -> float:
        """Take one and return 0, or return the seconds until there is one; inf if there is no rate."""
        if math.isinf(rate):
            self._credit, self._at = 1.0, now
            return 0.0
        self._credit = min(self._credit + rate * (now - self._at), max(1.0, rate * CREDIT_SECONDS))
        self._at = now
        if self._credit < 1.0:
            return max((1.0 - self._credit) / rate, 0.001) if rate > 0 else math.inf
        self._credit -= 1.0
        return 0.0

    def owe(self) -> None:
        """Count a request that has started without permission: later ones wait longer for it."""
        self._credit = max(self._credit - 1.0, -MOST_OWED)


class _Counts:
    """What was answered and refused: in all, and since the last report."""

    def __init__(self) -> None:
        self.answered = self.refused = 0
        self.probe = ""
        self._answers: list[tuple[float, int]] = []
        self._refusals = 0

    def answer(self, now: float) -> None:
        self.answered += 1
        count = self._answers.pop() if self._answers and now - self._answers[-1][0] < FINEST_SECONDS else (now, 0)
        self._answers.append((count[0], count[1] + 1))

    def refuse(self) -> None:
        self.refused += 1
        self._refusals += 1

    def untold(self) -> bool:
        return bool(self._answers or self._refusals)

    def tell(self, now: float) -> dict[str, Any]:
        """The fields of a report, once."""
        found = {
            "answers": [[round(now - at, 2), count] for at, count in self._answers],
            "refusals": self._refusals,
            "probe": self.probe,
            "answered_total": self.answered,
            "refused_total": self.refused,
        }
        self._answers, self._refusals, self.probe = [], 0, ""
        return found


class Throttle:
    """`requests_per_second`: the most that all processes together ask for, 0 for no such setting. Safe in many threads.

    stage: "scraping", "processing", or "" for a process without tasks. share: the fraction of its stage's
    partitions that it holds now. on_news: called when the others must be told at once; must not block.
    """

    def __init__(
        self,
        requests_per_second: float,
        stage: str = "",
        share: Callable[[], float] = lambda: 1.0,
        *,
        sender: str = "here",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.governor = Governor(max(requests_per_second, 0.0))
        self.requests = RequestCount()  # by task, for the worker of the same process
        self.peers = Peers()
        self.sender = sender
        self.stage = stage
        self.share = share
        self.on_news: Callable[[], None] = lambda: None
        self.shared = False  # whether others are told and heard at all
        self._clock = clock
        self._sleep = sleep
        self._since = wall()
        self._lock = threading.Lock()
        # One thread at a time waits for its moment, so that only one of them has to look whether the rate has changed.
        self._turn = threading.Lock()
        self._local = threading.local()
        self._closing = False
        self._credit = _Credit(clock())
        self._in_flight = 0
        self._asked_at = -math.inf
        self._probe_began: float | None = None
        self._courtesy = Courtesy()
        self._heard_at = clock()
        self._reason = ""
        self._rated, self._rated_at = math.inf, -math.inf
        self._led = (-math.inf, 0.0)  # when the process that leads told its rate, and the rate
        self._counts = _Counts()

    # -- requests ---------------------------------------------------------------------------------------------------

    def acquire(self) -> None:
        """Wait until this thread's next request may start. Raises RateLimited if the process ends before that."""
        with self._turn:
            while (wait := self.try_start()) > 0:
                if self._closing and wait > CLOSING_SECONDS:
                    raise RateLimited("the process ends before the site may be asked again")
                self._sleep(min(wait, LOOK_SECONDS))
        self.requests.note()

    def try_start(self) -> float:
        """Start a request now and return 0, or return the seconds after which to try again."""
        with self._lock:
            now = self._asked_at = self._clock()
            probe = False
            if self.governor.episode is not None:
                wait = self._until_probe(now)
                if wait > 0:
                    return wait
                self._probe_began = now
                probe = True
            else:
                wait = self._credit.take(self._rate(now), now)
                if wait > 0:
                    return max(self.governor.waits(now), LOOK_SECONDS) if math.isinf(wait) else wait
            self._in_flight += 1
            self._local.ticket = _Ticket(now, probe)
            return 0.0

    def answered(self, status: int, retry_after_seconds: float | None = None) -> None:
        """Note the answer to this thread's request after `acquire`: its status, and its Retry-After in seconds, if any."""
        with self._lock:
            self._in_flight -= 1
            news = self._note(status, retry_after_seconds, self._ticket())
        if news:
            self.on_news()

    def unanswered(self) -> None:
        """Note that this thread's request got no answer. The site may have counted it."""
        with self._lock:
            self._in_flight -= 1
            now = self._clock()
            self._counts.answer(now)
            self.governor.answered(now)
            if self._ticket().probe:
                self.governor.next_probe_at = now + LOOK_SECONDS

    def noted(self, status: int) -> None:
        """Count a request that was made without `acquire`: a redirect, for example, or what a page fetches by itself."""
        self.requests.note()
        with self._lock:
            self._credit.owe()
            news = self._note(status, None, _Ticket(self._clock(), False))
        if news:
            self.on_news()

    def close(self) -> None:
        """End long waits, because the process is stopping."""
        self._closing = True

    def report(self) -> dict[str, Any]:
        """What the other processes must know. Each answer and refusal is reported once. Times are seconds before this report."""
        with self._lock:
            now = self._clock()
            mine = self._mine(now)
            leads = self.peers.leads(mine, now)
            found: dict[str, Any] = {
                "sender": self.sender,
                "stage": self.stage,
                "since": self._since,
                "busy": mine.busy,
                "in_flight": self._in_flight,
                "courtesy": round(self._courtesy.factor, 3),
                "holding": self.governor.episode is not None,
                "leads": leads,
                "reason": self._reason_now(),
                **self._counts.tell(now),
            }
            if leads:
                whole = self.governor.rate(now, self._in_flight + self.peers.in_flight(now))
                found |= {**self.governor.site(now), "rate": min(whole, NO_LIMIT)}
            return found

    def has_news(self) -> bool:
        """Whether there is something to tell within half a second."""
        with self._lock:
            return self._counts.untold() or self._mine(self._clock()).busy

    def heard(self, fields: dict[str, Any]) -> None:
        """Act on another process's report. Raises KeyError, TypeError or ValueError if it is not one."""
        with self._lock:
            now = self._clock()
            if fields["sender"] == self.sender:
                self._heard_at = now
                return
            said = word(fields, now)
            answers = [(now - max(float(ago), 0.0), int(count)) for ago, count in fields["answers"]]
            refusals, probe = int(fields["refusals"]), str(fields["probe"])
            self.peers.heard(said)
            self._rated_at = -math.inf
            self.governor.probe_heard(probe, now, self._leads(now))
            if refusals and probe != "refused" and self.governor.refused(now, started=now - LATE_SECONDS):
                self._reason = f"the site answered 429 to {said.sender}"
            for at, count in answers:
                self.governor.answered(at, count)
            if fields["leads"] and self.peers.is_leader(said.sender, self._mine(now), now):
                self.governor.adopt(fields["limits"])
                self._led = (now, float(fields["rate"]))
                episode = self.governor.episode
                if episode is not None and not fields["holding"] and episode.lasted(now) > 2.0:
                    self.governor.probe_answered(now, learn=False)

    def leads(self) -> bool:
        """Whether this process draws the conclusions for all, and saves them."""
        with self._lock:
            return self._leads(self._clock())

    def learned(self) -> dict[str, Any]:
        """What the next run should know: the limits, and what was answered, in seconds before now."""
        with self._lock:
            return self.governor.learned(self._clock())

    def remember(self, learned: dict[str, Any]) -> None:
        """Begin with what an earlier run has learned. Raises KeyError, TypeError or ValueError if it is not valid."""
        with self._lock:
            self.governor.remember(learned, self._clock())

    def state(self) -> dict[str, Any]:
        """This process now: `requests_per_second` (0: no limit), `paused_seconds` left, `reason` ("" if nothing slows it down)."""
        with self._lock:
            now = self._clock()
            paused = self.governor.waits(now) if self.governor.episode is not None else 0.0
            rate = self._rate(now)
            return {
                "requests_per_second": round(rate, 3) if math.isfinite(rate) else 0.0,
                "paused_seconds": round(paused, 3),
                "reason": self._reason_now(),
            }

    # -- with the lock held -----------------------------------------------------------------------------------------

    def _mine(self, now: float) -> Word:
        busy = bool(self._in_flight) or now - self._asked_at < BUSY_SECONDS
        return Word(now, self.sender, self.stage, self._since, busy, self._in_flight, self._courtesy.factor)

    def _ticket(self) -> _Ticket:
        """The ticket of this thread's request. It can be taken once."""
        ticket: _Ticket = getattr(self._local, "ticket", None) or _Ticket(self._clock(), False)
        self._local.ticket = None
        if ticket.probe:
            self._probe_began = None
        return ticket

    def _until_probe(self, now: float) -> float:
        if not self._leads(now):
            return LOOK_SECONDS
        if self._probe_began is not None and now - self._probe_began < PROBE_SECONDS:
            return LOOK_SECONDS
        return self.governor.next_probe_at - now

    def _rate(self, now: float) -> float:
        """This process's part of the whole rate; inf for no limit."""
        if now - self._rated_at >= RATE_SECONDS or now < self._rated_at:
            leads = self._leads(now)
            whole = self.governor.rate(now, self._in_flight + self.peers.in_flight(now), steps=leads)
            if not leads and now - self._led[0] <= WORD_SECONDS and self._led[1] < NO_LIMIT:
                # The leader has heard more than a process that started later.
                whole = min(whole, self._led[1])
            cut_off = self.shared and now - self._heard_at > CUT_OFF_SECONDS
            part = self.peers.part(self.stage, self.share(), now, cut_off)
            self._rated, self._rated_at = whole * part * min(self._courtesy.factor, self.peers.courtesy(now)), now
        return self._rated

    def _leads(self, now: float) -> bool:
        return self.peers.leads(self._mine(now), now)

    def _note(self, status: int, retry_after_seconds: float | None, ticket: _Ticket) -> bool:
        """True if the others must be told at once."""
        now = self._clock()
        if status >= 429 or ticket.probe:
            self._rated_at = -math.inf
        if status == 429:
            self._counts.refuse()
            self._reason = "the site answered 429"
            if ticket.probe:
                self._counts.probe = "refused"
                self.governor.probe_refused(now, retry_after_seconds or 0.0)
                return True
            return self.governor.refused(now, retry_after_seconds or 0.0, started=ticket.started)
        if ticket.probe:
            self._counts.probe = "answered"
            self.governor.probe_answered(now, learn=self._leads(now))
        self._counts.answer(now)
        self.governor.answered(now)
        if status >= 500 and math.isfinite(self._rate(now)) and self._courtesy.cut(now):
            self._rated_at = -math.inf
            self._reason = f"the site answered {status}"
        elif status < 400:
            self._courtesy.recover(now)
        return ticket.probe

    def _reason_now(self) -> str:
        slow = self.governor.episode is not None or self._courtesy.factor < 1.0 or bool(self.governor.limits)
        return self._reason if slow else ""
