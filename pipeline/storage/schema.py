"""Creates the tables by plain SQL that may run at every start, by several processes at once."""

from __future__ import annotations

from typing import Any

import psycopg2
import psycopg2.errors

from pipeline.errors import ServiceError
from pipeline.ratios.formulas import RATIOS
from pipeline.storage import fitness
from pipeline.storage.quotes import QUOTE_COLUMNS, QUOTE_TYPES
from pipeline.storage.statements_store import TABLE
from pipeline.wire.text import one_line

#: Key of the advisory lock under which one process at a time creates the tables.
_SCHEMA_LOCK = 7_203_114_905

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS country (
    country_code text PRIMARY KEY,
    country_name text NOT NULL
);
CREATE TABLE IF NOT EXISTS stock (
    symbol text PRIMARY KEY,
    name text NOT NULL,
    country_code text NOT NULL REFERENCES country,
    exchange text NOT NULL DEFAULT '',
    sector text NOT NULL DEFAULT '',
    industry text NOT NULL DEFAULT '',
    currency text NOT NULL DEFAULT '',
    financial_currency text NOT NULL DEFAULT '',
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS stock_country ON stock (country_code);
CREATE TABLE IF NOT EXISTS financial_ratios (
    symbol text NOT NULL,
    period_type text NOT NULL CHECK (period_type IN ('annual', 'ttm')),
    period_end date NOT NULL,
    run_id text NOT NULL,
    currency text NOT NULL,
    {", ".join(f"{name} double precision" for name in RATIOS)},
    null_reasons jsonb NOT NULL DEFAULT '{{}}',
    inputs jsonb NOT NULL DEFAULT '{{}}',
    quality jsonb NOT NULL DEFAULT '{{}}',
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, period_type, period_end)
);
{"".join(f"ALTER TABLE financial_ratios ADD COLUMN IF NOT EXISTS {name} double precision;" for name in RATIOS)}
ALTER TABLE financial_ratios ADD COLUMN IF NOT EXISTS quality jsonb NOT NULL DEFAULT '{{}}';
CREATE TABLE IF NOT EXISTS pipeline_run (
    run_id text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    status text NOT NULL DEFAULT 'running',
    regions text[] NOT NULL DEFAULT '{{}}',
    market_cap_min double precision,
    market_cap_max double precision,
    summary jsonb NOT NULL DEFAULT '{{}}'
);
ALTER TABLE pipeline_run ADD COLUMN IF NOT EXISTS tasks jsonb NOT NULL DEFAULT '[]';
CREATE TABLE IF NOT EXISTS quote (
    symbol text PRIMARY KEY,
    seen_at timestamptz NOT NULL,
    {", ".join(f"{column} {QUOTE_TYPES[column]}" for column in QUOTE_COLUMNS)}
);
{TABLE.strip()}
CREATE TABLE IF NOT EXISTS fx_rate (
    pair text NOT NULL CHECK (pair ~ '^[A-Z]{{6}}$'),
    day date NOT NULL,
    rate double precision NOT NULL CHECK (rate > 0 AND rate < 'Infinity'),
    PRIMARY KEY (pair, day)
);
-- A night rewrites one row of five, which is the usual limit. Cleared many times a night, the space of the first is used for the last.
ALTER TABLE financial_ratios SET (autovacuum_vacuum_scale_factor = 0.005);
ALTER TABLE quote SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE stock SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
"""

#: What the SQL text creates, for fitness.missing: a new table or column needs no other list.
_WANTED = fitness.tables_of(_SCHEMA)


def create_tables(connection: Any) -> None:
    """Create what is missing. Several processes may run it at once, even during a run.

    Raises ServiceError with what to do if the database can't hold the pipeline's tables.
    """
    try:
        fitness.check_place(connection)
        with connection, connection.cursor() as cursor:
            if fitness.missing(cursor, _WANTED):
                _create(connection, cursor)
            # Otherwise nothing runs: IF NOT EXISTS locks a table before it looks, and would wait for all writers, and they for it.
            fitness.check_rights(connection, cursor, _WANTED)
    except psycopg2.errors.ReadOnlySqlTransaction as error:
        raise ServiceError(f"{fitness.place(connection)} is read-only, and tables are missing: use the primary server") from error
    except psycopg2.Error as error:
        where = fitness.place(connection) if not connection.closed else "PostgreSQL"
        raise ServiceError(f"{where}: the tables can't be made ({one_line(str(error), 300)})") from error


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
    faults = fitness.missing(cursor, _WANTED)
    if faults:
        raise fitness.foreign(connection, faults)
