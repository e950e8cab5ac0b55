"""Real services for the tests: an embedded broker and PostgreSQL a session, ended however pytest ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import Database, Kafka
from local.broker import Broker
from local.postgres import Postgres
from pipeline import database, kafka_clients

PROJECT = Path(__file__).resolve().parent.parent
# A user's own settings must not reach the tests, nor the tests a user's services.
for name in [name for name in os.environ if name.startswith(("KAFKA_", "DB_", "SCRAPER_", "MARKET_CAP_", "PG", "YAHOO_"))]:
    if name not in ("SCRAPER_BROWSER", "SCRAPER_DRIVER", "PG_BIN_DIR"):
        del os.environ[name]


def until(condition: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> object:
    """Wait for `condition` to be true, at most so many seconds; its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:.0f} s"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Settings of a broker that all tests share: use topics and groups of your own, or run_ids of your own."""
    kafka_clients.quiet()
    running = Broker.start(tmp_path_factory.mktemp("broker") / "broker.log")
    yield Kafka(bootstrap_servers=running.bootstrap_servers, source="embedded")
    running.stop()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Kafka]:
    """Settings of a broker of this test alone."""
    kafka_clients.quiet()
    running = Broker.start(tmp_path / "broker.log")
    yield Kafka(bootstrap_servers=running.bootstrap_servers, source="embedded")
    running.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("postgres")
    running = Postgres.start(folder / "data", folder / "postgres.log")
    found = running.settings
    yield Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]), source="embedded")
    running.stop()


@pytest.fixture
def tables(postgres: Database) -> Database:
    """The database with empty tables."""
    connection = database.connect(postgres)
    database.create_tables(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE country, stock, financial_ratios, pipeline_run")
    connection.close()
    return postgres


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
