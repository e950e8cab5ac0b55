"""Computes all rows again from what is stored, without a request, for example after a formula has changed."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from config import Settings
from pipeline.ratios.fundamentals import Rates
from pipeline.refresh import due
from pipeline.refresh.processor import is_nothing, rows_anew
from pipeline.refresh.rates import of_series
from pipeline.storage import database, fx_rates, quotes, statements_store
from pipeline.storage.rows import Write, write
from pipeline.storage.statements_store import Stored
from pipeline.yahoo import session


@dataclass(frozen=True)
class Done:
    """How much one batch was."""

    stocks: int
    rows: int


class StoredRates:
    """Stored exchange rates by pair. Each pair is read once."""

    def __init__(self, connection: Any, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._known: dict[str, Rates] = {}

    def __call__(self, pair: str) -> Rates:
        rates = self._known.get(pair)
        if rates is None:
            with self._connection, self._connection.cursor() as cursor:
                rates = self._known[pair] = of_series(fx_rates.series(cursor, pair), self._settings.today())
        return rates


def recompute(settings: Settings, run_id: str, processes: int) -> Iterator[Done]:
    """Compute and write the rows of every company in `processes` processes. Yields after each batch, and raises what a process raised."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    parts = [context.Process(target=_part, args=(settings, run_id, part, processes, results), daemon=True) for part in range(processes)]
    for process in parts:
        process.start()
    ended = 0
    while ended < processes:
        found = results.get()
        if isinstance(found, BaseException):
            raise found
        if found is None:
            ended += 1
        else:
            yield found
    for process in parts:
        process.join()


def _part(settings: Settings, run_id: str, part: int, of: int, results: Any) -> None:
    try:
        session.set_today(settings.today)
        reading, writing = database.connect(settings.database), database.connect(settings.database)
        rates = StoredRates(writing, settings)
        for batch in statements_store.every(reading, part, of):
            found = [one for stored in batch if (one := _rows(stored, run_id, rates)) is not None]
            write(writing, found)
            results.put(Done(len(batch), sum(len(one.ratios) for one in found)))
        results.put(None)
    except BaseException as error:
        results.put(RuntimeError(f"{type(error).__name__}: {error}"))


def _rows(stored: Stored, run_id: str, rates: StoredRates) -> Write | None:
    payload = json.loads(stored.payload)
    if is_nothing(payload):
        return None
    last = due.from_json(stored.evidence, stored.fetched_at)
    # If no listing has had the stock since, what the site said at the last fetch counts.
    quote = {**last.quote, **(quotes.site_fields(stored.quote) if stored.quote else {})}
    rows = rows_anew(payload, last, stored.symbol, quote, rates)
    return Write(ratios=[(run_id, row) for row in rows], only_changes=True)
