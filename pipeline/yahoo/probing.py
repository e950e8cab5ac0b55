"""When to ask a site again that refuses: by single requests, each a good deal later than the one before. Pure.

The moment at which one is answered tells the windows apart, so each is sent just when a window is due to have room.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.yahoo import limits as model
from pipeline.yahoo.history import History
from pipeline.yahoo.limits import Episode, Limit

#: Seconds from the first refusal to the first single request.
FIRST_PROBE_SECONDS = 1.0
#: The same if refusals at random are known to end within a moment.
NOISE_PROBE_SECONDS = 0.3
#: The next one's time since the first refusal, as a multiple of the last one's: least, most, and least if a round window is due.
RATIO_LEAST, RATIO_MOST, RATIO_ROUND = 1.3, 2.0, 1.15
#: A known limit may have dropped, so it is tried whenever its window has lost a quarter of its count.
FALLS_TO = 0.75
#: The longest time between two of them, in seconds.
LONGEST_GAP_SECONDS = 300.0
#: Seconds added to the moment at which a window is due to have room, for the way to the site.
GUARD_SECONDS = 0.3


def next_probe(episode: Episode, limits: Sequence[Limit], history: History, now: float) -> float:
    """The moment of the next single request, after one that was refused at `now`."""
    began, elapsed = episode.began, max(episode.lasted(now), FIRST_PROBE_SECONDS)
    least, most = began + RATIO_LEAST * elapsed, began + RATIO_MOST * elapsed
    full = _full(limits, history, now)
    if full:
        free = [model.free_at(limit, history, min(limit.requests, count)) for limit, count in full]
        return max(max(free) + GUARD_SECONDS, least)
    due = [most]
    for windows, soonest in ((model.ROUND_WINDOWS, began + RATIO_ROUND * elapsed), (model.WINDOWS, least)):
        oldest = [(seconds, history.first_after(began - seconds)) for seconds in windows]
        free = [first + seconds + GUARD_SECONDS for seconds, first in oldest if first is not None]
        due += [moment for moment in free if moment >= soonest]
    for limit in limits:
        left = history.when_below(int(FALLS_TO * history.count(now - limit.seconds)))
        if left is not None and left + limit.seconds > now:
            due.append(max(left + limit.seconds, least))
    return min(*due, now + LONGEST_GAP_SECONDS)


def _full(limits: Sequence[Limit], history: History, now: float) -> list[tuple[Limit, int]]:
    """The known limits that are reached, each with the count in its window."""
    counts = [(limit, history.count(now - limit.seconds)) for limit in limits]
    return [(limit, count) for limit, count in counts if count >= limit.requests * (1 - model.SAME)]
