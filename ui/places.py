"""Finds the broker and the database for the page, and connects to the database. Both may be away, even at the start."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.errors

from config import Database, Kafka, Settings
from pipeline.broker import probe
from pipeline.errors import ServiceError
from pipeline.process import discovery
from pipeline.storage import database

#: Idle connections that are kept for further queries.
CONNECTIONS_KEPT = 4
#: Connections at once, without those of downloads; seconds that a query waits for one.
CONNECTIONS = 4
WAIT_SECONDS = 10.0
#: Longest query in ms. Nobody waits longer for a page.
QUERY_MS = 15_000
#: Seconds in which the database must accept a connection, and a broker a socket.
CONNECT_SECONDS = 3

NO_TABLES = "no tables yet: the first run creates them (python run_pipeline.py --demo)"


class Places:
    """Uses the current settings, so that services that were restarted on other ports are found again."""

    def __init__(self, find: Callable[[], Settings]) -> None:
        self._find = find
        self._idle: list[tuple[Database, Any]] = []
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def kafka(self) -> Kafka:
        """The broker's settings. Raises ServiceError if no broker is known, or none accepts a connection."""
        settings = discovery.find_broker(self._find()).kafka
        if probe.listens(settings.bootstrap_servers, CONNECT_SECONDS):
            return settings
        raise ServiceError(f"Kafka at {settings.bootstrap_servers} can't be reached. Start it, or see KAFKA_BOOTSTRAP_SERVERS")

    def database(self) -> Database:
        """The database's settings. Raises ServiceError if no database is known."""
        settings = self._find()
        if settings.demo and not settings.database.name:
            raise ServiceError("no demo is running. Start it in another terminal: python run_pipeline.py --demo")
        return discovery.find_database(settings)

    @contextlib.contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor for reading. Raises ServiceError if the database is away or has no tables yet."""
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise ServiceError(f"all {CONNECTIONS} connections of the page to the database are in use: try again in a moment")
        try:
            with self._used(self.database()) as cursor:
                yield cursor
        finally:
            self._free.release()

    @contextlib.contextmanager
    def _used(self, wanted: Database) -> Iterator[Any]:
        connection = self._take(wanted)
        try:
            with connection.cursor() as cursor:
                # For this transaction only. Behind a pooler such as PgBouncer, what is set for a session is set for other clients too.
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", (str(QUERY_MS),))
                yield cursor
            connection.rollback()
        except psycopg2.errors.UndefinedTable:
            connection.close()
            raise ServiceError(NO_TABLES) from None
        except psycopg2.errors.QueryCanceled:
            connection.close()
            raise ServiceError(f"the database took longer than {QUERY_MS // 1000} s") from None
        except ValueError as error:  # a day beyond Python's calendar
            connection.close()
            raise ServiceError(f"a row of the database can't be read: {error}") from error
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            connection.close()
            self.forget()
            raise ServiceError(f"the connection to the database was lost: {' '.join(str(error).split())}") from error
        except psycopg2.Error as error:
            connection.close()
            raise database.unreadable(error) from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < CONNECTIONS_KEPT:
                self._idle.append((wanted, connection))
                return
        connection.close()

    def query(self, sql: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises ServiceError."""
        with self.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall())

    def forget(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _take(self, wanted: Database) -> Any:
        while True:
            with self._lock:
                if not self._idle:
                    break
                settings, connection = self._idle.pop()
            if settings == wanted and _works(connection):
                return connection
            connection.close()
        connection = database.connect(wanted, CONNECT_SECONDS)
        connection.set_session(readonly=True)
        return connection


def _works(connection: Any) -> bool:
    """Whether an idle connection still works. The server may have been restarted."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        connection.rollback()
    except psycopg2.Error:
        return False
    return True
