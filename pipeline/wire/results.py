"""The results of tasks that did not fail, as typed values, and their completion messages. Pure.

A handler returns one of these. The worker encodes it and chooses topic and key. To report more, add a field to the class and
to its `fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.wire.messages import ScrapingTask, Task, encode, now_text


@dataclass(frozen=True)
class Listed:
    """A region's band was listed, and a task was sent for each of its stocks. `source`: what listed it."""

    tickers_found: int
    source: str = ""
    #: The site's total minus the stocks in its answers.
    missing: int = 0
    #: Rows that were not taken as stocks of this list: reason → count.
    skipped: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: Stocks whose own market cap lies outside of the band.
    outside_band: int = 0

    def fields(self) -> dict[str, Any]:
        counts = {"missing": self.missing, "skipped": dict(self.skipped), "outside_band": self.outside_band}
        return {"tickers_found": self.tickers_found, **_named(source=self.source), **counts, "status": "completed"}


@dataclass(frozen=True)
class Split:
    """A band lists too many stocks for one task. Its two halves replace it."""

    halves: tuple[ScrapingTask, ScrapingTask]
    source: str = ""

    def fields(self) -> dict[str, Any]:
        children = [half.task_id for half in self.halves]
        return {"tickers_found": 0, **_named(source=self.source), "children": children, "status": "split"}


@dataclass(frozen=True)
class Computed:
    """A stock's ratios were computed, in so many rows. `source`: `fetched` or `stored`; `why`: the reason for it."""

    ratios_calculated: int
    source: str = ""
    why: str = ""

    def fields(self) -> dict[str, Any]:
        return {"ratios_calculated": self.ratios_calculated, **_named(source=self.source, why=self.why), "status": "completed"}


@dataclass(frozen=True)
class Nothing:
    """A stock has no statements, or the site has said twice that it does not know the stock."""

    reason: Literal["no_statements", "gone"]
    source: str = ""
    why: str = ""

    def fields(self) -> dict[str, Any]:
        named = _named(source=self.source, why=self.why)
        return {"ratios_calculated": 0, "reason": self.reason, **named, "status": "no_data"}


@dataclass(frozen=True)
class Untouched:
    """A task was skipped on purpose: the stock's ratios are young, or the run was given up for a newer one."""

    why: Literal["fresh", "abandoned"]

    def fields(self) -> dict[str, Any]:
        return {"status": self.why}


Result = Listed | Split | Computed | Nothing | Untouched


def completion(task: Task, result: Result, requests: int = 0) -> bytes:
    """The message for the stage's completion topic. `requests`: how many requests to the site this attempt took."""
    none_found = {"tickers_found": 0} if isinstance(task, ScrapingTask) else {"ratios_calculated": 0}
    return encode({**task.fields(), "timestamp": now_text(), **none_found, **result.fields(), "requests": requests})


def _named(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
