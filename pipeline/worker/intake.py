"""A record as it came from the topic → a task with what earlier attempts say of it, or why it is none. Pure.

Any field of any record may be missing, absurd or hostile. So everything is bounded here, once.
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

#: Headers that mean something to this program, and how many characters of each are read.
_TEXTS = {"original-topic": 249, "error-type": 100, "error-message": messages.ERROR_TEXT_LIMIT, "replay-of": 100}
#: Those that are to hold a number, and its most digits: a longer one is as if it were not there.
_NUMBERS = {"original-partition": 10, "original-offset": 19, "attempt": 6, "not-before": 16, CUTS: 4}


def read_headers(record: Any) -> Headers:
    """The headers of a record that this program knows, as text; of a name that comes twice, the last one."""
    found = {}
    for name, value in record.headers or ():
        if name in _TEXTS:
            # Four bytes are the most that a character takes.
            text = (value or b"")[: 4 * _TEXTS[name] + 4].decode("utf-8", "replace")
            found[name] = messages.clean_text(text)[: _TEXTS[name]]
        elif name in _NUMBERS and value is not None and len(value) <= _NUMBERS[name] and value.isdigit():
            found[name] = value.decode("ascii")
    return found


def read_task(record: Any, headers: Headers, decode: Callable[[bytes | None], T]) -> Delivery[T]:
    """Raises MessageError for what is no task."""
    task = decode(record.value)
    failed_attempts = whole_number(headers.get("attempt", "")) or 0
    return Delivery(TopicPartition(record.topic, record.partition), record.offset, record.value, headers, task, failed_attempts)


def too_large(value: bytes) -> str:
    """Why a task of these bytes could not be sent on; empty if it can. Compressed, a small record unpacks to any size."""
    return f"{len(value)} bytes are more than may be sent ({LARGEST_MESSAGE_BYTES})" if len(value) > LARGEST_MESSAGE_BYTES else ""


def due_at(headers: Headers, now: float) -> float:
    """When a task may run (epoch seconds); 0 where its headers say nothing readable. Never further ahead than the longest wait:
    a clock that is far off must not hold a task for ever.
    """
    not_before = whole_number(headers.get("not-before", ""))
    return 0.0 if not_before is None else min(not_before / 1000, now + LARGEST_SECONDS)


def whole_number(text: str) -> int | None:
    """The number, None where there is none; `isdigit` alone is true of signs that only look like a digit."""
    return int(text) if text.isascii() and text.isdigit() else None
