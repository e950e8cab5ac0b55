"""Errors that nobody expected: each is reported with its traceback once per process, however many tasks meet it."""

from __future__ import annotations

import logging
import traceback

log = logging.getLogger(__name__)

#: How many places of errors are remembered; above that no traceback is logged, only the line about the task.
MOST = 100


class Faults:
    """For one thread."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, int | None]] = set()

    def report(self, task: object, error: BaseException) -> None:
        """Log the traceback, unless an error of this type from the same line of code was reported before."""
        root = error.__cause__ or error
        frames = traceback.extract_tb(root.__traceback__)
        place = (type(root).__name__, frames[-1].filename if frames else "", frames[-1].lineno if frames else None)
        if place not in self._known and len(self._known) < MOST:
            self._known.add(place)
            log.error("unexpected error in %s, please report it", task, exc_info=error)
