"""Nights over the local market without Kafka: its companies as tasks, the handler in threads, rows into a real PostgreSQL."""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from kafka import TopicPartition

import config
from config import Database
from local.market import screening
from local.market.companies import BAND_HIGH, BAND_LOW, REGION_SHARES, Market, build_market
from pipeline.errors import NoData
from pipeline.refresh.processor import Processor
from pipeline.refresh.sources import processor
from pipeline.storage import database, schema
from pipeline.storage.rows import Write
from pipeline.storage.writer import Writer
from pipeline.wire import quotes
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.results import Computed, Nothing
from pipeline.worker.delivery import Delivery
from pipeline.worker.failures import GONE
from pipeline.yahoo import fetch, session
from tests.market.conftest import RunningMarket, running

#: Columns that say when and by which run a row was written, not what is in it.
NOT_COMPARED = {"run_id", "computed_at"}
#: What only the stock's own page says, which is asked for a sample.
SITES_OWN = {"site_ratios", "newest_quarter"}
THREADS = 8


@dataclass
class Night:
    """One run: what became of each stock, and the requests that the market counted, by kind."""

    results: dict[str, Computed | Nothing]
    requests: Counter[str]

    def why(self) -> Counter[str]:
        return Counter(result.why for result in self.results.values())


def listed(market: Market) -> list[Any]:
    return [company for region in REGION_SHARES for company in market.in_dollars(region, BAND_LOW, BAND_HIGH)]


def night(
    base: Database,
    folder: Path,
    stocks: int,
    day: int,
    refresh_all: bool = False,
    with_quotes: bool = True,
    only: Collection[str] | None = None,
) -> Night:
    """Process the stocks of a market's day into `base`: all, or those named."""
    market = build_market(stocks, 1, day)
    settings = replace(config.load(demo=False, environ={}), database=base, fixed_day=market.today)
    with running("--stocks", str(stocks), "--day", str(day)) as served:
        fetch.exchange_rates.clear()
        session.setup(served.base, folder / uuid.uuid4().hex, today=settings.today)
        handler, writer = processor(settings, refresh_all), Writer(base)
        run_id = f"20260630T{day // 60 % 24:02}{day % 60:02}00Z-{uuid.uuid4().hex[:4]}"
        seen_at = quotes.seen_at(market.today)
        tasks = [
            ProcessingTask(run_id, one.symbol, one.name, one.region, quotes.cleaned(screening.listed(one), seen_at) if with_quotes else {})
            for one in listed(market)
            if only is None or one.symbol in only
        ]
        # As the listing does.
        writer.write(Write(quotes={task.symbol: task.quote for task in tasks if task.quote}))
        with ThreadPoolExecutor(THREADS) as threads:
            found = list(threads.map(lambda task: _done(handler, writer, task), tasks))
        writer.close()
        fetch.exchange_rates.ask(fetch.fetch_rates)
        fetch.exchange_rates.clear()
        return Night({task.symbol: result for task, result in zip(tasks, found, strict=True)}, _requests(served))


def _done(handler: Processor, writer: Writer, task: ProcessingTask) -> Any:
    headers = {}
    for _ in range(2):
        delivery = Delivery(TopicPartition("tasks", 0), 0, b"", headers, task, 0)
        try:
            outcome = handler(delivery)
        except NoData:
            headers = {"error-type": GONE}
            continue
        if outcome.write is not None:
            writer.write(outcome.write)
        return outcome.result
    raise AssertionError(f"{task.symbol} was gone twice and is not said to be")


def _requests(served: RunningMarket) -> Counter[str]:
    return Counter(served.get("/market/stats")["by_kind"])


@contextlib.contextmanager
def empty_database(server: Database) -> Iterator[Database]:
    """A database of its own on the same server, with the tables in it."""
    name = f"night_{uuid.uuid4().hex[:8]}"
    connection = database.connect(server)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    base = replace(server, name=name)
    made = database.connect(base)
    schema.create_tables(made)
    made.close()
    try:
        yield base
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        connection.close()


def rows_of(base: Database) -> dict[tuple[str, str, str], dict[str, Any]]:
    """All rows of ratios by key, without what says when they were written."""
    connection = database.connect(base)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_jsonb(r) FROM financial_ratios r")
        found = [row for (row,) in cursor.fetchall()]
    connection.close()
    return {
        (row["symbol"], row["period_type"], row["period_end"]): {name: value for name, value in row.items() if name not in NOT_COMPARED}
        for row in found
    }


def differences(stored: Database, first: Database) -> dict[tuple[str, str, str], list[str]]:
    """Rows of a first run that the other database does not have, or has otherwise, and which columns; the site's own ratios apart.

    Fiscal years that the site no longer gives stay, so rows more are no difference, but a second trailing row is.
    """
    ours, theirs = rows_of(stored), rows_of(first)
    found = {}
    for key, row in theirs.items():
        mine = ours.get(key)
        names = ["no row"] if mine is None else [name for name in row if _compared(name, row[name]) != _compared(name, mine[name])]
        if names:
            found[key] = names
    newest: dict[str, str] = {}
    for symbol, _, end in theirs:
        newest[symbol] = max(end, newest.get(symbol, ""))
    for key in ours.keys() - theirs.keys():
        if key[0] in newest and (key[1] == "ttm" or key[2] > newest[key[0]]):
            found[key] = ["row too many"]
    return found


def _compared(name: str, value: Any) -> Any:
    return {part: one for part, one in value.items() if part not in SITES_OWN} if name == "inputs" and value else value


__all__ = ["Night", "differences", "empty_database", "night", "psycopg2", "rows_of"]
