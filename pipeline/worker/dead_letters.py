"""Reads, filters and replays dead letters. A letter is the original bytes of a task, with the reason in its headers.

Replaying a letter writes a mark into the same partition (an empty record that names the letter), so that it is replayed only
once. The mark is written after the task was put back: after a crash in between, it is put back twice, which is still one task.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from config import Kafka
from pipeline.broker import clients, positions
from pipeline.broker.sender import Headers, Message, Sender
from pipeline.errors import MessageError, PermanentError, ServiceError
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask, ScrapingTask, Task
from pipeline.wire.topics import StageTopics

log = logging.getLogger(__name__)

#: Header of the mark, and of the task that was put back. It names the letter.
REPLAY_OF = "replay-of"


@dataclass(frozen=True)
class Letter:
    """One dead letter. `task` is None if the bytes are not a valid task; such a letter belongs to no run."""

    stage: StageTopics
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: bytes
    headers: Headers
    task: Task | None
    replayed: bool = False

    @property
    def letter_id(self) -> str:
        return f"{self.stage.name}/{self.partition}/{self.offset}"

    @property
    def subject(self) -> tuple[str, ...]:
        """What the letter is about: a task, or the place of bytes that are not a valid task."""
        if self.task is not None:
            return self.stage.name, self.task.task_id
        return tuple(self.headers.get(f"original-{name}", "") for name in ("topic", "partition", "offset"))

    def fields(self) -> dict[str, Any]:
        """All fields, for `--json` and `show`."""
        return {
            "id": self.letter_id,
            "stage": self.stage.name,
            "task_id": self.task.task_id if self.task else None,
            "run_id": self.task.run_id if self.task else None,
            "dead_since": messages.time_text(self.timestamp_ms / 1000),
            "attempt": self.headers.get("attempt", ""),
            "error_type": self.headers.get("error-type", ""),
            "error": self.headers.get("error-message", ""),
            "original_topic": self.headers.get("original-topic", ""),
            "original_partition": self.headers.get("original-partition", ""),
            "original_offset": self.headers.get("original-offset", ""),
            "replayed": self.replayed,
            "value": self.value.decode("utf-8", "backslashreplace"),
        }


@dataclass(frozen=True)
class LetterFilter:
    """Which letters to take: those that meet every condition. None means any; ages are in seconds."""

    stage: str | None = None
    run: str | None = None
    region: str | None = None
    symbol: str | None = None
    error_type: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    letter_id: str | None = None
    replayed_too: bool = False

    def __call__(self, letter: Letter, now: float | None = None) -> bool:
        task = letter.task
        age = (time.time() if now is None else now) - letter.timestamp_ms / 1000
        region = task.region_code if isinstance(task, ScrapingTask) else task.country_code if task else None
        symbol = task.symbol if isinstance(task, ProcessingTask) else None
        return (
            self.stage in (None, letter.stage.name)
            and self.run in (None, task.run_id if task else None)
            and self.region in (None, region)
            and self.symbol in (None, symbol)
            and self.error_type in (None, letter.headers.get("error-type"))
            and (self.older_than is None or age >= self.older_than)
            and (self.newer_than is None or age <= self.newer_than)
            and self.letter_id in (None, letter.letter_id)
            and (self.replayed_too or not letter.replayed)
        )


class Letters:
    """Collects letters from records, which come in order within each partition. `found` has them by their id.

    A task that was delivered twice may fail for good twice. Until its first letter is replayed, the second one does not count, or the
    task would be replayed twice. A letter after a replay is a new one.
    """

    def __init__(self, most: int | None = None) -> None:
        self.found: dict[str, Letter] = {}
        self._most = most
        self._lying: dict[tuple[str, ...], str] = {}

    def note(self, letter: Letter, is_mark: bool) -> None:
        """Note a letter, or the mark that one was replayed. Above `most` letters, the oldest one is forgotten."""
        if is_mark:
            name = letter.headers.get(REPLAY_OF, "")
            if name in self.found:
                self.found[name] = replace(self.found[name], replayed=True)
                self._lying.pop(self.found[name].subject, None)
            return
        if self._lying.setdefault(letter.subject, letter.letter_id) == letter.letter_id:
            self.found[letter.letter_id] = letter
        if self._most is not None and len(self.found) > self._most:
            first = self.found.pop(next(iter(self.found)))
            if self._lying.get(first.subject) == first.letter_id:
                del self._lying[first.subject]


def read(settings: Kafka, wanted: Callable[[Letter], bool], timeout_seconds: float = 60.0) -> list[Letter]:
    """All wanted letters up to now, oldest first. Raises ServiceError."""
    stages = {stage.dead_letters: stage for stage in topics.STAGES}
    marks = positions.high_watermarks(settings, stages)
    consumer = clients.reader(settings)
    letters = Letters()
    deadline = time.monotonic() + timeout_seconds
    try:
        with clients.reaching(settings):
            consumer.assign(list(marks))
            consumer.seek_to_beginning(*marks)
            while any(consumer.position(partition) < mark for partition, mark in marks.items()):
                if time.monotonic() > deadline:
                    raise ServiceError(f"the dead letters could not be read to their end within {timeout_seconds:.0f} s")
                for partition, records in consumer.poll(200).items():
                    for record in records:
                        letters.note(letter_of(stages[partition.topic], record), is_mark(record))
    finally:
        consumer.close()
    return sorted(filter(wanted, letters.found.values()), key=lambda letter: (letter.timestamp_ms, letter.letter_id))


def replay(sender: Sender, letters: Iterable[Letter]) -> int:
    """Put the tasks back, each with a fresh count of attempts. Returns how many. Letters that are not a valid task stay, and so does
    one that the broker refuses for good.

    Raises NotNow if the broker does not acknowledge.
    """
    count = 0
    for letter in letters:
        if letter.task is None or letter.replayed:
            continue
        headers = {REPLAY_OF: letter.letter_id}
        try:
            sender.send_all([Message(letter.stage.tasks, letter.task.key, letter.value, headers)])
        except PermanentError as error:
            log.warning("%s is not replayed: %s", letter.letter_id, error)
            continue
        sender.send_all([Message(letter.stage.dead_letters, letter.key, None, headers, partition=letter.partition)])
        count += 1
    return count


def letter_of(stage: StageTopics, record: Any) -> Letter:
    """The letter in a record of the stage's dead-letter topic. Whether it was replayed is not known yet."""
    try:
        task: Task | None = messages.scraping_task(record.value) if stage is topics.SCRAPING else messages.processing_task(record.value)
    except MessageError:
        task = None  # it is here for that reason: it is shown, and can't be replayed
    headers = {key: (value or b"").decode("utf-8", "replace") for key, value in record.headers or ()}
    key = (record.key or b"").decode("utf-8", "replace")
    return Letter(stage, record.partition, record.offset, record.timestamp, key, record.value or b"", headers, task)


def is_mark(record: Any) -> bool:
    """Whether the record is not a letter but the mark that one was replayed."""
    return record.value is None and any(name == REPLAY_OF for name, _ in record.headers or ())
