"""The orchestrator's handling of Ctrl+C and the other stop signals."""

from __future__ import annotations

import os
import signal
import sys

import config
from pipeline.process import early
from pipeline.process.script import stop_signals, tell


class Interrupted(Exception):
    """A stop signal was received."""


class Signals:
    """The first stop signal asks to stop. The second ends everything at once."""

    def __init__(self) -> None:
        self.received = early.interrupted  # and its KeyboardInterrupt was lost
        for number in stop_signals():
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self.received:
            # Children and guardians end when their pipes close, so nothing stays behind.
            os._exit(config.EXIT_INTERRUPTED)
        self.received = True
        tell("stopping… (press Ctrl+C again to stop at once)", sys.stderr)

    def check(self) -> None:
        """Raises Interrupted if a stop signal was received."""
        if self.received:
            raise Interrupted
