"""Tells random short refusals, which come at any rate, from those of a limit on the rate itself. Pure.

A single short refusal has no clear meaning: a server may be overloaded, or the rate may be a little too high. If such refusals come
often, a trial asks the site half as fast for a while. Noise is then as frequent per answer as before. A limit on the rate is silent.
"""

from __future__ import annotations

import math
from enum import Enum, auto

#: Refusals that last at most this many seconds may be noise.
NOISE_SECONDS = 4.5
#: If fewer answers than this come between two refusals, the site has a limit, and no trial is needed.
ANSWERS_BETWEEN = 5
#: A trial begins after this many short refusals within this many answers. Rarer ones cost less than a limit would.
SHORT_ONES, SHORT_ANSWERS = 5, 160
#: This many within this many answers mean that a known limit was met. A single one may be noise.
AGAIN_ONES, AGAIN_ANSWERS = 3, 50
#: A trial asks at this fraction of the recent rate.
TRIAL_PART = 0.5
#: A trial lasts this many times the number of answers between two refusals, and at least this many answers.
TRIAL_GAPS, LEAST_TRIAL_ANSWERS = 4, 30
#: This many refusals during a trial mean noise.
TRIAL_REFUSALS = 2
#: After a trial, noise is assumed for this many times the number of answers between two refusals; twice as long after each further one.
TRUST_GAPS = 100
#: It is no longer assumed if this many refusals come within the answers that used to lie between two, or within this many answers.
TOO_MANY = 7


class Verdict(Enum):
    """What a short refusal means. NONE: nothing yet. NOISE: a trial, or an earlier one, has shown that it is noise."""

    NONE = auto()
    AGAIN = auto()  # as NONE, but there were others just before
    NOISE = auto()


class Noise:
    """Counts by answers: a slow run meets noise more rarely."""

    def __init__(self) -> None:
        #: All answers so far.
        self.answers = 0
        #: The rate of the trial that is going on (requests a second); inf if there is none.
        self.tempo = math.inf
        #: Short refusals of late: the number of answers before each, and its moment.
        self._short: list[tuple[int, float]] = []
        self._gap = 0.0  # answers between two of them, as they were before the last trial
        self._rate = 0.0  # answers a second before the last trial
        self._trial_ends = self._trial_refusals = 0
        self._trusted_until, self._trust_gaps = -1, TRUST_GAPS

    @property
    def is_known(self) -> bool:
        """Whether short refusals are known to be noise, so that a pause of a fraction of a second is enough."""
        return self.answers < self._trusted_until

    @property
    def is_likely(self) -> bool:
        """Whether there was a short refusal of late that no step beyond a limit has met."""
        return bool(self._short) and self.answers - self._short[-1][0] < SHORT_ANSWERS

    def refused(self, now: float) -> Verdict:
        """A short refusal has ended. `rate_found` may have an answer then."""
        reach = SHORT_ANSWERS if not self.is_known else max(self._gap, TOO_MANY)
        self._short = [*((at, moment) for at, moment in self._short if self.answers - at < reach), (self.answers, now)]
        if math.isfinite(self.tempo):
            self._trial_refusals += 1
            if self._trial_refusals < TRIAL_REFUSALS:
                return Verdict.NONE
            self._end_trial()
            self._trusted_until = self.answers + round(self._trust_gaps * self._gap)
            self._trust_gaps *= 2
            return Verdict.NOISE
        if self.is_known:
            if len(self._short) < TOO_MANY:
                return Verdict.NOISE
            self._trusted_until, self._trust_gaps = -1, TRUST_GAPS
        if len(self._short) >= SHORT_ONES:
            self._begin_trial(now)
        again = sum(self.answers - at < AGAIN_ANSWERS for at, _ in self._short) >= AGAIN_ONES
        return Verdict.AGAIN if again else Verdict.NONE

    def rate_found(self) -> float | None:
        """Requests a second that the site allows, once, if a trial has ended without the refusals that noise would have brought."""
        if math.isinf(self.tempo) or self.answers < self._trial_ends:
            return None
        self._end_trial()
        return self._rate

    def _begin_trial(self, now: float) -> None:
        (first, since), (last, _) = self._short[0], self._short[-1]
        self._gap = (last - first) / (len(self._short) - 1)
        self._rate = (last - first) / max(now - since, 1.0)
        self.tempo = TRIAL_PART * self._rate
        lasts = max(LEAST_TRIAL_ANSWERS, round(TRIAL_GAPS * self._gap)) if self._gap >= ANSWERS_BETWEEN else 0
        self._trial_refusals, self._trial_ends = 0, self.answers + lasts

    def _end_trial(self) -> None:
        self.tempo, self._short = math.inf, []
