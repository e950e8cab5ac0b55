"""`pipeline_run`: one row per run, written by whichever process meets the run first, closed by `run_pipeline.py`.

A run of scripts in separate terminals is closed by the next `run_pipeline.py`, or by `run_pipeline.py --services` when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2.extras import Json

from pipeline.ratios.formulas import RATIOS
from pipeline.wire.messages import run_started_at
from pipeline.wire.regions import RegionBand

#: How many runs of terminals are closed at once. Each is read from the topics.
RUNS_CLOSED = 5
UPSERT_RUN = """
INSERT INTO pipeline_run (run_id, started_at, regions, market_cap_min, market_cap_max, tasks) VALUES %s
ON CONFLICT (run_id) DO UPDATE SET
    regions = (SELECT array_agg(DISTINCT region ORDER BY region) FROM unnest(pipeline_run.regions || EXCLUDED.regions) AS region),
    market_cap_min = least(pipeline_run.market_cap_min, EXCLUDED.market_cap_min),
    market_cap_max = greatest(pipeline_run.market_cap_max, EXCLUDED.market_cap_max),
    tasks = CASE WHEN EXCLUDED.tasks = '[]' THEN pipeline_run.tasks ELSE EXCLUDED.tasks END
"""


@dataclass(frozen=True)
class Run:
    """A run as its tasks describe it.

    The bounds are those that the user asked for. `tasks`: what its producer is to send, each a region and its band in the region's own
    currency; empty unless the process that starts the run writes it.
    """

    run_id: str
    regions: tuple[str, ...]
    market_cap_min: float | None = None
    market_cap_max: float | None = None
    tasks: tuple[RegionBand, ...] = ()


def merge(one: Run | None, other: Run) -> Run:
    if one is None:
        return other
    lows = [run.market_cap_min for run in (one, other) if run.market_cap_min is not None]
    highs = [run.market_cap_max for run in (one, other) if run.market_cap_max is not None]
    return Run(one.run_id, (*one.regions, *other.regions), min(lows, default=None), max(highs, default=None), one.tasks or other.tasks)


def run_row(run: Run) -> tuple[Any, ...]:
    return (
        run.run_id,
        run_started_at(run.run_id),
        list(run.regions),
        run.market_cap_min,
        run.market_cap_max,
        Json([task.as_json() for task in run.tasks]),
    )


def abandoned_runs(connection: Any) -> frozenset[str]:
    """The run_ids that were given up for a newer run."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT run_id FROM pipeline_run WHERE status = 'abandoned'")
        return frozenset(run_id for (run_id,) in cursor.fetchall())


def newest_computations(connection: Any) -> dict[str, tuple[str, float]]:
    """symbol → run_id and time (epoch seconds) of its newest row of ratios that a run has written.

    Rows that were computed again without a run (recompute_ratios.py) have no newer quote than before.
    """
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (symbol) symbol, run_id, extract(epoch FROM computed_at)::float8 FROM financial_ratios "
            "JOIN pipeline_run USING (run_id) ORDER BY symbol, computed_at DESC"
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


def runs_without_a_plan(connection: Any) -> list[str]:
    """The newest run_ids that are not finished and were begun by scripts in terminals: no orchestrator waits for their end."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id FROM pipeline_run WHERE status = 'running' AND tasks = '[]' ORDER BY run_id DESC LIMIT %s", (RUNS_CLOSED,)
        )
        return [run_id for (run_id,) in cursor.fetchall()]


def newest_unfinished_run(connection: Any) -> Run | None:
    """The run that `--resume` continues."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT run_id, regions, market_cap_min, market_cap_max, tasks FROM pipeline_run "
            "WHERE status IN ('running', 'stalled') AND market_cap_min IS NOT NULL ORDER BY run_id DESC LIMIT 1"
        )
        found = cursor.fetchone()
        return Run(found[0], tuple(found[1]), found[2], found[3], tuple(RegionBand.read(task) for task in found[4])) if found else None


def trailing_rows(connection: Any, run_id: str) -> list[tuple[str, str, dict[str, float | None], dict[str, Any]]]:
    """The trailing rows of a run: symbol, statement currency, ratios, inputs."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT symbol, currency, inputs, {', '.join(RATIOS)} FROM financial_ratios "  # noqa: S608 (the names are this program's own)
            "WHERE run_id = %s AND period_type = 'ttm'",
            (run_id,),
        )
        return [(row[0], row[1], dict(zip(RATIOS, row[3:], strict=True)), row[2]) for row in cursor.fetchall()]


def finish_run(connection: Any, run_id: str, status: str, summary: dict[str, Any], finished_at: datetime) -> None:
    """Store the end of a run."""
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pipeline_run SET status = %s, summary = %s, finished_at = %s WHERE run_id = %s",
            (status, Json(summary), finished_at, run_id),
        )
