"""A live pipeline on a real Apache Kafka: its broker, PostgreSQL, and a local market in the place of the site.

These tests run by `make test-kafka` alone: everywhere else they are not even collected.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import Database, Kafka
from launch.market_process import MarketProcess
from local.apache_kafka import ApacheKafka
from pipeline.broker import clients, topic_setup
from pipeline.wire import messages
from tests.conftest import ON_APACHE_KAFKA, emptied
from tests.e2e.conftest import SEED, STOCKS, Terminal, market, terminal
from tests.faults.conftest import SEED as FAULTS_SEED

if not ON_APACHE_KAFKA:
    collect_ignore_glob = ["test_*.py"]

#: What was done, and how long it took until all was well again: printed at the end. Each test's lines, then all tests'.
REPORT: list[str] = []
ALL_LINES: list[str] = []

__all__ = ["market", "terminal"]


def note(what: str, seconds: float, more: str = "") -> None:
    """A line of the report: the seconds until all was well again."""
    REPORT.append(f"{what:<84} {seconds:6.1f} s   {more}")


@pytest.fixture(autouse=True)
def _hand_over_the_lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the test's report, which reaches the process that prints whichever process ran the test."""
    yield
    request.node.user_properties += [("recovery", line) for line in REPORT]
    REPORT.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        ALL_LINES.extend(str(line) for name, line in report.user_properties if name == "recovery")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ON_APACHE_KAFKA:
        terminalreporter.section(f"recovery times on Apache Kafka (FAULTS_SEED={FAULTS_SEED} repeats the random moments)")
        for line in ALL_LINES:
            terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The client leaves the socket of each refused connection to the garbage collector."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for kind in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))


@pytest.fixture(autouse=True)
def _collect_what_the_client_leaves() -> Iterator[None]:
    """In this test, not in one where a warning is an error."""
    yield
    gc.collect()


def away(seconds: float) -> None:
    """Let time pass: the length of an outage, never a way to wait for something."""
    threading.Event().wait(seconds)


def servers_of(running: ApacheKafka, **security: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": running.bootstrap_servers, **security}


@pytest.fixture
def kafka(apache_kafka: ApacheKafka) -> Kafka:
    """Settings of the broker with new, empty topics."""
    return with_topics(apache_kafka)


@pytest.fixture
def admin(kafka: Kafka) -> Iterator[Any]:
    client = clients.admin(kafka)
    yield client
    client.close()


@pytest.fixture
def run_id() -> str:
    return messages.new_run_id()


def with_topics(apache_kafka: ApacheKafka) -> Kafka:
    settings = emptied(apache_kafka)
    admin = clients.admin(settings)
    topic_setup.ensure(admin, settings)
    admin.close()
    return settings


@pytest.fixture
def start_market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MarketProcess]]:
    """Starts local markets with the companies of these tests; more options as given."""
    started: list[MarketProcess] = []

    def start(*options: str) -> MarketProcess:
        log = tmp_path_factory.mktemp("market") / "market.log"
        # Of an option that comes twice the last one counts.
        started.append(MarketProcess.start(log, ["--stocks", str(STOCKS), "--seed", str(SEED), *options]))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def database_environment(database: Database) -> dict[str, str]:
    return {
        "DB_DEV_NAME": database.name,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password,
        "DB_HOST": database.host,
        "DB_PORT": str(database.port),
    }


class Live:
    """Terminals whose scripts run live: on this Kafka and database, with a local market as the site."""

    def __init__(self, terminal: Terminal, environment: dict[str, str]) -> None:
        self.terminal = terminal
        self.settings = environment

    def start(self, *command: str, **more: str):  # type: ignore[no-untyped-def]
        return self.terminal.start(*command, **{**self.settings, **more})

    def run(self, *command: str, **more: str):  # type: ignore[no-untyped-def]
        return self.terminal.run(*command, **{**self.settings, **more})


@pytest.fixture
def live(apache_kafka: ApacheKafka, kafka: Kafka, terminal: Terminal, tables: Database) -> Live:
    """Without a site yet: give YAHOO_BASE_URL to what needs one."""
    return Live(terminal, live_environment(apache_kafka, tables))


def live_environment(running: ApacheKafka, database: Database) -> dict[str, str]:
    return {**servers_of(running), **database_environment(database), "REQUESTS_PER_SECOND": "0"}
