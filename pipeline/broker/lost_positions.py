"""A group's position that does not exist, or names records that do not: where reading goes on, and what is logged.

The client would start again by itself and say nothing, though tasks are then done again, and others will never be done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from pipeline.broker import internals

log = logging.getLogger(__name__)

#: What `poll` raises if a consumer must not start again by itself.
LOST = (kafka.errors.NoOffsetForPartitionError, kafka.errors.OffsetOutOfRangeError, kafka.errors.LogTruncationError)
#: How many partitions a line names.
_NAMED = 5


class Remade:
    """Notices that a topic was deleted and made anew: its offsets mean other records then, and the client goes on at the old ones."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer
        self._cluster: str | None = None
        self._ids: dict[str, Any] = {}

    def look(self) -> list[TopicPartition]:
        """The assigned partitions of topics that are others than at the last look: they are read from their beginning now."""
        cluster = internals.cluster_id(self._consumer)
        if cluster != self._cluster:  # another broker's topics are others anyway; BrokerWatch says so
            self._cluster = cluster
            self._ids.clear()
        assigned = self._consumer.assignment()
        anew = set()
        for topic in {partition.topic for partition in assigned}:
            known, found = self._ids.get(topic), internals.topic_id(self._consumer, topic)
            if found is not None:
                self._ids[topic] = found
                if known not in (None, found):
                    anew.add(topic)
                    log.warning("topic %s was deleted and made anew: reading it from the beginning", topic)
        partitions = sorted(partition for partition in assigned if partition.topic in anew)
        if partitions:
            self._consumer.seek_to_beginning(*partitions)
        return partitions


def recover(consumer: KafkaConsumer, group: str, error: Exception) -> None:
    """Go on at the first record that exists, or at the end of a truncated log. Raises KafkaError if the broker does not answer."""
    if isinstance(error, kafka.errors.LogTruncationError):
        for partition, place in error.divergent_offsets.items():
            offset = place.offset if place is not None else bounds(consumer, [partition])[0][partition]
            log.warning("%s: the broker has lost records that were there before; going on at offset %d", _name(partition), offset)
            consumer.seek(partition, offset)
        return
    named = error.args[0]
    begins, ends = bounds(consumer, list(named))
    if isinstance(error, kafka.errors.NoOffsetForPartitionError):
        filled = sorted(partition for partition in named if ends[partition] > begins[partition])
        if filled:
            log.warning(
                "no position of group %s is known in %s: a new group, or its positions were deleted or have expired. It starts from the"
                " beginning there; what was done already is done again",
                group,
                _names(filled),
            )
    else:
        for partition, offset in named.items():
            _say_what_is_gone(partition, offset, begins[partition])
    mine = consumer.assignment()
    for partition in named:
        if partition in mine:  # it may be another member's by now
            consumer.seek(partition, begins[partition])


def bounds(consumer: KafkaConsumer, partitions: list[TopicPartition]) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Where they begin and end. Raises KafkaError, also if one of them has just been deleted, which the client has no error for."""
    try:
        return consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    except KeyError as error:
        raise kafka.errors.UnknownTopicOrPartitionError(str(error)) from error


def _say_what_is_gone(partition: TopicPartition, offset: int, begin: int) -> None:
    if offset < begin:
        log.error(
            "%s: %d tasks (offsets %d to %d) were removed by the topic's retention before they were done: nobody will do them",
            _name(partition),
            begin - offset,
            offset,
            begin - 1,
        )
    else:
        log.warning("%s: the topic was made anew, or is shorter than offset %d: going on at %d", _name(partition), offset, begin)


def _name(partition: TopicPartition) -> str:
    return f"{partition.topic}[{partition.partition}]"


def _names(partitions: Iterable[TopicPartition]) -> str:
    found = [_name(partition) for partition in partitions]
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more partitions" if len(found) > _NAMED else "")
