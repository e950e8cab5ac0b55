"""What the Kafka views show: topics with their counts, consumer groups with members and lag, messages newest first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.partitioner.default import murmur2

from config import Kafka
from pipeline.broker import clients
from pipeline.broker.consumer_groups import GroupReader, GroupState
from pipeline.errors import ServiceError
from pipeline.wire import topics

#: Messages on one page; how many of each partition, and of the one that a key should be in, are read at a time in a search.
PAGE = 50
SEARCH_STEP = 500
HOME_STEP = 10_000
#: Seconds for which a search goes on before it shows what it has found.
SEARCH_SECONDS = 2.0
READ_SECONDS = 10.0
#: Most bytes of a value and of a header that are shown.
SHOWN_BYTES = 20_000


@dataclass(frozen=True)
class TopicView:
    """`begins` and `ends`: partition → first offset that is kept, and the one after the last."""

    name: str
    begins: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)

    @property
    def partitions(self) -> int:
        return len(self.ends)

    @property
    def messages(self) -> int:
        return sum(end - self.begins.get(number, 0) for number, end in self.ends.items())


@dataclass(frozen=True)
class MessageView:
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, str], ...]

    @property
    def size(self) -> int:
        return len(self.value or b"")


@dataclass(frozen=True)
class Page:
    """Messages, and where the next older ones are: partition → the offset that they lie below. `searched`: messages read."""

    messages: list[MessageView]
    older: dict[int, int]
    searched: int


class KafkaView:
    """Reads what is asked for at that moment, from a broker that may go away and come back. All raise ServiceError."""

    def __init__(self, find: Callable[[], Kafka]) -> None:
        self._find = find

    def topics(self) -> list[TopicView]:
        """The pipeline's topics; one without partitions isn't there."""
        return read_topics(self._find(), topics.ALL)

    def groups(self) -> list[GroupState]:
        """The consumer groups of the two stages."""
        reader = GroupReader(self._find())
        try:
            return list(reader.read().values())
        finally:
            reader.close()

    def messages(self, name: str, before: dict[int, int] | None, partition: int | None = None, key: str = "") -> tuple[TopicView, Page]:
        """The topic, and a page of its messages, newest first: those below `before`, or the newest of all."""
        settings = self._find()
        topic = read_topics(settings, (name,))[0]
        wanted = {
            number: min(end, before.get(number, 0) if before is not None else end)
            for number, end in topic.ends.items()
            if partition in (None, number)
        }
        return topic, read_messages(settings, topic, wanted, key)


def read_topics(settings: Kafka, wanted: Sequence[str]) -> list[TopicView]:
    """The topics with what is in them now. Raises ServiceError."""
    admin = clients.admin(settings)
    try:
        with clients.reaching(settings):
            there = {topic["name"] for topic in admin.describe_topics() if topic["partitions"]}
    finally:
        admin.close()
    names = [name for name in wanted if name in there]
    begins: dict[TopicPartition, int] = {}
    ends: dict[TopicPartition, int] = {}
    if names:
        consumer = clients.reader(settings, for_watermarks=True)
        try:
            with clients.reaching(settings):
                begins, ends = clients.watermarks(consumer, clients.partitions_of(consumer, names))
        finally:
            consumer.close()
    return [
        TopicView(
            name,
            {where.partition: offset for where, offset in begins.items() if where.topic == name},
            {where.partition: offset for where, offset in ends.items() if where.topic == name},
        )
        for name in wanted
    ]


def read_messages(settings: Kafka, topic: TopicView, below: dict[int, int], key: str) -> Page:
    """The newest messages below these offsets. With a key, older ones are searched until a page is full or time is up."""
    consumer = clients.reader(settings)
    deadline = time.monotonic() + SEARCH_SECONDS
    found: list[MessageView] = []
    edges = dict(below)
    searched = 0
    try:
        with clients.reaching(settings):
            while window := _window(topic, edges, key):
                for record in records(consumer, topic.name, window):
                    searched += 1
                    if not key or (record.key or b"").decode("utf-8", "replace") == key:
                        found.append(_view(record))
                edges |= {number: low for number, (low, _) in window.items()}
                home_is_done = bool(found) and not _window(topic, {number: edges[number] for number in window}, key)
                if not key or len(found) >= PAGE or home_is_done or time.monotonic() > deadline:
                    break
    finally:
        consumer.close()
    found.sort(key=lambda message: (message.timestamp_ms, message.offset), reverse=True)
    return Page(found[:PAGE], _older(topic, edges, found), searched)


def _window(topic: TopicView, edges: dict[int, int], key: str) -> dict[int, tuple[int, int]]:
    """What to read next: the newest messages of each partition or, with a key, first all of the partition it should be in."""
    step = SEARCH_STEP if key else PAGE
    window = {number: (max(topic.begins.get(number, 0), edge - step), edge) for number, edge in edges.items()}
    window = {number: (low, high) for number, (low, high) in window.items() if low < high}
    if key:
        home = murmur2(key.encode()) & 0x7FFFFFFF
        number = sorted(topic.ends)[home % len(topic.ends)] if topic.ends else None
        if number in window:
            edge = window[number][1]
            return {number: (max(topic.begins.get(number, 0), edge - HOME_STEP), edge)}
    return window


def _older(topic: TopicView, edges: dict[int, int], found: list[MessageView]) -> dict[int, int]:
    """Where to go on: below what was read and, of partitions with more than fitted on the page, below what is shown."""
    older = dict(edges)
    for message in found[PAGE:]:
        older[message.partition] = max(older[message.partition], message.offset + 1)
    more = any(edge > topic.begins.get(number, 0) for number, edge in older.items())
    return older if more else {}


def records(consumer: Any, topic: str, window: dict[int, tuple[int, int]]) -> Iterator[Any]:
    """The records of each partition from its low offset up to its high one."""
    ends = {TopicPartition(topic, number): high for number, (_, high) in window.items()}
    consumer.assign(list(ends))
    for where in ends:
        consumer.seek(where, window[where.partition][0])
    deadline = time.monotonic() + READ_SECONDS
    open_ = set(ends)
    while open_:
        if time.monotonic() > deadline:
            raise ServiceError(f"topic {topic} could not be read within {READ_SECONDS:.0f} s")
        for where, records in consumer.poll(100).items():
            for record in records:
                if record.offset < ends[where]:
                    yield record
        done = {where for where in open_ if consumer.position(where) >= ends[where]}
        if done:
            open_ -= done
            consumer.pause(*done)


def _view(record: Any) -> MessageView:
    headers = tuple((name, (value or b"")[:SHOWN_BYTES].decode("utf-8", "replace")) for name, value in record.headers or ())
    key = (record.key or b"").decode("utf-8", "replace")
    return MessageView(record.partition, record.offset, record.timestamp, key, record.value, headers)
