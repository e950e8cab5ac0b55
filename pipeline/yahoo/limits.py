"""What the site is believed to allow, and what a refusal says about it. Pure.

A limit is a number of answered requests in a sliding window. After a refusal nothing is asked but single requests, further
and further apart, until one is answered: the counts of each conceivable window at these three moments (the first refusal,
the last one, the answer) say which windows can be the site's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.yahoo.history import LONGEST_SECONDS, History

#: Lengths of windows that are considered, in seconds: those that people choose, and no gap wider than a quarter.
WINDOWS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 60, 75, 90, 100, 120, 150, 180, 200, 240, 300, 360, 450, 540, 600),
    *(720, 900, 1080, 1200, 1500, 1800, 2100, 2400, 3000, 3600, 4500, 5400, 6300, 7200, 9000, 10800, 12600, 14400, 18000, 21600),
    *(25200, 28800, 36000, 43200, 54000, 64800, 75600, 86400),
)
#: What is asked for stays below a limit by this fraction of it; less than one request of a limit slows down, and no more.
MARGIN = 0.05
#: Counts that differ by less than this fraction are the same: processes hear of each other's requests a moment late.
SAME = 0.05
#: A new limit is told from the history alone if at least so large a part of the window's count stood at the last refusal.
STOOD = 0.97
#: Where only the refusals are known, the window is taken for at least so many times as long as they lasted, and so many seconds.
WINDOW_OF_PAUSE = 4.0
SHORTEST_GUESS_SECONDS = 10.0
#: Refusals that lasted no longer than this never lower a limit below half of what was answered before: they may be mere noise.
BRIEF_SECONDS = 1.6
#: Refusals that go on now and then for at most so many seconds may be noise; a limit that was learned from longer ones stands.
NOISE_SECONDS = 4.5
#: How far the first step beyond a limit goes, how the next ones grow, and the longest one, as fractions of the limit.
FIRST_STEP, STEP_GROWTH, LONGEST_STEP = 0.04, 1.5, 0.5
#: A limit that nothing has confirmed, and that was exceeded by this factor, was none.
REFUTED = 2.0
#: So many limits are kept, the tightest ones.
MOST_LIMITS = 6


@dataclass
class Limit:
    """At most `requests` answered in any `seconds`. Moments are of the governor's clock."""

    seconds: float
    requests: float
    #: How often a step beyond it was refused just there.
    confirmed: int = 0
    #: When the next step beyond it may be tried.
    next_step_at: float = 0.0
    #: While one is tried: the count that it starts from, and how far it goes.
    step_from: float | None = None
    step: float = FIRST_STEP
    #: What it was before the steps that are being tried, or were last.
    before_steps: float = 0.0
    #: What it was when it was learned.
    learned_requests: float = 0.0
    #: When it was lowered last without a long pause.
    lowered_at: float = float("-inf")
    #: Learned from a pause long enough to tell windows apart. One that is not goes if the refusals turn out to follow no count.
    firm: bool = False

    def __post_init__(self) -> None:
        self.learned_requests = self.learned_requests or self.requests

    @property
    def cap(self) -> float:
        """How many requests are asked for in the window."""
        if self.step_from is not None:
            return self.step_from + max(1.0, self.step_from * self.step)
        return self.requests * (1 - MARGIN)

    @property
    def exceeded(self) -> bool:
        """Whether more was answered during the steps than it allows, and nothing speaks for it."""
        return not self.confirmed and self.requests > self.before_steps * (1 + SAME)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def horizon(self) -> float:
        """Seconds over which what is left of the window is spread."""
        return min(max(self.seconds / 4, min(self.seconds, 2.0)), 60.0)

    def fields(self) -> dict[str, float]:
        return {"requests": round(self.requests, 1), "seconds": self.seconds, "confirmed": self.confirmed, "cap": round(self.cap, 1)}


def limit_from(fields: Any) -> Limit:
    """A limit from its `fields`. Raises ValueError, KeyError or TypeError if it is none."""
    seconds, requests, confirmed = float(fields["seconds"]), float(fields["requests"]), int(fields["confirmed"])
    if not (0 < seconds <= LONGEST_SECONDS and 1 <= requests < 1e9 and confirmed >= 0):
        raise ValueError(f"no limit: {fields}")
    return Limit(seconds, requests, confirmed)


@dataclass
class Episode:
    """From the first refusal to the first answer after it."""

    began: float
    #: The last refusal so far.
    refused_at: float
    refusals: int = 1
    #: Answers since the one before it.
    answers_before: int = 0

    def lasted(self, now: float) -> float:
        return now - self.began

    def informs(self) -> bool:
        """Whether requests were refused for a while: then the windows that had something fall out meanwhile are none."""
        return self.refused_at - self.began > 0.8


def explained_by(limits: Iterable[Limit], episode: Episode, history: History) -> list[Limit]:
    """The known limits that were reached, up to the last refusal; the fullest first."""
    full = {id(limit): history.count(episode.refused_at - limit.seconds) / limit.requests for limit in limits}
    met = [limit for limit in limits if full[id(limit)] >= 1 - max(SAME, 1 / limit.requests)]
    return sorted(met, key=lambda limit: -full[id(limit)])


def new_limits(episode: Episode, history: History, now: float, reached: dict[float, int]) -> list[Limit]:
    """The windows that were as full as never before, stood so while requests were refused, and were not at `now`.

    Of several the shortest that is long for such a pause; after a long one, all that are left (three at most).
    """
    found = []
    for seconds in WINDOWS:
        full = history.count(episode.began - seconds)
        stood = history.count(episode.refused_at - seconds) >= full * STOOD
        if full and stood and history.count(now - seconds) < full and full >= STOOD * reached.get(seconds, 0):
            found.append(Limit(float(seconds), float(full), firm=episode.lasted(now) > NOISE_SECONDS))
    if episode.informs():
        return sorted(found, key=lambda limit: limit.per_second)[:3]
    least = max(SHORTEST_GUESS_SECONDS, WINDOW_OF_PAUSE * episode.lasted(now))
    return [limit for limit in found if limit.seconds >= least][:1] or found[-1:]


def lowered(limits: Iterable[Limit], episode: Episode, history: History, now: float, reached: dict[float, int]) -> bool:
    """Lower the known limits to what was answered first; False if none of them can be what was met."""
    brief = episode.lasted(now) <= BRIEF_SECONDS
    found = False
    for limit in limits:
        refused = history.count(episode.refused_at - limit.seconds)
        if refused < max(1.0, limit.requests * SAME):
            continue  # refused with next to nothing in its window: it is another one that was met
        found = True
        answered = max(1.0, float(history.count(now - limit.seconds)))
        if brief:
            if now - limit.lowered_at < max(limit.seconds, SHORTEST_GUESS_SECONDS):
                continue
            answered = max(answered, 0.5 * reached.get(limit.seconds, 0), limit.requests * (1 - 2 * SAME))
            limit.lowered_at = now
        if answered < limit.requests:
            limit.step = min(max(refused / answered - 1, FIRST_STEP), LONGEST_STEP)
            limit.requests, limit.confirmed, limit.learned_requests = answered, 0, answered
    return found


def guessed(episode: Episode, history: History, now: float) -> Limit:
    """A limit of a site that refuses for a while without any window to see why: three quarters of what was, or less."""
    least = max(SHORTEST_GUESS_SECONDS, WINDOW_OF_PAUSE * episode.lasted(now))
    seconds = next((window for window in WINDOWS if window >= least), WINDOWS[-1])
    return Limit(float(seconds), max(1.0, float(history.count(now - seconds))), firm=episode.lasted(now) > NOISE_SECONDS)
