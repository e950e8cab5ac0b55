"""Decides how fast all processes together may ask the site: just below what it is believed to allow. Pure.

It is told of every answer and refusal of every process, and models the site as sliding windows (limits.py):

- A refusal stops everything. Single requests (probing.py) find out when the site answers again.
- What this shows about the windows becomes a limit. The rate is what is left of each window, spread over a part of it: after a
  pause it is somewhat higher than the limit's own rate, and then falls to it.
- From time to time, a step beyond the binding limit is tried. If it is answered, the limit rises, by larger and larger steps. If
  it is refused, the limit is confirmed. The more refusals a step costs, the later the next one.
- Short refusals may be noise (noise.py).
"""

from __future__ import annotations

import math
from typing import Any

from pipeline.yahoo import limits as model
from pipeline.yahoo.history import History
from pipeline.yahoo.limits import FIRST_STEP, LONGEST_STEP, REFUTED, STEP_GROWTH, WINDOWS, Episode, Limit
from pipeline.yahoo.noise import NOISE_SECONDS, Noise, Verdict
from pipeline.yahoo.probing import FIRST_PROBE_SECONDS, GUARD_SECONDS, NOISE_PROBE_SECONDS, next_probe

#: Between two steps beyond a confirmed limit: at least this many seconds, and this many answers for each refusal of the last one.
STEP_SECONDS, ANSWERS_PER_REFUSAL = 60.0, 120.0
#: Steps are rarer with each confirmation, up to this many seconds.
RARE_STEP_SECONDS = 240.0
#: A limit binds if its rate is at most this many times the lowest one.
BINDS = 1.15
#: A step ends if it leads nowhere for this many horizons of its limit.
STEP_HORIZONS = 5.0
#: A step is done when this fraction of it was answered: the rest would take as long again.
DONE = 0.6
#: A limit that only short refusals support is kept if it was confirmed this often.
FIRM_CONFIRMATIONS = 2
#: Refusals before the first few answers, as for a blocked address, say nothing about a limit.
FEWEST_ANSWERS = 5
#: Seconds over which the rate of late is measured.
MEASURED_SECONDS = 10.0
#: Seconds between two looks at how full each window is.
NOTE_SECONDS = 0.5
#: The site's own Retry-After is honoured up to this many seconds.
LONGEST_RETRY_AFTER_SECONDS = 60.0


