"""`fx_rate`: exchange rates by pair and day. The pair is two ISO codes, `USDJPY` is what one dollar costs in yen."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import psycopg2
from psycopg2.extras import execute_values

from config import Database
from pipeline.errors import ServiceError, TransientError
from pipeline.storage.database import connect
from pipeline.wire.currencies import DayRate

_UPSERT = """
INSERT INTO fx_rate (pair, day, rate) VALUES %s
ON CONFLICT (pair, day) DO UPDATE SET rate = EXCLUDED.rate WHERE fx_rate.rate <> EXCLUDED.rate
"""
_NEWEST = "SELECT DISTINCT ON (pair) pair, day, rate FROM fx_rate WHERE day BETWEEN %s AND %s ORDER BY pair, day DESC"


def store(connection: Any, rates: Mapping[str, DayRate]) -> None:
    """Write the rates; a later one of the same pair and day wins."""
    if rates:
        with connection, connection.cursor() as cursor:
            execute_values(cursor, _UPSERT, [(pair, found.day, found.rate) for pair, found in sorted(rates.items())])


def read_newest(settings: Database, today: date, most_days_old: int) -> dict[str, DayRate]:
    """`newest`, on a connection of its own. Raises TransientError while the database is away."""
    try:
        with closing(connect(settings, reach_seconds=3)) as connection:
            return newest(connection, today, most_days_old)
    except (ServiceError, psycopg2.Error) as error:
        raise TransientError(f"stored exchange rates can't be read: {' '.join(str(error).split())}") from error


def series(cursor: Any, pair: str) -> dict[date, float]:
    """All stored rates of a pair, oldest first."""
    cursor.execute("SELECT day, rate FROM fx_rate WHERE pair = %s ORDER BY day", (pair,))
    return dict(cursor.fetchall())


def add(cursor: Any, pair: str, rates: Mapping[date, float]) -> None:
    """Write a pair's rates in the caller's transaction; a day that is stored as it is stays untouched."""
    if rates:
        execute_values(cursor, _UPSERT, [(pair, day, rate) for day, rate in sorted(rates.items())], page_size=2000)


def newest(connection: Any, today: date, most_days_old: int) -> dict[str, DayRate]:
    """pair → its newest rate that is at most `most_days_old` days old on `today`."""
    with connection, connection.cursor() as cursor:
        cursor.execute(_NEWEST, (today - timedelta(days=most_days_old), today))
        return {pair: DayRate(day, rate) for pair, day, rate in cursor.fetchall()}
