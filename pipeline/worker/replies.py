"""The messages that report what happened to a task: topic, key, bytes, headers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic

from pipeline.broker.sender import Headers, Message
from pipeline.wire import messages, results
from pipeline.wire.market_cap import CUTS, places_of_halves
from pipeline.wire.messages import clean_text
from pipeline.wire.results import Result, Split
from pipeline.wire.topics import StageTopics
from pipeline.worker.delivery import Delivery, T

#: The longest key that is kept, in bytes: this program's own have a few hundred at most.
_LONGEST_KEY_BYTES = 1_000
#: Header of a letter without its value: how many bytes it had.
VALUE_BYTES = "value-bytes"


class Replies(Generic[T]):
    """For one stage. `requests` is how many the attempt has sent to the site."""

    def __init__(self, topics: StageTopics) -> None:
        self.topics = topics

    def done(self, delivery: Delivery[T], result: Result, task_partitions: Callable[[], int], requests: int) -> list[Message]:
        """The completion, and before it the two halves if the task was split. `task_partitions` is only called in that case."""
        done = Message(self.topics.completion, delivery.task.task_id, results.completion(delivery.task, result, requests))
        if not isinstance(result, Split):
            return [done]
        places, headers = places_of_halves(delivery.headers, delivery.partition.partition, task_partitions())
        halves = zip(result.halves, places, strict=True)
        return [*(Message(self.topics.tasks, half.key, messages.pending(half), headers, place) for half, place in halves), done]

    def again(self, delivery: Delivery[T], error_type: str, text: str, failed_attempts: int, at: float, requests: int) -> list[Message]:
        """The task, back in the retry topic until the epoch time `at`, and the error that says so."""
        headers = {**_origin(delivery), **_reason(failed_attempts, error_type, text), "not-before": str(int(at * 1000))}
        if CUTS in delivery.headers:  # says where the halves go if the task is split
            headers[CUTS] = delivery.headers[CUTS]
        return [
            Message(self.topics.retries, delivery.task.key, delivery.value, headers),
            self._error(delivery, error_type, text, requests, final=False),
        ]

    def failed(self, delivery: Delivery[T], error_type: str, text: str, with_value: bool = True, requests: int = 0) -> list[Message]:
        """The task as a dead letter, and a final error message."""
        headers = {**_origin(delivery), **_reason(delivery.attempt, error_type, text)}
        letter = Message(self.topics.dead_letters, delivery.task.key, delivery.value, headers)
        return [letter if with_value else without_value(letter), self._error(delivery, error_type, text, requests, final=True)]

    def no_task(self, record: Any, headers: Headers, error_type: str, text: str) -> Message:
        """Bytes that are not a valid task, as a dead letter."""
        key = (record.key or b"")[:_LONGEST_KEY_BYTES].decode("utf-8", "replace")
        origin = {
            "original-topic": headers.get("original-topic", record.topic),
            "original-partition": headers.get("original-partition", str(record.partition)),
            "original-offset": headers.get("original-offset", str(record.offset)),
        }
        attempt = headers.get("attempt", "1")
        return Message(self.topics.dead_letters, key, record.value or b"", {**origin, **_reason(attempt, error_type, text)})

    def _error(self, delivery: Delivery[T], error_type: str, text: str, requests: int, final: bool) -> Message:
        value = messages.error_message(delivery.task, text, error_type, delivery.attempt, final, requests)
        return Message(self.topics.errors, delivery.task.task_id, value)


def without_value(letter: Message) -> Message:
    """The letter with an empty value, for a broker that would refuse it: its headers say where the record is, how large, and why."""
    headers = {**letter.headers, VALUE_BYTES: str(len(letter.value or b""))}
    headers["error-message"] = headers.get("error-message", "")[:200]
    return Message(letter.topic, letter.key[:200], b"", headers)


def _origin(delivery: Delivery[Any]) -> Headers:
    return {
        "original-topic": delivery.headers.get("original-topic", delivery.partition.topic),
        "original-partition": delivery.headers.get("original-partition", str(delivery.partition.partition)),
        "original-offset": delivery.headers.get("original-offset", str(delivery.offset)),
    }


def _reason(attempt: int | str, error_type: str, text: str) -> Headers:
    # Only the last error: headers that grow with each attempt make a record too large in the end.
    return {"attempt": str(attempt), "error-type": error_type, "error-message": clean_text(text)[: messages.ERROR_TEXT_LIMIT]}
