"""The account of a run: which tasks were sent, and the state of each. Pure.

Counts are over distinct task_ids, so a message that arrives twice changes nothing. If a task has several final
states, the highest counts: a task that failed, was replayed and then succeeded is completed.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from pipeline.runs.listing_notes import ListingNotes
from pipeline.wire.messages import ERROR_TEXT_LIMIT, is_region, run_started_at
from pipeline.wire.states import COMPLETIONS, RANKS, STATES
from pipeline.yahoo import throttle_text

#: How many of the newest errors are kept.
ERRORS_KEPT = 50
#: The fields kept of each error. Other fields are dropped, because a message may hold anything of any size.
ERROR_FIELDS = frozenset(
    ("task_id", "run_id", "timestamp", "status", "error", "error_type", "attempt", "symbol", "country_code", "region_code", "region_name")
)
#: A result's time is not believed if it is further from the run's start than this.
RESULTS_WITHIN = timedelta(days=366)


@dataclass
class TaskState:
    state: str = "pending"
    #: Failed at least once and will come back.
    retrying: bool = False
    region: str = ""
    #: Tickers found (scraping) or ratio rows written (processing).
    count: int = 0
    reason: str = ""
    #: Of a stock: whether its statements were `fetched` or `stored`, and why; empty if its completion does not say.
    source: str = ""
    why: str = ""


@dataclass
class Stage:
    """One stage of a run: `scraping` or `processing`."""

    name: str
    tasks: dict[str, TaskState] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def sent(self, task_id: str, region: str) -> TaskState:
        """Note a task. A result may arrive before its task, on another topic, and then notes the task too."""
        task = self.tasks.get(task_id)
        if task is None:
            task = self.tasks[task_id] = TaskState(region=region)
            self._counts["pending"] += 1
        return task

    def result(self, task_id: str, region: str, state: str, count: int = 0, reason: str = "", source: str = "", why: str = "") -> bool:
        """Note a final state. True if the task's state changed."""
        task = self.sent(task_id, region)
        if RANKS[state] < RANKS[task.state]:
            return False
        changed = state != task.state
        self._counts[task.state] -= 1
        self._counts[state] += 1
        task.state, task.count, task.reason, task.retrying = state, count, reason, False
        if changed or task.source != "fetched":
            # A task that comes again finds what its first delivery has fetched.
            task.source, task.why = source, why
        return changed

    def __getitem__(self, state: str) -> int:
        return self._counts[state]

    @property
    def finished(self) -> int:
        return len(self.tasks) - self["pending"]

    @property
    def retrying(self) -> int:
        return sum(task.retrying for task in self.tasks.values())

    def states(self) -> tuple[str, ...]:
        """The states of this stage that a summary names, in order. Rare states are included only if a task is in them."""
        return tuple(state.name for state in STATES if (state.always and self.name in state.stages) or self[state.name])

    def summary(self) -> dict[str, int]:
        return {"sent": len(self.tasks), **{state: self[state] for state in self.states()}}

    def stored(self) -> int:
        """How many were completed from what is stored, without a fetch."""
        return sum(task.state == "completed" and task.source == "stored" for task in self.tasks.values())

    def why(self) -> dict[str, int]:
        """Reason → how many stocks were fetched, or not, for it; the most frequent first."""
        return dict(Counter(task.why for task in self.tasks.values() if task.why).most_common())


