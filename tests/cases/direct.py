"""The rows of a case by the real code, without HTTP and PostgreSQL in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pipeline.errors import NoData
from pipeline.ratios.rows import RatioRow, ratio_rows
from pipeline.yahoo.fetch import fetch_by, rates_by
from tests.cases.stand_in import TODAY, Case, Cases


def rows_of(case: Case, mangled: Callable[[str, Any], None] = lambda kind, body: None) -> list[RatioRow]:
    """`mangled` changes an answer ("quote", "statements", "chart" or "rate" and its body) before it is read."""
    site = Cases([case])

    def get_json(url: str, params: dict[str, Any]) -> Any:
        status, body = site.answer(url.split("yahoo.com")[1], {name: str(value) for name, value in params.items()})
        if status == 404:
            raise NoData("gone")
        body = json.loads(json.dumps(body))
        kinds = {"/v10/": "quote", "/ws/": "statements", "=X": "rate", "/v8/": "chart"}
        mangled(next(kind for part, kind in kinds.items() if part in url), body)
        return body

    return ratio_rows(fetch_by(get_json, case["symbol"], TODAY, lambda pair: rates_by(get_json, pair, TODAY)))
