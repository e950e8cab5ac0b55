"""Real services for the tests: an embedded broker and PostgreSQL a session, ended however pytest ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from kafka import errors

from config import Database, Kafka
from local.apache_kafka import ApacheKafka
from local.apache_kafka import version as apache_kafka_version
from local.postgres import Postgres
from local.postgres_place import remove_data
from local.tansu import Broker
from pipeline.broker import clients, positions, topic_setup
from pipeline.process.ports import free_port
from pipeline.storage import database, schema

PROJECT = Path(__file__).resolve().parent.parent
#: Which broker the fixtures give: the embedded one or, in `make test-kafka`, "apache".
ON_APACHE_KAFKA = os.environ.get("TEST_BROKER") == "apache"
# A shell's background job ignores Ctrl+C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# A user's own settings must not reach the tests, nor the tests a user's services.
for name in [name for name in os.environ if name.startswith(("KAFKA_", "DB_", "SCRAPER_", "MARKET_CAP_", "PG", "YAHOO_"))]:
    if name not in ("SCRAPER_BROWSER", "SCRAPER_DRIVER", "PG_BIN_DIR"):
        del os.environ[name]


# Whether 200 ms are enough for an example says more about what else the machine does than about the code.
hypothesis.settings.register_profile("suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("suite")


#: A deadline is for what hangs, not for what is slow: a busy machine may take so many times as long as a quiet one, up to so many seconds.
PATIENCE, MOST_PATIENCE = 4, 240.0


def until(condition: Callable[[], object], seconds: float = 30.0, what: str = "the condition") -> object:
    """Wait for `condition` to be true; its value. seconds: the most that it takes on a quiet machine."""
    seconds = max(seconds, min(PATIENCE * seconds, MOST_PATIENCE))
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:.0f} s"
        time.sleep(0.05)


def pytest_report_header() -> str:
    if not ON_APACHE_KAFKA:
        return "broker: embedded (Tansu)"
    home = Path(os.environ.get("TEST_KAFKA_HOME", ""))
    if not list(home.glob("libs/kafka_2.*.jar")):
        pytest.exit("TEST_BROKER=apache needs TEST_KAFKA_HOME, an unpacked Apache Kafka: run it by make test-kafka", 4)
    return f"broker: Apache Kafka {apache_kafka_version(home)} ({home})"


#: A thousand for each of the processes that share the tests; their numbers follow each other.
_ports = itertools.count(20_000 + os.getpid() * 997 % 10_000)


def quiet_port() -> int:
    """A free port outside the range that outgoing connections take theirs from: it is still free after a restart.

    No two tests get the same one: clients of a broker that is gone would come to the next one at its address.
    """
    return free_port(next(_ports))


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A real Apache Kafka (`make test-kafka`), with TEST_KAFKA_HOME's jars; started once a session."""
    clients.quiet()
    folder = tmp_path_factory.mktemp("apache-kafka")
    running = ApacheKafka.start(Path(os.environ["TEST_KAFKA_HOME"]), folder / "data", folder / "broker.log", quiet_port())
    yield running
    running.stop()


def deleted_groups(admin: Any) -> bool:
    """Delete all groups; whether there are none left. A member that has just left may still count."""
    # A broker that was killed loads its groups again, and refuses meanwhile.
    with contextlib.suppress(errors.NonEmptyGroupError, errors.GroupIdNotFoundError, errors.RetriableError):
        admin.delete_groups([group["group_id"] for group in admin.list_groups()])
        return not admin.list_groups()
    return False


def emptied(running: ApacheKafka) -> Kafka:
    """Settings of the broker, with all topics and groups of earlier tests gone."""
    running.start_again()
    settings = Kafka(bootstrap_servers=running.bootstrap_servers, source="apache")
    admin = clients.admin(settings)

    def topics_are_gone() -> bool:
        with contextlib.suppress(errors.RetriableError):
            names = [name for name in admin.list_topics() if not name.startswith("__")]
            if names:
                admin.delete_topics(names)
            return not names
        return False

    until(lambda: deleted_groups(admin), 60, "the end of the groups")
    until(topics_are_gone, 60, "the end of the topics")
    admin.close()
    return settings


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """Settings of a broker that all tests share: use topics and groups of your own, or run_ids of your own."""
    if ON_APACHE_KAFKA:
        yield Kafka(bootstrap_servers=request.getfixturevalue("apache_kafka").bootstrap_servers, source="apache")
        return
    clients.quiet()
    running = Broker.start(tmp_path_factory.mktemp("broker") / "broker.log", quiet_port())
    yield Kafka(bootstrap_servers=running.bootstrap_servers, source="embedded")
    running.stop()


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kafka]:
    """Settings of a broker of this test alone, or of one that is as empty."""
    if ON_APACHE_KAFKA:
        # Emptied in a tenth of the time that a new one takes.
        yield emptied(request.getfixturevalue("apache_kafka"))
        return
    clients.quiet()
    running = Broker.start(tmp_path / "broker.log", quiet_port())
    yield Kafka(bootstrap_servers=running.bootstrap_servers, source="embedded")
    running.stop()


def make_topics(settings: Kafka) -> None:
    admin = clients.admin(settings)
    topic_setup.ensure(admin, settings)
    admin.close()


@pytest.fixture
def kafka(own_broker: Kafka) -> Kafka:
    """Settings of a broker of this test alone, with all topics."""
    make_topics(own_broker)
    return own_broker


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("postgres")
    running = Postgres.start(folder / "data", folder / "postgres.log")
    found = running.settings
    yield Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]), source="embedded")
    running.stop()
    remove_data(folder / "data")


@pytest.fixture
def tables(postgres: Database) -> Database:
    """The database with empty tables."""
    connection = database.connect(postgres)
    schema.create_tables(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE country, stock, financial_ratios, pipeline_run, fx_rate, company_statements")
    connection.close()
    return postgres


def reset_group(settings: Kafka, group: str, topic_names: list[str]) -> None:
    """Set a group that has no living member back to the beginning; members that did not say good-bye must expire first."""
    marks = positions.high_watermarks(settings, topic_names)
    # As a member: the embedded broker forgets silent members only when another one joins.
    consumer = clients.group_consumer(settings, group, 1)
    consumer.subscribe(topic_names)

    def has_all() -> bool:
        consumer.poll(100)
        return consumer.assignment() == set(marks)

    until(has_all, 60, f"all partitions of {group}")
    consumer.commit({partition: positions.position(0) for partition in marks})
    consumer.close(autocommit=False)


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
