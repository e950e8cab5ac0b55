"""Messages on their way to the broker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import kafka.errors
from kafka import KafkaProducer

from pipeline.errors import TransientError

Headers = dict[str, str]


@dataclass(frozen=True)
class Message:
    """A message to send. `partition` None is the client's murmur2 over the key."""

    topic: str
    key: str
    value: bytes | None
    headers: Headers = field(default_factory=dict)
    partition: int | None = None


def send(producer: KafkaProducer, message: Message) -> Any:
    """Queue one message; the future it returns says whether the broker took it."""
    return producer.send(
        message.topic,
        key=message.key.encode("utf-8", "replace"),
        value=message.value,
        headers=[(name, value.encode("utf-8", "replace")) for name, value in message.headers.items()],
        partition=message.partition,
    )


def send_all(producer: KafkaProducer, batch: list[Message], timeout_seconds: float = 60.0) -> None:
    """Send and wait until the broker has acknowledged all of it. Raises TransientError."""
    try:
        futures = [send(producer, message) for message in batch]
        producer.flush(timeout=timeout_seconds)
        for future in futures:
            future.get(timeout=timeout_seconds)
    except kafka.errors.KafkaError as error:
        raise TransientError(f"the broker took no messages: {type(error).__name__}: {error}") from error
