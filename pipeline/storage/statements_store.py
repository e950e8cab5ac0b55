"""`company_statements`: what a company has published, in versions. A new one comes only when the content changes.

A version is known by the hash of its content. `first_seen` is when it was fetched first, `last_seen` when it was last found unchanged;
`payload` (pipeline/ratios/kept.py) holds all that its rows are computed from but quote and rates, `evidence` (pipeline/refresh/due.py)
what the quote said at the last fetch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import execute_values

from pipeline.storage.judgement import refuse_dropped

#: Key of a payload if the site had nothing: its value is the reason, `gone` or `no_statements`.
NOTHING = "nothing"
# Versions that are more than a day ahead of a new fetch were dated by a wrong clock, and come before it: they are dated anew.
_UPSERT = """
WITH fetched (symbol, seen_at, content_hash, payload, evidence) AS (
    SELECT symbol, seen_at::timestamptz, content_hash, payload::jsonb, evidence::jsonb
    FROM (VALUES %s) AS v (symbol, seen_at, content_hash, payload, evidence)
), newest AS (
    SELECT DISTINCT ON (symbol) symbol, first_seen, content_hash FROM company_statements JOIN fetched USING (symbol, content_hash)
    WHERE first_seen = (SELECT max(first_seen) FROM company_statements latest WHERE latest.symbol = fetched.symbol)
), later AS (
    SELECT symbol, first_seen, seen_at, row_number() OVER (PARTITION BY symbol ORDER BY first_seen DESC) AS number
    FROM company_statements JOIN fetched USING (symbol)
    WHERE first_seen > seen_at + interval '1 day' AND (symbol, first_seen) NOT IN (SELECT symbol, first_seen FROM newest)
), redated AS (
    UPDATE company_statements kept SET first_seen = later.seen_at - later.number * interval '1 microsecond',
        last_seen = later.seen_at - later.number * interval '1 microsecond'
    FROM later WHERE kept.symbol = later.symbol AND kept.first_seen = later.first_seen
), seen_again AS (
    UPDATE company_statements kept SET evidence = fetched.evidence,
        first_seen = CASE WHEN kept.first_seen > fetched.seen_at + interval '1 day' THEN fetched.seen_at ELSE kept.first_seen END,
        last_seen = CASE WHEN kept.last_seen > fetched.seen_at + interval '1 day' THEN fetched.seen_at
            ELSE greatest(kept.last_seen, fetched.seen_at) END,
        payload = CASE WHEN kept.payload = fetched.payload THEN kept.payload ELSE fetched.payload END
    FROM fetched JOIN newest USING (symbol)
    WHERE kept.symbol = fetched.symbol AND kept.first_seen = newest.first_seen
    RETURNING kept.symbol
), new AS (
    INSERT INTO company_statements (symbol, first_seen, last_seen, content_hash, payload, evidence)
    SELECT symbol, seen_at, seen_at, content_hash, payload, evidence FROM fetched
    WHERE symbol NOT IN (SELECT symbol FROM seen_again)
    ON CONFLICT (symbol, first_seen) DO UPDATE SET
        last_seen = EXCLUDED.last_seen, content_hash = EXCLUDED.content_hash, payload = EXCLUDED.payload, evidence = EXCLUDED.evidence
    RETURNING symbol
)
SELECT (SELECT count(*) FROM seen_again) + (SELECT count(*) FROM new)
"""
_NEWEST = """
SELECT DISTINCT ON (symbol) symbol, last_seen, payload::text, evidence FROM company_statements
WHERE symbol = ANY(%s) ORDER BY symbol, first_seen DESC
"""
# Keys are hashed, so that several processes each take their own part. The index alone chooses the symbols, before any payload is read.
_PART = """
WITH part AS MATERIALIZED (
    SELECT DISTINCT symbol FROM company_statements
    WHERE symbol > %s AND (hashtext(symbol) & 1048575) %% %s = %s ORDER BY symbol LIMIT %s
)
SELECT DISTINCT ON (s.symbol) s.symbol, s.last_seen, s.payload::text, s.evidence, to_jsonb(q)
FROM part JOIN company_statements s USING (symbol) LEFT JOIN quote q USING (symbol) ORDER BY s.symbol, s.first_seen DESC
"""


@dataclass(frozen=True)
class Fetched:
    """A company's statements as they were fetched at `seen_at` (ISO 8601); `payload` is JSON text."""

    symbol: str
    seen_at: str
    content_hash: str
    payload: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """The newest version of a company's statements; `payload` is JSON text."""

    symbol: str
    fetched_at: datetime
    payload: str
    evidence: Mapping[str, Any]
    #: The newest quote that a listing brought, by column; only if it was asked for.
    quote: Mapping[str, Any] | None = None


def store(cursor: Any, rows: Sequence[Fetched]) -> None:
    """Write what was fetched, one row per symbol."""
    if rows:
        values = [(row.symbol, row.seen_at, row.content_hash, row.payload, _text(row.evidence)) for row in rows]
        execute_values(cursor, _UPSERT, sorted(values), page_size=len(values))
        refuse_dropped("company_statements", cursor.fetchone()[0], len(values))


def newest(connection: Any, symbols: Sequence[str]) -> dict[str, Stored]:
    """The newest version of each of the symbols that have one."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_NEWEST, (list(symbols),))
        return {row[0]: Stored(*row) for row in cursor.fetchall()}


def count(connection: Any) -> int:
    """How many companies have stored statements."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT symbol) FROM company_statements")
        return int(cursor.fetchone()[0])


def every(connection: Any, part: int = 0, of: int = 1, at_once: int = 100) -> Iterator[list[Stored]]:
    """The newest version of every company with its quote, so many at a time, ordered by symbol.

    Of `of` parts, each of which has its own companies, the one with the number `part`. Each batch is a transaction of its own: one
    that lasted as long as all of them would keep PostgreSQL from using the space of replaced rows again.
    """
    after = ""
    while True:
        with connection, connection.cursor() as cursor:
            cursor.execute(_PART, (after, of, part, at_once))
            rows = cursor.fetchall()
        if not rows:
            return
        after = rows[-1][0]
        yield [Stored(*row) for row in rows]


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