class Governor:
    """The model of one site. All moments are seconds of one monotonic clock, and nearly in order."""

    def __init__(self, ceiling: float = 0.0) -> None:
        """ceiling: the most requests a second, 0 for no such setting."""
        self.ceiling = ceiling or math.inf
        self.history = History()
        self.limits: list[Limit] = []
        self.episode: Episode | None = None
        #: When the site may be asked for a single request, during an episode.
        self.next_probe_at = 0.0
        self._ended_at = -math.inf
        #: The last episode that no known limit explained.
        self._before: Episode | None = None
        self._steps_end_at = self._no_step_before = 0.0
        self._noise = Noise()
        #: The fullest that each window has been without a refusal.
        self._reached: dict[float, int] = {}
        self._noted_at = -math.inf

    # -- what happens -----------------------------------------------------------------------------------------------

    def answered(self, at: float, count: int = 1) -> None:
        """Note requests that the site answered, with whatever status."""
        self.history.add(at, count)
        self._noise.answers += count

    def refused(self, at: float, retry_after_seconds: float = 0.0, started: float = math.inf) -> bool:
        """Note a refused request that started at `started`. True if this begins an episode."""
        wait = min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        if self.episode is None:
            if started < self._ended_at:
                return False  # it was in flight when the episode ended
            self._note(at)
            self.episode = Episode(at, at, answers_before=self.history.count(self._ended_at))
            self.next_probe_at = at + max(NOISE_PROBE_SECONDS if self._noise.is_known else FIRST_PROBE_SECONDS, wait)
            return True
        self.episode.refusals += 1
        self.next_probe_at = max(self.next_probe_at, at + wait)
        return False

    def probe_refused(self, at: float, retry_after_seconds: float = 0.0) -> None:
        """Note that the single request was refused too: the next one comes later."""
        if self.episode is None:
            return
        self.episode.refused_at = at
        self.episode.refusals += 1
        self.next_probe_at = max(
            next_probe(self.episode, self.limits, self.history, at), at + min(retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
        )

    def probe_answered(self, at: float, learn: bool = True) -> None:
        """Note that the single request was answered, before `answered`: the episode is over. learn: whether to draw conclusions."""
        if self.episode is None:
            return
        episode, self.episode, self._ended_at = self.episode, None, at
        episode.ended_at = at
        if learn and self._noise.answers >= FEWEST_ANSWERS:
            self._learn(episode, at)

    def probe_heard(self, outcome: str, at: float, learn: bool) -> None:
        """Note the outcome of another process's single request: "answered", "refused", or "" for none."""
        if outcome == "refused":
            self.probe_refused(at)
        elif outcome == "answered":
            self.probe_answered(at, learn)

    # -- what follows -----------------------------------------------------------------------------------------------

    def rate(self, now: float, in_flight: int = 0, steps: bool = True) -> float:
        """Requests a second that all processes together may start now; inf is no limit, 0 in an episode.

        steps: whether this process may try steps beyond the limits, which only the leader does.
        """
        if self.episode is not None:
            return 0.0
        if now - self._noted_at >= NOTE_SECONDS:
            self._note(now)
        if steps and (found := self._noise.rate_found()) is not None:
            self._take([model.rate_limit(found)], now)
        rates = [(self._rate_of(limit, now, in_flight), limit) for limit in self.limits]
        least = min((rate for rate, _ in rates), default=math.inf)
        if steps and math.isinf(self._noise.tempo):
            self._step_beyond([limit for rate, limit in rates if rate <= least * BINDS] if least < self.ceiling else [], now, in_flight)
        return min(least, self.ceiling, self._noise.tempo)

    def waits(self, now: float) -> float:
        """Seconds until another request may start, as far as the limits say."""
        if self.episode is not None:
            return max(0.0, self.next_probe_at - now)
        return max([0.0, *(model.free_at(limit, self.history, limit.cap) - now for limit in self.limits)])

    def site(self, now: float) -> dict[str, Any]:
        """What others must know about the site: the limits and what is left of each, the wait, how long it has refused, the rate."""
        left = [max(0.0, limit.cap - self.history.count(now - limit.seconds)) for limit in self.limits]
        return {
            "limits": [{**limit.fields(), "left": int(rest)} for limit, rest in zip(self.limits, left, strict=True)],
            "waits_seconds": round(self.waits(now), 1),
            "refused_seconds": round(self.episode.lasted(now), 1) if self.episode is not None else 0.0,
            "per_second": round(self.history.count(now - MEASURED_SECONDS) / MEASURED_SECONDS, 2),
            "ceiling": self.ceiling if math.isfinite(self.ceiling) else 0.0,
        }

    def learned(self, now: float) -> dict[str, Any]:
        """What the next run should know: the limits, and what was answered, in seconds before now."""
        self.history.tidy(now)
        bins = [[round(now - first, 1), round(now - last, 1), count] for first, last, count in self.history.bins]
        return {"limits": [limit.fields() for limit in self.limits], "history": bins}

    def remember(self, learned: dict[str, Any], now: float) -> None:
        """Begin with what an earlier run has learned. Raises KeyError, TypeError or ValueError if it is not valid."""
        history = History((now - float(first), now - float(last), int(count)) for first, last, count in learned["history"])
        self.adopt([{**limit, "cap": 0.0} for limit in learned["limits"]])
        for limit in self.limits:
            # Trust what was learned at first: a run that began with a step beyond it would begin with refusals.
            limit.next_step_at = now + min(STEP_SECONDS * (1 + limit.confirmed), RARE_STEP_SECONDS)
        self.history = history
        history.tidy(now)

    def adopt(self, fields: Any) -> None:
        """Take over limits that another process has learned, or an earlier run. Raises ValueError, KeyError, TypeError."""
        adopted = [model.limit_from(one) for one in list(fields)[: model.MOST_LIMITS]]
        known = {limit.seconds: limit for limit in self.limits}
        for one, raw in zip(adopted, fields, strict=False):
            mine = known.get(one.seconds)
            if mine is not None:
                one.next_step_at, one.learned_requests = mine.next_step_at, mine.learned_requests
            if float(raw.get("cap", 0.0)) > one.requests:
                # The leader tries a step beyond it.
                one.step_from, one.step = one.requests, float(raw["cap"]) / one.requests - 1
        self.limits = adopted

    # -- the inside -------------------------------------------------------------------------------------------------

    def _rate_of(self, limit: Limit, now: float, in_flight: int) -> float:
        """What is left of the window, spread over the horizon: the lowest of several looks ahead."""
        rates = []
        for part in (8, 4, 2, 1):
            ahead = limit.horizon / part
            left = limit.cap - in_flight - self.history.count(now + ahead - limit.seconds - min(GUARD_SECONDS, limit.seconds / 10))
            rates.append(max(left, 0.0) / ahead)
        return min(*rates, limit.fastest)

    def _note(self, now: float) -> None:
        self._noted_at = now
        for seconds in WINDOWS:
            count = self.history.count(now - seconds)
            if count > self._reached.get(seconds, 0):
                self._reached[seconds] = count

    def _step_beyond(self, binding: list[Limit], now: float, in_flight: int) -> None:
        """Begin, continue or end steps beyond the limits. If several bind, a step beyond only one of them would lead nowhere."""
        stepping = [limit for limit in self.limits if limit.step_from is not None]
        if not stepping and (not binding or now < self._no_step_before or any(now < limit.next_step_at for limit in binding)):
            return
        for limit in binding:
            if limit.step_from is None:
                limit.step_from = limit.before_steps = limit.requests
                self._steps_end_at = max(self._steps_end_at if stepping else 0.0, now + STEP_HORIZONS * limit.horizon)
        for limit in stepping:
            count = self.history.count(now - limit.seconds)
            limit.requests = max(limit.requests, float(count))
            assert limit.step_from is not None
            # Requests in flight take places too: if there are many, answers alone would never fill a small step.
            if count + in_flight >= limit.step_from + DONE * (limit.cap - limit.step_from):
                limit.step_from, limit.step = limit.requests, min(limit.step * STEP_GROWTH, LONGEST_STEP)
                self._steps_end_at = max(self._steps_end_at, now + STEP_HORIZONS * limit.horizon)
            # The last limit stays, however far it rises: without any, the rate would jump into the next refusals.
            if len(self.limits) > 1 and not limit.confirmed and limit.requests > REFUTED * limit.learned_requests:
                self.limits.remove(limit)
        if now > self._steps_end_at:
            for limit in stepping:
                limit.step_from, limit.step, limit.next_step_at = None, FIRST_STEP, now + STEP_SECONDS

    def _learn(self, episode: Episode, now: float) -> None:
        """Conclude from an episode that has ended."""
        known = model.explained_by(self.limits, episode, self.history)
        if episode.lasted(now) <= NOISE_SECONDS:
            known = known or [limit for limit in self.limits if limit.of_rate]
            if self._is_idle(episode, known, now):
                return
        if known:
            self._met(known, episode, now)
            return
        before, self._before = self._before, episode
        if (fixed := model.fixed_window(before, episode, now)) is not None:
            self._take([fixed], now)
            return
        new = model.new_limits(episode, self.history, now, self._reached) if episode.informs() or not self.limits else []
        if not new and not model.lowered(self.limits, episode, self.history, now):
            new = [model.guessed(episode, self.history, now)]
        self._take(new, now)
        if not new or episode.informs():
            # What was answered before may be too much now.
            self._reached = {window: self.history.count(now - window) for window in WINDOWS}

    def _is_idle(self, episode: Episode, known: list[Limit], now: float) -> bool:
        """Whether a short episode that has just ended has no consequences. known: the limits that it may have met."""
        stepped = any(limit.step_from is not None for limit in known)
        if stepped and not self._noise.is_likely and not self._noise.is_known:
            return False
        verdict = self._noise.refused(now)
        if verdict is Verdict.NOISE:
            # Limits that were guessed from short refusals were wrong.
            self.limits = [limit for limit in self.limits if limit.firm or limit.confirmed >= FIRM_CONFIRMATIONS]
            return True
        if math.isfinite(self._noise.tempo):
            return True
        return not (known and verdict is Verdict.AGAIN) and not episode.informs()

    def _take(self, new: list[Limit], now: float) -> None:
        """Add new limits."""
        seconds = {limit.seconds for limit in new}
        self.limits = sorted([*new, *(one for one in self.limits if one.seconds not in seconds)], key=lambda one: one.per_second)
        del self.limits[model.MOST_LIMITS :]
        self._no_step_before = now
        for limit in self.limits:
            limit.step_from = None
            if not limit.confirmed:
                limit.next_step_at = now + max(2 * limit.horizon, 5.0)

    def _met(self, known: list[Limit], episode: Episode, now: float) -> None:
        """Known limits were met: a step beyond them confirms them; without a step, one is lower than was believed."""
        stepped = [limit for limit in known if limit.step_from is not None]
        for limit in self.limits:
            limit.step_from = None
        # If several were met, one that was exceeded before is not the site's. It gets the rate of the others.
        held = [limit for limit in stepped if not limit.exceeded] or stepped
        for limit in stepped:
            if limit not in held:
                limit.requests = max(limit.requests, min(one.per_second for one in held) * limit.seconds)
        for limit in held:
            limit.step = FIRST_STEP
            limit.confirmed += 1
            limit.learned_requests = limit.requests
            least = ANSWERS_PER_REFUSAL * episode.refusals / limit.per_second
            limit.next_step_at = now + max(least, min(STEP_SECONDS * limit.confirmed, RARE_STEP_SECONDS))
            # This holds for the others that bind too: a step beyond any of them would cost the same refusals.
            self._no_step_before = max(self._no_step_before, limit.next_step_at)
        if not stepped:
            limit = known[0]
            limit.requests = max(1.0, min(limit.requests, float(self.history.count(episode.began - limit.seconds))))
            limit.step = FIRST_STEP
            limit.next_step_at = now + max(limit.seconds / 2, 10.0)
