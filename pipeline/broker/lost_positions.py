"""A group's position that is not there, or names records that are not: where reading goes on, and what is said of it.

The client would begin anew by itself, and say nothing: tasks that are done again, and tasks that nobody will ever do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

log = logging.getLogger(__name__)

#: What `poll` raises of a consumer that is not to begin anew by itself.
LOST = (kafka.errors.NoOffsetForPartitionError, kafka.errors.OffsetOutOfRangeError, kafka.errors.LogTruncationError)
#: Partitions that are named in a line.
_NAMED = 5


def recover(consumer: KafkaConsumer, group: str, error: Exception) -> None:
    """Go on at the first record that is there, or at a truncated log's end. Raises KafkaError if the broker does not answer."""
    if isinstance(error, kafka.errors.LogTruncationError):
        for partition, place in error.divergent_offsets.items():
            offset = place.offset if place is not None else consumer.beginning_offsets([partition])[partition]
            log.warning("%s: the broker has lost records that were there before; going on at offset %d", _name(partition), offset)
            consumer.seek(partition, offset)
        return
    named = error.args[0]
    begins = consumer.beginning_offsets(list(named))
    if isinstance(error, kafka.errors.NoOffsetForPartitionError):
        ends = consumer.end_offsets(list(named))
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
    for partition in named:
        consumer.seek(partition, begins[partition])


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
