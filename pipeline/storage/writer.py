"""The one thread of a process that writes to PostgreSQL."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg2
import psycopg2.errors

from config import Database
from pipeline.errors import PermanentError, ServiceError, TransientError
from pipeline.storage.database import connect
from pipeline.storage.rows import Write, write
from pipeline.storage.schema import create_tables

log = logging.getLogger(__name__)

#: Most results that one transaction takes.
BATCH = 200
#: Seconds from one transaction's begin to the next one's: under load what comes in between is one batch.
BATCH_SECONDS = 0.05


class Writer:
    """The one thread and connection of a process that writes. Batches what comes in while a transaction runs.

    While the database is away, `away` is set, what was submitted waits, and the thread tries again: it is nobody's
    fault. Rows that the database refuses for what they hold are a PermanentError of their own task, and only of it.
    """

    def __init__(self, settings: Database) -> None:
        """Raises ServiceError where the database can't be used at the start."""
        self.settings = settings
        self.away = threading.Event()
        self._queue: queue.SimpleQueue[tuple[Write, Callable[[Exception | None], None]] | None] = queue.SimpleQueue()
        self._connection: Any = connect(settings)
        create_tables(self._connection)
        self._closed = threading.Event()
        # Rows of runs and countries that are written. Each task brings its own, and a row is locked by whoever writes it,
        # so that all processes would wait for each other's commits.
        self._known: set[Any] = set()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Write, done: Callable[[Exception | None], None]) -> None:
        """Write soon; `done` is called in the writer's thread, with None once the rows are committed, or with the error."""
        self._queue.put((rows, done))

    def write(self, rows: Write) -> None:
        """Write, and return when it is committed. Raises PermanentError."""
        finished: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self.submit(rows, finished.put)
        error = finished.get()
        if error is not None:
            raise error

    def close(self) -> None:
        self._closed.set()
        self._queue.put(None)
        self._thread.join(5)

    def _loop(self) -> None:
        began = 0.0
        while True:
            batch = [self._queue.get()]
            self._closed.wait(max(0.0, began + BATCH_SECONDS - time.monotonic()))
            began = time.monotonic()
            while len(batch) < BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            work = [item for item in batch if item is not None]
            if work:
                self._write_batch(work)
            if None in batch:
                if self._connection is not None:
                    self._connection.close()
                return

    def _write_batch(self, batch: list[tuple[Write, Callable[[Exception | None], None]]]) -> None:
        try:
            self._write_what_is_new([rows for rows, _ in batch])
        except (psycopg2.DataError, psycopg2.IntegrityError, ValueError, UnicodeError) as error:
            if len(batch) == 1:
                batch[0][1](PermanentError(f"the database refuses the rows: {' '.join(str(error).split())}"))
                return
            for one in batch:
                self._write_batch([one])
            return
        except Exception as error:  # a table dropped or altered under us: every task of the batch hears of it
            log.exception("the database refuses a batch of %d", len(batch))
            for _, done in batch:
                done(TransientError(f"the database refuses to write: {' '.join(str(error).split())}"))
            self._drop_connection()
            return
        for _, done in batch:
            done(None)

    def _write_what_is_new(self, batch: list[Write]) -> None:
        news = [
            replace(
                rows,
                countries={code: name for code, name in rows.countries.items() if (code, name) not in self._known},
                runs=[run for run in rows.runs if run not in self._known],
            )
            for rows in batch
        ]
        try:
            self._until_committed(news)
        except psycopg2.IntegrityError:
            if not self._known:
                raise
            # Somebody may have emptied the tables.
            self._known.clear()
            self._until_committed(batch)
        for rows in batch:
            self._known |= {*rows.countries.items(), *rows.runs}

    def _until_committed(self, batch: list[Write]) -> None:
        """Write in one transaction, again and again while the database is away or asks for it."""
        for attempt in range(10**9):
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = connect(self.settings, reach_seconds=3)
                    create_tables(self._connection)
                write(self._connection, batch)
                if self.away.is_set():
                    log.warning("the database is back")
                    self.away.clear()
                return
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure) as error:
                log.info("%s, trying again", type(error).__name__)
            except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.AdminShutdown, ServiceError) as error:
                if not self.away.is_set():
                    log.warning("the database is away, waiting for it: %s", " ".join(str(error).split()))
                    self.away.set()
                self._drop_connection()
                if self._closed.wait(min(0.2 * 2 ** min(attempt, 5), 2.0)):
                    raise PermanentError("the process ended while the database was away") from error

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._known.clear()
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error as error:
                log.debug("close: %s", error)
