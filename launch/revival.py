"""Restarts KAFKA_HOME's broker if it dies during a run. Its messages are on disk, so none are lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from local.apache_kafka import ApacheKafka
from pipeline.errors import ServiceError
from pipeline.process.failed_starts import FAILED_STARTS, FailedStarts


class Revival:
    """Restarts the broker at once, and after failed starts with growing delays. FAILED_STARTS in a row end the run."""

    def __init__(self, broker: ApacheKafka, log_file: Path) -> None:
        self._broker = broker
        self._log_file = log_file
        self._up_since = time.monotonic()
        self._died = 0.0  # when its death was seen; 0 while it is up
        self._next_start = 0.0
        self._failed = FailedStarts()

    def attend(self, say: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Restart the broker if it has died. Returns at once if it is alive or its next start is not due.

        Otherwise waits for the broker to answer: no worker can do anything until then, and a worker that started meanwhile
        would die. Raises ServiceError, with the end of the log, if the broker keeps dying.
        """
        if self._broker.is_alive():
            return
        now = time.monotonic()
        if not self._died:
            self._died = now
            say(f"Apache Kafka died; starting it again (see {self._log_file})")
            # A broker that dies right after its start (on a full disk, say) would otherwise be restarted for ever.
            self._note_death(now - self._up_since, "died right after its start", self._broker.last_words)
        if now < self._next_start:
            return
        try:
            self._broker.start_again(stopping)
        except ServiceError as error:
            self._note_death(0.0, "did not start", error.__str__)
            say(f"Apache Kafka did not start; trying again in {self._failed.wait_seconds:.1f} s")
            return
        if not stopping():
            self._up_since = time.monotonic()
            say(f"Apache Kafka is up again after {self._up_since - self._died:.1f} s")
            self._died = 0.0

    def _note_death(self, after_seconds: float, what: str, last_words: Callable[[], str]) -> None:
        """Set the time of the next start. Raises ServiceError after too many failed starts."""
        self._failed.note(after_seconds)
        if self._failed.too_many:
            raise ServiceError(f"Apache Kafka {what}, {FAILED_STARTS} failed starts in a row: {last_words()}")
        self._next_start = time.monotonic() + (self._failed.wait_seconds if self._failed.any else 0.0)
