"""Reads from PostgreSQL for many threads, and waits for it while it is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg2

from config import Database
from pipeline.errors import ServiceError
from pipeline.repeated import Repeated
from pipeline.storage import database
from pipeline.storage.judgement import first_cause
from pipeline.wire.text import one_line

log = logging.getLogger(__name__)

#: Seconds between two attempts while the database is away.
AWAY_SECONDS = 0.5

T = TypeVar("T")


class Reader:
    """One connection, shared by threads. It waits while the database is away, so that no task fails for that."""

    def __init__(self, settings: Database) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._connection: Any = None
        self._repeated = Repeated(log)

    def read(self, query: Callable[[Any], T]) -> T:
        """What `query(connection)` returns, as soon as the database answers."""
        while True:
            with self._lock:
                try:
                    if self._connection is None or self._connection.closed:
                        self._connection = database.connect(self._settings, reach_seconds=3)
                    with database.answered(self._connection):
                        return query(self._connection)
                except (psycopg2.Error, ServiceError) as error:
                    text = one_line(" ".join(str(first_cause(error)).split()), 300)
                    self._repeated.say(logging.WARNING, f"stored statements can't be read, waiting for the database: {text}")
                    if self._connection is not None:
                        self._connection.close()
            time.sleep(AWAY_SECONDS)
