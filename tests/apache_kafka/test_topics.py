"""Topics on a real cluster: replication, in-sync replicas, limits, retention."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.broker import clients, positions, topic_setup
from pipeline.broker.consumer_groups import group_state
from pipeline.errors import ServiceError
from pipeline.runs.account_reader import Tally
from pipeline.wire import messages, topics
from tests.conftest import emptied, until
from tests.worker.test_worker import Running, follow, send_tasks


def test_more_replicas_than_brokers_is_reported_in_one_line_with_the_setting(apache_kafka):
    settings = replace(emptied(apache_kafka), replication_factor=3)
    admin = clients.admin(settings)
    with pytest.raises(ServiceError, match="KAFKA_REPLICATION_FACTOR is 3, more than there are brokers") as caught:
        topic_setup.ensure(admin, settings)
    admin.close()
    assert "\n" not in str(caught.value)


def test_topics_accept_large_messages_and_leave_other_settings_to_the_cluster(admin):
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics.ALL])["topic"]
    # In-sync replicas, retention and all else are the cluster's business; only what is said to the workers is soon forgotten.
    changed = {topic: {name: entry["value"] for name, entry in entries.items()} for topic, entries in found.items()}
    assert changed == {topic: topics.configs(topic) for topic in topics.ALL}
    assert {name for topic in topics.ALL if topic != topics.CONTROL for name in changed[topic]} == {"max.message.bytes"}


def test_a_compacted_topic_is_refused_at_the_start_with_the_command_that_mends_it(kafka, admin):
    policy = {"cleanup.policy": "compact,delete"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.PROCESSING_COMPLETION, policy)])
    with pytest.raises(ServiceError, match=f"would vanish from {topics.PROCESSING_COMPLETION}: cleanup.policy is compact,delete") as caught:
        until(lambda: topic_setup.ensure(admin, kafka) and None, 10, "the new setting")
    assert f"--entity-name {topics.PROCESSING_COMPLETION} --add-config cleanup.policy=delete" in str(caught.value)


def test_records_removed_by_retention_are_neither_read_nor_waited_for(kafka, admin):
    old, new = messages.new_run_id(), messages.new_run_id()
    send_tasks(kafka, old, [f"S{number}" for number in range(60)])
    marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS])
    admin.delete_records(marks)  # as retention does: the log begins later
    assert group_state(kafka, topics.PROCESSING).lag == 0
    tasks = send_tasks(kafka, new, [f"S{number}" for number in range(30)])
    assert group_state(kafka, topics.PROCESSING).lag == 30
    with Running(kafka):
        account = follow(kafka, new, lambda account: account.processing["completed"] == len(tasks))
    assert account.pending == 0
    until(lambda: group_state(kafka, topics.PROCESSING).lag == 0, 60, "the last commit")
    tally = Tally(kafka)
    assert tally.read_to_now()
    assert set(tally.accounts) == {new}
    tally.close()
