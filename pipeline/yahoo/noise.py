"""Tells a site that refuses now and then, whatever the counts, from one that has a limit. Pure."""

from __future__ import annotations

from pipeline.yahoo.limits import NOISE_SECONDS, REFUTED, Episode, Limit

#: So many short refusals within so many answers are noise, and so are others within so many after them.
SHORT_ONES, SHORT_ANSWERS, LASTS_ANSWERS = 4, 150, 300
#: So many answers at least come between two of them: a site that refuses more often than that has a limit.
ANSWERS_BETWEEN = 5
#: Noise raises limits that only short refusals speak for, by this factor each time, unless they were confirmed so often.
RAISES, FIRM_CONFIRMATIONS = 1.3, 2


class Noise:
    """Counts by answers: a slow run meets noise more rarely."""

    def __init__(self) -> None:
        #: All answers so far; at which of them the site refused for a short time, and up to which that is noise.
        self.answers = 0
        self._short: list[int] = []
        self._until = 0

    def is_met(self, episode: Episode, now: float) -> bool:
        """Whether the episode that ends now is noise: short refusals that go on, though limits were learned from them."""
        if episode.lasted(now) > NOISE_SECONDS or episode.answers_before < ANSWERS_BETWEEN:
            return False
        self._short = [*(at for at in self._short if self.answers - at < SHORT_ANSWERS), self.answers]
        if len(self._short) < SHORT_ONES and self.answers >= self._until:
            return False
        self._until = self.answers + LASTS_ANSWERS
        return True


def after_noise(limits: list[Limit], now: float) -> list[Limit]:
    """What is left of the limits: those that it may have made are raised, step by step, and then dropped."""
    for limit in limits:
        # A step that met it says nothing of the limit; the next one comes soon.
        limit.step_from, limit.next_step_at = None, min(limit.next_step_at, now + max(2 * limit.horizon, 5.0))
        limit.requests *= 1.0 if limit.firm or limit.confirmed >= FIRM_CONFIRMATIONS else RAISES
    return [limit for limit in limits if limit.firm or limit.requests <= REFUTED * limit.learned_requests]
