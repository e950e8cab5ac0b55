"""PostgreSQL: the tables, the upserts, and the one thread of a process that writes.

Texts reach SQL only as parameters. Rows are sorted by key before they are written, so that two processes that write
the same rows never wait for each other in a circle; where the database says so all the same, the batch is tried again.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg2
import psycopg2.errors
from psycopg2.extras import Json, execute_values

from config import Database
from pipeline.errors import PermanentError, ServiceError, TransientError
from pipeline.process.region_file import RegionBand
from pipeline.ratios.rows import RATIOS, RatioRow
from pipeline.wire.messages import run_started_at

log = logging.getLogger(__name__)

#: Seconds in which the database must answer, or the script ends with exit code 3.
REACH_SECONDS = 8
#: Most results that one transaction takes.
BATCH = 200
#: Seconds from one transaction's begin to the next one's: under load what comes in between is one batch.
BATCH_SECONDS = 0.05
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
"""

#: Tables, the index and the columns that came later, as `_WHAT_IS_THERE` finds them.
_WANTED = {
    *((name, "") for name in ("country", "stock", "financial_ratios", "pipeline_run", "stock_country")),
    *(("financial_ratios", name) for name in RATIOS),
    ("pipeline_run", "tasks"),
}
_WHAT_IS_THERE = """
SELECT relname::text, '' FROM pg_class WHERE pg_table_is_visible(oid)
UNION ALL
SELECT relname::text, attname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
WHERE relname IN ('financial_ratios', 'pipeline_run') AND pg_table_is_visible(pg_class.oid) AND NOT attisdropped
"""

_UPSERT_COUNTRY = """
INSERT INTO country (country_code, country_name) VALUES %s
ON CONFLICT (country_code) DO UPDATE SET country_name = EXCLUDED.country_name WHERE country.country_name <> EXCLUDED.country_name
"""
_UPSERT_LISTING = """
INSERT INTO stock (symbol, name, country_code) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET name = EXCLUDED.name, country_code = EXCLUDED.country_code, last_seen = now()
"""
_UPSERT_PROFILE = """
INSERT INTO stock (symbol, name, country_code, exchange, sector, industry, currency, financial_currency) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET exchange = EXCLUDED.exchange, sector = EXCLUDED.sector, industry = EXCLUDED.industry,
    currency = EXCLUDED.currency, financial_currency = EXCLUDED.financial_currency, last_seen = now()
"""
_RATIO_COLUMNS = ("symbol", "period_type", "period_end", "run_id", "currency", *RATIOS, "null_reasons", "inputs")
# The rows come as one JSON text: fifty columns quoted one by one cost this process three times as much.
_UPSERT_RATIOS = f"""
INSERT INTO financial_ratios ({", ".join(_RATIO_COLUMNS)})
SELECT {", ".join(_RATIO_COLUMNS)} FROM json_populate_recordset(NULL::financial_ratios, %s)
ON CONFLICT (symbol, period_type, period_end) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _RATIO_COLUMNS[3:])}, computed_at = now()
"""  # noqa: S608 (the names are this program's own)
# One trailing row a symbol: the older one goes in the transaction that brings the new one.
_DELETE_OLD_TRAILING = """
DELETE FROM financial_ratios old USING (VALUES %s) AS new (symbol, period_end)
WHERE old.symbol = new.symbol AND old.period_type = 'ttm' AND old.period_end IS DISTINCT FROM new.period_end::date
"""
_UPSERT_RUN = """
INSERT INTO pipeline_run (run_id, started_at, regions, market_cap_min, market_cap_max, tasks) VALUES %s
ON CONFLICT (run_id) DO UPDATE SET
    regions = (SELECT array_agg(DISTINCT region ORDER BY region) FROM unnest(pipeline_run.regions || EXCLUDED.regions) AS region),
    market_cap_min = least(pipeline_run.market_cap_min, EXCLUDED.market_cap_min),
    market_cap_max = greatest(pipeline_run.market_cap_max, EXCLUDED.market_cap_max),
    tasks = CASE WHEN EXCLUDED.tasks = '[]' THEN pipeline_run.tasks ELSE EXCLUDED.tasks END
"""


