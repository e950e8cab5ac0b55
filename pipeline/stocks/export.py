"""Streams rows of ratios as CSV or JSON lines. Memory does not grow with the number of rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from pipeline.stocks import listed, query
from pipeline.stocks.query import Screen
from pipeline.wire.text import printable

_SELECTED = ("symbol", "name", "region", "exchange", "sector", "industry", "period_type", "period_end", "currency", *query.RATIOS, "run_id")
#: The columns of an export, in order. The last two are the market cap in the currency that the stock is traded in.
COLUMNS = (*_SELECTED, "listed_market_cap", "listed_currency")
#: Index of the caller's own columns in a fetched row.
_MORE = len(_SELECTED) + len(listed.COLUMNS)
#: Rows that are fetched at a time, and rows per piece of text.
ROWS_AT_A_TIME = 500
#: The beginnings of formulas for a spreadsheet, including the full-width forms of eastern keyboards: at the start of a cell, and after
#: each possible separator, because spreadsheets guess the separator or take the one of the user's country.
_FORMULA = re.compile(r"(^|[;,|\t\r\n])(?=[ \"'\u00a0]*[=+\-@＝＋－＠]|[\t\r\n])")


def rows(connection: Any, screen: Screen, more: str = "") -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `screen`, each followed by `more`, through a cursor on the server. Raises ConditionError and psycopg2.Error."""
    sql, values = query.select(screen, _SELECTED, more=more)
    with connection.cursor(name="export") as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        cursor.execute(sql, values)
        for row in cursor:
            listing = listed.listed_size(*row[len(_SELECTED) : _MORE])
            yield (*row[: len(_SELECTED)], *(listing or (None, None)), *row[_MORE:])


def csv_texts(found: Iterator[Sequence[Any]], for_terminal: bool = False) -> Iterator[str]:
    """CSV (RFC 4180), header first. Text that a spreadsheet would run as a formula gets a ' in front. Numbers stay as they are.

    For a terminal, characters that could drive it are replaced.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for number, row in enumerate(found, 1):
        writer.writerow([cell(printable(value) if for_terminal and isinstance(value, str) else value) for value in row])
        if number % ROWS_AT_A_TIME == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet runs as a formula, whichever separator it assumes."""
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else _plain(value)


def json_texts(found: Iterator[Sequence[Any]], for_terminal: bool = False) -> Iterator[str]:
    """One JSON object per line: the columns, and `null_reasons`, which says why a value is null. `for_terminal` as in `csv_texts`."""
    for row in found:
        fields = {name: _plain(value) for name, value in zip(COLUMNS, row, strict=False)}
        text = json.dumps({**fields, "null_reasons": row[len(COLUMNS)] or {}}, ensure_ascii=False)
        yield (printable(text) if for_terminal else text) + "\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, (date, datetime)) else value
