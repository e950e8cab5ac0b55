"""The tables: made by plain SQL that may run at every start, by several processes at once."""

from __future__ import annotations

from typing import Any

from pipeline.ratios.formulas import RATIOS
from pipeline.storage.quotes import QUOTE_COLUMNS, QUOTE_TYPES

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
    computed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, period_type, period_end)
);
{"".join(f"ALTER TABLE financial_ratios ADD COLUMN IF NOT EXISTS {name} double precision;" for name in RATIOS)}
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
CREATE TABLE IF NOT EXISTS fx_rate (
    pair text NOT NULL CHECK (pair ~ '^[A-Z]{{6}}$'),
    day date NOT NULL,
    rate double precision NOT NULL CHECK (rate > 0 AND rate < 'Infinity'),
    PRIMARY KEY (pair, day)
);
"""

#: Tables, the index and the columns that came later, as `_WHAT_IS_THERE` finds them.
_WANTED = {
    *((name, "") for name in ("country", "stock", "financial_ratios", "pipeline_run", "stock_country", "fx_rate", "quote")),
    *(("financial_ratios", name) for name in RATIOS),
    ("pipeline_run", "tasks"),
}
_WHAT_IS_THERE = """
SELECT relname::text, '' FROM pg_class WHERE pg_table_is_visible(oid)
UNION ALL
SELECT relname::text, attname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relname IN ('financial_ratios', 'pipeline_run') AND pg_table_is_visible(pg_class.oid) AND NOT attisdropped
"""


def create_tables(connection: Any) -> None:
    """Create what is missing. Several processes may run it at once, also in the midst of a run."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_WHAT_IS_THERE)
        if set(cursor.fetchall()) >= _WANTED:
            # IF NOT EXISTS locks a table before it looks: it would wait for all who write, and they for it.
            return
        cursor.execute("SET LOCAL client_min_messages = warning")
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
        cursor.execute(_SCHEMA)
