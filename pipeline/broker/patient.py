"""The consumer class of this program: it passes over what it can't read, follows topics that grow, and rests while nothing comes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from pipeline.broker import internals
from pipeline.broker.internals import Unreadable
from pipeline.broker.lost_positions import Remade
from pipeline.errors import ServiceError
from pipeline.repeated import Bounded
from pipeline.wire.text import one_line

log = logging.getLogger(__name__)

#: Seconds between two checks of a reader for new partitions.
FOLLOW_SECONDS = 10.0
#: How many unreadable records are kept until somebody counts them.
UNREADABLE_KEPT = 10_000
#: If an answer has at least so many records, a reader without a group asks for the next one at once.
FULL_ANSWER = 100
#: By how many ms a consumer's rest grows with each thin answer, its longest rest, and what it leaves of a poll for the answer.
REST_MS = 50
LONGEST_REST_MS = 250
ANSWER_MS = 50
#: How long a poll waits if there is nothing else to do: long enough for the longest rest.
IDLE_POLL_MS = LONGEST_REST_MS + ANSWER_MS


class Patient(KafkaConsumer):
    """A consumer that passes over what it can't read, and says so. If the broker had nothing for it, it rests before it asks again,
    longer after each such answer.

    While a fetch waits, the embedded broker keeps looking for records: a dozen consumers with a waiting fetch each would use a whole
    core while nothing happens. A reader without a group also rests after an answer of a few records: to fetch each record by itself
    would cost more than all else that it does.
    """

    thin_answers = 0

    def __init__(self, **options: Any) -> None:
        self._unreadable: list[Unreadable] = []
        self._bounded = Bounded(log)
        self._followed: tuple[str, ...] = ()
        self._remade = Remade(self)
        self._looked_at = 0.0
        super().__init__(**options)
        internals.bound_unpacking()
        internals.pass_over_unreadable(self, self._note_unreadable)

    def take_unreadable(self) -> list[Unreadable]:
        """The records that were passed over since the last call."""
        found, self._unreadable = self._unreadable, []
        return found

    def _note_unreadable(self, one: Unreadable) -> None:
        if len(self._unreadable) < UNREADABLE_KEPT:
            self._unreadable.append(one)
        self._bounded.say(logging.WARNING, f"{one} is passed over, it can't be read: {one_line(one.reason, 200)}")

    def follow(self, names: Iterable[str]) -> list[TopicPartition]:
        """Assign all partitions of the topics, now and whenever they get more; new ones are read from their beginning. Returns the new
        ones. Raises ServiceError if a topic does not exist.
        """
        self._followed = tuple(names)
        self._looked_at = time.monotonic()
        self._remade.look()
        known = self.assignment()
        fresh = [partition for partition in partitions_of(self, self._followed) if partition not in known]
        if fresh:
            self.assign([*known, *fresh])
            self.seek_to_beginning(*fresh)
            if known:
                log.info("taking up new partitions: %s", ", ".join(f"{topic}[{number}]" for topic, number in fresh))
        return fresh

    def poll(self, timeout_ms: float = 0, **options: Any) -> Any:
        if self._followed and time.monotonic() - self._looked_at >= FOLLOW_SECONDS:
            try:
                self.follow(self._followed)
            except (ServiceError, kafka.errors.KafkaError) as error:
                log.debug("no look at the partitions: %s", error)  # the watch over the broker says that it is away
        internals.finish_joining(self)
        # While it joins its group, every poll takes it one step further.
        rest_ms = 0 if internals.is_joining(self) else rest_of(self.thin_answers, timeout_ms)
        if rest_ms:
            time.sleep(rest_ms / 1000)
        records = super().poll(timeout_ms - rest_ms, **options)
        enough = 1 if self.config["group_id"] else FULL_ANSWER
        self.thin_answers = 0 if sum(map(len, records.values())) >= enough else self.thin_answers + 1
        return records


def rest_of(thin_answers: int, timeout_ms: float) -> float:
    """How many ms a poll of `timeout_ms` rests before it asks, after so many thin answers in a row. Pure."""
    return max(0, min(thin_answers * REST_MS, LONGEST_REST_MS, timeout_ms - ANSWER_MS))


def partitions_of(consumer: KafkaConsumer, names: Iterable[str], timeout_seconds: float = 10.0) -> list[TopicPartition]:
    """All partitions of the topics. Raises ServiceError if one does not exist."""
    found: list[TopicPartition] = []
    deadline = time.monotonic() + timeout_seconds
    for name in names:
        numbers = consumer.partitions_for_topic(name)
        while not numbers and time.monotonic() < deadline:
            time.sleep(0.1)
            numbers = consumer.partitions_for_topic(name)
        if not numbers:
            raise ServiceError(f"topic {name} does not exist: start run_pipeline.py or kafka_scraper_producer.py first")
        found += [TopicPartition(name, number) for number in sorted(numbers)]
    return found
