"""What the pipeline view shows: the account of a run, followed in a thread, as a snapshot that is replaced as a whole."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from config import Kafka
from pipeline.broker import clients
from pipeline.errors import ServiceError
from pipeline.runs.account import Account, Stage
from pipeline.runs.account_reader import Tally
from pipeline.runs.group_watch import Seen
from pipeline.runs.lag import GroupLag
from pipeline.runs.terminal import Rate
from pipeline.wire.messages import run_started_at
from ui.following import Following
from ui.places import Places

#: Seconds between two snapshots, and where nothing has come in.
SNAPSHOT_SECONDS = 0.5
QUIET_SECONDS = 1.0
#: Accounts that are kept: the newest run, and what is still said of the ones before it.
ACCOUNTS_KEPT = 3
#: Runs that can be chosen.
RUNS_KEPT = 50
ERRORS_SHOWN = 20
#: The states that are always named, in order; others that a run may have stand between these.
FIRST_STATES = ("completed", "split", "no_data", "failed")
LAST_STATES = ("retrying", "pending")
#: Followers of older runs: how many at most, and seconds without a reader after which one ends.
FOLLOWERS = 4
IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class StageView:
    """One bar: a stage, or a region's part of it."""

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    finished: int = 0
    rate: float = 0.0

    @property
    def percent(self) -> int:
        """Rounded down: 100 means that nothing is pending."""
        return 100 * self.finished // self.sent if self.sent else 0

    @property
    def seconds_left(self) -> float | None:
        """At the present rate, of the tasks known so far; None where nothing moves or nothing is left."""
        left = self.sent - self.finished
        return left / self.rate if left and self.rate > 0 else None


@dataclass(frozen=True)
class RegionView:
    code: str
    name: str
    scraping: StageView
    processing: StageView


@dataclass(frozen=True)
class Snapshot:
    """What the pipeline view shows. `state`: reading, waiting (no run yet), following, away (`problem` says why)."""

    state: str = "reading"
    problem: str = ""
    run_id: str = ""
    started_at: datetime | None = None
    elapsed_seconds: float = 0.0
    scraping: StageView = field(default_factory=lambda: StageView("scraping"))
    processing: StageView = field(default_factory=lambda: StageView("processing"))
    regions: tuple[RegionView, ...] = ()
    errors: tuple[dict[str, Any], ...] = ()
    ratio_rows: int = 0
    #: What the database says of the run: running, completed, failed, stalled, or "" where it does not say.
    status: str = ""
    runs: tuple[str, ...] = ()

    @property
    def states(self) -> list[str]:
        """The columns of the counts: the states that tasks of either stage are in, pending last."""
        found = {state: None for stage in (self.scraping, self.processing) for state in stage.counts}
        middle = [state for state in found if state not in FIRST_STATES and state not in LAST_STATES]
        return [*FIRST_STATES, *middle, *LAST_STATES]

    @property
    def nothing_pending(self) -> bool:
        known = self.scraping.sent + self.processing.sent
        return bool(known) and known == self.scraping.finished + self.processing.finished


@dataclass(frozen=True)
class Consumers:
    """The consumer groups beside the bars. `problem`: why they can't be read; neither groups nor problem: not looked yet."""

    groups: tuple[GroupLag, ...] = ()
    throttle: str = ""
    problem: str = ""

    @classmethod
    def of(cls, seen: Seen) -> Consumers:
        # What was seen before the broker went away must not stand there as if it were now.
        return cls(problem=seen.problem) if seen.lost else cls(seen.groups, seen.throttle, seen.problem)