@dataclass(frozen=True)
class Listing:
    """A stock as the screener lists it."""

    symbol: str
    name: str
    country_code: str


@dataclass(frozen=True)
class Profile:
    """A stock as its own page describes it."""

    symbol: str
    name: str
    country_code: str
    exchange: str
    sector: str
    industry: str
    currency: str
    financial_currency: str


@dataclass(frozen=True)
class Run:
    """A run as its tasks describe it.

    tasks: what its producer is to send, each a region and its band; only who starts the run knows it, else it is empty.
    """

    run_id: str
    regions: tuple[str, ...]
    market_cap_min: float | None = None
    market_cap_max: float | None = None
    tasks: tuple[RegionBand, ...] = ()


@dataclass
class Write:
    """Rows that belong to one task: written together or not at all."""

    countries: dict[str, str] = field(default_factory=dict)
    listings: Sequence[Listing] = ()
    profiles: Sequence[Profile] = ()
    #: run_id and rows; `trailing_of` names the symbols whose trailing row is replaced (or goes, if there is no new one).
    ratios: Sequence[tuple[str, RatioRow]] = ()
    trailing_of: Sequence[str] = ()
    runs: Sequence[Run] = ()


def connect(settings: Database, reach_seconds: int = REACH_SECONDS) -> Any:
    """A new connection. Raises ServiceError with what to do; the password is never in the text."""
    try:
        return psycopg2.connect(
            dbname=settings.name,
            user=settings.user,
            password=settings.password,
            host=settings.host,
            port=settings.port,
            sslmode=settings.sslmode,
            connect_timeout=reach_seconds,
            application_name="stock-pipeline",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        if settings.password:
            reason = reason.replace(settings.password, "***")
        raise ServiceError(
            f"PostgreSQL {settings.user}@{settings.host}:{settings.port}/{settings.name} can't be used: {reason} "
            "Check DB_HOST, DB_PORT, DB_DEV_NAME, DB_USER and DB_PASSWORD (environment or .env); with no DB_* set, "
            "run_pipeline.py starts a database of its own."
        ) from error


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


def write(connection: Any, batch: Iterable[Write]) -> None:
    """Write all rows of `batch` in one transaction, each table sorted by its key; later rows of one key win."""
    countries: dict[str, str] = {}
    listings: dict[str, Listing] = {}
    profiles: dict[str, Profile] = {}
    ratios: dict[tuple[str, str, Any], tuple[str, RatioRow]] = {}
    trailing: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    for one in batch:
        countries |= one.countries
        listings |= {row.symbol: row for row in one.listings}
        profiles |= {row.symbol: row for row in one.profiles}
        trailing |= dict.fromkeys(one.trailing_of)
        for run_id, row in one.ratios:
            ratios[row.symbol, row.period_type, row.period_end] = (run_id, row)
            if row.period_type == "ttm":
                trailing[row.symbol] = row.period_end
        for run in one.runs:
            runs[run.run_id] = _merge(runs.get(run.run_id), run)
    with connection, connection.cursor() as cursor:
        _run(cursor, _UPSERT_RUN, sorted(_run_row(run) for run in runs.values()))
        _run(cursor, _UPSERT_COUNTRY, sorted(countries.items()))
        _run(cursor, _UPSERT_LISTING, [(row.symbol, row.name, row.country_code) for _, row in sorted(listings.items())])
        _run(cursor, _UPSERT_PROFILE, [_profile_row(row) for _, row in sorted(profiles.items())])
        _run(cursor, _DELETE_OLD_TRAILING, sorted(trailing.items(), key=lambda item: item[0]))
        if ratios:
            rows = [_ratio_row(*found) for _, found in sorted(ratios.items(), key=lambda item: item[0])]
            cursor.execute(_UPSERT_RATIOS, (json.dumps(rows, allow_nan=False, ensure_ascii=False),))


def abandoned_runs(connection: Any) -> frozenset[str]:
    """The run_ids that were given up for a newer run."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT run_id FROM pipeline_run WHERE status = 'abandoned'")
        return frozenset(run_id for (run_id,) in cursor.fetchall())


def newest_computations(connection: Any) -> dict[str, tuple[str, float]]:
    """symbol → run_id and time (epoch seconds) of its newest row of ratios."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (symbol) symbol, run_id, extract(epoch FROM computed_at)::float8 FROM financial_ratios "
            "ORDER BY symbol, computed_at DESC"
        )
        return {symbol: (run_id, computed) for symbol, run_id, computed in cursor.fetchall()}


