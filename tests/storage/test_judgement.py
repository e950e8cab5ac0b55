"""Whose fault an error of the database is, by its SQLSTATE."""

import psycopg2
import psycopg2.errors
import pytest

from pipeline.errors import ServiceError
from pipeline.storage.judgement import Fault, judge


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("22001", Fault.ROW),  # string too long
        ("22P05", Fault.ROW),  # a character that the server's encoding lacks
        ("23503", Fault.ROW),
        ("54000", Fault.ROW),  # an index entry too large
        ("P0001", Fault.ROW),  # a trigger's refusal
        ("40001", Fault.MOMENT),
        ("40P01", Fault.MOMENT),
        ("25006", Fault.STATE),  # read-only: an InternalError
        ("42501", Fault.STATE),
        ("42P01", Fault.STATE),
        ("42703", Fault.STATE),
        ("3F000", Fault.STATE),
        ("53100", Fault.STATE),  # disk full
        ("53300", Fault.STATE),  # too many connections
        ("57014", Fault.STATE),  # statement_timeout
        ("57P01", Fault.STATE),
        ("57P03", Fault.STATE),  # starting up
        ("55P03", Fault.STATE),  # lock not available
        ("XX000", Fault.STATE),
        ("28P01", Fault.STATE),
    ],
)
def test_the_sqlstate_says_whose_fault_it_is(code, expected):
    class Raised(psycopg2.Error):
        pgcode = code

    assert judge(Raised()) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg2.OperationalError("server closed the connection unexpectedly"), Fault.STATE),
        (psycopg2.InterfaceError("connection already closed"), Fault.STATE),
        (psycopg2.DatabaseError("error with status PGRES_TUPLES_OK"), Fault.STATE),
        (ServiceError("can't be used"), Fault.STATE),
        (psycopg2.ProgrammingError("can't adapt type"), Fault.ROW),
        (ValueError("A string literal cannot contain NUL"), Fault.ROW),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Fault.ROW),
    ],
)
def test_without_a_sqlstate_it_is_the_connection_or_what_can_be_put_into_no_statement(error, expected):
    assert judge(error) is expected
