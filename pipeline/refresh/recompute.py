"""Computes all rows again from what is stored, without a request, for example after a formula has changed."""

from __future__ import annotations

import json
import multiprocessing
import queue
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from config import Settings
from pipeline.errors import ServiceError
from pipeline.ratios.fundamentals import Rates
from pipeline.refresh import due
from pipeline.refresh.anew import rows_anew
from pipeline.refresh.rates import of_series
from pipeline.storage import database, fx_rates, quotes, statements_store
from pipeline.storage.judgement import Cause, judge
from pipeline.storage.rows import Write, write
from pipeline.storage.statements_store import NOTHING, Stored
from pipeline.wire.text import one_line

#: Seconds after which it is looked whether the processes live, while none says anything.
LOOK_SECONDS = 0.5


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
    """Compute and write the rows of every company in `processes` processes. Yields after each batch.

    Raises ServiceError if the database can't be used any more or a process dies, RuntimeError for anything else. No process is left.
    """
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    parts = [context.Process(target=_part, args=(settings, run_id, part, processes, results), daemon=True) for part in range(processes)]
    # A terminal's Ctrl+C goes to all of its processes. It is this one's alone, which ends the others.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for process in parts:
            process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        ended = 0
        while ended < processes:
            found = _next(results, parts)
            if isinstance(found, BaseException):
                raise found
            if found is None:
                ended += 1
            else:
                yield found
    finally:
        for process in parts:
            process.terminate()
        for process in parts:
            process.join()


def _next(results: Any, parts: Sequence[Any]) -> Any:
    """What a process says next. One that was killed says nothing more."""
    while True:
        killed = next((process.exitcode for process in parts if process.exitcode), None)
        try:
            return results.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if killed:
                raise ServiceError(
                    f"one of the {len(parts)} processes died (exit code {killed}; -9 is what a machine without memory left does). "
                    "What was written stays; start it again, with fewer --processes if memory is short"
                ) from None


def _part(settings: Settings, run_id: str, part: int, of: int, results: Any) -> None:
    try:
        reading, writing = database.connect(settings.database), database.connect(settings.database)
        rates, as_of = StoredRates(writing, settings), settings.today()
        with database.telling_of_locks(reading), database.telling_of_locks(writing):
            for batch in statements_store.every(reading, part, of):
                if not _parent_lives():
                    return
                found = [one for stored in batch if (one := _rows(stored, run_id, rates, as_of)) is not None]
                write(writing, found)
                results.put(Done(len(batch), sum(len(one.ratios) for one in found)))
        results.put(None)
    except BaseException as error:
        results.put(_told(error))


def _told(error: BaseException) -> Exception:
    """What the other process raises for it."""
    if isinstance(error, ServiceError):
        return error
    if judge(error) is Cause.DATABASE:
        return ServiceError(f"the database can't be used: {one_line(' '.join(str(error).split()), 300)}. What was written stays")
    return RuntimeError(f"{type(error).__name__}: {error}")


def _parent_lives() -> bool:
    parent = multiprocessing.parent_process()
    return parent is None or parent.is_alive()


def _rows(stored: Stored, run_id: str, rates: StoredRates, as_of: date) -> Write | None:
    payload = json.loads(stored.payload)
    if NOTHING in payload:
        return None
    last = due.from_json(stored.evidence, stored.fetched_at)
    # If no listing has had the stock since, what the site said at the last fetch counts.
    quote = {**last.quote, **(quotes.site_fields(stored.quote) if stored.quote else {})}
    rows = rows_anew(payload, last, stored.symbol, quote, rates, as_of)
    return Write(ratios=[(run_id, row) for row in rows], only_changes=True)
