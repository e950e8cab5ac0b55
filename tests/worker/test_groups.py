"""Watermarks, groups, lag, and topics that exist already: read in the same way on both brokers, though these differ."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import pytest
from kafka import KafkaConsumer

from pipeline.broker import clients, consumer_groups, positions, topic_setup
from pipeline.broker.consumer_groups import PartitionLag
from pipeline.broker.patient import ANSWER_MS, IDLE_POLL_MS, partitions_of
from pipeline.wire import messages, topics
from pipeline.wire.topics import PROCESSING
from tests.conftest import ON_APACHE_KAFKA, until
from tests.worker.test_worker import Running, complete, follow, send_tasks

WIDE = {stage.group: 2 * 24 for stage in topics.STAGES}


@pytest.fixture
def reader(kafka):
    reader = consumer_groups.GroupReader(kafka)
    yield reader
    reader.close()


def test_a_group_without_members_is_empty_and_its_lag_is_the_whole_topic(kafka, reader):
    send_tasks(kafka, messages.new_run_id(), [f"S{number}" for number in range(30)])
    found = reader.read()
    assert {name: len(state.partitions) for name, state in found.items()} == WIDE
    state = found[PROCESSING.group]
    assert (state.state, state.members, state.lag) == ("Empty", (), 30)
    assert {one.committed for one in state.partitions.values()} == {None}
    assert found[topics.SCRAPING.group].lag == 0


def test_a_group_shows_its_members_and_a_lag_that_falls_to_0(kafka, reader):
    run_id = messages.new_run_id()
    hold = threading.Event()

    def handler(delivery):
        assert hold.wait(240)
        return complete(delivery)

    send_tasks(kafka, run_id, [f"S{number}" for number in range(40)])
    with Running(kafka, handler), Running(kafka, handler):

        def both():
            state = reader.read()[PROCESSING.group]
            return state if state.state == "Stable" and len(state.members) == 2 else None

        state = until(both, 60, "a group of two")
        assert (state.lag, state.lag_of(PROCESSING.tasks), state.lag_of(PROCESSING.retries)) == (40, 40, 0)
        assert all(member.client_id.startswith("stock-pipeline-") for member in state.members)
        if ON_APACHE_KAFKA:  # the embedded broker leaves these blank
            shares = [set(member.partitions) for member in until(lambda: shared(reader), 30, "shares")]
            assert not shares[0] & shares[1]
            assert shares[0] | shares[1] == set(state.partitions)
            assert {member.host for member in state.members} == {"127.0.0.1"}
        hold.set()
        follow(kafka, run_id, lambda account: account.processing["completed"] == 40)
        until(lambda: reader.read()[PROCESSING.group].lag == 0, 30, "the last commit")
    if ON_APACHE_KAFKA:  # the embedded broker's members do not say that they leave, and are forgotten when others join
        until(lambda: reader.read()[PROCESSING.group].state == "Empty", 30, "the end of the group")
        assert consumer_groups.group_state(kafka, PROCESSING).members == ()
    state = consumer_groups.group_state(kafka, PROCESSING)
    assert state.lag == 0
    assert sum(one.committed or 0 for one in state.partitions.values()) == 40


def shared(reader):
    """The members once each has partitions: a cooperative rebalance takes two rounds."""
    members = reader.read()[PROCESSING.group].members
    return members if len(members) == 2 and sum(len(member.partitions) for member in members) == 48 else None


def test_watermarks_count_batches_of_several_records_and_are_read_anew_each_time(kafka, reader):
    for count in (7, 20):
        send_tasks(kafka, messages.new_run_id(), ["SAME"] * count)
        marks = positions.high_watermarks(kafka, [PROCESSING.tasks])
        assert sorted(marks.values())[-1] == (7 if count == 7 else 27)
        assert reader.read()[PROCESSING.group].lag == sum(marks.values())


def test_a_lag_does_not_count_what_retention_has_removed():
    assert PartitionLag(begin=50, end=80, committed=20).lag == 30
    assert PartitionLag(begin=50, end=80).lag == 30
    assert PartitionLag(begin=0, end=80, committed=75).lag == 5
    assert PartitionLag(begin=0, end=75, committed=80).lag == 0


def test_existing_topics_with_other_partition_counts_are_reported_and_used(own_broker, caplog):
    admin = clients.admin(own_broker)
    admin.create_topics({PROCESSING.tasks: {"num_partitions": 5, "replication_factor": 1}})
    with caplog.at_level(logging.WARNING, "pipeline.broker.topic_setup"):
        topic_setup.ensure(admin, own_broker)
    admin.close()
    said = [record.getMessage() for record in caplog.records if record.name == "pipeline.broker.topic_setup"]
    assert [text for text in said if "partitions" in text] == [
        "topic stock-processing-tasks has 5 partitions, the settings say 24: going on with 5"
    ]
    run_id = messages.new_run_id()
    send_tasks(own_broker, run_id, [f"S{number}" for number in range(50)])
    with Running(own_broker):
        account = follow(own_broker, run_id, lambda account: account.processing["completed"] == 50)
    assert account.pending == 0
    assert len(positions.high_watermarks(own_broker, [PROCESSING.tasks])) == 5


def test_topics_are_created_with_the_partitions_of_the_settings(own_broker):
    settings = replace(own_broker, task_partitions=6)
    admin = clients.admin(settings)
    topic_setup.ensure(admin, settings)
    topic_setup.ensure(admin, settings)
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(list(topics.ALL))}
    admin.close()
    narrow = {name: 1 if name == topics.CONTROL else 3 for name in topics.ALL}
    assert found == {name: 6 if "tasks" in name or "retries" in name else width for name, width in narrow.items()}


def test_an_idle_consumer_polls_less_often_and_misses_nothing(kafka, monkeypatch):
    asked: list[float] = []
    real = KafkaConsumer.poll

    def poll(consumer, timeout_ms=0, **options):
        asked.append(timeout_ms)
        return real(consumer, timeout_ms, **options)

    monkeypatch.setattr(KafkaConsumer, "poll", poll)
    consumer = clients.reader(kafka)
    consumer.assign(partitions_of(consumer, [PROCESSING.tasks]))
    until(lambda: not consumer.poll(IDLE_POLL_MS) and consumer.thin_answers > 6)
    assert (asked[0], asked[-1]) == (IDLE_POLL_MS, ANSWER_MS), "the rest of the time it did not ask"
    send_tasks(kafka, messages.new_run_id(), ["LATE"])
    until(lambda: consumer.poll(IDLE_POLL_MS), 5, "the record")
    consumer.close()


def test_a_group_that_another_program_uses_is_named_and_work_begins_after_it(kafka, caplog):
    run_id = messages.new_run_id()
    left = threading.Event()
    settings = clients.common(kafka) | {"session_timeout_ms": 6_000, "heartbeat_interval_ms": 1_000}
    other = KafkaConsumer(topics.PROCESSING_COMPLETION, group_id=topics.PROCESSING.group, **settings)

    def stay():
        while not left.is_set():
            other.poll(100)
        other.close()

    member = threading.Thread(target=stay)
    member.start()
    try:
        until(other.assignment, 30, "the other program's partitions")
        send_tasks(kafka, run_id, ["A"])
        with Running(kafka):
            until(lambda: "another program is a member of this consumer group" in caplog.text, 30, "its name")
            left.set()
            member.join(60)
            follow(kafka, run_id, lambda account: account.processing["completed"] == 1, 60)
    finally:
        left.set()
        member.join(60)
