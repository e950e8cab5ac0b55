"""Follows the dead letters in a thread, so that they can be shown at once, however many there are."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import kafka.errors
from kafka import TopicPartition

from config import Kafka
from pipeline.broker import clients, positions
from pipeline.broker.patient import IDLE_POLL_MS
from pipeline.broker.sender import Sender
from pipeline.errors import ServiceError
from pipeline.wire import topics
from pipeline.worker import dead_letters
from pipeline.worker.dead_letters import Letter, is_mark
from pipeline.worker.dead_letters import letter_of as letter_of
from ui.following import Following
from ui.places import Places
from ui.topics_view import Budget, records

#: How many of the newest letters are kept, and how many bytes of each value.
LETTERS_KEPT = 10_000
VALUE_BYTES = 500
HEADER_CHARACTERS = 1_000
#: Seconds to wait until a letter that was put back is marked so.
SHOWN_SECONDS = 5.0
#: Limits for reading the letters that are to be put back.
FETCH_SECONDS = 30.0
FETCH_BYTES = 500_000_000
_STAGES = {stage.dead_letters: stage for stage in topics.STAGES}


class Letters(Following):
    """Call `start()`. `problem` says why nothing can be read, if so."""

    def __init__(self, places: Places) -> None:
        super().__init__(places, "follow-dead-letters")
        self.problem = ""
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._letters = dead_letters.Letters(LETTERS_KEPT)
        self._consumer: Any = None
        self._todo: dict[TopicPartition, int] = {}

    def ready(self, seconds: float = 0.0) -> bool:
        """Whether all letters up to the start have been read. Waits up to so many seconds for that."""
        return self._ready.wait(seconds)

    def all(self) -> list[Letter]:
        """The letters, oldest first, with only the first bytes of their values. Raises ServiceError."""
        if self.problem:
            raise ServiceError(self.problem)
        with self._lock:
            letters = list(self._letters.found.values())
        return sorted(letters, key=lambda letter: (letter.timestamp_ms, letter.letter_id))

    def put_back(self, chosen: list[Letter]) -> int:
        """Put the tasks of these letters back, each once. Returns how many. Raises ServiceError and TransientError."""
        if not self.ready():
            raise ServiceError("the dead letters are still being read: try again in a moment")
        settings = self._places.kafka()
        whole = fetch(settings, [letter for letter in chosen if letter.task is not None and not letter.replayed])
        sender = Sender(settings)
        try:
            count = dead_letters.replay(sender, whole)
        finally:
            sender.close()
        deadline = time.monotonic() + SHOWN_SECONDS
        names = {letter.letter_id for letter in whole}
        while time.monotonic() < deadline and any(letter.letter_id in names and not letter.replayed for letter in self.all()):
            time.sleep(0.05)
        return count

    def open(self, settings: Kafka) -> None:
        self._todo = positions.high_watermarks(settings, _STAGES)
        self._consumer = clients.reader(settings)
        with clients.reaching(settings):
            self._consumer.assign(list(self._todo))
            self._consumer.seek_to_beginning(*self._todo)
        with self._lock:
            self._letters = dead_letters.Letters(LETTERS_KEPT)
        self._ready.clear()
        self.problem = ""

    def step(self) -> None:
        for where, found in self._consumer.poll(IDLE_POLL_MS).items():
            with self._lock:
                for record in found:
                    letter = letter_of(_STAGES[where.topic], record)
                    self._letters.note(_cut(letter), is_mark(record))
        if not self._ready.is_set() and all(self._consumer.position(where) >= mark for where, mark in self._todo.items()):
            self._ready.set()

    def close(self) -> None:
        try:
            if self._consumer is not None:
                self._consumer.close()
        except kafka.errors.KafkaError:
            pass  # the broker is gone
        self._consumer = None

    def away(self, problem: str) -> None:
        self.problem = problem


def _cut(letter: Letter) -> Letter:
    """The letter, cut to what the list shows."""
    headers = {name[:HEADER_CHARACTERS]: text[:HEADER_CHARACTERS] for name, text in list(letter.headers.items())[:20]}
    return replace(letter, value=letter.value[:VALUE_BYTES], headers=headers)


def fetch(settings: Kafka, letters: Iterable[Letter]) -> list[Letter]:
    """The same letters with all their bytes, read from the topics again. Raises ServiceError."""
    found: list[Letter] = []
    for stage in topics.STAGES:
        offsets: dict[int, set[int]] = {}
        for letter in letters:
            if letter.stage is stage:
                offsets.setdefault(letter.partition, set()).add(letter.offset)
        if not offsets:
            continue
        window = {number: (min(wanted), max(wanted) + 1) for number, wanted in offsets.items()}
        budget = Budget(FETCH_SECONDS, FETCH_BYTES)
        consumer = clients.reader(settings)
        try:
            with clients.reaching(settings):
                for record in records(consumer, stage.dead_letters, window, budget):
                    if record.offset in offsets[record.partition]:
                        found.append(letter_of(stage, record))
        finally:
            consumer.close()
        if budget.spent:
            raise ServiceError(
                f"reading {stage.dead_letters} stopped {budget.spent}: put back fewer letters at a time, or use kafka_dead_letters.py"
            )
    return found
