"""Table `quote`: the newest of each stock."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from config import Database
from pipeline.storage import database
from pipeline.storage.rows import Write, write

OLD, NEW = "2026-06-29T08:00:00+00:00", "2026-06-30T08:00:00+00:00"
FULL = {"regularMarketPrice": 12.5, "marketCap": 1_500_000_000, "currency": "EUR", "regularMarketTime": 1_780_000_000, "seen_at": NEW}


def test_the_newest_quote_of_a_stock_is_kept(tables: Database) -> None:
    connection = database.connect(tables)
    try:
        for quote in (FULL, {"marketCap": 1, "seen_at": OLD}):
            write(connection, [Write(quotes={"MC.PA": quote})])
        assert read(connection) == [("MC.PA", 12.5, 1.5e9, "EUR", None, datetime.fromtimestamp(1_780_000_000, timezone.utc), "")]
        write(connection, [Write(quotes={"MC.PA": {"marketCap": 2, "seen_at": NEW}}), Write(quotes={"AI.PA": FULL})])
        assert [(row[0], row[2]) for row in read(connection)] == [("AI.PA", 1.5e9), ("MC.PA", 2.0)]
        for seen_at, market_cap in (("2030-01-01T08:00:00+00:00", 3), (NEW, 4)):
            write(connection, [Write(quotes={"MC.PA": {"marketCap": market_cap, "seen_at": seen_at}})])
        assert read(connection)[1][2] == 4.0, "the clock of 2030 was wrong"
    finally:
        connection.close()


def read(connection: Any) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol, price, market_cap, currency, book_value, quoted_at, sector FROM quote ORDER BY symbol")
        return list(cursor.fetchall())
