"""What the database says about runs and stocks, read every few seconds by a thread.

Handlers look at it for every task; they must neither wait for the database nor fail because it is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import psycopg2

from config import Database
from pipeline.errors import ServiceError
from pipeline.storage import database, run_table

log = logging.getLogger(__name__)

#: Seconds between two reads of the runs that were given up, and of the stocks whose ratios are young.
RUNS_SECONDS = 2.0
STOCKS_SECONDS = 30.0

T = TypeVar("T")


class Polled(Generic[T]):
    """`value` is what `read(connection)` returned at most `seconds` ago. While the database is away it stays as it was."""

    def __init__(self, settings: Database, read: Callable[[Any], T], seconds: float) -> None:
        """Raises ServiceError if the database can't be used at the start."""
        self._settings = settings
        self._read = read
        self._connection = database.connect(settings)
        with database.answered(self._connection):
            self.value = read(self._connection)
        threading.Thread(target=self._poll, args=(seconds,), name="polled", daemon=True).start()

    def _poll(self, seconds: float) -> None:
        while True:
            time.sleep(seconds)
            try:
                if self._connection.closed:
                    self._connection = database.connect(self._settings, reach_seconds=3)
                with database.answered(self._connection):
                    self.value = self._read(self._connection)
            except (psycopg2.Error, ServiceError) as error:
                log.debug("not read: %s", error)  # the writer says that the database is away
                self._connection.close()


def abandoned_runs(settings: Database) -> Polled[frozenset[str]]:
    """The run_ids that were given up for a newer run."""
    return Polled(settings, run_table.abandoned_runs, RUNS_SECONDS)


class FreshStocks:
    """Which stocks have ratios younger than `max_age_seconds`; none if that is None."""

    def __init__(self, settings: Database, max_age_seconds: float | None) -> None:
        self._max_age_seconds = max_age_seconds
        self._computed = Polled(settings, run_table.newest_computations, STOCKS_SECONDS) if max_age_seconds is not None else None

    def __call__(self, symbol: str, run_id: str) -> bool:
        """Whether the stock may be skipped. What its own run has computed is no reason: the task is delivered again then."""
        if self._computed is None or self._max_age_seconds is None:
            return False
        found = self._computed.value.get(symbol)
        return found is not None and found[0] != run_id and time.time() - found[1] < self._max_age_seconds
