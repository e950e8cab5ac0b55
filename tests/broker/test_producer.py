"""A producer whose broker is gone ends quietly."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from config import Kafka
from local.tansu import Broker
from pipeline.broker import clients
from pipeline.wire import topics
from tests.conftest import make_topics, quiet_port


def test_a_producer_that_can_no_longer_send_closes_without_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clients.quiet()
    broker = Broker.start(tmp_path / "broker.log", quiet_port())
    try:
        settings = Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded")
        make_topics(settings)
        producer = clients.producer(settings)
        assert producer.partitions_for(topics.CONTROL)
    finally:
        broker.stop()
    sent = producer.send(topics.CONTROL, value=b"into the void")
    producer.close(timeout=0.2)
    assert sent.failed()
    del producer, sent
    gc.collect()
    assert "Traceback" not in capfd.readouterr().err
