"""What a worker passes to a handler, and what the handler returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from kafka import TopicPartition

from pipeline.broker.sender import Headers
from pipeline.storage.rows import Write
from pipeline.wire.messages import Task
from pipeline.wire.results import Result

T = TypeVar("T", bound=Task)


@dataclass(frozen=True)
class Delivery(Generic[T]):
    """One task as it was delivered: its record, and what earlier attempts have left in its headers."""

    partition: TopicPartition
    offset: int
    value: bytes
    headers: Headers
    task: T
    #: Failed attempts before this delivery.
    failed_attempts: int
    #: What the worker's `ahead` has begun for this task.
    ahead: Any = field(default=None, compare=False)

    @property
    def attempt(self) -> int:
        return self.failed_attempts + 1


@dataclass(frozen=True)
class Outcome:
    """What a handler has found: the rows to write first, and the result to report after that."""

    result: Result
    write: Write | None = None


Handler = Callable[[Delivery[T]], Outcome]
