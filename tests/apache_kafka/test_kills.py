"""SIGKILL at random moments, several times a run, and a consumer that is frozen past its session.

Each run is to end as one that nothing happens to: the same account, the same rows but for times and run_id, no process left.
How much longer it took, and the longest time in which no task came to an end, are printed at the end of the session.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import pytest

from config import Kafka
from launch.market_process import MarketProcess
from pipeline.broker.consumer_groups import GroupReader
from pipeline.runs.account_reader import Tally
from pipeline.storage import database, schema
from pipeline.wire import topics
from tests.apache_kafka.conftest import live_environment, note, with_topics
from tests.conftest import until
from tests.e2e.conftest import Terminal
from tests.faults.conftest import BANDS, STOCKS, UNATTENDED, Rows, Run, all_rows, assert_same_rows, by_state, check_account
from tests.faults.test_poison import poison

#: So that a run takes long enough to be disturbed: 200 stocks are 15 s of work for two consumers.
SLOW = ("--stocks", str(STOCKS), "--latency-ms", "150", "--page-latency-ms", "2000")
#: More attempts than there are kills: none of these faults may be a reason for a dead letter.
ENVIRONMENT = {"PROCESSOR_THREADS": "3", "MAX_ATTEMPTS": "10", **BANDS}
KILLS = 3
PROCESSING, SCRAPING, MONITOR = "kafka_processing_consumer.py", "kafka_scraper_consumer.py", "kafka_monitor.py"
BROWSER, DRIVER = "--remote-debugging-pipe", "chromedriver"


class Followed(Run):
    """A run whose topics are read: when tasks came to an end, and how long none did."""

    def __init__(self, terminal: Terminal, kafka: Kafka, environment: dict[str, str], *arguments: str) -> None:
        self.tally = Tally(kafka)
        self.environment = {**environment, **ENVIRONMENT}
        super().__init__(terminal, *arguments, command=UNATTENDED, **self.environment)
        self.finished = 0
        self.last = 0.0
        self.longest_pause = 0.0

    def join(self, script: str) -> subprocess.Popen[str]:
        """Start another consumer beside the run's."""
        self.hit()
        return self.terminal.start(script, **self.environment)

    def look(self) -> Any:
        """Read what has come in; the newest account."""
        self.tally.poll(50)
        account = self.tally.newest()
        now = time.monotonic()
        if account is not None and account.finished > self.finished:
            if self.hits and self.finished:
                self.longest_pause = max(self.longest_pause, now - self.last)
            self.finished, self.last = account.finished, now
        return account

    def until(self, condition: Any, seconds: float, what: str) -> None:
        def holds() -> bool:
            assert self.process.poll() is None, f"the run ended too early:\n{self.terminal.errors(self.process)}"
            return bool(condition(self.look()))

        until(holds, seconds, what)

    def pause(self, most_seconds: float) -> None:
        deadline = time.monotonic() + self.random.uniform(0.1, most_seconds)
        while time.monotonic() < deadline:
            self.look()

    def end(self, expected_code: int = 0, seconds: float = 240.0) -> dict[str, Any]:
        def ended() -> bool:
            self.look()
            return self.process.poll() is not None

        until(ended, seconds, "the end of the run")
        self.tally.close()
        return super().end(expected_code)


@dataclass
class Undisturbed:
    summary: dict[str, Any]
    rows: Rows


