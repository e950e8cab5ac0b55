"""A cluster that is not as it was: topics made anew, a damaged log, positions beyond the end, the broker's own time."""

from __future__ import annotations

import logging
import threading

from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.broker import clients, positions, topic_setup
from pipeline.broker.sender import Message, Sender
from pipeline.errors import TransientError
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from tests.conftest import until
from tests.worker.test_worker import Running, committed, complete, follow, send_tasks

PARTITION = TopicPartition(topics.PROCESSING_TASKS, 5)


def done(kafka, run_id, count):
    return follow(kafka, run_id, lambda account: account.processing["completed"] == count, 90)


def send(kafka, run_id, *symbols):
    """Each in a batch of its own."""
    sender = Sender(kafka)
    for symbol in symbols:
        task = ProcessingTask(run_id, symbol, "", "us")
        sender.send_all([Message(PARTITION.topic, task.key, messages.pending(task), partition=PARTITION.partition)])
    sender.close()


def damage(apache_kafka, topic, partition, number):
    """Change a byte of the records of the batch with this number, on the disk of a broker that is down."""
    (segment,) = (apache_kafka._place.data_dir / "log" / f"{topic}-{partition}").glob("*.log")
    data = bytearray(segment.read_bytes())
    begin = 0
    for _ in range(number):
        begin += 12 + int.from_bytes(data[begin + 8 : begin + 12], "big")
    data[begin + 70] ^= 0xFF
    segment.write_bytes(data)


def test_topics_recreated_during_a_run_are_read_from_the_beginning(kafka, admin, run_id):
    """A task of before is still in hand: what becomes of it says nothing of the new record at its offset."""
    symbols, later, release = [f"S{number}" for number in range(30)], messages.new_run_id(), threading.Event()

    def handler(delivery):
        assert delivery.task.symbol != "HELD" or release.wait(240)
        return complete(delivery)

    with Running(kafka, handler) as running:
        send_tasks(kafka, run_id, symbols)
        done(kafka, run_id, 30)
        until(lambda: sum(committed(kafka).values()) == 30, 30, "the commits")
        place = committed(kafka)[PARTITION]
        send(kafka, run_id, "HELD")
        until(lambda: running.worker._tasks.in_work, 30, "the task that is held")
        deleted = {topics.PROCESSING_TASKS, topics.PROCESSING_COMPLETION}
        admin.delete_topics(list(deleted))
        until(lambda: not deleted & set(admin.list_topics()), 30, "the end of the topics")
        topic_setup.ensure(admin, kafka)
        new = [f"N{number}" for number in range(place + 1)]
        send(kafka, later, *new)
        send_tasks(kafka, later, symbols)
        done(kafka, later, 30 + len(new))
        release.set()
        marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS])
        until(lambda: committed(kafka)[PARTITION] == marks[PARTITION], 30, "the commit of the new records")
        assert running.error is None
    # No client has made them before with the broker's own number of partitions.
    assert {len(topic["partitions"]) for topic in admin.describe_topics([topics.PROCESSING_TASKS])} == {24}


def test_a_damaged_log_costs_only_the_damaged_records(apache_kafka, kafka, run_id, caplog):
    send(kafka, run_id, "A", "B", "C")
    sender = Sender(kafka)
    sender.send_all([Message(topics.PROCESSING_COMPLETION, "x", b"any", partition=1)])
    sender.close()
    apache_kafka.stop()
    damage(apache_kafka, PARTITION.topic, PARTITION.partition, 1)
    damage(apache_kafka, topics.PROCESSING_COMPLETION, 1, 0)
    apache_kafka.start_again()
    with Running(kafka):
        account = done(kafka, run_id, 2)
        until(lambda: committed(kafka)[PARTITION] == 3, 30, "the commit behind what is damaged")
    assert account.unreadable == 2
    assert "stock-processing-tasks[5]@1 is passed over, it can't be read: wrong checksum" in caplog.text


def test_a_log_truncated_on_recovery_is_reported_and_work_continues(apache_kafka, kafka, run_id, caplog):
    with Running(kafka) as running:
        send(kafka, run_id, "A", "B", "C")
        done(kafka, run_id, 3)
        until(lambda: committed(kafka)[PARTITION] == 3, 30, "the commit")
        apache_kafka.kill()
        damage(apache_kafka, PARTITION.topic, PARTITION.partition, 1)
        apache_kafka.start_again()
        send(kafka, run_id, "D", "E", "F")
        done(kafka, run_id, 6)
        assert running.error is None
    assert "stock-processing-tasks[5]: the broker has lost records that were there before; going on at offset 1" in caplog.text


def test_positions_beyond_the_end_are_reported_and_every_task_is_done(kafka, run_id, caplog):
    send(kafka, run_id, "A")
    consumer = clients.group_consumer(kafka, topics.PROCESSING.group, 1)
    consumer.assign([PARTITION])
    consumer.commit({PARTITION: positions.position(1000)})
    consumer.close(autocommit=False)
    with Running(kafka):
        done(kafka, run_id, 1)
    assert "stock-processing-tasks[5]: the topic was made anew, or is shorter than offset 1000: going on at 0" in caplog.text


def test_broker_timestamps_and_small_result_topics_are_handled(kafka, admin, run_id, caplog):
    """Retries come when they are due, and that results will be refused is said before there is any; then a few lines, not one per task."""
    caplog.set_level(logging.WARNING, logger="pipeline")
    for name in topics.ALL:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"message.timestamp.type": "LogAppendTime"})])

    def handler(delivery):
        if delivery.failed_attempts == 0:
            raise TransientError("x")
        return complete(delivery)

    send_tasks(kafka, run_id, ["A", "B"])
    with Running(kafka, handler):
        done(kafka, run_id, 2)
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.PROCESSING_COMPLETION, {"max.message.bytes": "100"})])
        topic_setup.ensure(admin, kafka)
        assert caplog.text.count("topic processing-completion takes messages of 100 bytes at most") == 1
        refused = messages.new_run_id()
        send_tasks(kafka, refused, [f"S{number}" for number in range(40)])
        follow(kafka, refused, lambda account: account.processing["failed"] == 40, 60)
    assert caplog.text.count("a dead letter without its value takes its place") == 20
