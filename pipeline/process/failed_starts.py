"""Counts the failed starts in a row of something that is restarted when it dies. Pure."""

from __future__ import annotations

#: What dies within this many seconds of its start counts as a failed start.
SHORT_LIFE_SECONDS = 10.0
#: Number of failed starts in a row that ends the run.
FAILED_STARTS = 5
#: Seconds before a restart. Doubles with each failed start.
RESTART_SECONDS = 0.5


class FailedStarts:
    """The failed starts since the last good one."""

    def __init__(self) -> None:
        self._count = 0

    def note(self, died_after_seconds: float) -> None:
        """It has died. A life that was long enough ends the row."""
        self._count = self._count + 1 if died_after_seconds < SHORT_LIFE_SECONDS else 0

    @property
    def any(self) -> bool:
        return self._count > 0

    @property
    def too_many(self) -> bool:
        return self._count >= FAILED_STARTS

    @property
    def wait_seconds(self) -> float:
        """Seconds to wait before the next start."""
        return RESTART_SECONDS * 2.0**self._count
