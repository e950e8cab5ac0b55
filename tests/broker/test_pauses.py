"""A consumer whose partitions are paused and resumed: it returns whatever it has fetched meanwhile."""

from __future__ import annotations

import pytest
from kafka import TopicPartition

from pipeline.broker import clients
from tests.broker.batches import batch, put
from tests.conftest import until

TOPIC = "paused-and-resumed"
PARTITIONS = [TopicPartition(TOPIC, number) for number in range(3)]


@pytest.fixture
def consumer(own_broker):
    admin = clients.admin(own_broker)
    admin.create_topics({TOPIC: {"num_partitions": len(PARTITIONS), "replication_factor": 1}})
    admin.close()
    reader = clients.reader(own_broker)
    until(lambda: len(reader.partitions_for_topic(TOPIC) or ()) == len(PARTITIONS))
    for partition in PARTITIONS:
        put(own_broker, TOPIC, partition.partition, batch([b"0", b"1", b"2"]))
    yield reader
    reader.close()


def test_all_records_of_paused_half_read_partitions_arrive(consumer):
    """A worker that has no room for tasks pauses its partitions, one by one as rebalances bring them."""
    consumer.assign(PARTITIONS)
    consumer.seek_to_beginning()
    found = []

    def poll(most):
        records = [record for some in consumer.poll(100, max_records=most).values() for record in some]
        found.extend((record.partition, record.offset) for record in records)
        return {record.partition for record in records}

    for _ in PARTITIONS:
        for number in until(lambda: poll(1), 30, "a first record"):
            consumer.pause(TopicPartition(TOPIC, number))
    consumer.poll(100, max_records=1)
    consumer.resume(*PARTITIONS)
    until(lambda: poll(100) is not None and len(found) == 9, 10, "the other records")
    assert sorted(found) == [(number, offset) for number in range(3) for offset in range(3)]
