"""`financial_ratios`: how new rows are merged with stored ones. Older never replaces newer, nothing never replaces something.

- One trailing row per stock: the transaction that writes a newer one deletes the older one; that of an older answer is not written, neither
  one of an older period nor one of the same period with an older quote.
- A trailing row that is older than the newest fiscal year is deleted.
- A fiscal year whose date has moved by fewer than 20 days replaces its row.
- What an answer lacks (prices, rates, a whole statement) stays as it is stored (pipeline.ratios.stored_row).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Any

from psycopg2.extras import execute_values

from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.periods import REDATED_DAYS
from pipeline.ratios.rows import RatioRow
from pipeline.ratios.statement import SAME_PERIOD_DAYS
from pipeline.ratios.stored_row import StoredRow, keep, lacking
from pipeline.storage.judgement import refuse_dropped

_COLUMNS = ("symbol", "period_type", "period_end", "run_id", "currency", *RATIOS, "null_reasons", "inputs", "quality")
# The rows come as one JSON text: fifty columns quoted one by one cost this process three times as much. `jsonb`, since `json` is
# parsed again for each column that is `jsonb`, a fifth of what a row costs the server.
_UPSERT = f"""
INSERT INTO financial_ratios ({", ".join(_COLUMNS)})
SELECT {", ".join(_COLUMNS)} FROM jsonb_populate_recordset(NULL::financial_ratios, %s) new
WHERE new.period_type <> 'ttm' OR NOT EXISTS (
    SELECT FROM financial_ratios f WHERE f.symbol = new.symbol AND f.period_type = 'ttm' AND f.period_end > new.period_end)
