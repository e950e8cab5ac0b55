"""The rows that tasks bring, and the one way in which they are written.

Texts reach SQL only as parameters. Rows are sorted by key before they are written, so that two processes that write
the same rows never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extras import execute_values

from pipeline.ratios.rows import RatioRow
from pipeline.storage import statements_store
from pipeline.storage.judgement import refuse_dropped
from pipeline.storage.quotes import UPSERT_QUOTES, quote_row
from pipeline.storage.ratio_rows import write_ratios
from pipeline.storage.run_table import UPSERT_RUN, Run, merge, run_row

_UPSERT_COUNTRY = """
INSERT INTO country (country_code, country_name) VALUES %s
ON CONFLICT (country_code) DO UPDATE SET country_name = EXCLUDED.country_name WHERE country.country_name <> EXCLUDED.country_name
"""
_UPSERT_LISTING = """
INSERT INTO stock (symbol, name, country_code) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET name = EXCLUDED.name, country_code = EXCLUDED.country_code, last_seen = now()
"""
_DELETE_RATIOS = "DELETE FROM financial_ratios WHERE symbol = ANY(%s)"
_PROFILE_COLUMNS = ("exchange", "sector", "industry", "currency", "financial_currency")
# An answer without a profile keeps what is stored.
_UPSERT_PROFILE = f"""
INSERT INTO stock (symbol, name, country_code, {", ".join(_PROFILE_COLUMNS)}) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET
    {", ".join(f"{name} = COALESCE(NULLIF(EXCLUDED.{name}, ''), stock.{name})" for name in _PROFILE_COLUMNS)}, last_seen = now()
"""  # noqa: S608 (the names are this program's own)
#: How many rows one statement writes. What it reports as written is of the last statement alone.
PAGE = 1000


@dataclass(frozen=True)
class ListedStock:
    """A stock as the screener lists it."""

    symbol: str
    name: str
    country_code: str


@dataclass(frozen=True)
class Profile:
    """A stock as its page describes it."""

    symbol: str
    name: str
    country_code: str
    exchange: str
    sector: str
    industry: str
    currency: str
    financial_currency: str


@dataclass
class Write:
    """Rows that belong to one task: written together or not at all."""

    countries: dict[str, str] = field(default_factory=dict)
    listings: Sequence[ListedStock] = ()
    profiles: Sequence[Profile] = ()
    #: run_id and row: all rows of a stock from one answer.
    ratios: Sequence[tuple[str, RatioRow]] = ()
    runs: Sequence[Run] = ()
    #: symbol → what the listing said about it (pipeline/wire/quotes.py), with `seen_at`.
    quotes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Write `ratios` only if they differ from the stored rows: nothing was fetched for this stock.
    only_changes: bool = False
    statements: Sequence[statements_store.Fetched] = ()
    #: Symbols whose stored rows are of a company that had the symbol before: they go, before `ratios` are written.
    replaced: Sequence[str] = ()


def write(connection: Any, batch: Iterable[Write]) -> None:
    """Write all rows of `batch` in one transaction, each table sorted by its key; later rows of one key win."""
    with connection, connection.cursor() as cursor:
        execute(cursor, batch)


def execute(cursor: Any, batch: Iterable[Write]) -> None:
    """`write` within the caller's transaction."""
    countries: dict[str, str] = {}
    listings: dict[str, ListedStock] = {}
    profiles: dict[str, Profile] = {}
    ratios: dict[bool, dict[tuple[str, str, Any], tuple[str, RatioRow]]] = {False: {}, True: {}}
    statements: dict[str, statements_store.Fetched] = {}
    runs: dict[str, Run] = {}
    replaced: set[str] = set()
    quotes: dict[str, Mapping[str, Any]] = {}
    for one in batch:
        quotes |= one.quotes
        replaced.update(one.replaced)
        statements |= {row.symbol: row for row in one.statements}
        countries |= one.countries
        listings |= {row.symbol: row for row in one.listings}
        profiles |= {row.symbol: row for row in one.profiles}
        for run_id, row in one.ratios:
            ratios[one.only_changes][row.symbol, row.period_type, row.period_end] = (run_id, row)
        for run in one.runs:
            runs[run.run_id] = merge(runs.get(run.run_id), run)
    _run(cursor, UPSERT_RUN, sorted(run_row(run) for run in runs.values()))
    _run(cursor, _UPSERT_COUNTRY, sorted(countries.items()))
    _run(cursor, _UPSERT_LISTING, [(row.symbol, row.name, row.country_code) for _, row in sorted(listings.items())])
    _run(cursor, _UPSERT_PROFILE, [_profile_row(row) for _, row in sorted(profiles.items())])
    if 0 < len(profiles) <= PAGE:
        refuse_dropped("stock", cursor.rowcount, len(profiles))
    _run(cursor, UPSERT_QUOTES, [quote_row(symbol, quote) for symbol, quote in sorted(quotes.items())])
    if replaced:
        cursor.execute(_DELETE_RATIOS, (sorted(replaced),))
    for only_changes, found in ratios.items():
        write_ratios(cursor, found.values(), only_changes)
    statements_store.store(cursor, [row for _, row in sorted(statements.items())])


def _run(cursor: Any, sql: str, rows: list[Any]) -> None:
    if rows:
        execute_values(cursor, sql, rows, page_size=PAGE)


def _profile_row(row: Profile) -> tuple[str, ...]:
    return (row.symbol, row.name, row.country_code, row.exchange, row.sector, row.industry, row.currency, row.financial_currency)
