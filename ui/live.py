"""Follows the account of a run in a thread. What the pipeline view shows of it is a snapshot that is replaced as a whole."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from config import Kafka
from pipeline.broker.patient import IDLE_POLL_MS
from pipeline.errors import ServiceError
from pipeline.runs.account import Account, Stage
from pipeline.runs.account_reader import Tally
from pipeline.runs.view import Rate
from pipeline.wire.messages import run_started_at
from ui.following import Following
from ui.places import Places
from ui.run_view import RegionView, Snapshot, StageView

#: Seconds between two snapshots; the second if nothing has arrived.
SNAPSHOT_SECONDS = 0.5
QUIET_SECONDS = 1.0
#: Accounts that are kept: those of the newest run and of the two before it.
ACCOUNTS_KEPT = 3
#: Runs that can be chosen on the page.
RUNS_KEPT = 50
ERRORS_SHOWN = 20
#: Characters that are kept of each field of an error.
ERROR_FIELD = 400
#: Run_ids that are kept. A topic may hold records with any run_id.
RUNS_KNOWN = 10_000
#: Followers of older runs: the most at once; seconds without a viewer after which one ends, and after which it makes room for another.
FOLLOWERS = 4
IDLE_SECONDS = 60.0
GIVES_WAY_SECONDS = 10.0


class TooManyRuns(Exception):
    """The page follows as many older runs as it can already."""


@dataclass(frozen=True)
class Unfollowed:
    """What is shown of a run that is not followed: it is in no topic, or the topics are still being read."""

    snapshot: Snapshot
    version: int = 1


class RunFollower(Following):
    """Follows the newest run, or one run. Call `start()`; `snapshot` is what is shown."""

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
        count = self._tally.poll(IDLE_POLL_MS)
        self._caught_up = self._caught_up or not count
        self._new = self._new or bool(count)
        self._forget_old(self._tally)
        now = time.monotonic()
        if now - self._shown >= (SNAPSHOT_SECONDS if self._new or not self._caught_up else QUIET_SECONDS):
            self._new = False
            self._publish(self._view(self._tally.newest()))
            # Snapshots of a run with many tasks take long. They may use a tenth of the time.
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
        """run_id, and its status in the database, "" if unknown."""
        if account is None:
            return "", ""
        try:
            found = self._places.query("SELECT status FROM pipeline_run WHERE run_id = %s", [account.run_id])
        except ServiceError:
            return account.run_id, ""  # the rest of the view does not need the database
        return account.run_id, str(found[0][0]) if found else ""

    def _forget_old(self, tally: Tally) -> None:
        self._runs.update(tally.accounts)
        if len(self._runs) > RUNS_KNOWN:
            self._runs = set(sorted(self._runs)[-RUNS_KNOWN:])
        for run_id in sorted(tally.accounts)[:-ACCOUNTS_KEPT]:
            del tally.accounts[run_id]

    def knows(self, run_id: str) -> bool:
        """Whether the topics hold something of the run, as far as they have been read."""
        return run_id in self._runs

    def _known_runs(self) -> tuple[str, ...]:
        return tuple(sorted(self._runs, reverse=True)[:RUNS_KEPT])

    def _view(self, account: Account | None) -> Snapshot:
        if account is None or not self._caught_up:
            state = "waiting" if self._caught_up else "reading"
            return Snapshot(state=state, run_id=self.run_id or "", runs=self._known_runs())
        stages = [self._stage(stage) for stage in (account.scraping, account.processing)]
        return Snapshot(
            state="following",
            run_id=account.run_id,
            started_at=run_started_at(account.run_id),
            # Whole seconds, because every snapshot that differs is sent to all viewers.
            elapsed_seconds=float(int(account.elapsed_seconds(time.time()))),
            scraping=stages[0],
            processing=stages[1],
            regions=_regions(account),
            errors=tuple(_error(error) for error in reversed(account.newest_errors()[-ERRORS_SHOWN:])),
            ratio_rows=account.ratio_rows,
            unreadable=account.unreadable,
            lists=account.lists.text(),
            requests_per_stock=account.requests_per_finished_stock,
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


def _error(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an error that are shown, cut to ERROR_FIELD characters."""
    names = ("status", "task_id", "attempt", "timestamp", "error_type", "error")
    return {name: value[:ERROR_FIELD] if isinstance(value := fields.get(name), str) else value for name in names}


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
    """The follower of the newest run, and those of older runs that somebody looks at."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._newest = RunFollower(places)
        self._newest.start()
        self._others: dict[str, RunFollower] = {}

    def of(self, run_id: str | None) -> RunFollower | Unfollowed:
        """The follower of the run. A run that is in no topic has none, because anybody may request any run_id.

        Raises MessageError for an invalid run_id, and TooManyRuns if too many other runs are followed.
        """
        newest = self._newest.snapshot
        if run_id is None or run_id == newest.run_id:
            return self._newest
        run_started_at(run_id)
        with self._lock:
            self._end_idle(IDLE_SECONDS)
            follower = self._others.get(run_id)
            if follower is None or follower.stopped:
                if not self._newest.knows(run_id):
                    state = "waiting" if newest.state == "following" else newest.state
                    return Unfollowed(Snapshot(state=state, problem=newest.problem, run_id=run_id, runs=newest.runs))
                if len(self._others) >= FOLLOWERS:
                    self._end_idle(GIVES_WAY_SECONDS, most=1)
                if len(self._others) >= FOLLOWERS:
                    raise TooManyRuns(f"{FOLLOWERS} older runs are open, and no more can be followed at once: close one of them")
                follower = self._others[run_id] = RunFollower(self._places, run_id)
                follower.start()
            follower.last_read = time.monotonic()
            return follower

    def stop(self) -> None:
        for follower in (self._newest, *self._others.values()):
            follower.stop()

    def _end_idle(self, seconds: float, most: int = FOLLOWERS) -> None:
        """End up to `most` followers that had no viewer for so many seconds."""
        now = time.monotonic()
        idle = sorted((one for one in self._others.values() if now - one.last_read > seconds), key=lambda one: one.last_read)
        for follower in idle[:most]:
            follower.stop()
            self._others.pop(str(follower.run_id), None)