ON CONFLICT (symbol, period_type, period_end) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS[3:])}, computed_at = now()
"""  # noqa: S608 (the names are this program's own)
_NOT_OLDER = """WHERE (EXCLUDED.period_type <> 'ttm' OR COALESCE(
    EXCLUDED.inputs -> 'market' ->> 'quoted_on' >= financial_ratios.inputs -> 'market' ->> 'quoted_on', TRUE))"""
_COMPARED = tuple(name for name in _COLUMNS[3:] if name != "run_id")
_IF_CHANGED = (
    f" AND ({', '.join(f'financial_ratios.{name}' for name in _COMPARED)})"
    f" IS DISTINCT FROM ({', '.join(f'EXCLUDED.{name}' for name in _COMPARED)})"
)
# Whether the table has a trigger that runs before each row is written (bits 1 and 2): it may drop rows without an error.
_MAY_DROP = """
SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'financial_ratios'::regclass AND tgenabled <> 'D' AND tgtype & 3 = 3)
"""
_DELETE_OLD_TRAILING = f"""
DELETE FROM financial_ratios old USING (VALUES %s) AS new (symbol, ttm_end, year_end)
WHERE old.symbol = new.symbol AND old.period_type = 'ttm'
AND (old.period_end < new.ttm_end::date OR old.period_end < new.year_end::date - {SAME_PERIOD_DAYS})
"""  # noqa: S608
_DELETE_REDATED = f"""
DELETE FROM financial_ratios old USING (VALUES %s) AS new (symbol, year_end, year_ends)
WHERE old.symbol = new.symbol AND old.period_type = 'annual' AND abs(old.period_end - new.year_end::date) < {REDATED_DAYS}
AND old.period_end <> ALL (new.year_ends::date[])
"""  # noqa: S608
_STORED = f"""
SELECT f.symbol, f.period_type, f.period_end, f.run_id, f.inputs, {", ".join(f"f.{name}" for name in RATIOS)}
FROM financial_ratios f JOIN (VALUES %s) AS new (symbol, period_type, period_end, currency)
ON f.symbol = new.symbol AND f.period_type = new.period_type AND f.currency = new.currency
AND abs(f.period_end - new.period_end::date) < CASE f.period_type WHEN 'annual' THEN {REDATED_DAYS} ELSE 1 END
"""  # noqa: S608


def write_ratios(cursor: Any, found: Iterable[tuple[str, RatioRow]], only_changes: bool = False) -> None:
    """Write rows, each with its run_id. All rows of a stock must be in one call.

    `only_changes`: a row that is stored already as it is stays untouched, with the run that wrote it.
    """
    rows = sorted(found, key=lambda pair: (pair[1].symbol, pair[1].period_type, pair[1].period_end))
    if not rows:
        return
    rows = _with_what_is_known(cursor, rows)
    trailing: dict[str, date] = {}
    years: dict[str, list[date]] = {}
    for _, row in rows:
        if row.period_type == "ttm":
            trailing[row.symbol] = row.period_end
        else:
            years.setdefault(row.symbol, []).append(row.period_end)
    symbols = sorted(trailing.keys() | years.keys())
    old = [(symbol, trailing.get(symbol), max(years.get(symbol, ()), default=None)) for symbol in symbols]
    execute_values(cursor, _DELETE_OLD_TRAILING, old, page_size=1000)
    redated = [(symbol, end, ends) for symbol, ends in sorted(years.items()) for end in ends]
    if redated:
        execute_values(cursor, _DELETE_REDATED, redated, page_size=1000)
    text = json.dumps([_as_json(*pair) for pair in rows], allow_nan=False, ensure_ascii=False)
    years_sent = sum(row.period_type == "annual" for _, row in rows)
    if only_changes:
        _refuse_triggers_that_drop(cursor, text, years_sent)
        cursor.execute(_UPSERT + _NOT_OLDER + _IF_CHANGED, (text,))
    else:
        _write_all(cursor, text, years_sent)


def _write_all(cursor: Any, text: str, years_sent: int) -> None:
    """Raises RowsDropped if not all fiscal years are written. A trailing row may rightly be skipped, for a newer one."""
    cursor.execute(f"{_UPSERT} {_NOT_OLDER} RETURNING period_type", (text,))
    refuse_dropped("financial_ratios", sum(kind == "annual" for (kind,) in cursor), years_sent)


def _refuse_triggers_that_drop(cursor: Any, text: str, years_sent: int) -> None:
    """Raises RowsDropped if a trigger drops rows: if only changes are written, their number does not show it.

    So all are written, and taken back. That takes time, but hardly any table has such a trigger.
    """
    cursor.execute(_MAY_DROP)
    if cursor.fetchone()[0]:
        cursor.execute("SAVEPOINT trial")
        _write_all(cursor, text, years_sent)
        cursor.execute("ROLLBACK TO SAVEPOINT trial")


def _with_what_is_known(cursor: Any, rows: list[tuple[str, RatioRow]]) -> list[tuple[str, RatioRow]]:
    wanting = [(row.symbol, row.period_type, row.period_end, row.currency) for _, row in rows if lacking(row)]
    if not wanting:
        return rows
    stored: dict[tuple[str, str], list[tuple[date, StoredRow]]] = {}
    for symbol, kind, end, run_id, inputs, *values in execute_values(cursor, _STORED, wanting, page_size=1000, fetch=True):
        known = StoredRow(run_id, dict(zip(RATIOS, values, strict=True)), inputs)
        stored.setdefault((symbol, kind), []).append((end, known))
    return [(run_id, _kept(row, stored.get((row.symbol, row.period_type), []))) for run_id, row in rows]


def _kept(row: RatioRow, stored: list[tuple[date, StoredRow]]) -> RatioRow:
    near = [(abs((end - row.period_end).days), known) for end, known in stored if abs((end - row.period_end).days) < REDATED_DAYS]
    return keep(row, min(near, key=lambda pair: pair[0])[1]) if near and lacking(row) else row


def _as_json(run_id: str, row: RatioRow) -> dict[str, Any]:
    named = {"symbol": row.symbol, "period_type": row.period_type, "period_end": row.period_end.isoformat(), "run_id": run_id}
    texts = {"null_reasons": row.null_reasons, "inputs": row.inputs, "quality": row.quality}
    return {**named, "currency": row.currency, **row.values, **texts}
