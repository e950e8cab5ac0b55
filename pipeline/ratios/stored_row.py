"""Nothing never replaces something: which stored figures stay if a new answer lacks what they need. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, INCOME_KEYS
from pipeline.ratios.market_value import QUOTE_DAYS
from pipeline.ratios.rows import RatioRow
from pipeline.ratios.share_counts import SHARES
from pipeline.ratios.statement import SAME_PERIOD_DAYS

#: Reasons that say that the answer had no price or no rate; not those that say that what it had cannot be believed.
_NO_ANSWER = frozenset({"no_price", "fx_unavailable"})
#: What shows that a key's statement is there: any of its lines, but a share count alone is no balance sheet.
_STATEMENT_OF = {key: frozenset(keys) - {SHARES} for keys in (INCOME_KEYS, BALANCE_KEYS, CASH_FLOW_KEYS) for key in keys}


@dataclass(frozen=True)
class StoredRow:
    """A row of the same period in the same currency, as it stands in the database."""

    run_id: str
    values: Mapping[str, float | None]
    inputs: Mapping[str, Any]


def lacking(row: RatioRow) -> dict[str, str]:
    """ratio → reason, of those for which the answer had nothing: no price, no rate, a whole statement missing."""
    found = {name: reason for name, reason in row.null_reasons.items() if reason in _NO_ANSWER}
    missing = [(name, reason) for name, reason in row.null_reasons.items() if reason.startswith("missing:")]
    if missing:
        near = {(row.period_end + timedelta(days=days)).isoformat() for days in range(-SAME_PERIOD_DAYS, SAME_PERIOD_DAYS + 1)}
        there = {key for key, by_day in row.inputs.get("lines", {}).items() if not near.isdisjoint(by_day)}
        found |= {name: reason for name, reason in missing if not (_STATEMENT_OF.get(reason.partition(":")[2], there) & there)}
    return found


def keep(row: RatioRow, stored: StoredRow) -> RatioRow:
    """The new row with the stored values of what its answer lacks. A quote that grew old meanwhile is not kept."""
    missing = lacking(row)
    market = stored.inputs.get("market") or {}
    if row.period_type == "ttm" and not _still_recent(market.get("quoted_on"), row.as_of):
        missing = {name: reason for name, reason in missing.items() if reason not in _NO_ANSWER}
    kept: dict[str, float | None] = {name: value for name in missing if (value := stored.values.get(name)) is not None}
    if not kept:
        return row
    lines = {key: {**(stored.inputs.get("lines") or {}).get(key, {}), **by_day} for key, by_day in row.inputs.get("lines", {}).items()}
    inputs = {**row.inputs, "lines": {**(stored.inputs.get("lines") or {}), **lines}}
    if any(missing[name] in _NO_ANSWER for name in kept):
        inputs["market"] = market
    if (stored.values.get("piotroski_tested") or 0) > (row.values.get("piotroski_tested") or 0):
        kept |= {name: stored.values.get(name) for name in ("piotroski_f", "piotroski_tested")}
        inputs["piotroski"] = stored.inputs.get("piotroski") or {}
    values = {**row.values, **kept}
    reasons = {name: reason for name, reason in row.null_reasons.items() if values[name] is None}
    quality = {**row.quality, "kept": f"{len(kept)} figures of run {stored.run_id}, since the newest answer lacks what they need"}
    return replace(row, values=values, null_reasons=reasons, inputs=inputs, quality=quality)


def _still_recent(quoted_on: Any, as_of: date | None) -> bool:
    try:
        return as_of is not None and (as_of - date.fromisoformat(quoted_on)).days <= QUOTE_DAYS
    except (TypeError, ValueError):
        return False