class Follower(Following):
    """Follows the newest run, or one run. Call `start()`; `snapshot` is what there is to see."""

    def __init__(self, places: Places, run_id: str | None = None) -> None:
        super().__init__(places, f"follow-{run_id or 'newest'}")
        self.run_id = run_id
        self.snapshot = Snapshot(run_id=run_id or "")
        #: Grows with each snapshot that differs from the one before.
        self.version = 0
        self.last_read = time.monotonic()
        self._rates = {"scraping": Rate(), "processing": Rate()}
        self._runs: set[str] = set()
        self._status = ("", "")
        self._tally: Tally | None = None
        self._caught_up = False
        self._shown = 0.0
        self._new = False

    def open(self, settings: Kafka) -> None:
        self._caught_up = False
        self._tally = Tally(settings, self.run_id)

    def step(self) -> None:
        assert self._tally is not None
        count = self._tally.poll(clients.IDLE_POLL_MS)
        self._caught_up = self._caught_up or not count
        self._new = self._new or bool(count)
        self._forget_old(self._tally)
        now = time.monotonic()
        if now - self._shown >= (SNAPSHOT_SECONDS if self._new or not self._caught_up else QUIET_SECONDS):
            self._new = False
            self._publish(self._view(self._tally.newest()))
            # Of a run with many tasks a snapshot takes long: it gets a tenth of the time, the views the rest.
            self._shown = now + 9 * (time.monotonic() - now)

    def check(self) -> None:
        assert self._tally is not None
        self._status = self._read_status(self._tally.newest())

    def close(self) -> None:
        if self._tally is not None:
            self._tally.close()
            self._tally = None

    def away(self, problem: str) -> None:
        self._publish(Snapshot(state="away", problem=problem, run_id=self.run_id or "", runs=self._known_runs()))

    def _read_status(self, account: Account | None) -> tuple[str, str]:
        """(run_id, what the database says of it)."""
        if account is None:
            return "", ""
        try:
            found = self._places.query("SELECT status FROM pipeline_run WHERE run_id = %s", [account.run_id])
        except ServiceError:
            return account.run_id, ""  # the bars come from the topics alone
        return account.run_id, str(found[0][0]) if found else ""

    def _forget_old(self, tally: Tally) -> None:
        self._runs.update(tally.accounts)
        for run_id in sorted(tally.accounts)[:-ACCOUNTS_KEPT]:
            del tally.accounts[run_id]

    def _known_runs(self) -> tuple[str, ...]:
        return tuple(sorted(self._runs, reverse=True)[:RUNS_KEPT])

    def _view(self, account: Account | None) -> Snapshot:
        if account is None or not self._caught_up:
            state = "waiting" if self._caught_up else "reading"
            return Snapshot(state=state, run_id=self.run_id or "", runs=self._known_runs())
        started = run_started_at(account.run_id)
        stages = [self._stage(stage) for stage in (account.scraping, account.processing)]
        return Snapshot(
            state="following",
            run_id=account.run_id,
            started_at=started,
            elapsed_seconds=_elapsed(account, started),
            scraping=stages[0],
            processing=stages[1],
            regions=_regions(account),
            errors=tuple(reversed(list(account.errors)[-ERRORS_SHOWN:])),
            ratio_rows=account.ratio_rows,
            status=self._status[1] if self._status[0] == account.run_id else "",
            runs=self._known_runs(),
        )

    def _stage(self, stage: Stage) -> StageView:
        counts = {**{state: stage[state] for state in stage.states()}, "retrying": stage.retrying}
        return StageView(stage.name, counts, len(stage.tasks), stage.finished, self._rates[stage.name](stage.finished))

    def _publish(self, snapshot: Snapshot) -> None:
        if snapshot != self.snapshot or not self.version:
            self.snapshot = snapshot
            self.version += 1


def _elapsed(account: Account, started: datetime) -> float:
    """Seconds to now or, with nothing pending, to the last result."""
    end = datetime.now(timezone.utc)
    if not account.pending and account.last_result_at:
        end = datetime.fromisoformat(account.last_result_at)
    return float(max(0, int((end - started).total_seconds())))


def _regions(account: Account) -> tuple[RegionView, ...]:
    counts: dict[str, Counter[tuple[str, str]]] = {"scraping": Counter(), "processing": Counter()}
    for stage in (account.scraping, account.processing):
        for task in list(stage.tasks.values()):
            counts[stage.name][task.region, task.state] += 1

    def part(stage: Stage, code: str) -> StageView:
        found = {state: counts[stage.name][code, state] for state in stage.states()}
        sent = sum(found.values())
        return StageView(stage.name, found, sent, sent - found["pending"])

    return tuple(
        RegionView(code, name, part(account.scraping, code), part(account.processing, code)) for code, name in account.regions.items()
    )


class Followers:
    """The follower of the newest run, always there, and those of older runs that somebody looks at."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._newest = Follower(places)
        self._newest.start()
        self._others: dict[str, Follower] = {}

    def of(self, run_id: str | None) -> Follower:
        """Raises MessageError for what is no run_id."""
        if run_id is None or run_id == self._newest.snapshot.run_id:
            return self._newest
        run_started_at(run_id)
        with self._lock:
            self._end_idle()
            follower = self._others.get(run_id)
            if follower is None or follower.stopped:
                if len(self._others) >= FOLLOWERS:
                    oldest = min(self._others.values(), key=lambda one: one.last_read)
                    self._end(oldest)
                follower = self._others[run_id] = Follower(self._places, run_id)
                follower.start()
            follower.last_read = time.monotonic()
            return follower

    def stop(self) -> None:
        for follower in (self._newest, *self._others.values()):
            follower.stop()

    def _end_idle(self) -> None:
        now = time.monotonic()
        for follower in [one for one in self._others.values() if now - one.last_read > IDLE_SECONDS]:
            self._end(follower)

    def _end(self, follower: Follower) -> None:
        follower.stop()
        self._others.pop(str(follower.run_id), None)
