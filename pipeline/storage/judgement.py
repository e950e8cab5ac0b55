"""Classifies an error of PostgreSQL: its cause is a row, another transaction, or the state of the database. Pure.

Judged by SQLSTATE, not by psycopg2's class: one state comes in several classes (read-only after a fail-over is an InternalError,
a right that was withdrawn a ProgrammingError), and one class holds several states.
"""

from __future__ import annotations

import enum

import psycopg2

from pipeline.errors import ServiceError
from pipeline.wire.text import one_line


class RowsDropped(psycopg2.DataError):
    """The database has reported success, and has not kept the rows: a trigger that returns NULL says nothing of it."""


def refuse_dropped(table: str, kept: int, sent: int) -> None:
    """Raises RowsDropped if fewer rows were kept than sent."""
    if kept < sent:
        raise RowsDropped(
            f"table {table} has kept {max(kept, 0)} of {sent} rows without an error: a trigger drops them (\\d {table} in psql lists it)"
        )


class Cause(enum.Enum):
    #: The row's values can't be stored. What refuses all rows alike looks the same: `specimen` tells the two apart.
    ROW = "the row"
    #: Two transactions collided: the same one may go through now.
    COLLISION = "another transaction"
    #: Meets all rows alike (read-only, a missing right or table, a full disk, starting up, no connection): wait until it is mended.
    DATABASE = "the database"
    #: A fault of this program.
    PROGRAM = "this program"


#: Classes of SQLSTATE that speak of values: data exceptions, constraints, cardinality, a limit of a row or an index entry, a
#: trigger's own refusal, a view's check option.
_ROW_CLASSES = ("21", "22", "23", "44", "54", "P0")
#: Serialization failure, deadlock, and a transaction of which it isn't known how it ended: writes are upserts.
_COLLISIONS = ("40001", "40P01", "40003")
#: A statement that was cancelled, and a transaction that took longer than transaction_timeout.
_CANCELLED = ("57014", "25P04")
#: The server ends, crashes or starts.
_AWAY = ("57P01", "57P02", "57P03")


def judge(error: BaseException) -> Cause:
    """error: what writing rows has raised."""
    code = getattr(error, "pgcode", None)
    if code in _COLLISIONS:
        return Cause.COLLISION
    if code is not None:
        return Cause.ROW if code[:2] in _ROW_CLASSES else Cause.DATABASE
    # Without a code, either the connection is the cause, or psycopg2 could not put a value into SQL.
    if isinstance(error, ValueError | psycopg2.ProgrammingError | psycopg2.DataError):
        return Cause.ROW
    return Cause.DATABASE if isinstance(error, psycopg2.Error | ServiceError | OSError) else Cause.PROGRAM


def was_cancelled(error: BaseException) -> bool:
    """Whether the statement took longer than the server or the role allows: fewer rows at once may go through."""
    return getattr(error, "pgcode", None) in _CANCELLED


def first_cause(error: BaseException) -> BaseException:
    """What ended the connection, if the error only says that it is closed: psycopg2 raises that at the end of a `with connection`."""
    while isinstance(error, psycopg2.InterfaceError) and isinstance(error.__context__, psycopg2.Error):
        error = error.__context__
    return error


def reason(error: BaseException) -> str:
    """One line: why the database accepts no rows now."""
    error = first_cause(error)
    code = getattr(error, "pgcode", None)
    # Its detail is left out: the row that was refused differs each time, so the same reason would be said twice a second.
    told = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    text = one_line(" ".join(told.split("\nLINE ")[0].split()), 500)
    if isinstance(error, ServiceError):
        return f"no rows can be written, waiting for the database: {text}"
    if code == "57014":
        return f"a statement was cancelled, by a limit on its time (statement_timeout) or by an administrator (SQLSTATE {code}): {text}"
    if isinstance(error, RowsDropped):
        return f"the database accepts no rows, waiting until it does: {text}"
    if was_cancelled(error):
        return f"a statement took longer than the database allows (transaction_timeout, SQLSTATE {code}): {text}"
    if code is None or code.startswith("08") or code in _AWAY:
        return f"the database is not reachable, waiting for it: {text}"
    return f"the database accepts no rows, waiting until it does: {text} (SQLSTATE {code})"