def abandon_unfinished_runs(connection: Any, but: str) -> list[str]:
    """Give up all runs that are not finished, except `but`; their run_ids."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pipeline_run SET status = 'abandoned', finished_at = now() "
            "WHERE status IN ('running', 'stalled') AND run_id <> %s RETURNING run_id",
            (but,),
        )
        return sorted(run_id for (run_id,) in cursor.fetchall())


def newest_unfinished_run(connection: Any) -> Run | None:
    """The run that `--resume` takes up."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, regions, market_cap_min, market_cap_max, tasks FROM pipeline_run "
            "WHERE status IN ('running', 'stalled') AND market_cap_min IS NOT NULL ORDER BY run_id DESC LIMIT 1"
        )
        found = cursor.fetchone()
        return Run(found[0], tuple(found[1]), found[2], found[3], tuple(RegionBand(*task) for task in found[4])) if found else None


def trailing_rows(connection: Any, run_id: str) -> list[tuple[str, str, dict[str, float | None], dict[str, Any]]]:
    """The trailing rows that a run has written: symbol, statement currency, ratios, inputs."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT symbol, currency, inputs, {', '.join(RATIOS)} FROM financial_ratios "  # noqa: S608 (the names are this program's own)
            "WHERE run_id = %s AND period_type = 'ttm'",
            (run_id,),
        )
        return [(row[0], row[1], dict(zip(RATIOS, row[3:], strict=True)), row[2]) for row in cursor.fetchall()]


def finish_run(connection: Any, run_id: str, status: str, summary: dict[str, Any], finished_at: datetime) -> None:
    """Close the account of a run in `pipeline_run`."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pipeline_run SET status = %s, summary = %s, finished_at = %s WHERE run_id = %s",
            (status, Json(summary), finished_at, run_id),
        )


def _run(cursor: Any, sql: str, rows: list[Any]) -> None:
    if rows:
        execute_values(cursor, sql, rows, page_size=1000)


def _merge(one: Run | None, other: Run) -> Run:
    if one is None:
        return other
    lows = [run.market_cap_min for run in (one, other) if run.market_cap_min is not None]
    highs = [run.market_cap_max for run in (one, other) if run.market_cap_max is not None]
    return Run(one.run_id, (*one.regions, *other.regions), min(lows, default=None), max(highs, default=None), one.tasks or other.tasks)


def _run_row(run: Run) -> tuple[Any, ...]:
    return (run.run_id, run_started_at(run.run_id), list(run.regions), run.market_cap_min, run.market_cap_max, Json(run.tasks))


def _profile_row(row: Profile) -> tuple[str, ...]:
    return (row.symbol, row.name, row.country_code, row.exchange, row.sector, row.industry, row.currency, row.financial_currency)


def _ratio_row(run_id: str, row: RatioRow) -> dict[str, Any]:
    named = {"symbol": row.symbol, "period_type": row.period_type, "period_end": row.period_end.isoformat(), "run_id": run_id}
    return {**named, "currency": row.currency, **row.values, "null_reasons": row.null_reasons, "inputs": row.inputs}


