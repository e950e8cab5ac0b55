"""A thread that reads topics for as long as the page runs, and starts anew when the broker went away or is another one."""

from __future__ import annotations

import logging
import threading
import time

import kafka.errors

from config import Kafka
from pipeline.broker import clients
from pipeline.errors import PipelineError, ServiceError
from ui.places import Places

log = logging.getLogger(__name__)

#: Seconds between two looks whether the broker is still the same one, and before a new attempt.
CHECK_SECONDS = 2.0
RETRY_SECONDS = 1.0


class Following:
    """Subclasses say what is read: `open`, then `step` again and again, `close`; and what is shown while it is not: `away`."""

    def __init__(self, places: Places, name: str) -> None:
        self._places = places
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def open(self, settings: Kafka) -> None:
        """Begin from nothing. Raises ServiceError."""
        raise NotImplementedError

    def step(self) -> None:
        """Read what has come in; returns within a second."""
        raise NotImplementedError

    def check(self) -> None:
        """Called every CHECK_SECONDS while the broker is there."""

    def close(self) -> None:
        raise NotImplementedError

    def away(self, problem: str) -> None:
        """Nothing can be read, for this reason."""
        raise NotImplementedError

    def _loop(self) -> None:
        while not self.stopped:
            try:
                self._follow(self._places.kafka())
            except (PipelineError, kafka.errors.KafkaError, OSError) as error:
                self.away(str(error))
            except Exception as error:  # a thread that dies would leave a page that says nothing
                log.exception("reading the topics")
                self.away(f"{type(error).__name__}: {error}")
            self._stopped.wait(RETRY_SECONDS)

    def _follow(self, settings: Kafka) -> None:
        same_broker = _Identity(settings)
        try:
            self.open(settings)
            try:
                checked = time.monotonic()
                while not self.stopped:
                    self.step()
                    if time.monotonic() - checked >= CHECK_SECONDS:
                        self._places.kafka()
                        same_broker()
                        self.check()
                        checked = time.monotonic()
            finally:
                self.close()
        finally:
            same_broker.close()


class _Identity:
    """Tells whether the broker is still the one that it was: one that started anew in memory has lost all offsets."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._admin = clients.admin(settings)
        self._cluster = self._ask()

    def __call__(self) -> None:
        if self._ask() != self._cluster:
            raise ServiceError("the broker was started anew")

    def close(self) -> None:
        self._admin.close()

    def _ask(self) -> str:
        with clients.reaching(self._settings):
            return str(self._admin.describe_cluster()["cluster_id"])
