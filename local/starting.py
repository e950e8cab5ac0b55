"""Waits for a server that was just started, and reads what it wrote to its log since then."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

#: Seconds between two looks at a server that does not answer yet.
LOOK_SECONDS = 0.02


class LogSince:
    """What is appended to a log from now on. A log that does not exist yet is empty."""

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        self._offset = log_file.stat().st_size if log_file.exists() else 0

    def text(self) -> str:
        with open(self._log_file, "rb") as file:
            file.seek(self._offset)
            return file.read().decode(errors="replace")


def answers_before(deadline: float, is_alive: Callable[[], bool], answers: Callable[[], bool]) -> bool:
    """Wait until `answers()` is true, and return True; or False if the server's process ends first.

    deadline: of `time.monotonic()`. Raises TimeoutError if neither happens before it.
    """
    while time.monotonic() < deadline:
        if not is_alive():
            return False
        if answers():
            return True
        time.sleep(LOOK_SECONDS)
    raise TimeoutError
