"""Gives the handler of processing tasks what it needs: stored statements, quotes by the hundred, the day's exchange rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from config import Settings
from pipeline.refresh.batches import Batched
from pipeline.refresh.processor import Processor, Refresh
from pipeline.refresh.rates import KeptRates
from pipeline.refresh.reader import Reader
from pipeline.storage import statements_store
from pipeline.storage.statements_store import Stored
from pipeline.wire import quotes
from pipeline.yahoo import partly
from pipeline.yahoo.fetch import exchange_rates, fetch_rates

#: How many stocks' statements one query reads at most, and how long it waits for more threads to ask.
STORED_AT_ONCE, STORED_LINGER_SECONDS = 64, 0.003
#: How many symbols a quote request has at most, and how long it waits for more threads to ask.
QUOTES_AT_ONCE, QUOTES_LINGER_SECONDS = 100, 0.25


def processor(settings: Settings, refresh_all: bool = False) -> Processor:
    """The handler for a process whose yfinance is set up."""
    reader = Reader(settings.database)

    def stored(symbols: Sequence[str]) -> dict[str, Stored]:
        return reader.read(lambda connection: statements_store.newest(connection, symbols))

    def now() -> datetime:
        return datetime.fromisoformat(quotes.seen_at(settings.today()))

    statements: Batched[Stored] = Batched(stored, STORED_AT_ONCE, STORED_LINGER_SECONDS, "stored-statements")
    asked: Batched[Mapping[str, Any]] = Batched(partly.fetch_quotes, QUOTES_AT_ONCE, QUOTES_LINGER_SECONDS, "quotes")
    exchange_rates.ask(KeptRates(Reader(settings.database), fetch_rates, settings.today))
    return Processor(Refresh(settings.fundamentals_source, refresh_all, settings.statements_max_age_days), statements.begin, asked.get, now)
