"""The server itself: its storage, its port, its end, and what it says where it can't start."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

import local.apache_kafka
from config import Kafka
from local.apache_kafka import ApacheKafka
from pipeline.broker import clients, positions
from pipeline.broker.patient import partitions_of
from pipeline.errors import ServiceError
from pipeline.process.ports import free_port
from tests.conftest import quiet_port, until
from tests.local.helpers import is_running, python, said

HOME = Path(os.environ["TEST_KAFKA_HOME"])
OWNER = """
import json, sys
from pathlib import Path
from local.apache_kafka import ApacheKafka
home, folder, port = sys.argv[1:]
broker = ApacheKafka.start(Path(home), Path(folder) / "data", Path(folder) / "broker.log", int(port))
print(json.dumps([broker.bootstrap_servers, broker.process_id, broker._guardian._process.pid]), flush=True)
sys.stdin.read()
"""


def send(servers: str, values: list[bytes]) -> None:
    producer = clients.producer(Kafka(servers))
    for value in values:
        producer.send("kept", value).get(30)
    producer.close()


def received(servers: str) -> list[bytes]:
    consumer = clients.reader(Kafka(servers))
    consumer.assign(partitions_of(consumer, ["kept"]))
    ends = sum(positions.high_watermarks(Kafka(servers), ["kept"]).values())
    found: list[bytes] = []

    def all_there() -> bool:
        for records in consumer.poll(100).values():
            found.extend(record.value for record in records)
        return len(found) >= ends

    until(all_there, 60, "the messages")
    consumer.close()
    return found


def test_a_killed_owner_leaves_no_process_and_the_next_one_finds_the_messages(tmp_path):
    port = quiet_port()
    with python(OWNER, str(HOME.resolve()), str(tmp_path), str(port)) as owner:
        servers, broker_id, guardian_id = said(owner)
        admin = clients.admin(Kafka(servers))
        admin.create_topics({"kept": {"num_partitions": 1, "replication_factor": 1}})
        admin.close()
        send(servers, [b"one", b"two"])
        owner.kill()
        until(lambda: not is_running(broker_id) and not is_running(guardian_id), 40, "the end of broker and guardian")

    running = ApacheKafka.start(HOME, tmp_path / "data", tmp_path / "broker.log", port)
    try:
        assert running.bootstrap_servers == servers
        assert received(servers) == [b"one", b"two"]
        send(servers, [b"three"])
        # A crash of the broker itself, and the same object starts it again where it was.
        running.kill()
        assert not running.is_alive()
        running.start_again()
        assert received(servers) == [b"one", b"two", b"three"]
        process_id = running.process_id
        running.start_again()
        assert running.process_id == process_id, "one that lives is left alone"
    finally:
        running.stop()
    assert not is_running(running.process_id)
    running.stop()


def test_an_interrupted_format_is_started_again(tmp_path, monkeypatch):
    half = tmp_path / "data" / "formatting"
    half.mkdir(parents=True)
    (half / "meta.properties").write_text("cluster.id=half\n")
    place = local.apache_kafka._Place("java", local.apache_kafka._jars(HOME), tmp_path / "data", tmp_path / "broker.log")
    (tmp_path / "data" / "log4j2.properties").write_text(local.apache_kafka._LOGGING)
    local.apache_kafka._format(place)
    cluster_id = local.apache_kafka._cluster_id(tmp_path / "data" / "log")
    assert cluster_id != "half"
    assert not half.exists()
    local.apache_kafka._format(place)
    assert local.apache_kafka._cluster_id(tmp_path / "data" / "log") == cluster_id


def test_a_folder_without_kafka_is_one_line_that_names_the_setting(tmp_path):
    with pytest.raises(ServiceError) as caught:
        ApacheKafka.start(tmp_path / "nowhere", tmp_path / "data", tmp_path / "broker.log")
    assert str(caught.value).startswith(f"KAFKA_HOME is '{tmp_path}/nowhere': expected")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("java_home", [None, "/nowhere"])
def test_missing_java_is_reported_in_one_line(tmp_path, monkeypatch, java_home):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if java_home:
        monkeypatch.setenv("JAVA_HOME", java_home)
    with pytest.raises(ServiceError, match="needs Java 17") as caught:
        ApacheKafka.start(HOME.resolve(), tmp_path / "data", tmp_path / "broker.log")
    assert "\n" not in str(caught.value)


def test_a_failing_java_is_reported_with_its_last_output(tmp_path, monkeypatch):
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho this machine has no luck >&2\nexit 1\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    with pytest.raises(ServiceError, match="no luck"):
        ApacheKafka.start(HOME, tmp_path / "data", tmp_path / "broker.log")
    assert not (tmp_path / "data" / "log").exists()


def test_a_port_taken_before_a_restart_is_reported(apache_kafka, kafka, monkeypatch):
    monkeypatch.setattr(local.apache_kafka, "RETRY_SECONDS", 0.0)
    apache_kafka.stop()
    port = int(apache_kafka.bootstrap_servers.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceError, match="already in use"):
        apache_kafka.start_again()
    apache_kafka.start_again()
    assert apache_kafka.is_alive()


def test_a_port_that_another_process_binds_first_is_left_to_it(tmp_path, monkeypatch):
    taken, other = quiet_port(), quiet_port()
    found = [taken, other]  # the first answer was true when it was given
    monkeypatch.setattr(local.apache_kafka, "free_port", lambda *port: found.pop(0) if found and port else free_port(*port))
    with socket.create_server(("127.0.0.1", taken)):
        running = ApacheKafka.start(HOME, tmp_path / "data", tmp_path / "broker.log", taken)
        try:
            assert running.bootstrap_servers == f"127.0.0.1:{other}"
        finally:
            running.stop()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_is_not_alive_after_an_outside_signal(apache_kafka, kafka, number):
    os.kill(apache_kafka.process_id, number)
    until(lambda: not apache_kafka.is_alive(), 30, "its end")
    apache_kafka.start_again()
    assert apache_kafka.is_alive()
