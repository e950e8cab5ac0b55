"""A stock that nothing is wrong with, written as tasks write theirs and taken back: whether the database takes rows at all.

If it refuses this one too, a refusal is not for what a task's row holds, whatever its SQLSTATE says: a constraint or a trigger that
somebody added meets all rows alike. And only rows that are really written notice a full disk.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.storage.rows import ListedStock, Profile, Write, execute
from pipeline.storage.run_table import Run
from pipeline.storage.statements_store import Fetched

_RUN_ID = "20000101T000000Z-0000"
#: A valid symbol that no exchange uses.
_SYMBOL = "SPECIMEN.PIPELINE"
_DAY = date(2000, 1, 1)
_SEEN_AT = "2000-01-01T00:00:00Z"
_SPECIMEN = Write(
    countries={"us": "United States"},
    listings=[ListedStock(_SYMBOL, "A Company", "us")],
    profiles=[Profile(_SYMBOL, "A Company", "us", "NYSE", "Industrials", "Tools", "USD", "USD")],
    ratios=[(_RUN_ID, RatioRow(_SYMBOL, "annual", _DAY, "USD", dict.fromkeys(RATIOS, 1.0), {}, {}))],
    runs=[Run(_RUN_ID, ("us",), 1.0, 2.0)],
    quotes={_SYMBOL: {"seen_at": _SEEN_AT, "regularMarketPrice": 1.0, "currency": "USD"}},
    statements=[Fetched(_SYMBOL, _SEEN_AT, "hash", {}, {})],
)


def try_to_write(connection: Any) -> None:
    """Write a row into each table and take it back. Raises psycopg2.Error."""
    try:
        with connection.cursor() as cursor:
            execute(cursor, [_SPECIMEN])
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    finally:
        if not connection.closed:
            connection.rollback()