class Writer:
    """The one thread and connection of a process that writes. Batches what comes in while a transaction runs.

    While the database is away, `away` is set, what was submitted waits, and the thread tries again: it is nobody's
    fault. Rows that the database refuses for what they hold are a PermanentError of their own task, and only of it.
    """

    def __init__(self, settings: Database) -> None:
        """Raises ServiceError where the database can't be used at the start."""
        self.settings = settings
        self.away = threading.Event()
        self._queue: queue.SimpleQueue[tuple[Write, Callable[[Exception | None], None]] | None] = queue.SimpleQueue()
        self._connection: Any = connect(settings)
        create_tables(self._connection)
        self._closed = threading.Event()
        # Rows of runs and countries that are written. Each task brings its own, and a row is locked by whoever writes it,
        # so that all processes would wait for each other's commits.
        self._known: set[Any] = set()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def submit(self, rows: Write, done: Callable[[Exception | None], None]) -> None:
        """Write soon; `done` is called in the writer's thread, with None once the rows are committed, or with the error."""
        self._queue.put((rows, done))

    def write(self, rows: Write) -> None:
        """Write, and return when it is committed. Raises PermanentError."""
        finished: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self.submit(rows, finished.put)
        error = finished.get()
        if error is not None:
            raise error

    def close(self) -> None:
        self._closed.set()
        self._queue.put(None)
        self._thread.join(5)

    def _loop(self) -> None:
        began = 0.0
        while True:
            batch = [self._queue.get()]
            self._closed.wait(max(0.0, began + BATCH_SECONDS - time.monotonic()))
            began = time.monotonic()
            while len(batch) < BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            work = [item for item in batch if item is not None]
            if work:
                self._write_batch(work)
            if None in batch:
                if self._connection is not None:
                    self._connection.close()
                return

    def _write_batch(self, batch: list[tuple[Write, Callable[[Exception | None], None]]]) -> None:
        try:
            self._write_what_is_new([rows for rows, _ in batch])
        except (psycopg2.DataError, psycopg2.IntegrityError, ValueError, UnicodeError) as error:
            if len(batch) == 1:
                batch[0][1](PermanentError(f"the database refuses the rows: {' '.join(str(error).split())}"))
                return
            for one in batch:
                self._write_batch([one])
            return
        except Exception as error:  # a table dropped or altered under us: every task of the batch hears of it
            log.exception("the database refuses a batch of %d", len(batch))
            for _, done in batch:
                done(TransientError(f"the database refuses to write: {' '.join(str(error).split())}"))
            self._drop_connection()
            return
        for _, done in batch:
            done(None)

    def _write_what_is_new(self, batch: list[Write]) -> None:
        news = [
            replace(
                rows,
                countries={code: name for code, name in rows.countries.items() if (code, name) not in self._known},
                runs=[run for run in rows.runs if run not in self._known],
            )
            for rows in batch
        ]
        try:
            self._until_committed(news)
        except psycopg2.IntegrityError:
            if not self._known:
                raise
            # Somebody may have emptied the tables.
            self._known.clear()
            self._until_committed(batch)
        for rows in batch:
            self._known |= {*rows.countries.items(), *rows.runs}

    def _until_committed(self, batch: list[Write]) -> None:
        """Write in one transaction, again and again while the database is away or asks for it."""
        for attempt in range(10**9):
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = connect(self.settings, reach_seconds=3)
                    create_tables(self._connection)
                write(self._connection, batch)
                if self.away.is_set():
                    log.warning("the database is back")
                    self.away.clear()
                return
            except (psycopg2.errors.DeadlockDetected, psycopg2.errors.SerializationFailure) as error:
                log.info("%s, trying again", type(error).__name__)
            except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.errors.AdminShutdown, ServiceError) as error:
                if not self.away.is_set():
                    log.warning("the database is away, waiting for it: %s", " ".join(str(error).split()))
                    self.away.set()
                self._drop_connection()
                if self._closed.wait(min(0.2 * 2 ** min(attempt, 5), 2.0)):
                    raise PermanentError("the process ended while the database was away") from error

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._known.clear()
        if connection is not None:
            try:
                connection.close()
            except psycopg2.Error as error:
                log.debug("close: %s", error)