@pytest.fixture(scope="module")
def undisturbed(apache_kafka, postgres, tmp_path_factory):
    """What a run ends with that nothing happens to."""

    site = MarketProcess.start(tmp_path_factory.mktemp("undisturbed") / "market.log", ["--seed", "1", *SLOW])
    terminal = Terminal.opened()
    connection = database.connect(postgres)
    schema.create_tables(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE country, stock, financial_ratios, pipeline_run")
    try:
        environment = {**live_environment(apache_kafka, postgres), "YAHOO_BASE_URL": site.base_url}
        summary = Followed(terminal, with_topics(apache_kafka), environment).end()
        check_account(summary)
        assert summary["processing"]["sent"] == STOCKS
        assert summary["scraping"]["split"] == 1
        note(f"(a run of {STOCKS} stocks that nothing happens to)", summary["elapsed_seconds"])
        return Undisturbed(summary, all_rows(connection))
    finally:
        terminal.close()
        site.stop()
        connection.close()


@pytest.fixture
def start(undisturbed, live, kafka, start_market):
    """Starts a run to be disturbed."""
    site = start_market(*SLOW)
    return lambda *arguments: Followed(live.terminal, kafka, {**live.settings, "YAHOO_BASE_URL": site.base_url}, *arguments)


@pytest.fixture
def check(undisturbed, tables):
    def run(disturbed: Followed, what: str) -> None:
        summary = disturbed.end()
        check_account(summary)
        assert by_state(summary) == by_state(undisturbed.summary)
        until(lambda: not disturbed.terminal.processes(), 20, "the end of all processes")
        connection = database.connect(tables)
        assert_same_rows(all_rows(connection), undisturbed.rows)
        connection.close()
        more = f"{disturbed.hits} hits, longest time without a finished task {disturbed.longest_pause:.1f} s"
        note(f"{what}: a run takes longer by", summary["elapsed_seconds"] - undisturbed.summary["elapsed_seconds"], more)

    return run


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("a processing consumer", [PROCESSING]),
        ("a scraping consumer", [SCRAPING]),
        ("browser, driver and monitor", [BROWSER, DRIVER, MONITOR]),
        ("consumers, browser, driver and monitor", [PROCESSING, SCRAPING, BROWSER, DRIVER, MONITOR]),
    ],
    ids=["processing consumer", "scraping consumer", "browser, driver, monitor", "everything"],
)
def test_a_run_survives_several_kills_at_random_moments(start, check, what, kinds):
    run = start()
    # Once a first stock is done, pages are still being scraped: both stages are in work.
    run.until(lambda account: account and account.processing["completed"], 180, "work")
    victims = kinds * KILLS
    run.random.shuffle(victims)

    def there_or_not_needed(account, kind):
        # A browser is started again for a task, not for nothing.
        return run.victims(kind) or (kind in (BROWSER, DRIVER) and not account.scraping["pending"])

    for kind in victims:
        run.pause(3.0 / len(kinds))
        run.until(lambda account, kind=kind: there_or_not_needed(account, kind), 180, kind)
        run.kill(kind)
    assert run.hits >= KILLS
    check(run, f"{what} killed, {KILLS} times each")


def test_consumers_may_join_and_leave_during_a_run(start, check, live):
    run = start()
    run.until(lambda account: account and account.processing["completed"], 180, "work")
    guests = [run.join(script) for script in (PROCESSING, SCRAPING)]
    run.until(lambda account: all("partitions assigned" in live.terminal.errors(guest) for guest in guests), 180, "the guests")
    run.pause(2)
    for guest in guests:
        guest.send_signal(signal.SIGTERM)
    for guest in guests:
        assert guest.wait(60) == 0, live.terminal.errors(guest)
    check(run, "consumers of both kinds join and leave")


def test_a_run_survives_poison_in_all_topics_and_hostile_tasks(start, check, kafka):
    run = start()
    run.until(lambda account: account, 180, "the start")
    poison(run, kafka)
    check(run, "poison in all topics")


def test_a_consumer_frozen_past_its_session_commits_nothing_and_doubles_nothing(start, check, kafka):
    run = start()
    reader = GroupReader(kafka)

    def members() -> set[str]:
        return {member.client_id for member in reader.read((topics.PROCESSING,))[topics.PROCESSING.group].members}

    run.until(lambda account: account and account.processing["completed"] and len(members()) == 2, 180, "work for both")
    victim = run.kill(PROCESSING, signal.SIGSTOP)
    try:
        run.until(lambda account: f"stock-pipeline-{victim}" not in members(), 60, "the end of its session")
    finally:
        os.kill(victim, signal.SIGCONT)
    run.until(lambda account: f"stock-pipeline-{victim}" in members(), 180, "its return")
    reader.close()
    check(run, "a processing consumer frozen past its session")
