from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

import local.tansu
from local.tansu import Broker
from pipeline.errors import ServiceError
from pipeline.process.ports import answers, free_port
from tests.local.helpers import is_running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker.start(tmp_path / "logs" / "broker.log", free_port())
    yield broker
    broker.stop()


def port_of(broker: Broker) -> int:
    return int(broker.bootstrap_servers.rpartition(":")[2])


def test_a_message_arrives(broker: Broker) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    producer.send("greetings", b"hello").get(10)
    producer.close()
    consumer = KafkaConsumer(
        "greetings", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", consumer_timeout_ms=10_000
    )
    assert next(consumer).value == b"hello"
    consumer.close()


def test_stop_frees_process_and_port_and_may_be_called_again(broker: Broker) -> None:
    assert broker.is_alive()
    broker.stop()
    assert not broker.is_alive()
    assert not is_running(broker.process_id)
    assert not answers(port_of(broker))
    broker.stop()


def test_it_stops_while_a_client_is_connected(broker: Broker) -> None:
    with socket.create_connection(("127.0.0.1", port_of(broker))):
        broker.stop()
    assert not is_running(broker.process_id)


def test_a_killed_broker_is_not_alive(broker: Broker) -> None:
    os.kill(broker.process_id, signal.SIGKILL)
    broker._process.wait()
    assert not broker.is_alive()


def test_a_second_broker_takes_the_next_free_port(broker: Broker, tmp_path: Path) -> None:
    second = Broker.start(tmp_path / "second.log", port_of(broker))
    assert port_of(second) > port_of(broker)
    second.stop()


def test_a_port_taken_at_the_last_moment_is_noticed(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Somebody else's broker answers there: only the cluster's id tells, for Tansu then ends with exit code 0.
    taken = port_of(broker)
    monkeypatch.setattr(local.tansu, "free_port", lambda port: port if port == taken else free_port(port))
    second = Broker.start(tmp_path / "second.log", taken)
    assert port_of(second) > taken
    second.stop()


def test_a_program_that_is_not_a_broker_is_an_error_with_its_last_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tansu"
    program.write_text("#!/bin/sh\necho this machine has no luck >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(local.tansu, "_binary", lambda: program)
    with pytest.raises(ServiceError, match="no luck"):
        Broker.start(tmp_path / "broker.log", free_port())


def test_a_program_that_never_answers_is_an_error_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "tansu"
    program.write_text(f"#!{sys.executable}\nimport signal, sys, time\nprint('dreaming', flush=True)\ntime.sleep(600)\n")
    program.chmod(0o755)
    monkeypatch.setattr(local.tansu, "_binary", lambda: program)
    monkeypatch.setattr(local.tansu, "START_SECONDS", 0.5)
    with pytest.raises(ServiceError, match="does not start"):
        Broker.start(tmp_path / "broker.log", free_port())


def test_a_missing_broker_program_is_one_line_that_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.tansu.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ServiceError) as caught:
        Broker.start(tmp_path / "broker.log")
    text = str(caught.value)
    assert "\n" not in text
    for way in ("pip install -r requirements-local.txt", "KAFKA_BOOTSTRAP_SERVERS", "docker compose"):
        assert way in text
