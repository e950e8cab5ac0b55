"""The rows of a company from what is stored, without a request.

Imports nothing that could make one: `recompute_ratios.py` starts a process per core, each of which would import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from pipeline.ratios.fundamentals import Rates
from pipeline.ratios.rows import RatioRow, rows_of
from pipeline.refresh.due import Evidence
from pipeline.yahoo.renewed import renewed


def rows_anew(
    payload: Mapping[str, Any],
    last: Evidence,
    symbol: str,
    quote: Mapping[str, Any],
    get_rates: Callable[[str], Rates],
    as_of: date,
) -> list[RatioRow]:
    """The rows of the stored statements with a quote and rates of the day `as_of`."""
    # A share count is no figure of a day: the last one will do.
    known = {**{name: last.quote[name] for name in ("sharesOutstanding", "currency", "financialCurrency") if name in last.quote}, **quote}
    return rows_of(*renewed(payload, symbol, known, last.fetched_at.date(), get_rates, as_of))
