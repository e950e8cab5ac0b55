"""A recorded run, replayed without the site and with an empty state, ends with the same stocks and rows."""

from __future__ import annotations

import re
from typing import Any

from local.market.companies import build_market
from pipeline.storage import database
from tests.conftest import until
from tests.e2e.conftest import last_json, rows
from tests.faults.conftest import UNATTENDED, stored

#: What a row holds, but for the run that has computed it and when.
ROWS = "SELECT to_jsonb(r) - 'run_id' - 'computed_at' - 'inputs' FROM financial_ratios r ORDER BY symbol, period_type, period_end"
LISTED = "SELECT symbol, name, country_code, exchange, sector, industry, currency FROM stock ORDER BY symbol"
BANDS = ("--regions", "fr,gb,us")


def found(connection: Any) -> tuple[list[Any], list[Any]]:
    return rows(connection, LISTED), rows(connection, ROWS)


def test_a_recorded_run_is_replayed_with_the_same_stocks_and_rows(terminal, own_broker, tables):
    exchanges = terminal.home / "exchanges"
    recorded = terminal.run(*UNATTENDED, "--demo", "--stocks", "30", *BANDS, "--record", str(exchanges))
    assert recorded.returncode == 0, recorded.stderr
    summary = last_json(recorded.stdout)
    with stored(terminal.home) as connection:
        expected = found(connection)
    assert len(expected[0]) == summary["stocks"] > 0
    market = terminal.start("-m", "local.market", "--port", "0", "--replay", str(exchanges))
    address = until(lambda: re.search(r"http://\S+", terminal.output(market)), 30, "the replay's address")
    environ = {
        "YAHOO_BASE_URL": address[0],
        "PIPELINE_TODAY": build_market(1).today.isoformat(),
        "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers,
        "DB_DEV_NAME": tables.name,
        "DB_USER": tables.user,
        "DB_PASSWORD": tables.password,
        "DB_HOST": tables.host,
        "DB_PORT": str(tables.port),
        "REQUESTS_PER_SECOND": "0",
    }
    replayed = terminal.run(*UNATTENDED, *BANDS, **environ)
    assert replayed.returncode == 0, replayed.stderr
    again = last_json(replayed.stdout)
    assert {name: again[name] for name in ("stocks", "ratio_rows", "scraping", "dead_letters")} == {
        name: summary[name] for name in ("stocks", "ratio_rows", "scraping", "dead_letters")
    }
    connection = database.connect(tables)
    assert found(connection) == expected
    connection.close()
