"""Every case through the real code, from the site's answers to the rows in PostgreSQL: none may be wrong, no good one lost."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2.extras
import pytest

from config import Database
from pipeline.errors import RateLimited, TaskError, TransientError
from pipeline.ratios.rows import ratio_rows
from pipeline.storage import database, schema
from pipeline.storage.rows import Profile, Write, write
from pipeline.yahoo import fetch, session
from tests.cases.stand_in import CRUMB, HERE, TODAY, Case, Cases, day, load

CASES = load(HERE / "given") + load(HERE / "more")
ATTEMPTS = 3
RUN = "20261128T000000Z-0000"


@contextlib.contextmanager
def served(cases: Cases) -> Iterator[str]:
    """The cases behind HTTP, as a plain forward proxy; its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            cookie = (parts.hostname or "").startswith("fc.")
            status, body = (404, "") if cookie else (200, CRUMB) if parts.path == "/v1/test/getcrumb" else self.data(parts)
            raw = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if cookie:
                self.send_header("Set-Cookie", "A3=made-up; Max-Age=31557600; Domain=.yahoo.com; Path=/")
            self.end_headers()
            self.wfile.write(raw)

        def data(self, parts: Any) -> Any:
            return cases.answer(parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()})

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def processed(symbol: str) -> Write | None:
    """What is written of a symbol, after as many attempts as the worker would make; None where it fails for good."""
    attempts = 0
    while attempts < ATTEMPTS:
        try:
            found = fetch.fetch(symbol)
        except RateLimited:
            continue  # patience is no attempt
        except TransientError:
            attempts += 1
            continue
        except TaskError:
            return None
        texts = (found.exchange, found.sector, found.industry, found.currency, found.financial_currency)
        profile = Profile(symbol, symbol, "us", *(text or "" for text in texts))
        return Write(countries={"us": "United States"}, profiles=[profile], ratios=[(RUN, row) for row in ratio_rows(found)])
    return None


@pytest.fixture(scope="module")
def rows(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """symbol → its rows by period type and end, and its `stock`."""
    connection = database.connect(postgres)
    schema.create_tables(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE country, stock, financial_ratios, pipeline_run")
    cases = Cases(CASES)
    with served(cases) as url:
        session.setup(url, tmp_path_factory.mktemp("cache"), today=lambda: TODAY)
        fetch.exchange_rates.clear()
        for number in ("1", "2"):
            cases.round = number
            symbols = [case["symbol"] for case in CASES if number == "1" or "then" in case]
            with ThreadPoolExecutor(8) as pool:
                written = list(pool.map(processed, symbols))
            write(connection, [one for one in written if one is not None])
        fetch.exchange_rates.clear()
    found: dict[str, Any] = {case["symbol"]: {"rows": {}, "stock": {}} for case in CASES}
    with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute("SELECT * FROM financial_ratios")
        for row in cursor.fetchall():
            found[row["symbol"]]["rows"][row["period_type"], row["period_end"]] = row
        cursor.execute("SELECT * FROM stock")
        for row in cursor.fetchall():
            found[row["symbol"]]["stock"] = row
    connection.close()
    return found


def close(found: Any, wanted: Any) -> bool:
    if found is None or wanted is None or isinstance(found, str) or isinstance(wanted, str):
        return bool(found == wanted)
    return math.isclose(found, wanted, rel_tol=1e-6, abs_tol=1e-9)


def fault(wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    """What is wrong with one expectation, or None."""
    if "stock" in wanted:
        value = found["stock"].get(wanted["stock"], "absent")
        return None if value == wanted["is"] else f"stock.{wanted['stock']}: {value!r}"
    kind, _, when = wanted["period"].partition(" ")
    fitting = [row for (one, end), row in sorted(found["rows"].items()) if kind in ("any", one) and (not when or end == day(when))]
    if "rows" in wanted:
        return None if len(fitting) == wanted["rows"] else f"{len(fitting)} rows"
    if "row" in wanted:
        return None if bool(fitting) == (wanted["row"] == "present") else f"row {'present' if fitting else 'absent'}"
    name = wanted["ratio"]
    value = fitting[0][name] if fitting else "absent"
    reason = fitting[0]["null_reasons"].get(name) if fitting and value is None else None
    if not any(close(value, one) for one in wanted.get("either", [wanted.get("is")])):
        return f"{value} ({reason})"
    if value is None and reason != wanted.get("reason", reason or "some"):
        return f"NULL because of {reason}"
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["file"])
def test_no_number_is_wrong_and_no_right_number_is_lost(case: Case, rows: dict[str, Any]) -> None:
    assert [(wanted, wrong) for wanted in case["expect"] if (wrong := fault(wanted, rows[case["symbol"]]))] == []


def test_every_row_says_what_was_checked(rows: dict[str, Any]) -> None:
    for found in rows.values():
        for (kind, _), row in found["rows"].items():
            assert {"length", "splits"} <= row["quality"].keys() or row["quality"]["price_unit"] == "no close"
            assert ("quote_age" if kind == "ttm" else "price_unit") in row["quality"]
            assert all(isinstance(said, str) and said for said in row["quality"].values())


def test_each_case_has_its_own_symbol() -> None:
    assert len({case["symbol"] for case in CASES}) == len(CASES)
    assert isinstance(TODAY, date)
    assert Path(HERE / "README.md").exists()
