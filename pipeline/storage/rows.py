"""The rows that tasks bring, and the one way in which they are written.

Texts reach SQL only as parameters. Rows are sorted by key before they are written, so that two processes that write
the same rows never wait for each other in a circle.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg2.extras import execute_values

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.storage.quotes import UPSERT_QUOTES, quote_row
from pipeline.storage.run_table import UPSERT_RUN, Run, merge, run_row

_UPSERT_COUNTRY = """
INSERT INTO country (country_code, country_name) VALUES %s
ON CONFLICT (country_code) DO UPDATE SET country_name = EXCLUDED.country_name WHERE country.country_name <> EXCLUDED.country_name
"""
_UPSERT_LISTING = """
INSERT INTO stock (symbol, name, country_code) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET name = EXCLUDED.name, country_code = EXCLUDED.country_code, last_seen = now()
"""
_UPSERT_PROFILE = """
INSERT INTO stock (symbol, name, country_code, exchange, sector, industry, currency, financial_currency) VALUES %s
ON CONFLICT (symbol) DO UPDATE SET exchange = EXCLUDED.exchange, sector = EXCLUDED.sector, industry = EXCLUDED.industry,
    currency = EXCLUDED.currency, financial_currency = EXCLUDED.financial_currency, last_seen = now()
"""
_RATIO_COLUMNS = ("symbol", "period_type", "period_end", "run_id", "currency", *RATIOS, "null_reasons", "inputs")
# The rows come as one JSON text: fifty columns quoted one by one cost this process three times as much.
_UPSERT_RATIOS = f"""
INSERT INTO financial_ratios ({", ".join(_RATIO_COLUMNS)})
SELECT {", ".join(_RATIO_COLUMNS)} FROM json_populate_recordset(NULL::financial_ratios, %s)
ON CONFLICT (symbol, period_type, period_end) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _RATIO_COLUMNS[3:])}, computed_at = now()
"""  # noqa: S608 (the names are this program's own)
# One trailing row a symbol: the older one goes in the transaction that brings the new one.
_DELETE_OLD_TRAILING = """
DELETE FROM financial_ratios old USING (VALUES %s) AS new (symbol, period_end)
WHERE old.symbol = new.symbol AND old.period_type = 'ttm' AND old.period_end IS DISTINCT FROM new.period_end::date
"""


@dataclass(frozen=True)
class ListedStock:
    """A stock as the screener lists it."""

    symbol: str
    name: str
    country_code: str


@dataclass(frozen=True)
class Profile:
    """A stock as its own page describes it."""

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
    #: run_id and rows; `trailing_of` names the symbols whose trailing row is replaced (or goes, if there is no new one).
    ratios: Sequence[tuple[str, RatioRow]] = ()
    trailing_of: Sequence[str] = ()
    runs: Sequence[Run] = ()
    #: symbol → what its listing's answer said (pipeline/wire/quotes.py), with `seen_at`.
    quotes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write(connection: Any, batch: Iterable[Write]) -> None:
    """Write all rows of `batch` in one transaction, each table sorted by its key; later rows of one key win."""
    countries: dict[str, str] = {}
    listings: dict[str, ListedStock] = {}
    profiles: dict[str, Profile] = {}
    ratios: dict[tuple[str, str, Any], tuple[str, RatioRow]] = {}
    trailing: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    quotes: dict[str, Mapping[str, Any]] = {}
    for one in batch:
        quotes |= one.quotes
        countries |= one.countries
        listings |= {row.symbol: row for row in one.listings}
        profiles |= {row.symbol: row for row in one.profiles}
        trailing |= dict.fromkeys(one.trailing_of)
        for run_id, row in one.ratios:
            ratios[row.symbol, row.period_type, row.period_end] = (run_id, row)
            if row.period_type == "ttm":
                trailing[row.symbol] = row.period_end
        for run in one.runs:
            runs[run.run_id] = merge(runs.get(run.run_id), run)
    with connection, connection.cursor() as cursor:
        _run(cursor, UPSERT_RUN, sorted(run_row(run) for run in runs.values()))
        _run(cursor, _UPSERT_COUNTRY, sorted(countries.items()))
        _run(cursor, _UPSERT_LISTING, [(row.symbol, row.name, row.country_code) for _, row in sorted(listings.items())])
        _run(cursor, _UPSERT_PROFILE, [_profile_row(row) for _, row in sorted(profiles.items())])
        _run(cursor, UPSERT_QUOTES, [quote_row(symbol, quote) for symbol, quote in sorted(quotes.items())])
        _run(cursor, _DELETE_OLD_TRAILING, sorted(trailing.items(), key=lambda item: item[0]))
        if ratios:
            rows = [_ratio_row(*found) for _, found in sorted(ratios.items(), key=lambda item: item[0])]
            cursor.execute(_UPSERT_RATIOS, (json.dumps(rows, allow_nan=False, ensure_ascii=False),))


def _run(cursor: Any, sql: str, rows: list[Any]) -> None:
    if rows:
        execute_values(cursor, sql, rows, page_size=1000)


def _profile_row(row: Profile) -> tuple[str, ...]:
    return (row.symbol, row.name, row.country_code, row.exchange, row.sector, row.industry, row.currency, row.financial_currency)


def _ratio_row(run_id: str, row: RatioRow) -> dict[str, Any]:
    named = {"symbol": row.symbol, "period_type": row.period_type, "period_end": row.period_end.isoformat(), "run_id": run_id}
    return {**named, "currency": row.currency, **row.values, "null_reasons": row.null_reasons, "inputs": row.inputs}
