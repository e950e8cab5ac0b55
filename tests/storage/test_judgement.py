"""The cause of a database error, by its SQLSTATE."""

import psycopg2
import psycopg2.errors
import pytest

from pipeline.errors import ServiceError
from pipeline.storage.judgement import Cause, judge


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("22001", Cause.ROW),  # string too long
        ("22P05", Cause.ROW),  # a character that the server's encoding lacks
        ("23503", Cause.ROW),
        ("54000", Cause.ROW),  # an index entry too large
        ("P0001", Cause.ROW),  # a trigger's refusal
        ("40001", Cause.COLLISION),
        ("40P01", Cause.COLLISION),
        ("25006", Cause.DATABASE),  # read-only: an InternalError
        ("42501", Cause.DATABASE),
        ("42P01", Cause.DATABASE),
        ("42703", Cause.DATABASE),
        ("3F000", Cause.DATABASE),
        ("53100", Cause.DATABASE),  # disk full
        ("53300", Cause.DATABASE),  # too many connections
        ("57014", Cause.DATABASE),  # statement_timeout
        ("25P04", Cause.DATABASE),  # transaction_timeout
        ("57P01", Cause.DATABASE),
        ("57P03", Cause.DATABASE),  # starting up
        ("55P03", Cause.DATABASE),  # lock not available
        ("XX000", Cause.DATABASE),
        ("28P01", Cause.DATABASE),
    ],
)
def test_the_sqlstate_decides_between_row_and_database(code, expected):
    class Raised(psycopg2.Error):
        pgcode = code

    assert judge(Raised()) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg2.OperationalError("server closed the connection unexpectedly"), Cause.DATABASE),
        (psycopg2.InterfaceError("connection already closed"), Cause.DATABASE),
        (psycopg2.DatabaseError("error with status PGRES_TUPLES_OK"), Cause.DATABASE),
        (ServiceError("can't be used"), Cause.DATABASE),
        (psycopg2.ProgrammingError("can't adapt type"), Cause.ROW),
        (TimeoutError("timed out"), Cause.DATABASE),
        (TypeError("unsupported operand"), Cause.PROGRAM),
        (ValueError("A string literal cannot contain NUL"), Cause.ROW),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Cause.ROW),
    ],
)
def test_an_error_without_a_sqlstate_is_the_connections_or_an_unusable_values(error, expected):
    assert judge(error) is expected
