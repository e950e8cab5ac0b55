"""A worker's log during an outage of the broker: one line when it begins, and one when it ends."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

import pytest

from config import Kafka
from local.apache_kafka import ApacheKafka
from local.tansu import Broker
from pipeline.broker import clients, topic_setup
from tests.conftest import ON_APACHE_KAFKA, make_topics, quiet_port, until
from tests.worker.test_worker import Running

PASSWORD = "at-first"
PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_pipeline="{}";'

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collect_what_the_client_leaves():
    """The sockets of refused connections, in this test and not in one where a warning is an error."""
    yield
    gc.collect()


class Restarted:
    """A broker of this test alone that comes back at the same address; the embedded one with nothing in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = quiet_port()
        self.broker = None

    def start(self) -> Kafka:
        log = self.folder / "broker.log"
        if ON_APACHE_KAFKA:
            self.broker = ApacheKafka.start(Path(os.environ["TEST_KAFKA_HOME"]), self.folder / "data", log, self.port)
        else:
            self.broker = Broker.start(log, self.port)
        settings = Kafka(bootstrap_servers=self.broker.bootstrap_servers, source="apache" if ON_APACHE_KAFKA else "embedded")
        make_topics(settings)
        return settings

    def stop(self) -> None:
        if self.broker is not None:
            self.broker.stop()
            self.broker = None


@pytest.fixture
def restarted(tmp_path):
    clients.quiet()
    found = Restarted(tmp_path)
    yield found
    found.stop()


def test_an_outage_is_two_lines_and_another_broker_in_its_place_ends_the_worker(restarted, caplog):
    caplog.set_level(logging.INFO, logger="pipeline")
    settings = restarted.start()
    with Running(settings) as running:
        until(running.has_partitions, 30, "partitions")
        caplog.clear()
        restarted.stop()
        until(lambda: "is away" in caplog.text, 90, "the first line")
        # Without the filter, the client would log each attempt.
        attempts = running.worker._broker._failures.count
        until(lambda: running.worker._broker._failures.count > attempts + 5, 60, "more attempts")
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 1, said
        assert said[0].startswith(f"Kafka at {settings.bootstrap_servers} is away (")
        restarted.start()
        if ON_APACHE_KAFKA:
            until(lambda: "is back after" in caplog.text, 60, "the second line")
        else:
            # It comes back empty, and refuses messages of producers that it does not know.
            until(lambda: running.error, 60, "the end")
    assert (running.error is None) == ON_APACHE_KAFKA
    assert ON_APACHE_KAFKA or str(running.error).startswith(f"Kafka at {settings.bootstrap_servers} is another one than before")
    # The embedded broker creates topics for the client that asks first; whoever creates them logs that.
    records = [record for record in caplog.records if record.name != topic_setup.__name__]
    worse = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    if not ON_APACHE_KAFKA:
        # A new broker may refuse an unknown member before the worker asks which broker it is.
        worse = [text for text in worse if not text.startswith(("Heartbeat: ", "removed from the consumer group"))]
    assert len(worse) == 1, worse


@pytest.mark.skipif(not ON_APACHE_KAFKA, reason="the embedded broker knows no users: see make test-kafka")
def test_a_login_refused_after_an_outage_is_reported(tmp_path, caplog):
    home, port, secured = Path(os.environ["TEST_KAFKA_HOME"]), quiet_port(), quiet_port()

    def start(password):
        properties = {
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{secured}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": PLAIN.format(password),
        }
        return ApacheKafka.start(home, tmp_path / "data", tmp_path / "broker.log", port, properties)

    clients.quiet()
    caplog.set_level(logging.INFO, logger="pipeline")
    settings = Kafka(f"127.0.0.1:{secured}", "SASL_PLAINTEXT", "PLAIN", "pipeline", PASSWORD, source="environment")
    broker = start(PASSWORD)
    try:
        make_topics(settings)
        with Running(settings) as running:
            until(running.has_partitions, 30, "partitions")
            broker.stop()
            until(lambda: "is away" in caplog.text, 90, "the first line")
            broker = start("another")
            until(lambda: "refuses the user 'pipeline' or the password" in caplog.text, 60, "the reason")
            attempts = running.worker._broker._failures.count
            until(lambda: running.worker._broker._failures.count > attempts + 3, 60, "more attempts")
            assert caplog.text.count("refuses the user") == 1
            assert PASSWORD not in caplog.text
            broker.stop()
            broker = start(PASSWORD)
            until(lambda: "is back after" in caplog.text, 60, "the last line")
    finally:
        broker.stop()
