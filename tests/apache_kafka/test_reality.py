"""What operators do to a cluster while workers run: rights, limits, partitions, positions and records that change under them."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ConfigResource,
    ConfigResourceType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from config import Kafka
from local.apache_kafka import ApacheKafka
from pipeline.broker import clients, positions, topic_setup
from pipeline.broker.sender import Message, Sender
from pipeline.errors import PermanentError
from pipeline.runs.account_reader import Tally
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.worker import dead_letters
from pipeline.worker.replies import VALUE_BYTES
from tests.conftest import deleted_groups, quiet_port, until
from tests.worker.test_worker import Running, committed, follow, send_tasks

SMALL_BYTES = 5_000
USER = "User:pipeline"
LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_pipeline="secret";'


def done(kafka, run_id, count):
    return follow(kafka, run_id, lambda account: account.processing["completed"] == count, 60)


def test_workers_and_readers_pick_up_new_partitions(kafka, admin, run_id):
    tally = Tally(kafka, run_id)
    with Running(kafka) as running:
        until(running.has_partitions, 30, "partitions")
        admin.create_partitions({topics.PROCESSING_TASKS: 30, topics.PROCESSING_COMPLETION: 5})
        sender = Sender(kafka)
        tasks = [ProcessingTask(run_id, f"S{number}", "", "us") for number in range(6)]
        until(lambda: sender.partition_count(topics.PROCESSING_TASKS) == 30, 60, "the new partitions")
        sender.send_all([Message(topics.PROCESSING_TASKS, t.key, messages.pending(t), partition=24 + n) for n, t in enumerate(tasks)])
        sender.close()

        def counted():
            tally.poll()
            return tally.newest() and tally.newest().processing["completed"] == 6

        until(counted, 60, "the tasks of the new partitions")
    assert tally.read_to_now()
    tally.close()


def test_deleted_positions_are_reported_and_everything_is_done_again(kafka, admin, run_id, caplog):
    send_tasks(kafka, run_id, ["A", "B"])
    with Running(kafka):
        done(kafka, run_id, 2)
        until(lambda: sum(committed(kafka).values()) == 2, 30, "the commits")
    until(lambda: deleted_groups(admin), 30, "the end of the group")
    caplog.clear()
    with Running(kafka):
        until(lambda: sum(committed(kafka).values()) == 2, 30, "the commits")
    said = [record.getMessage() for record in caplog.records if "no position of group stock-processors is known" in record.getMessage()]
    assert len(said) == 1, said
    assert "what was done already is done again" in said[0]


def test_tasks_removed_by_retention_are_counted_in_one_line_and_the_others_are_done(kafka, admin, run_id, caplog):
    partition = TopicPartition(topics.PROCESSING_TASKS, 5)
    sender = Sender(kafka)

    def send(names):
        tasks = [ProcessingTask(run_id, name, "", "us") for name in names]
        sender.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task), partition=5) for task in tasks])

    send(["FIRST"])
    with Running(kafka):
        done(kafka, run_id, 1)
        until(lambda: committed(kafka)[partition] == 1, 30, "the commit")
    send([f"GONE{number}" for number in range(7)])
    send(["LAST"])
    tally = Tally(kafka, run_id)
    assert tally.read_to_now()
    assert tally.removed() == {}
    admin.delete_records({partition: 8})
    assert tally.removed() == {partition: 7}
    tally.close()
    caplog.clear()
    with Running(kafka):
        done(kafka, run_id, 2)
        until(lambda: committed(kafka)[partition] == 9, 30, "the commit")
    sender.close()
    said = [record.getMessage() for record in caplog.records if "retention" in record.getMessage()]
    assert len(said) == 1, said
    assert "stock-processing-tasks[5]: 7 tasks (offsets 1 to 7) were removed" in said[0]


def limit(admin, topic, most_bytes):
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": str(most_bytes)})])


def test_a_dead_letter_topic_with_a_smaller_limit_gets_letters_without_values(kafka, admin, run_id, caplog):
    limit(admin, topics.PROCESSING_DEAD_LETTERS, SMALL_BYTES)
    topic_setup.ensure(admin, kafka)
    assert caplog.text.count("topic stock-processing-dead-letters takes messages of 5000 bytes at most") == 1
    sender = Sender(kafka)
    garbage = os.urandom(20_000)  # does not get smaller
    sender.send_all([Message(topics.PROCESSING_TASKS, "x", garbage, partition=5)])
    sender.close()
    send_tasks(kafka, run_id, [f"S{number}" for number in range(40)])
    with Running(kafka):
        done(kafka, run_id, 40)
        (letter,) = until(lambda: dead_letters.read(kafka, lambda letter: True), 30, "the letter")
        assert (letter.value, letter.headers[VALUE_BYTES]) == (b"", "20000")
        marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES])
        until(lambda: committed(kafka) == marks, 30, "all commits")
    assert caplog.text.count("a dead letter without its value takes its place") == 1


def test_a_letter_refused_even_without_its_value_blocks_nothing(kafka, admin, run_id, caplog):
    limit(admin, topics.PROCESSING_DEAD_LETTERS, 80)
    send_tasks(kafka, run_id, [f"S{number}" for number in range(40)])
    sender = Sender(kafka)
    sender.send_all([Message(topics.PROCESSING_TASKS, "x", b"no task", partition=number) for number in range(24)])
    with pytest.raises(PermanentError, match="refuses a message to stock-processing-dead-letters for good"):
        sender.send_all([Message(topics.PROCESSING_DEAD_LETTERS, "x", os.urandom(2_000))])
    # The client that was refused goes on sending.
    sender.send_all([Message(topics.PROCESSING_TASKS, "x", b"no task", partition=0)])
    sender.close()
    with Running(kafka):
        done(kafka, run_id, 40)
        marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES])
        until(lambda: committed(kafka) == marks, 60, "all commits")
    assert caplog.text.count("is given up: Kafka refuses a message") == 25


def test_a_record_refused_by_the_broker_does_not_fail_the_rest_of_its_batch(kafka, admin, run_id):
    """In one batch: of many letters one is too large for the topic."""
    limit(admin, topics.PROCESSING_DEAD_LETTERS, SMALL_BYTES)
    sender = Sender(kafka)
    values = [os.urandom(500) for _ in range(30)]
    values[7] = os.urandom(9_000)
    sender.send_all([Message(topics.PROCESSING_TASKS, "x", value, partition=5) for value in values])
    sender.close()
    with Running(kafka):
        letters = until(lambda: len(found := dead_letters.read(kafka, lambda letter: True)) == 30 and found, 60, "the letters")
    assert sorted(letter.value for letter in letters) == sorted([*values[:7], b"", *values[8:]])


def test_transaction_markers_do_not_count_as_lag(kafka, run_id):
    producer = KafkaProducer(**clients.common(kafka), transactional_id="another-tool")
    producer.init_transactions()
    for symbols in (["A", "B"], ["C"]):
        producer.begin_transaction()
        for symbol in symbols:
            task = ProcessingTask(run_id, symbol, "", "us")
            producer.send(topics.PROCESSING_TASKS, messages.pending(task), key=b"k", partition=5)
        producer.commit_transaction()
    producer.close()
    with Running(kafka):
        done(kafka, run_id, 3)
        marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS])
        assert max(marks.values()) == 5
        until(lambda: committed(kafka)[TopicPartition(topics.PROCESSING_TASKS, 5)] == 5, 30, "the commit behind the marker")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A broker with rights: on one port the user `pipeline`, who has what it is granted; on another one the administrator."""
    folder, port, secured = tmp_path_factory.mktemp("guarded"), quiet_port(), quiet_port()
    properties = {
        "listeners": f"SASL_PLAINTEXT://127.0.0.1:{secured}",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": LOGIN,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    clients.quiet()
    running = ApacheKafka.start(Path(os.environ["TEST_KAFKA_HOME"]), folder / "data", folder / "broker.log", port, properties)
    yield (
        Kafka(running.bootstrap_servers, source="environment"),
        Kafka(f"127.0.0.1:{secured}", "SASL_PLAINTEXT", "PLAIN", "pipeline", "secret", source="environment"),
    )
    running.stop()


class Rights:
    def __init__(self, admin):
        self.admin = admin

    def grant(self, operation, kind, name):
        self.admin.create_acls([ACL(USER, "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))])

    def withdraw(self, kind, name, operation=ACLOperation.ANY):
        self.admin.delete_acls(
            [ACLFilter(USER, "*", operation, ACLPermissionType.ANY, ResourcePatternFilter(kind, name, ACLResourcePatternType.LITERAL))]
        )


@pytest.fixture
def rights(guarded):
    administrator, _ = guarded
    client = clients.admin(administrator)
    topic_setup.ensure(client, administrator)
    found = Rights(client)
    for name in topics.ALL:
        for operation in (ACLOperation.READ, ACLOperation.DESCRIBE, ACLOperation.WRITE):
            found.grant(operation, ResourceType.TOPIC, name)
    found.grant(ACLOperation.READ, ResourceType.GROUP, topics.PROCESSING.group)
    yield found
    client.close()


@pytest.mark.parametrize("topic", [topics.PROCESSING_COMPLETION, topics.PROCESSING_TASKS])
def test_a_missing_write_permission_is_named_once_and_work_continues_after_the_grant(guarded, rights, run_id, caplog, topic):
    administrator, settings = guarded
    rights.withdraw(ResourceType.TOPIC, topic, ACLOperation.WRITE)
    with Running(settings):
        send_tasks(administrator, run_id, [f"S{number}" for number in range(20)])
        if topic == topics.PROCESSING_TASKS:
            # A handler's own sender, as the scraping consumer's.
            sender = Sender(settings)
            granting = until(lambda: _sends_in_a_thread(sender, topic), 1)
            until(lambda: f"to write to topic {topic}" in caplog.text, 30, "the line")
            rights.grant(ACLOperation.WRITE, ResourceType.TOPIC, topic)
            granting.join(60)
            assert not granting.is_alive()
        else:
            until(lambda: f"to write to topic {topic}" in caplog.text, 30, "the line")
            rights.grant(ACLOperation.WRITE, ResourceType.TOPIC, topic)
        follow(administrator, run_id, lambda account: account.processing["completed"] == 20, 30)
    assert caplog.text.count(f"does not allow the user 'pipeline' to write to topic {topic}") <= 2


def _sends_in_a_thread(sender, topic):
    import threading

    thread = threading.Thread(target=lambda: sender.send_all([Message(topic, "x", b"no task")]), daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(("kind", "name"), [(ResourceType.GROUP, topics.PROCESSING.group), (ResourceType.TOPIC, topics.PROCESSING_TASKS)])
def test_a_missing_read_permission_is_named_and_waited_for(guarded, rights, run_id, caplog, kind, name):
    administrator, settings = guarded
    rights.withdraw(kind, name, ACLOperation.READ)
    with Running(settings) as running:
        send_tasks(administrator, run_id, ["A"])
        until(lambda: "AuthorizationFailed" in caplog.text, 40, "the line")
        assert running.error is None
        rights.grant(ACLOperation.READ, kind, name)
        follow(administrator, run_id, lambda account: account.processing["completed"], 60)
    assert caplog.text.count("poll failed") <= 3
    worse = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(worse) < 12, worse


def test_a_sender_replaces_a_client_that_no_longer_works(kafka, run_id, caplog):
    sender = Sender(kafka)
    sender._producer.close()
    sender.send_all([Message(topics.PROCESSING_TASKS, "x", json.dumps({}).encode())])
    sender.close()
    assert caplog.text.count("a new one takes its place") == 1
