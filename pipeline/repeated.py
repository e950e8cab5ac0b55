"""What happens again and again is said once, and again every half minute: never many times a second."""

from __future__ import annotations

import logging
import time

#: Seconds after which the same text is said again.
AGAIN_SECONDS = 30.0
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
