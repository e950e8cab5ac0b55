"""The values that the pipeline view shows of a run and of the consumers. Each is replaced as a whole. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.runs.group_watch import Seen
from pipeline.runs.lag import GroupLag
from pipeline.wire.states import NAMES, RARE
from pipeline.yahoo import throttle_text


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
        """Seconds left for the known tasks at the present rate. None if nothing is left, or nothing is being finished."""
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
    #: Records in the topics that could not be read and may belong to the run.
    unreadable: int = 0
    #: Where the lists came from, and how many stocks they leave out and why; "" if nothing is known.
    lists: str = ""
    requests_per_stock: float = throttle_text.REQUESTS_PER_STOCK
    #: The run's status in the database: running, completed, failed, stalled or abandoned; "" if unknown.
    status: str = ""
    runs: tuple[str, ...] = ()

    @property
    def states(self) -> list[str]:
        """The columns of the counts: the states that tasks of either stage are in, pending last."""
        found = {state: None for stage in (self.scraping, self.processing) for state in stage.counts}
        named = [state for state in NAMES if state not in RARE or state in found]
        return [*named[:-1], "retrying", named[-1]]

    @property
    def nothing_pending(self) -> bool:
        known = self.scraping.sent + self.processing.sent
        return bool(known) and known == self.scraping.finished + self.processing.finished


@dataclass(frozen=True)
class Consumers:
    """The consumer groups. `problem`: why they can't be read. Without groups and problem, they were not read yet."""

    groups: tuple[GroupLag, ...] = ()
    throttle: str = ""
    problem: str = ""

    @classmethod
    def of(cls, seen: Seen, view: Snapshot) -> Consumers:
        # The last reading is out of date, so it is not shown as the present state.
        if seen.lost:
            return cls(problem=seen.problem)
        throttle = throttle_text.text(seen.site, view.processing.counts.get("pending", 0), view.requests_per_stock)
        return cls(seen.groups, throttle, seen.problem)
