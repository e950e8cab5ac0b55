"""Writes a stock that nothing is wrong with, as tasks write theirs, and takes it back: does the database take rows at all?

If it refuses this one for the same reason, a refusal is not for what a task's row holds, whatever its SQLSTATE says: a constraint or a
trigger that somebody has added meets all rows alike. And only rows that are really written notice a full disk.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg2

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.storage.judgement import Cause, judge
from pipeline.storage.rows import ListedStock, Profile, Write, execute
from pipeline.storage.run_table import Run
from pipeline.storage.statements_store import Fetched

_RUN_ID = "20000101T000000Z-0000"
_DAY = date(2000, 1, 1)
_SEEN_AT = "2000-01-01T00:00:00Z"
#: Columns of `stock` as `Profile` has them.
_STORED = "SELECT symbol, name, country_code, exchange, sector, industry, currency, financial_currency FROM stock LIMIT 1"
#: Used while no stock is stored. No exchange has this symbol.
_MADE_UP = ("SPECIMEN.PIPELINE", "A Company", "us", "NYSE", "Industrials", "Tools", "USD", "USD")


def try_to_write(connection: Any) -> None:
    """Write a row into each table and take it back. Raises psycopg2.Error."""
    try:
        with connection.cursor() as cursor:
            # A stored stock meets the constraints that somebody may have added for good.
            cursor.execute(_STORED)
            profile = Profile(*(cursor.fetchone() or _MADE_UP))
            for _ in range(2):  # the second time its rows are changed ones, which other triggers and rights apply to
                execute(cursor, [_rows(profile)])
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    finally:
        if not connection.closed:
            connection.rollback()


def is_refused_alike(connection: Any, refusal: BaseException) -> bool:
    """Whether the database refuses the specimen too, for the same reason or because it takes no rows now.

    refusal: why it has refused a task's rows.
    """
    try:
        try_to_write(connection)
    except psycopg2.Error as error:
        return judge(error) is not Cause.ROW or _what_refuses(error) == _what_refuses(refusal)
    return False


def _rows(profile: Profile) -> Write:
    symbol = profile.symbol
    return Write(
        countries={profile.country_code: "A Country"},
        listings=[ListedStock(symbol, profile.name, profile.country_code)],
        profiles=[profile],
        ratios=[(_RUN_ID, RatioRow(symbol, "annual", _DAY, "USD", dict.fromkeys(RATIOS, 1.0), {}, {}))],
        runs=[Run(_RUN_ID, (profile.country_code,), 1.0, 2.0)],
        quotes={symbol: {"seen_at": _SEEN_AT, "regularMarketPrice": 1.0, "currency": "USD"}},
        statements=[Fetched(symbol, _SEEN_AT, "hash", "{}", {})],
    )


def _what_refuses(error: BaseException) -> tuple[Any, ...]:
    diagnosis = getattr(error, "diag", None)
    names = ("sqlstate", "table_name", "column_name", "constraint_name")
    return tuple(getattr(diagnosis, name, None) for name in names)
