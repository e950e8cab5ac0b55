"""Messages that must arrive before a record counts as finished: sent, sent again, and replaced if they are refused for good."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition

from pipeline.broker import diagnosis
from pipeline.broker.outage import BrokerWatch
from pipeline.broker.sender import Fate, Message, Sender, is_certain, pause_seconds
from pipeline.repeated import Bounded
from pipeline.wire.topics import LARGEST_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: How many bytes may be on their way at once: the client keeps them in memory until they are acknowledged.
MOST_BYTES = 8 * LARGEST_MESSAGE_BYTES
#: Seconds after which a round of sending ends if `send` itself waits for the broker.
MOST_SECONDS = 1.0


@dataclass
class Settling:
    """The messages of one record, which is finished when they have arrived.

    instead: takes the reason, and returns what to send if the broker refuses one of the messages for good.
    """

    partition: TopicPartition
    offset: int
    messages: list[Message]
    instead: Callable[[str], list[Message]]
    #: By place in `messages`, for those that were sent and did not fail.
    futures: dict[int, Any] = field(default_factory=dict)
    #: A message was refused, perhaps because of another one in its batch: now it is sent by itself.
    alone: bool = False
    refusals: int = 0
    tries: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.partition.topic}[{self.partition.partition}]@{self.offset}"

    @property
    def size(self) -> int:
        return sum(len(message.value or b"") for message in self.messages)


class Outbox:
    """For one thread. It neither waits nor raises: `advance` does what can be done now."""

    def __init__(self, sender: Sender, watch: BrokerWatch) -> None:
        self._sender = sender
        self._watch = watch
        self._bounded = Bounded(log)
        self._unsent: deque[Settling] = deque()
        self._on_the_way: deque[Settling] = deque()

    def __len__(self) -> int:
        """Records whose messages have not all arrived."""
        return len(self._unsent) + len(self._on_the_way)

    def put(self, settling: Settling) -> None:
        self._unsent.append(settling)

    def advance(self) -> Iterator[Settling]:
        """Send what waits and look at what has arrived. Yields the records that are finished."""
        self._send()
        for _ in range(len(self._on_the_way)):
            settling = self._on_the_way.popleft()
            if not all(future.is_done for future in settling.futures.values()):
                self._on_the_way.append(settling)
                continue
            errors = {place: future.exception for place, future in settling.futures.items() if future.failed()}
            if not errors:
                self._sender.acknowledged()
                yield settling
                continue
            for place in errors:
                del settling.futures[place]
            place, error = next(iter(errors.items()))
            self._failed(settling, settling.messages[place], error)

    def _send(self) -> None:
        now = time.monotonic()
        size = sum(settling.size for settling in self._on_the_way)
        for _ in range(len(self._unsent)):
            settling = self._unsent.popleft()
            crowded = settling.alone or (self._on_the_way and self._on_the_way[-1].alone) or size + settling.size > MOST_BYTES
            if settling.not_before > now or (self._on_the_way and crowded):
                self._unsent.append(settling)
                continue
            place = 0
            try:
                for place, message in enumerate(settling.messages):
                    if place not in settling.futures:
                        settling.futures[place] = self._sender.send(message)
            except Exception as error:  # a closed or broken client does not only raise Kafka's errors
                self._failed(settling, settling.messages[place], error)
                if time.monotonic() - now > MOST_SECONDS:
                    return  # if `send` waits for the broker, it must not hold the polling thread once per message
                continue
            size += settling.size
            self._on_the_way.append(settling)

    def _failed(self, settling: Settling, message: Message, error: BaseException) -> None:
        """It is sent again later, or replaced if the broker will never take it."""
        fate = self._sender.failed(error)
        if fate is not Fate.NEVER_THIS_MESSAGE:
            why = diagnosis.refusal(self._watch.settings, error, message.topic)
            self._watch.trouble(why or "messages not acknowledged, sending them again", error)
            settling.not_before = time.monotonic() + pause_seconds(settling.tries)
            settling.tries += 1
        elif not settling.alone and not is_certain(error):
            settling.alone = True
        else:
            self._replace(settling, message, error)
        self._unsent.append(settling)

    def _replace(self, settling: Settling, message: Message, error: BaseException) -> None:
        """The broker will never take it: a letter without its value takes its place, and if that is refused too, nothing."""
        reason = f"Kafka refuses a message of {len(message.value or b'')} bytes to {message.topic} for good ({type(error).__name__})"
        settling.futures, settling.alone = {}, False
        settling.refusals += 1
        if settling.refusals == 1:
            self._bounded.say(logging.WARNING, f"{settling.name}: {reason}: a dead letter without its value takes its place")
            settling.messages = settling.instead(reason)
        else:
            log.error("%s is given up: %s", settling.name, reason)
            settling.messages = []