@dataclass
class Account:
    """Everything that the topics say about one run."""

    run_id: str
    scraping: Stage = field(default_factory=lambda: Stage("scraping"))
    processing: Stage = field(default_factory=lambda: Stage("processing"))
    regions: dict[str, str] = field(default_factory=dict)
    errors: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=ERRORS_KEPT))
    #: When a task last reached a final state (UTC, ISO 8601), empty before the first.
    last_result_at: str = ""
    #: Records of the run's topics that could not be read (another tool's codec, a broken batch) and were passed over.
    unreadable: int = 0
    #: Requests to the site as the messages report them, including retries, refusals and page loads.
    requests: int = 0
    #: Tasks whose sender's requests are among them.
    _reported: set[str] = field(default_factory=set)
    #: Where the lists came from, and what was left out of them.
    lists: ListingNotes = field(default_factory=ListingNotes)

    def count_requests(self, fields: dict[str, Any]) -> None:
        """Add the requests that a message reports. Every attempt at a task sends a message."""
        requests = fields.get("requests")
        if type(requests) is int and 0 < requests < 1_000_000:
            self.requests += requests

    def task(self, stage: str, fields: dict[str, Any]) -> None:
        """A message of a task topic, already checked. One that is replayed reports its sender's requests again: they count once."""
        if fields.get("requests") and fields["task_id"] not in self._reported:
            self._reported.add(fields["task_id"])
            self.count_requests(fields)
        self._stage(stage).sent(fields["task_id"], self._region(fields))

    def completion(self, stage: str, fields: dict[str, Any]) -> bool:
        """A message of a completion topic. True if it changed the state of a task."""
        status = fields["status"]
        if status not in COMPLETIONS:
            return False
        region = self._region(fields)
        if stage == "scraping":
            self.lists.note(fields)
        for child in _texts(fields.get("children")):
            if stage == "scraping" and child.startswith(f"scrape:{self.run_id}:"):
                self.scraping.sent(child, region)
        count = fields.get("tickers_found" if stage == "scraping" else "ratios_calculated")
        source, why = (_short(fields.get(name, "")) for name in ("source", "why"))
        return self._final(stage, fields, region, status, _count(count), _short(fields.get("reason", "")), source, why)

    def error(self, stage: str, fields: dict[str, Any]) -> bool:
        """A message of an error topic. True if it changed the state of a task."""
        self.errors.append({"stage": stage, **{name: _short(value) for name, value in fields.items() if name in ERROR_FIELDS}})
        if fields["status"] == "failed":
            return self._final(stage, fields, self._region(fields), "failed", 0, _short(fields.get("error_type", "")))
        # A retry does not add a task. Otherwise the run would wait for the task of a stray message.
        task = self._stage(stage).tasks.get(fields["task_id"])
        if task is not None:
            task.retrying = task.state == "pending"
        return False

    def newest_errors(self) -> list[dict[str, Any]]:
        """The newest ERRORS_KEPT, oldest first. One that was to be tried again, and whose task has ended since, is `retried`."""
        return [{**error, "status": "retried"} if self._was_retried(error) else error for error in self.errors]

    def _was_retried(self, error: dict[str, Any]) -> bool:
        task = self._stage(error["stage"]).tasks.get(error.get("task_id", ""))
        return error.get("status") == "retrying" and task is not None and task.state != "pending"

    @property
    def finished(self) -> int:
        return self.scraping.finished + self.processing.finished

    @property
    def pending(self) -> int:
        return self.scraping["pending"] + self.processing["pending"]

    @property
    def failed(self) -> int:
        return self.scraping["failed"] + self.processing["failed"]

    @property
    def ratio_rows(self) -> int:
        return sum(task.count for task in self.processing.tasks.values() if task.state == "completed")

    def elapsed_seconds(self, now: float) -> float:
        """Seconds from the run's start, which its run_id holds, to `now` (epoch) or, if nothing is pending, to its last result."""
        if not self.run_id:
            return 0.0
        end = datetime.fromisoformat(self.last_result_at).timestamp() if self.last_result_at and not self.pending else now
        return max(0.0, end - run_started_at(self.run_id).timestamp())

    def summary(self, elapsed_seconds: float) -> dict[str, Any]:
        """The summary that `--json` prints."""
        stored = self.processing.stored()
        sources = {"fetched": self.processing["completed"] - stored, "stored": stored}
        return {
            "run_id": self.run_id,
            "elapsed_seconds": round(elapsed_seconds, 1),
            "regions": list(self.regions),
            "scraping": self.scraping.summary(),
            "processing": {**self.processing.summary(), **sources},
            "stocks": len(self.processing.tasks),
            "ratio_rows": self.ratio_rows,
            "dead_letters": self.failed,
            "unreadable": self.unreadable,
            "requests": self.requests,
            "requests_per_stock": round(self.requests / len(self.processing.tasks), 2) if self.processing.tasks else None,
            "why": self.processing.why(),
        }

    @property
    def requests_per_finished_stock(self) -> float:
        """Requests so far, those of the listing included, for each stock that is done. Says how long the rest takes."""
        done = self.processing.finished
        return self.requests / done if done else throttle_text.REQUESTS_PER_STOCK

    def _final(
        self, stage: str, fields: dict[str, Any], region: str, state: str, count: int, reason: str, source: str = "", why: str = ""
    ) -> bool:
        changed = self._stage(stage).result(fields["task_id"], region, state, count, reason, source, why)
        if changed:
            self.last_result_at = max(self.last_result_at, self._time(fields.get("timestamp")))
        return changed

    def _time(self, text: Any) -> str:
        """A message's time in UTC; empty if it is invalid, has no time zone, or can't belong to this run."""
        try:
            found = datetime.fromisoformat(text).astimezone(timezone.utc) if datetime.fromisoformat(text).tzinfo else None
            if found is None or not abs(found - run_started_at(self.run_id)) < RESULTS_WITHIN:
                return ""
        except (TypeError, ValueError, OverflowError):
            return ""
        return found.isoformat(timespec="milliseconds")

    def _stage(self, stage: str) -> Stage:
        return self.scraping if stage == "scraping" else self.processing

    def _region(self, fields: dict[str, Any]) -> str:
        code = fields.get("region_code") or fields.get("country_code")
        if not isinstance(code, str) or not is_region(code):
            return ""
        name = fields.get("region_name")
        if isinstance(name, str) or code not in self.regions:
            self.regions[code] = name[:ERROR_TEXT_LIMIT] if isinstance(name, str) else self.regions.get(code, "")
        return code


def _count(value: Any) -> int:
    """A number of rows or stocks; 0 if the value is not one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else 0


def _short(value: Any) -> Any:
    """A field to be displayed: texts are cut, numbers and None stay, everything else becomes empty."""
    if isinstance(value, str):
        return value[:ERROR_TEXT_LIMIT]
    return value if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 10**12) else ""


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
