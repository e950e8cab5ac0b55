"""The one thread of a process that writes to PostgreSQL."""

from __future__ import annotations

import itertools
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg2

from config import Database
from pipeline.errors import NotNow, PermanentError, ServiceError, Unexpected
from pipeline.repeated import Repeated
from pipeline.storage import specimen
from pipeline.storage.database import answered, connect
from pipeline.storage.judgement import Cause, RowsDropped, judge, reason, was_cancelled
from pipeline.storage.rows import Write, write
from pipeline.storage.schema import create_tables
from pipeline.wire.text import one_line

log = logging.getLogger(__name__)

#: How many results one transaction takes at most.
BATCH = 200
#: After a transaction the writer rests so many times as long as that took, and this many seconds at most: under load, what comes in
#: meanwhile is one batch. A transaction costs as much as some rows, and each commit waits for the disk.
REST = 3
LONGEST_REST_SECONDS = 0.2
#: Seconds between two checks whether the database works again, while there is nothing to write.
PROBE_SECONDS = 2.0
#: Seconds before a transaction that collided is tried again: doubles each time, up to the second figure.
FIRST_COLLISION_SECONDS = 0.005
LONGEST_COLLISION_SECONDS = 1.0

Done = Callable[[Exception | None], None]


class _TooSlow(Exception):
    """A limit of the database on time struck: fewer rows at once may go through."""


class _Ended(Exception):
    """The process is told to end."""


class Writer:
    """The one thread and connection of a process that writes. Batches what comes in while a transaction runs.

    While the database is away, or refuses all rows alike, `away` is set, what was submitted waits, and the thread tries again: no
    task is to blame. It also probes while there is nothing to write, so `away` ends when the database works, not when a task
    succeeds. If the database refuses rows for what they hold, and takes others, their own task gets a PermanentError.
    """

    def __init__(self, settings: Database) -> None:
        """Raises ServiceError if the database can't be used at the start."""
        self.settings = settings
        self.away = threading.Event()
        self._queue: queue.SimpleQueue[tuple[Write, Done] | None] = queue.SimpleQueue()
        self._connection: Any = connect(settings)
        with answered(self._connection):
            create_tables(self._connection)
        self._closed = threading.Event()
        # Ends a rest: no more rows are to come, or the end is near.
        self._no_rest = threading.Event()
        self._repeated = Repeated(log)
        # Rows of runs and countries that are written. Each task brings its own, and a process that writes a row locks it, so all processes
        # would wait for each other's commits.
        self._known: set[Any] = set()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Write, done: Done) -> None:
        """Write soon; `done` is called in the writer's thread, with None once the rows are committed, or with the error."""
        self._queue.put((rows, done))

    def write(self, rows: Write) -> None:
        """Write, and return when it is committed. Raises PermanentError."""
        finished: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self.submit(rows, finished.put)
        error = finished.get()
        if error is not None:
            raise error

    def hurry(self) -> None:
        """Write what has been submitted at once: nothing is in work that could be written with it."""
        self._no_rest.set()

    def close(self) -> None:
        self._closed.set()
        self._no_rest.set()
        self._queue.put(None)
        self._thread.join(5)

    def _loop(self) -> None:
        rested = 0.0
        while True:
            try:
                batch = [self._queue.get(timeout=PROBE_SECONDS if self.away.is_set() else None)]
            except queue.Empty:
                self._probe()
                continue
            self._no_rest.wait(max(0.0, rested - time.monotonic()))
            self._no_rest.clear()
            began = time.monotonic()
            while len(batch) < BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            work = [item for item in batch if item is not None]
            if work:
                self._write_batch(work)
                ended = time.monotonic()
                rested = ended + min(REST * (ended - began), LONGEST_REST_SECONDS)
            if None in batch:
                if self._connection is not None:
                    self._connection.close()
                return

    def _write_batch(self, batch: list[tuple[Write, Done]]) -> None:
        try:
            self._write_what_is_new([rows for rows, _ in batch])
        except _TooSlow:
            half = (len(batch) + 1) // 2
            self._write_batch(batch[:half])
            self._write_batch(batch[half:])
            return
        except _Ended as error:
            for _, done in batch:
                done(NotNow(str(error)))
            return
        except Exception as error:
            if len(batch) > 1:  # written one by one, they show which of them it is
                for one in batch:
                    self._write_batch([one])
                return
            if judge(error) is Cause.ROW:
                batch[0][1](PermanentError(f"the database refuses the rows: {one_line(' '.join(str(error).split()))}"))
                return
            unexpected = Unexpected(f"the rows could not be written: {type(error).__name__}: {one_line(str(error), 200)}")
            unexpected.__cause__ = error
            batch[0][1](unexpected)
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
        """Write in one transaction, again and again while the database is away or takes no rows.

        Raises the error that is a row's, or this program's; _TooSlow if fewer rows at once may go through; _Ended at the end.
        """
        for attempt in itertools.count():
            try:
                self._connected()
                with answered(self._connection):
                    write(self._connection, batch)
            except (psycopg2.Error, ServiceError, ValueError, OSError) as error:
                cause = judge(error)
                if cause is Cause.ROW and (len(batch) > 1 or self._takes_others(error)):
                    self._works_again()  # whatever became of the statement: the database has looked at its rows
                    raise
                if cause is Cause.COLLISION:
                    pause = min(FIRST_COLLISION_SECONDS * 2 ** min(attempt, 10), LONGEST_COLLISION_SECONDS)
                    self._repeated.say(logging.INFO, f"{type(error).__name__}: the transaction collided with another one, trying again")
                    self._pause(pause * random.uniform(0.5, 1.0), error)  # noqa: S311 (no secret)
                    continue
                if attempt == 0 and self._connection is not None and self._connection.closed:
                    self._drop_connection()  # perhaps only cut while nothing was written: a new one shows whether the database is away
                    continue
                self.away.set()
                self._repeated.say(logging.WARNING, reason(error))
                self._drop_connection()
                self._pause(min(0.2 * 2 ** min(attempt, 5), 2.0), error)
                if was_cancelled(error) and len(batch) > 1:
                    raise _TooSlow from error
            else:
                self._works_again()
                return

    def _pause(self, seconds: float, error: BaseException) -> None:
        if self._closed.wait(seconds):
            raise _Ended("the process ended while the database took no rows") from error

    def _takes_others(self, refusal: BaseException) -> bool:
        """Whether rows that nothing is wrong with can be written, so that the refusal is for what these rows hold."""
        if getattr(refusal, "pgcode", None) is None and not isinstance(refusal, RowsDropped):
            return True  # psycopg2 has refused them, not the database
        try:
            with answered(self._connection):
                return not specimen.is_refused_alike(self._connection, refusal)
        except ServiceError:
            return False

    def _probe(self) -> None:
        """Find out without any task whether rows can be written again: a brake must not wait for the work that it holds."""
        try:
            self._connected()
            with answered(self._connection):
                specimen.try_to_write(self._connection)
        except Exception as error:  # whatever it is, this thread must go on
            if judge(error) is Cause.ROW:
                self._works_again()  # the database looks at rows again: what it makes of the tasks' own is seen with them
                return
            self._repeated.say(logging.WARNING, reason(error))
            self._drop_connection()
        else:
            self._works_again()

    def _connected(self) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.settings, reach_seconds=3)
            with answered(self._connection):
                create_tables(self._connection)

    def _works_again(self) -> None:
        if self.away.is_set():
            log.warning("the database is back")
            self.away.clear()
            self._repeated.forget()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._known.clear()
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error as error:
                log.debug("close: %s", error)
