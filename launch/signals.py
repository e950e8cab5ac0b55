"""Ctrl+C and its like, as the orchestrator hears them."""

from __future__ import annotations

import os
import signal
import sys

import config
from pipeline.process.script import stop_signals, tell


class Interrupted(Exception):
    """A signal asked to stop."""


class Signals:
    """The first one asks to stop, the second one ends everything at once."""

    def __init__(self) -> None:
        self.received = False
        for number in stop_signals():
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self.received:
            # Children see the end of their pipes, guardians the end of theirs: nothing stays behind.
            os._exit(config.EXIT_INTERRUPTED)
        self.received = True
        tell("stopping… (Ctrl+C once more stops at once)", sys.stderr)

    def check(self) -> None:
        """Raises Interrupted if one has come."""
        if self.received:
            raise Interrupted
