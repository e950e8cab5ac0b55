"""A night whose consumers are killed: the rows are those of a first run on that day."""

from __future__ import annotations

from typing import Any

from local.market.companies import build_market
from tests.conftest import until
from tests.e2e.conftest import Terminal, rows
from tests.faults.conftest import UNATTENDED, Run, check_account, stored
from tests.refresh.nights import SITES_OWN

STOCKS = 1000
KILLS = 6
PROCESSING = "kafka_processing_consumer.py"


def night(terminal: Terminal, day: int, *more: str) -> Run:
    command = (*UNATTENDED, "--demo", "--stocks", str(STOCKS), "--market-day", str(day), *more)
    return Run(terminal, command=command, SPLIT_ABOVE="500")


def found(terminal: Terminal) -> dict[tuple[str, str, str], dict[str, Any]]:
    with stored(terminal.home) as connection:
        every = rows(connection, "SELECT to_jsonb(r) - 'run_id' - 'computed_at' FROM financial_ratios r")
    for (row,) in every:
        row["inputs"] = {name: part for name, part in row["inputs"].items() if name not in SITES_OWN}
    return {(row["symbol"], row["period_type"], row["period_end"]): row for (row,) in every}


def test_a_night_with_six_killed_consumers_gives_the_same_rows_as_a_first_run(terminal):
    first = Terminal.opened()
    try:
        check_account(night(first, 1).end())
        expected = found(first)
    finally:
        first.close()
    check_account(night(terminal, 0).end())
    disturbed = night(terminal, 1, "--latency-ms", "50")
    until(lambda: disturbed.shows("logs:"), 150, "the start")
    until(lambda: disturbed.victims(PROCESSING), 60, PROCESSING)
    for _ in range(KILLS):
        disturbed.pause(3)
        if disturbed.process.poll() is not None:
            break
        disturbed.kill(PROCESSING)
    summary = disturbed.end()
    check_account(summary)
    assert summary["processing"]["stored"] > 0.9 * STOCKS
    assert disturbed.hits
    market = build_market(STOCKS)
    happened: dict[str, set[str]] = {}
    for event in market.events(1):
        happened.setdefault(event.symbol, set()).add(event.event)
    silent = {symbol for symbol, events in happened.items() if events == {"silent_restatement"}}
    ours = found(terminal)
    wrong = {
        key: [name for name in row if (ours.get(key) or {}).get(name) != row[name]] for key, row in expected.items() if ours.get(key) != row
    }
    assert {symbol for symbol, _, _ in wrong} <= silent, dict(list(wrong.items())[:5])
