"""Brings KAFKA_HOME's broker back when it dies in the middle of a run: its messages are on disk, so nothing is lost with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from local.apache_kafka import ApacheKafka
from pipeline.errors import ServiceError
from pipeline.process.child import FAILED_STARTS, RESTART_SECONDS, SHORT_LIFE_SECONDS


class Revival:
    """Starts the broker again at once, after a failed start later and later; so many in a row as for the workers are the end."""

    def __init__(self, broker: ApacheKafka, log_file: Path) -> None:
        self._broker = broker
        self._log_file = log_file
        self._up_since = time.monotonic()
        self._died = 0.0  # when its death was seen; 0 while it is up
        self._next_start = 0.0
        self._failed_starts = 0

    def attend(self, say: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Look after it; returns at once while it lives, or its next start is not due.

        Else it waits for the broker to answer: until then no worker can do anything, and one that is started meanwhile
        would only die of it. Raises ServiceError, with the end of the log, if it can't be kept up.
        """
        if self._broker.is_alive():
            return
        now = time.monotonic()
        if not self._died:
            self._died = now
            say(f"Apache Kafka died; starting it again (see {self._log_file})")
            # A life that ends right after its start, as on a full disk, would go on for ever.
            if now - self._up_since < SHORT_LIFE_SECONDS:
                self._note_failed_start("died right after its start", self._broker.last_words())
            else:
                self._failed_starts = 0
        if now < self._next_start:
            return
        try:
            self._broker.start_again(stopping)
        except ServiceError as error:
            wait = self._note_failed_start("did not come up", str(error))
            say(f"Apache Kafka does not come up; tried again in {wait:.1f} s")
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
