"""A thread that reads topics while the page runs. It starts again if the broker was away, or is another one."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod

import kafka.errors

from config import Kafka
from pipeline.broker import clients
from pipeline.errors import PipelineError, ServiceError
from ui.places import Places

log = logging.getLogger(__name__)

#: Seconds between two checks whether the broker is still the same one, and before another attempt.
CHECK_SECONDS = 2.0
RETRY_SECONDS = 1.0


class Following(ABC):
    """Subclasses read in `open`, repeated calls of `step`, and `close`. `away` says what to show while nothing can be read."""

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

    @abstractmethod
    def open(self, settings: Kafka) -> None:
        """Begin from the start. Raises ServiceError."""

    @abstractmethod
    def step(self) -> None:
        """Read what has arrived. Returns within a second."""

    def check(self) -> None:  # noqa: B027 (not every subclass has something to check)
        """Called every CHECK_SECONDS while the broker answers."""

    @abstractmethod
    def close(self) -> None:
        """Give back what `open` took. Not called if `open` has failed."""

    @abstractmethod
    def away(self, problem: str) -> None:
        """Nothing can be read, for this reason."""

    def _loop(self) -> None:
        while not self.stopped:
            try:
                self._follow(self._places.kafka())
            except (PipelineError, kafka.errors.KafkaError, OSError) as error:
                self.away(str(error))
            except Exception as error:  # if the thread died, the page would show nothing
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
    """Checks that the broker is still the same one. An in-memory broker that was restarted has lost all offsets."""

    def __init__(self, settings: Kafka) -> None:
        self._settings = settings
        self._admin = clients.admin(settings)
        self._cluster = self._ask()

    def __call__(self) -> None:
        if self._ask() != self._cluster:
            raise ServiceError("the broker was restarted, or is another one")

    def close(self) -> None:
        self._admin.close()

    def _ask(self) -> str:
        with clients.reaching(self._settings):
            return str(self._admin.describe_cluster()["cluster_id"])
