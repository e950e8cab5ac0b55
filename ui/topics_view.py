"""Reads what the Kafka views show: topics with counts, consumer groups with members and lag, messages newest first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.partitioner.default import murmur2

from config import Kafka
from pipeline.broker import clients, positions
from pipeline.broker.consumer_groups import GroupReader, GroupState
from pipeline.broker.patient import partitions_of
from pipeline.wire import topics

#: Messages on one page. In a search: messages read at a time of each partition, and of the one that the key should be in.
PAGE = 50
SEARCH_STEP = 500
HOME_STEP = 10_000
#: Records per poll.
POLL_RECORDS = 500
#: Seconds after which a search shows what it has found.
SEARCH_SECONDS = 2.0
READ_SECONDS = 10.0
#: Most bytes that one view reads of a topic. If messages are large, it shows only the newest, and says so.
BYTES_READ = 24_000_000
#: Bytes that are kept of a value, a key and a header; number of headers that are kept.
VALUE_BYTES = 20_000
KEY_BYTES = 1_000
HEADER_BYTES = 1_000
HEADERS = 20


@dataclass(frozen=True)
class TopicView:
    """A topic. `begins`, `ends`: partition → first offset that is kept, and the one after the last."""

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
    """One message, with its parts cut. `size` is that of the whole value, in bytes."""

    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes | None
    size: int
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MessagePage:
    """Messages. `older`: partition → the offset below which the next older ones are. `searched`: how many messages were read.

    `cut`: why newer messages of some partitions may be missing; empty if all were read.
    """

    messages: list[MessageView]
    older: dict[int, int]
    searched: int
    cut: str = ""


class KafkaView:
    """Reads on request, from a broker that may go away and come back. All methods raise ServiceError."""

    def __init__(self, find: Callable[[], Kafka]) -> None:
        self._find = find

    def topics(self) -> list[TopicView]:
        """The pipeline's topics. One without partitions does not exist."""
        return read_topics(self._find(), topics.ALL)

    def groups(self) -> list[GroupState]:
        """The consumer groups of the two stages."""
        reader = GroupReader(self._find())
        try:
            return list(reader.read().values())
        finally:
            reader.close()

    def messages(
        self, name: str, before: dict[int, int] | None, partition: int | None = None, key: str = ""
    ) -> tuple[TopicView, MessagePage]:
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
    """The topics with their present offsets. Raises ServiceError."""
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
                begins, ends = positions.watermarks(consumer, partitions_of(consumer, names))
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


def read_messages(settings: Kafka, topic: TopicView, below: dict[int, int], key: str) -> MessagePage:
    """The newest messages below these offsets. With a key, older ones are searched until the page is full or the budget is spent."""
    consumer = clients.reader(settings)
    deadline = time.monotonic() + SEARCH_SECONDS
    found: list[MessageView] = []
    edges = dict(below)
    budget = Budget(READ_SECONDS, BYTES_READ)
    searched = 0
    try:
        with clients.reaching(settings):
            while window := _window(topic, edges, key):
                read = set()
                for record in records(consumer, topic.name, window, budget):
                    searched += 1
                    read.add(record.partition)
                    if not key or (record.key or b"").decode("utf-8", "replace") == key:
                        found.append(_view(record))
                # Partitions that were not reached come on the next page.
                edges |= {number: low for number, (low, _) in window.items() if not budget.spent or number in read}
                home_is_done = bool(found) and not _window(topic, {number: edges[number] for number in window}, key)
                if not key or len(found) >= PAGE or home_is_done or time.monotonic() > deadline or budget.spent:
                    break
    finally:
        consumer.close()
    found.sort(key=lambda message: (message.timestamp_ms, message.offset), reverse=True)
    return MessagePage(found[:PAGE], _older(topic, edges, found), searched, budget.spent)


@dataclass
class Budget:
    """Limits of reading. `spent` says which one was reached; it is empty until then."""

    seconds: float
    bytes_left: int
    spent: str = ""

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.seconds
        self._bytes = self.bytes_left

    def take(self, size: int) -> bool:
        """Note that so many bytes were read. Returns whether more may be read."""
        self.bytes_left -= size
        if self.bytes_left <= 0:
            self.spent = f"after {self._bytes // 1_000_000} MB"
        elif time.monotonic() > self._deadline:
            self.spent = f"after {self.seconds:.0f} s"
        return not self.spent


def _window(topic: TopicView, edges: dict[int, int], key: str) -> dict[int, tuple[int, int]]:
    """What to read next: the newest messages of each partition; with a key, first all of the partition that it should be in."""
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
    """Where the next page begins: below what was read, or, if not all of it fitted on this page, below what is shown."""
    older = dict(edges)
    for message in found[PAGE:]:
        older[message.partition] = max(older[message.partition], message.offset + 1)
    more = any(edge > topic.begins.get(number, 0) for number, edge in older.items())
    return older if more else {}


def records(consumer: Any, topic: str, window: dict[int, tuple[int, int]], budget: Budget) -> Iterator[Any]:
    """Yield the records of each partition from its low offset up to its high one, until the budget is spent."""
    ends = {TopicPartition(topic, number): high for number, (_, high) in window.items()}
    consumer.assign(list(ends))
    for where in ends:
        consumer.seek(where, window[where.partition][0])
    open_ = set(ends)
    while open_ and budget.take(0):
        for where, found in consumer.poll(100, max_records=POLL_RECORDS).items():
            for record in found:
                if record.offset < ends[where]:
                    yield record
                if not budget.take(len(record.value or b"") + len(record.key or b"")):
                    return
        done = {where for where in open_ if consumer.position(where) >= ends[where]}
        if done:
            open_ -= done
            consumer.pause(*done)


def _view(record: Any) -> MessageView:
    headers = tuple(
        (name[:KEY_BYTES], (value or b"")[:HEADER_BYTES].decode("utf-8", "replace")) for name, value in (record.headers or ())[:HEADERS]
    )
    key = (record.key or b"")[:KEY_BYTES].decode("utf-8", "replace")
    value = None if record.value is None else record.value[:VALUE_BYTES]
    return MessageView(record.partition, record.offset, record.timestamp, key, value, len(record.value or b""), headers)
