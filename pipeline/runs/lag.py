"""Judges how a consumer group is doing, by a window of its offsets instead of a threshold for its lag. Pure.

The rules are Burrow's (Consumer Lag Evaluation Rules), in this order:

1. stopped: records wait, and there is no member to take them.
2. fine: the lag was zero at any point of the window. (If an offset went back, only the time after that counts.)
3. rewound: a committed offset went back.
4. fine: the lag fell at any point of the window.
5. stalled: records wait and no offset has moved for a whole window, although there are members. If the members are not
   known, this is "stopped" too.
6. slow: offsets move, but the lag did not fall in a whole window.

Differences from Burrow, and their reasons:
- Burrow sees each commit. Here offsets are read at intervals, so a group that commits the same offset again looks like one that
  commits nothing. Its members tell the two apart.
- The lag is measured against the current end of the log, so it does not freeze when the commits stop (Burrow #446).
- A long silence does not make a topic with rare records "stopped" (Burrow #38). Silence counts from the time when records began
  to wait. If commits are usually far apart, the window grows to twice the longest time between two of them.
- The group is judged as a whole. A worker that takes one task at a time leaves most partitions waiting, which is normal. A
  partition that is never served is noticed when the others are done.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.broker.consumer_groups import PartitionLag

FINE = "fine"
#: Judged by what the consumers themselves say, not by offsets: they wait until they may ask the site again.
WAITING = "waiting"
SLOW = "slow"
STALLED = "stalled"
STOPPED = "stopped"
REWOUND = "rewound"
#: From harmless to worst.
VERDICTS = (FINE, WAITING, SLOW, STALLED, STOPPED, REWOUND)
#: Explanations for users, shown after the verdict.
_MEANINGS = {
    WAITING: "the site allows no more for now",
    SLOW: "it works, but falls behind",
    STALLED: "members, but no commits",
    STOPPED: "no consumer takes the records",
    REWOUND: "committed offsets went back",
}

#: Shortest window in seconds. The longest delay of a retry is half of it.
WINDOW_SECONDS = 120.0
#: Longest window in seconds: one long standstill must not hide the next.
LARGEST_WINDOW_SECONDS = 600.0
#: Seconds in which a consumer must take waiting records. The first join of a group takes a few, a restart some more.
EMPTY_SECONDS = 20.0
#: If two samples are further apart than this many seconds, judging starts again.
LARGEST_GAP_SECONDS = 20.0
#: How many times between commits are kept.
GAPS_KEPT = 10


@dataclass(frozen=True)
class GroupLag:
    """A group as it is shown. `members` is None if unknown, `verdict` None if it is too early for one."""

    name: str
    lag: int
    members: int | None = None
    verdict: str | None = None

    def while_waiting(self) -> GroupLag:
        """The same group if its consumers wait for the site, so that nothing is committed for a while."""
        return replace(self, verdict=WAITING) if self.verdict == STALLED else self

    @property
    def judgement(self) -> str:
        """The verdict for users, with its explanation."""
        if self.verdict is None:
            return "too early to judge"
        return ": ".join(filter(None, (self.verdict, _MEANINGS.get(self.verdict))))


@dataclass(frozen=True)
class Sample:
    """A group at one moment. `time` in seconds. `members` is None if unknown."""

    time: float
    positions: Mapping[Hashable, PartitionLag]
    members: int | None = None

    @property
    def lag(self) -> int:
        return sum(position.lag for position in self.positions.values())

    def moved_since(self, before: Sample) -> bool:
        """Whether anything was committed. Changes by retention do not count."""
        return any(position.committed != _committed(before, key) for key, position in self.positions.items())

    def went_back_since(self, before: Sample) -> bool:
        return any((position.committed or 0) < (_committed(before, key) or 0) for key, position in self.positions.items())

    def is_another_log_than(self, before: Sample) -> bool:
        """Whether a log has become shorter, because the topic was created again."""
        return any(key in before.positions and position.end < before.positions[key].end for key, position in self.positions.items())


def _committed(sample: Sample, key: Hashable) -> int | None:
    return sample.positions[key].committed if key in sample.positions else None


class LagWindow:
    """The recent samples of one group, and the verdict over them."""

    def __init__(self, window_seconds: float = WINDOW_SECONDS) -> None:
        self._window_seconds = window_seconds
        self._samples: deque[Sample] = deque()
        #: Seconds that passed between two commits while records were waiting.
        self._gaps: deque[float] = deque(maxlen=GAPS_KEPT)
        #: When the group last committed or, if that is later, when records began to wait.
        self._idle_since: float | None = None
        self._empty_since: float | None = None

    @property
    def seconds(self) -> float:
        """Current length of the window: longer if commits are usually far apart."""
        return max(self._window_seconds, min(2 * max(self._gaps, default=0.0), LARGEST_WINDOW_SECONDS))

    def feed(self, sample: Sample) -> None:
        """Add the next sample. Samples must be in order of time."""
        last = self._samples[-1] if self._samples else None
        if last is not None and (sample.time - last.time > LARGEST_GAP_SECONDS or sample.is_another_log_than(last)):
            self._forget()
            last = None
        moved = last is not None and sample.moved_since(last)
        if moved and self._idle_since is not None:
            self._gaps.append(sample.time - self._idle_since)
        if not sample.lag:
            self._idle_since = None
        elif moved or self._idle_since is None:
            self._idle_since = sample.time
        if sample.members != 0 or not sample.lag:
            self._empty_since = None
        elif self._empty_since is None:
            self._empty_since = sample.time
        self._samples.append(sample)
        # Keep the newest sample from before the window, so that the samples span all of it.
        while len(self._samples) > 2 and sample.time - self._samples[1].time >= self.seconds:
            self._samples.popleft()

    def verdict(self) -> str | None:
        """One of VERDICTS; None if there are too few samples."""
        samples = list(self._samples)
        if not samples:
            return None
        pairs = list(itertools.pairwise(samples))
        now = samples[-1]
        if self._empty_since is not None and now.time - self._empty_since >= EMPTY_SECONDS:
            return STOPPED
        back = max((number for number, (before, after) in enumerate(pairs, 1) if after.went_back_since(before)), default=0)
        if any(not sample.lag for sample in samples[back:]):
            return FINE
        if back:
            return REWOUND
        moves = [(before, after) for before, after in pairs if after.moved_since(before)]
        if any(after.lag < before.lag for before, after in moves):
            return FINE
        if now.time - samples[0].time < self.seconds:
            return None
        if moves:
            return SLOW
        return STOPPED if now.members is None else STALLED

    def _forget(self) -> None:
        self._samples.clear()
        self._gaps.clear()
        self._idle_since = self._empty_since = None
