"""Lines that would come again and again: the same one is logged once in half a minute, and of many that differ, a few a minute."""

from __future__ import annotations

import logging
import time

#: Seconds after which the same text is said again.
AGAIN_SECONDS = 30.0
#: How many texts that differ are said in a minute.
MOST_A_MINUTE = 20
#: Texts that are remembered, at most.
_KEPT = 200


class Repeated:
    """Says to `log` what was not said in the last AGAIN_SECONDS. For one thread."""

    def __init__(self, log: logging.Logger, seconds: float = AGAIN_SECONDS) -> None:
        self._log = log
        self._seconds = seconds
        self._said: dict[str, float] = {}

    def say(self, level: int, text: str, what: str | None = None) -> None:
        """what: the texts of one name count as the same, such as those that differ in a number."""
        now, name = time.monotonic(), what or text
        if now - self._said.get(name, float("-inf")) < self._seconds:
            return
        self._said = {known: at for known, at in self._said.items() if now - at < self._seconds}
        if len(self._said) < _KEPT:
            self._said[name] = now
            self._log.log(level, "%s", text)

    def forget(self) -> None:
        """What comes next is news, though it was said before."""
        self._said.clear()


class Bounded:
    """Says to `log` each text, but no more than MOST_A_MINUTE. For one thread."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        #: Since when texts are counted (time.monotonic), and how many there were.
        self._since, self._count = 0.0, 0

    def say(self, level: int, text: str) -> None:
        now = time.monotonic()
        if now - self._since >= 60:
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= MOST_A_MINUTE:
            more = " (further ones in this minute are not named)" if self._count == MOST_A_MINUTE else ""
            self._log.log(level, "%s%s", text, more)
