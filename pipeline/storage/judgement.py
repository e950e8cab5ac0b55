"""Classifies an error of PostgreSQL: a row, the moment, or the database's state is the cause. Pure.

Judged by SQLSTATE, not by psycopg2's class: one state comes in several classes (read-only after a fail-over is an InternalError,
a right that was withdrawn a ProgrammingError), and one class holds several states.
"""

from __future__ import annotations

import enum

import psycopg2

from pipeline.errors import ServiceError
from pipeline.wire.text import one_line


class Fault(enum.Enum):
    #: The row's values can never be stored.
    ROW = "the row"
    #: Two transactions collided. Try the same one again.
    MOMENT = "the moment"
    #: Meets all rows alike (read-only, a missing right or table, a full disk, starting up, no connection): wait until it is mended.
    STATE = "the database"


#: Classes of SQLSTATE that speak of values: data exceptions, constraints, cardinality, a limit of a row or an index entry, a
#: trigger's own refusal, a view's check option.
_ROW_CLASSES = ("21", "22", "23", "44", "54", "P0")
#: Serialization failure, deadlock, and a transaction of which it isn't known how it ended: writes are upserts.
_MOMENT = ("40001", "40P01", "40003")
#: How a cancelled statement begins.
_CANCELLED = "57014"


def judge(error: BaseException) -> Fault:
    """error: what writing rows has raised."""
    code = getattr(error, "pgcode", None)
    if code is None:
        # Without a code it is either the connection, or psycopg2 itself could not put a value into SQL.
        connection = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError | ServiceError)
        if isinstance(error, ValueError | TypeError | UnicodeError | psycopg2.ProgrammingError | psycopg2.DataError) and not connection:
            return Fault.ROW
        return Fault.STATE
    if code in _MOMENT:
        return Fault.MOMENT
    return Fault.ROW if code[:2] in _ROW_CLASSES else Fault.STATE


def is_statement_limit(error: BaseException) -> bool:
    """Whether the statement took longer than the server or the role allows: fewer rows at once may go through."""
    return getattr(error, "pgcode", None) == _CANCELLED


def reason(error: BaseException) -> str:
    """One line: why the database accepts no rows now."""
    code = getattr(error, "pgcode", None)
    text = one_line(" ".join(str(error).split("\nLINE ")[0].split()))
    if is_statement_limit(error):
        return f"a statement took longer than the database allows (statement_timeout, SQLSTATE {code}): {text}"
    if code is None or code.startswith("08") or code in ("57P01", "57P02", "57P03"):
        return f"the database is not reachable, waiting for it: {text}"
    return f"the database accepts no rows, waiting until it does: {text} (SQLSTATE {code})"
