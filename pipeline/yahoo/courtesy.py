"""How a server error (500 and above) slows a process down: it gives way at once and comes back slowly. Pure."""

from __future__ import annotations

import math

#: Errors within this many seconds count as one: their requests were already in flight.
SAME_WARNING_SECONDS = 1.0
#: The rate is never cut below this fraction.
LEAST_COURTESY = 1 / 8
#: Seconds of good answers that bring the rate from nothing to the whole; from half of it, half as long.
RECOVERY_SECONDS = 30.0


class Courtesy:
    """`factor` is what is left of the rate, from LEAST_COURTESY to 1."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._cut_at = self._recovered_at = -math.inf

    def cut(self, now: float) -> bool:
        """Halve the rate; False if that has just been done."""
        if now - self._cut_at < SAME_WARNING_SECONDS:
            return False
        self.factor = max(self.factor / 2, LEAST_COURTESY)
        self._cut_at = self._recovered_at = now
        return True

    def recover(self, now: float) -> None:
        """Come back a step: by the time since the last good answer, but by a second's worth at most, so that silence earns nothing."""
        if self.factor < 1.0:
            passed = min(max(0.0, now - self._recovered_at), 1.0)
            self._recovered_at = now
            self.factor = min(1.0, self.factor + passed / RECOVERY_SECONDS)
