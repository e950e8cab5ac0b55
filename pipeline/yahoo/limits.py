"""What the site is believed to allow, and what a refusal says about it. Pure.

A limit is a number of answered requests in a sliding window. After a refusal, only single requests are sent, further and further
apart, until one is answered. The counts in each conceivable window at three moments (the first refusal, the last refusal, the
answer) show which windows can be the site's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.yahoo.history import LONGEST_SECONDS, History
from pipeline.yahoo.noise import NOISE_SECONDS

#: The lengths of windows that are considered, in seconds: those that people choose, with no gap wider than a quarter.
WINDOWS = (
    *(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 35, 40, 45, 50, 60, 75, 90, 100, 120, 150, 180, 200, 240, 300, 360, 450, 540, 600),
    *(720, 900, 1080, 1200, 1500, 1800, 2100, 2400, 3000, 3600, 4500, 5400, 6300, 7200, 9000, 10800, 12600, 14400, 18000, 21600),
    *(25200, 28800, 36000, 43200, 54000, 64800, 75600, 86400),
)
#: The ones that people choose most. A site that refuses is asked just when one of these is due to have room.
ROUND_WINDOWS = (1, 2, 5, 10, 20, 30, 60, 100, 120, 200, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
#: The rate stays below a limit by this fraction of it. A limit of one request is only asked more slowly.
MARGIN = 0.05
#: Counts that differ by less than this fraction count as equal: processes hear of each other's requests a moment late.
SAME = 0.05
#: A window can be a new limit if at least this fraction of its count was still there at the last refusal.
STOOD = 0.97
#: If only the refusals are known, the window is taken to be at least this many times as long as they lasted, and this many seconds.
WINDOW_OF_PAUSE = 4.0
SHORTEST_GUESS_SECONDS = 10.0
#: The window, in seconds, in which a limit on the rate itself is counted.
RATE_SECONDS = 10.0
#: Refusals that lasted no longer than this (in seconds) say nothing about any window.
BRIEF_SECONDS = 1.6
#: How far the first step beyond a limit goes, how the next ones grow, and the longest one, as fractions of the limit.
FIRST_STEP, STEP_GROWTH, LONGEST_STEP = 0.04, 1.5, 0.5
#: An unused window is filled at this multiple of the limit's own rate, so that the rate stays even; a long one within so many seconds.
CATCH_UP, CATCH_UP_SECONDS = 1.25, 240.0
#: An unconfirmed limit that was exceeded by this factor was wrong.
REFUTED = 2.0
#: How many limits are kept: the tightest ones.
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
    #: What it was before the current or the last steps.
    before_steps: float = 0.0
    #: What it was when it was learned.
    learned_requests: float = 0.0
    #: Learned from a pause that was long enough to tell windows apart. Any other is dropped if the refusals turn out to be noise.
    firm: bool = False
    #: A limit on the rate itself, found by a trial (noise.py). Any short refusal may be due to it.
    of_rate: bool = False

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
        """Whether more was answered during the steps than it allows, without any confirmation."""
        return not self.confirmed and self.requests > self.before_steps * (1 + SAME)

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def horizon(self) -> float:
        """Seconds over which what is left of the window is spread."""
        return min(max(self.seconds / 4, min(self.seconds, 2.0)), 60.0)

    @property
    def fastest(self) -> float:
        """The most requests a second that are asked for, however empty the window is."""
        return self.cap * max(CATCH_UP / self.seconds, 1 / CATCH_UP_SECONDS)

    def fields(self) -> dict[str, float]:
        return {"requests": round(self.requests, 1), "seconds": self.seconds, "confirmed": self.confirmed, "cap": round(self.cap, 1)}


def limit_from(fields: Any) -> Limit:
    """A limit from its `fields`. Raises ValueError, KeyError or TypeError if they are not valid."""
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
    #: The answer that ended it.
    ended_at: float = float("inf")

    def lasted(self, now: float) -> float:
        return now - self.began

    def informs(self) -> bool:
        """Whether requests were refused for a while, so that windows which had room meanwhile can be excluded."""
        return self.refused_at - self.began > 0.8 and self.ended_at - self.began > BRIEF_SECONDS


def rate_limit(per_second: float) -> Limit:
    return Limit(RATE_SECONDS, max(1.0, per_second * RATE_SECONDS), of_rate=True)


def free_at(limit: Limit, history: History, requests: float) -> float:
    """When there are fewer than so many in the limit's window; -inf if there are fewer in all."""
    free = history.when_below(int(requests))
    return -math.inf if free is None else free + limit.seconds


def explained_by(limits: Iterable[Limit], episode: Episode, history: History) -> list[Limit]:
    """The known limits that were still reached at the last refusal, the fullest first."""
    full = {id(limit): history.count(episode.refused_at - limit.seconds) / limit.requests for limit in limits}
    met = [limit for limit in limits if full[id(limit)] >= 1 - max(SAME, 1 / limit.requests)]
    return sorted(met, key=lambda limit: -full[id(limit)])


def new_limits(episode: Episode, history: History, now: float, reached: dict[float, int]) -> list[Limit]:
    """The windows that were fuller than ever, stayed so while requests were refused, and had room at `now`.

    After a short pause, only the shortest plausible one; after a long pause, all of them (three at most).
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


def fixed_window(before: Episode | None, episode: Episode, now: float) -> Limit | None:
    """A window that begins at fixed times, if two episodes in a row show one: each after the same number of answers.

    Its length is the time between the ends of the episodes. A sliding window of that length keeps to it too.
    """
    if before is None or not 1 - SAME <= episode.answers_before / max(before.answers_before, 1) <= 1 + SAME:
        return None
    shortest, longest = episode.refused_at - before.ended_at, now - before.refused_at
    seconds = next((one for one in (*ROUND_WINDOWS, *WINDOWS) if shortest < one <= longest), None)
    return None if seconds is None else Limit(float(seconds), float(episode.answers_before), firm=True)


def lowered(limits: Iterable[Limit], episode: Episode, history: History, now: float) -> bool:
    """Lower the known limits to the count at which the site answered again. False if none of them can be the cause."""
    counts = [(limit, history.count(episode.refused_at - limit.seconds), float(history.count(now - limit.seconds))) for limit in limits]
    # If there was next to nothing in its window, another limit was the cause.
    met = [(limit, refused, answered) for limit, refused, answered in counts if refused >= max(1.0, limit.requests * SAME)]
    # Only one of them may be the cause. Another's window may simply have run empty.
    least = max((answered / limit.seconds for limit, _, answered in met), default=0.0)
    for limit, refused, answered in met:
        allowed = max(1.0, answered, least * limit.seconds)
        if allowed < limit.requests:
            limit.step = min(max(refused / max(answered, 1.0) - 1, FIRST_STEP), LONGEST_STEP)
            limit.requests, limit.confirmed, limit.learned_requests = allowed, 0, allowed
    return bool(met)


def guessed(episode: Episode, history: History, now: float) -> Limit:
    """A limit for refusals that no window explains: a part of what was answered before them."""
    least = max(SHORTEST_GUESS_SECONDS, WINDOW_OF_PAUSE * episode.lasted(now))
    seconds = next((window for window in WINDOWS if window >= least), WINDOWS[-1])
    return Limit(float(seconds), max(1.0, float(history.count(now - seconds))), firm=episode.lasted(now) > NOISE_SECONDS)
