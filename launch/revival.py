"""Restarts KAFKA_HOME's broker if it dies during a run. Its messages are on disk, so none are lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from local.apache_kafka import ApacheKafka
from pipeline.errors import ServiceError
from pipeline.process.child import FAILED_STARTS, RESTART_SECONDS, SHORT_LIFE_SECONDS


class Revival:
    """Restarts the broker at once, and after failed starts with growing delays. FAILED_STARTS in a row end the run."""

    def __init__(self, broker: ApacheKafka, log_file: Path) -> None:
        self._broker = broker
        self._log_file = log_file
        self._up_since = time.monotonic()
        self._died = 0.0  # when its death was seen; 0 while it is up
        self._next_start = 0.0
        self._failed_starts = 0

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
            if now - self._up_since < SHORT_LIFE_SECONDS:
                self._note_failed_start("died right after its start", self._broker.last_words())
            else:
                self._failed_starts = 0
        if now < self._next_start:
            return
        try:
            self._broker.start_again(stopping)
        except ServiceError as error:
            wait = self._note_failed_start("did not start", str(error))
            say(f"Apache Kafka did not start; trying again in {wait:.1f} s")
            return
        if not stopping():
            self._up_since = time.monotonic()
            say(f"Apache Kafka is up again after {self._up_since - self._died:.1f} s")
            self._died = 0.0

    def _note_failed_start(self, what: str, last_words: str) -> float:
        """Seconds until the next start."""
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            raise ServiceError(f"Apache Kafka {what}, {FAILED_STARTS} failed starts in a row: {last_words}")
        wait = RESTART_SECONDS * 2.0 ** (self._failed_starts - 1)
        self._next_start = time.monotonic() + wait
        return wait
