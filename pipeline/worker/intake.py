"""Reads a record of a topic: a task and what earlier attempts say about it, or why it is not a valid task. Pure.

Any field of any record may be missing, absurd or hostile. So every field is bounded here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kafka import TopicPartition

from pipeline.broker.sender import Headers
from pipeline.wire import messages
from pipeline.wire.market_cap import CUTS
from pipeline.wire.topics import LARGEST_MESSAGE_BYTES
from pipeline.worker.delivery import Delivery, T
from pipeline.worker.failures import LARGEST_SECONDS

#: Headers that this program uses, and how many characters of each are read.
_TEXTS = {"original-topic": 249, "error-type": 100, "error-message": messages.ERROR_TEXT_LIMIT, "replay-of": 100}
#: Headers with a number, and its maximum of digits: a longer one is ignored.
_NUMBERS = {"original-partition": 10, "original-offset": 19, "attempt": 6, "not-before": 16, CUTS: 4}


def read_headers(record: Any) -> Headers:
    """The headers that this program knows, as text; if a name comes twice, the last one counts."""
    found = {}
    for name, value in record.headers or ():
        if name in _TEXTS:
            # A character takes four bytes at most.
            text = (value or b"")[: 4 * _TEXTS[name] + 4].decode("utf-8", "replace")
            found[name] = messages.clean_text(text)[: _TEXTS[name]]
        elif name in _NUMBERS and value is not None and len(value) <= _NUMBERS[name] and value.isdigit():
            found[name] = value.decode("ascii")
    return found


def read_task(record: Any, headers: Headers, decode: Callable[[bytes | None], T]) -> Delivery[T]:
    """Raises MessageError if the record is not a valid task."""
    task = decode(record.value)
    failed_attempts = whole_number(headers.get("attempt", "")) or 0
    return Delivery(TopicPartition(record.topic, record.partition), record.offset, record.value, headers, task, failed_attempts)


def too_large(value: bytes) -> str:
    """Why a task of these bytes can't be sent on; empty if it can. A small compressed record may unpack to any size."""
    return f"{len(value)} bytes are more than may be sent ({LARGEST_MESSAGE_BYTES})" if len(value) > LARGEST_MESSAGE_BYTES else ""


def due_at(headers: Headers, now: float) -> float:
    """When a task may run (epoch seconds); 0 if its headers have no readable time. Never further ahead than the longest wait: a clock
    that is far off must not hold a task for ever.
    """
    not_before = whole_number(headers.get("not-before", ""))
    return 0.0 if not_before is None else min(not_before / 1000, now + LARGEST_SECONDS)


def whole_number(text: str) -> int | None:
    """The number, or None if the text is not one. `isdigit` alone is also true for characters that only look like digits."""
    return int(text) if text.isascii() and text.isdigit() else None
