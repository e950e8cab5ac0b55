"""Connects to PostgreSQL, or says what to do if that fails."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.errors

from config import Database
from pipeline.errors import ServiceError
from pipeline.repeated import Repeated
from pipeline.storage.fitness import hint
from pipeline.storage.judgement import Cause, first_cause, judge
from pipeline.storage.locks import APPLICATION, blocker_of
from pipeline.wire.text import one_line

log = logging.getLogger(__name__)

#: Seconds in which the database must answer, or the script ends with exit code 3.
REACH_SECONDS = 8
#: Milliseconds without an acknowledgement after which a connection counts as lost. Without this limit, a thread would wait a quarter
#: of an hour for the answer to a statement that a dead host never got, because keepalives work on idle connections only.
_UNACKNOWLEDGED_MS = 25_000
#: Seconds without an answer after which a connection is given up: something between here and the database may have forgotten it.
SILENT_SECONDS = 120.0
#: Seconds without an answer after which it is looked, again and again, whether another session's lock is the reason.
LOCK_TOLD_SECONDS = 5.0

#: A process's threads that wait for the same lock say it once.
_repeated = Repeated(log)
_telling = threading.Lock()
#: Where threads that watched earlier wait for what to watch next.
_idle: queue.SimpleQueue[queue.SimpleQueue[Any]] = queue.SimpleQueue()


def forget_other_servers() -> None:
    """Remove the variables by which libpq would use another server than the settings name. No parameter overrides these two."""
    for name in ("PGSERVICE", "PGHOSTADDR"):
        os.environ.pop(name, None)


def connect(settings: Database, reach_seconds: int = REACH_SECONDS) -> Any:
    """A new connection. Raises ServiceError if there is none, with what to do and without the password."""
    forget_other_servers()
    try:
        connection = psycopg2.connect(
            dbname=settings.name,
            user=settings.user,
            password=settings.password,
            host=settings.host,
            port=settings.port,
            sslmode=settings.sslmode,
            connect_timeout=reach_seconds,
            application_name=APPLICATION,
            # Independent of PGCLIENTENCODING: names need all of Unicode.
            client_encoding="UTF8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=_UNACKNOWLEDGED_MS,
            # PGOPTIONS are for the user's own server.
            **({"options": ""} if settings.source == "embedded" else {}),
        )
        if connection.encoding != "UTF8":  # PGOPTIONS or the role's own setting comes after what a client asks for
            connection.set_client_encoding("UTF8")
        return connection
    except (psycopg2.Error, UnicodeError) as error:
        reason = one_line(" ".join(str(error).split()))
        if settings.password:
            reason = reason.replace(settings.password, "***")
        raise ServiceError(
            f"PostgreSQL {settings.user}@{settings.host}:{settings.port}/{settings.name} can't be used: {reason} "
            "Check DB_HOST, DB_PORT, DB_DEV_NAME, DB_USER and DB_PASSWORD (environment or .env); if no DB_* is set, "
            "run_pipeline.py starts its own database."
        ) from error


@contextlib.contextmanager
def connected(settings: Database) -> Iterator[Any]:
    """A connection for the block, closed after it. Raises ServiceError if there is none, or if the database refuses a statement."""
    connection = connect(settings)
    try:
        with telling_of_locks(connection):
            yield connection
    except psycopg2.Error as error:
        if judge(error) is not Cause.DATABASE:
            raise
        where = f"PostgreSQL {settings.user}@{settings.host}:{settings.port}/{settings.name}"
        told = one_line(" ".join(str(first_cause(error)).split()), 300)
        raise ServiceError(f"{where} can't be used for a run: {told}{hint(connection, error)}") from error
    finally:
        connection.close()


def unreadable(error: psycopg2.Error) -> ServiceError:
    """Why the tables can't be read: the server's own words, and what to do if they are of an older version."""
    told = one_line(error.diag.message_primary or str(error), 300)
    older = ": run the pipeline once, which brings the tables up to date" if isinstance(error, psycopg2.errors.UndefinedColumn) else ""
    return ServiceError(f"the database can't be read: {told}{older}")


@contextlib.contextmanager
def answered(connection: Any) -> Iterator[None]:
    """Give the connection up if the block's statements take longer than SILENT_SECONDS, unless they wait for another session's lock.

    That is said instead, and waited for. Raises ServiceError if the connection was given up; otherwise what the block raises.
    """
    given_up = threading.Event()
    seconds = SILENT_SECONDS

    def give_up() -> None:
        given_up.set()
        # Shut down, not closed: the thread that waits for an answer sees its end.
        with contextlib.suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
            copy.shutdown(socket.SHUT_RDWR)

    try:
        with telling_of_locks(connection, seconds, give_up):
            yield
    except psycopg2.Error as error:
        if given_up.is_set():
            raise ServiceError(f"PostgreSQL gave no answer for {seconds:.0f} s; the connection was given up") from error
        raise


@contextlib.contextmanager
def telling_of_locks(connection: Any, seconds: float = float("inf"), give_up: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Say it if the block waits for another session's lock. `give_up` is called after so many seconds without an answer or a lock."""
    ended = threading.Event()
    _watch_beside(connection, ended, seconds, give_up)
    try:
        yield
    finally:
        ended.set()


def _watch_beside(*watched: Any) -> None:
    """`_watch` in another thread: an idle one if there is one. Beside busy threads, starting one takes as long as a transaction."""
    try:
        jobs = _idle.get_nowait()
    except queue.Empty:
        jobs = queue.SimpleQueue()
        threading.Thread(target=_watch_again_and_again, args=(jobs,), name="answer-watch", daemon=True).start()
    jobs.put(watched)


def _watch_again_and_again(jobs: queue.SimpleQueue[Any]) -> None:
    while True:
        _watch(*jobs.get())
        _idle.put(jobs)


def _watch(connection: Any, ended: threading.Event, seconds: float, give_up: Callable[[], None]) -> None:
    began = silent_since = time.monotonic()
    told = False
    while not ended.wait(min(LOCK_TOLD_SECONDS, seconds)):
        waits_for = blocker_of(connection)
        if ended.is_set():
            break
        if waits_for is not None:
            told, silent_since = True, time.monotonic()
            with _telling:
                _repeated.say(logging.WARNING, f"waiting for PostgreSQL: {waits_for}")
        elif time.monotonic() - silent_since >= seconds:
            give_up()
            break
    if told:
        log.warning("the wait for that lock has ended, after %.0f s", time.monotonic() - began)
