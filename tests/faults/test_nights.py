"""A night whose consumers are killed: the rows are those of a first run on that day."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import config
from local.market.companies import build_market
from pipeline.runs.account_reader import Tally
from tests.conftest import until
from tests.e2e.conftest import Terminal, rows
from tests.faults.conftest import UNATTENDED, Run, check_account, note, stored
from tests.refresh.nights import SITES_OWN

STOCKS = 1000
KILLS = 6
PROCESSING = "kafka_processing_consumer.py"
#: So long, and so few at a time, that the night is not over before the last kill.
SLOW, FEW = ("--latency-ms", "400"), {"PROCESSOR_THREADS": "4"}


def night(terminal: Terminal, day: int, *more: str, unattended: bool = True, **environ: str) -> Run:
    usual = [word for word in UNATTENDED if unattended or word != "--exit-when-done"]
    command = (*usual, "--demo", "--stocks", str(STOCKS), "--market-day", str(day), *more)
    return Run(terminal, command=command, SPLIT_ABOVE="500", **environ)


def found(terminal: Terminal) -> dict[tuple[str, str, str], dict[str, Any]]:
    with stored(terminal.home) as connection:
        every = rows(connection, "SELECT to_jsonb(r) - 'run_id' - 'computed_at' FROM financial_ratios r")
    for (row,) in every:
        row["inputs"] = {name: part for name, part in row["inputs"].items() if name not in SITES_OWN}
    return {(row["symbol"], row["period_type"], row["period_end"]): row for (row,) in every}


class Killer:
    """Kills processing consumers while they work."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.tally = Tally(config.load(True, run.terminal.environment()).kafka)
        self.done = 0
        self.killed: Counter[Path] = Counter()

    def kill_one_at_work(self, after: int) -> None:
        """Kill a consumer that has partitions, once `after` stocks are finished, and one more than at the last kill.

        Stocks are still pending after it.
        """
        until(lambda: self._finished() > max(after, self.done), 240, "more finished stocks")
        victim, log = until(self._at_work, 240, "a consumer at work")  # type: ignore[misc]
        os.kill(victim, signal.SIGKILL)
        self.killed[log] += 1
        self.run.hit()
        assert self.tally.read_to_now()
        account = self.tally.newest()
        assert account is not None
        assert account.processing["pending"], "the night was over before this kill"
        self.done = account.processing.finished

    def _finished(self) -> int:
        self.run.shows("")  # has not ended
        self.tally.poll()
        account = self.tally.newest()
        return account.processing.finished if account else 0

    def _at_work(self) -> tuple[int, Path] | None:
        for victim in self.run.random.sample(found := self.run.victims(PROCESSING), len(found)):
            log = Path(os.readlink(f"/proc/{victim}/fd/2"))
            starts = log.read_text().split(" INFO ready: ")
            # Each one killed has written its own "ready" before.
            if len(starts) == 2 + self.killed[log] and "partitions assigned: " in starts[-1]:
                return victim, log
        return None


def test_a_night_with_six_killed_consumers_gives_the_same_rows_as_a_first_run(terminal, request):
    first = Terminal.opened()
    try:
        check_account(night(first, 1).end())
        expected = found(first)
    finally:
        first.close()
    check_account(night(terminal, 0).end())
    disturbed = night(terminal, 1, *SLOW, unattended=False, **FEW)
    until(lambda: disturbed.shows("logs:"), 150, "the start")
    killer = Killer(disturbed)
    for number in range(KILLS):
        # In pairs: at the beginning, after a fifth and after two fifths of the night.
        killer.kill_one_at_work(after=number // 2 * STOCKS // 5)
    killer.tally.close()
    until(lambda: disturbed.shows("stays up until Ctrl+C"), 300, "the end of the run")
    with urllib.request.urlopen(f"{terminal.demo_settings()['YAHOO_BASE_URL']}/market/stats", timeout=60) as answer:
        answered = json.load(answer)["answered"]
    disturbed.process.send_signal(signal.SIGINT)
    summary = disturbed.end()
    check_account(summary)
    assert disturbed.hits == KILLS
    assert disturbed.terminal.errors(disturbed.process).count("died (") == KILLS
    assert summary["processing"]["stored"] > 0.9 * STOCKS
    note(request, request.node.name, disturbed.hits, summary["elapsed_seconds"])
    market = build_market(STOCKS)
    happened: dict[str, set[str]] = {}
    for event in market.events(1):
        happened.setdefault(event.symbol, set()).add(event.event)
    silent = {symbol for symbol, events in happened.items() if events == {"silent_restatement"}}
    changed = len(happened.keys() - silent)
    # What a killed consumer had in work is asked for twice. Even so:
    assert answered <= 3.2 * changed + 0.05 * (STOCKS - changed)
    ours = found(terminal)
    wrong = {
        key: [name for name in row if (ours.get(key) or {}).get(name) != row[name]] for key, row in expected.items() if ours.get(key) != row
    }
    assert {symbol for symbol, _, _ in wrong} <= silent, dict(list(wrong.items())[:5])
