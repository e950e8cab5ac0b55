"""Where topics begin and end, and what a group has committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient, KafkaConsumer, OffsetAndMetadata, TopicPartition

from config import Kafka
from pipeline.broker import clients
from pipeline.broker.lost_positions import bounds
from pipeline.broker.patient import partitions_of


def position(offset: int) -> OffsetAndMetadata:
    """A position to commit. The leader epoch is not known, but must be a number."""
    return OffsetAndMetadata(offset, "", -1)


def high_watermarks(settings: Kafka, names: Iterable[str], timeout_seconds: float = 20.0) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition, read now.

    Not by `end_offsets`: the embedded broker's answer is wrong for batches of several records. A fetch's answer is right on every
    broker, so each partition is fetched once, from its reported end.
    """
    consumer = clients.reader(settings, for_watermarks=True)
    try:
        with clients.reaching(settings):
            return watermarks(consumer, partitions_of(consumer, names), timeout_seconds)[1]
    finally:
        consumer.close()


def watermarks(
    consumer: KafkaConsumer, partitions: list[TopicPartition], timeout_seconds: float = 20.0
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offset that still exists, and the one after the last record, of each partition, read now.

    consumer: a `reader(for_watermarks=True)`, whose assignment this changes. Raises KafkaError if the broker does not answer in time.
    """
    begins, ends = bounds(consumer, partitions)
    marks: dict[TopicPartition, int] = {}
    # With the assignment, the consumer forgets what it knew about the partitions.
    consumer.unsubscribe()
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, max(ends[partition], begins[partition]))
    deadline = time.monotonic() + timeout_seconds
    while len(marks) < len(partitions):
        consumer.poll(50)
        for partition in partitions:
            mark = consumer.highwater(partition)
            if mark is not None:
                marks[partition] = mark
        if time.monotonic() > deadline:
            raise kafka.errors.KafkaTimeoutError(f"no watermark of {len(partitions) - len(marks)} partitions")
    return begins, marks


def committed_offsets(client: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """What the group has committed, without partitions that have no commit. Raises KafkaError."""
    found = from_coordinator(lambda: client.list_group_offsets(group)).get(group, {})
    return {partition: position.offset for partition, position in found.items() if position.offset >= 0}


def from_coordinator(ask: Callable[[], Any], timeout_seconds: float = 5.0) -> Any:
    """What `ask` returns; it is asked again while the group's coordinator is not ready.

    A cluster creates the topic of its groups when it is first asked for one, and loads it after each restart.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return ask()
        except (
            kafka.errors.CoordinatorNotAvailableError,
            kafka.errors.NotCoordinatorError,
            kafka.errors.CoordinatorLoadInProgressError,
            kafka.errors.NodeNotReadyError,  # a connection that was lost waits for its next attempt
        ):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
