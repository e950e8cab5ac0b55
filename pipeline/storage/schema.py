"""The tables, and their creation by statements that may run at every start, by several processes at once."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors

from pipeline.errors import ServiceError
from pipeline.ratios.formulas import RATIOS
from pipeline.storage import fitness
from pipeline.storage.judgement import first_cause
from pipeline.storage.quotes import QUOTE_COLUMNS
from pipeline.storage.tables import NUMBER, OBJECT, TEXT, TEXT_OR_EMPTY, TIME, Column, Table
from pipeline.wire.text import one_line

#: Key of the advisory lock under which one process at a time creates the tables.
_SCHEMA_LOCK = 7_203_114_905

#: Rows of these tables are rewritten every night: the space that is left in a page takes the new row.
_REWRITTEN = "fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05"

#: name → table, in an order in which they can be created.
TABLES = {
    "country": Table({"country_code": Column("text"), "country_name": TEXT}, key=("country_code",)),
    "stock": Table(
        {
            "symbol": Column("text"),
            "name": TEXT,
            "country_code": Column("text", "NOT NULL REFERENCES country"),
            "exchange": TEXT_OR_EMPTY,
            "sector": TEXT_OR_EMPTY,
            "industry": TEXT_OR_EMPTY,
            "currency": TEXT_OR_EMPTY,
            "financial_currency": TEXT_OR_EMPTY,
            "first_seen": Column(TIME, "NOT NULL DEFAULT now()"),
            "last_seen": Column(TIME, "NOT NULL DEFAULT now()"),
        },
        key=("symbol",),
        indexes={"stock_country": "country_code"},
        storage=_REWRITTEN,
    ),
    "financial_ratios": Table(
        {
            "symbol": TEXT,
            "period_type": Column("text", "NOT NULL CHECK (period_type IN ('annual', 'ttm'))"),
            "period_end": Column("date", "NOT NULL"),
            "run_id": TEXT,
            "currency": TEXT,
            **dict.fromkeys(RATIOS, NUMBER),
            "null_reasons": OBJECT,
            "inputs": OBJECT,
            "quality": OBJECT,
            "computed_at": Column(TIME, "NOT NULL DEFAULT now()"),
        },
        key=("symbol", "period_type", "period_end"),
        later=(*RATIOS, "quality"),
        # A night rewrites one row of five, which is the usual limit. If the table is cleared many times a night, the space of the
        # first rows is used for the last ones.
        storage="autovacuum_vacuum_scale_factor = 0.005",
    ),
    "pipeline_run": Table(
        {
            "run_id": Column("text"),
            "started_at": Column(TIME, "NOT NULL"),
            "finished_at": Column(TIME),
            "status": Column("text", "NOT NULL DEFAULT 'running'"),
            "regions": Column("text[]", "NOT NULL DEFAULT '{}'"),
            "market_cap_min": NUMBER,
            "market_cap_max": NUMBER,
            "summary": OBJECT,
            "tasks": Column("jsonb", "NOT NULL DEFAULT '[]'"),
        },
        key=("run_id",),
        later=("tasks",),
    ),
    "quote": Table({"symbol": Column("text"), "seen_at": Column(TIME, "NOT NULL"), **QUOTE_COLUMNS}, key=("symbol",), storage=_REWRITTEN),
    "company_statements": Table(
        {
            "symbol": TEXT,
            "first_seen": Column(TIME, "NOT NULL"),
            "last_seen": Column(TIME, "NOT NULL"),
            "content_hash": TEXT,
            "payload": Column("jsonb", "NOT NULL"),
            "evidence": OBJECT,
        },
        key=("symbol", "first_seen"),
    ),
    "fx_rate": Table(
        {
            "pair": Column("text", "NOT NULL CHECK (pair ~ '^[A-Z]{6}$')"),
            "day": Column("date", "NOT NULL"),
            "rate": Column("double precision", "NOT NULL CHECK (rate > 0 AND rate < 'Infinity')"),
        },
        key=("pair", "day"),
    ),
}
_SCHEMA = "".join(table.sql(name) for name, table in TABLES.items())


def create_tables(connection: Any) -> None:
    """Create what is missing. Several processes may run it at once, even during a run.

    Raises ServiceError with what to do if the database can't hold the pipeline's tables.
    """
    try:
        fitness.check_place(connection)
        with connection, connection.cursor() as cursor:
            if fitness.missing(cursor, TABLES):
                _create(connection, cursor)
            # Otherwise nothing runs: IF NOT EXISTS locks a table before it looks, and would wait for all writers, and they for it.
            fitness.check_rights(connection, cursor, TABLES)
    except psycopg2.errors.ReadOnlySqlTransaction as error:
        raise ServiceError(f"{fitness.place(connection)} is read-only, and tables are missing{fitness.hint(connection, error)}") from error
    except psycopg2.Error as error:
        where = fitness.place(connection) if not connection.closed else "PostgreSQL"
        raise ServiceError(f"{where}: the tables can't be made ({one_line(str(first_cause(error)), 300)})") from error


def _create(connection: Any, cursor: Any) -> None:
    fitness.check_right_to_create(connection, cursor)
    cursor.execute("SET LOCAL client_min_messages = warning")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
    try:
        cursor.execute(_SCHEMA)
    except psycopg2.errors.InsufficientPrivilege as error:
        reason = one_line(error.diag.message_primary or str(error), 200)
        raise ServiceError(f"{fitness.place(connection)}: {reason}. Start once as the tables' owner, or use another database") from error
    except psycopg2.ProgrammingError as error:  # a missing column, a view
        raise fitness.foreign(connection, [one_line(error.diag.message_primary or str(error), 200)]) from error
    faults = fitness.missing(cursor, TABLES)
    if faults:
        raise fitness.foreign(connection, faults)
