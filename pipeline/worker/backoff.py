"""How long a failed task waits for its next attempt. Pure."""

from __future__ import annotations

import random

#: Seconds before the second attempt; doubles with each further one.
BASE_SECONDS = 1.0
#: The longest wait, in seconds.
LARGEST_SECONDS = 60.0


def delay_seconds(attempt: int, random_fraction: float | None = None) -> float:
    """Wait after failed attempt number `attempt` (1, 2, …): exponential, and at random between half of that and all of it,
    so that tasks that failed together do not come back together.
    """
    fraction = random.random() if random_fraction is None else random_fraction  # noqa: S311 (no secret)
    # The exponent is bounded so that a rate-limited task, whose attempts are not counted, can come back any number of times.
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    return whole * (0.5 + 0.5 * fraction)
