"""Messages on their way to the broker, and what an error on that way means.

An error is one of three things, and each has its own end (`fate`): not now, so the same message is sent again; never this
message, so its sender must say something else; never this client, so a new one takes its place.
"""

from __future__ import annotations

import enum
import logging
import time
from dataclasses import dataclass, field
from typing import Any

import kafka.errors
from kafka import KafkaProducer

from config import Kafka
from pipeline.broker import clients, diagnosis
from pipeline.errors import NotNow, PermanentError, ServiceError
from pipeline.repeated import Repeated

log = logging.getLogger(__name__)

#: Seconds before what was not acknowledged is sent again: doubles with each time in a row, up to the second figure.
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
#: The longest pause before a client is replaced that no longer works.
LONGEST_RENEWAL_SECONDS = 30.0

Headers = dict[str, str]


@dataclass(frozen=True)
class Message:
    """A message to send. `partition` None is the client's murmur2 over the key."""

    topic: str
    key: str
    value: bytes | None
    headers: Headers = field(default_factory=dict)
    partition: int | None = None


class Fate(enum.Enum):
    AGAIN = "not now"
    NEVER_THIS_MESSAGE = "never this message"
    NEVER_THIS_CLIENT = "never this client"


#: The message is too large, or the broker refuses its content.
_SIZE = (kafka.errors.MessageSizeTooLargeError, kafka.errors.RecordListTooLargeError)
_REFUSED = (*_SIZE, kafka.errors.InvalidRecordError, kafka.errors.PolicyViolationError, kafka.errors.UnsupportedForMessageFormatError)
#: A state of the broker, or of this machine's clock, that may change; besides, all that the client itself calls retriable.
_NOT_NOW = (
    kafka.errors.RetriableError,
    kafka.errors.AuthorizationError,
    kafka.errors.SaslAuthenticationFailedError,
    kafka.errors.InvalidTimestampError,
    kafka.errors.CorruptRecordError,
    kafka.errors.UnknownError,
    kafka.errors.BrokerNotAvailableError,
)


def fate(error: BaseException) -> Fate:
    """What an error of `send` or of its future means. Pure."""
    if isinstance(error, _REFUSED):
        return Fate.NEVER_THIS_MESSAGE
    if isinstance(error, _NOT_NOW):
        return Fate.AGAIN
    return Fate.NEVER_THIS_CLIENT


def is_certain(error: BaseException) -> bool:
    """Whether the error certainly belongs to this message, and not to another one in its batch: the client splits batches that are
    too large.
    """
    return isinstance(error, _SIZE)


class Sender:
    """A producer, which is replaced if it no longer works. For one thread.

    Acknowledged by all in-sync replicas. Not idempotent in Kafka's sense: with that, the client calls itself dead after any
    error that can't be tried again, and every message of the pipeline may arrive twice anyway.
    """

    def __init__(self, settings: Kafka) -> None:
        """Raises ServiceError if the broker is not reachable."""
        self._settings = settings
        self._producer: KafkaProducer = clients.producer(settings)
        self._renewals = 0
        self._renew_at = 0.0
        self._useless = False
        self._partition_counts: dict[str, int] = {}
        self.repeated = Repeated(log)

    def send(self, message: Message) -> Any:
        """Queue one message; the future that it returns says whether the broker took it. Raises whatever `fate` can judge."""
        if self._useless:
            self._renew()
        partition = message.partition
        return self._producer.send(
            message.topic,
            key=message.key.encode("utf-8", "replace"),
            value=message.value,
            headers=[(name, value.encode("utf-8", "replace")) for name, value in message.headers.items()],
            partition=partition,
        )

    def failed(self, error: BaseException) -> Fate:
        """Tell the sender of an error of `send` or of its future; what it means."""
        found = fate(error)
        self._useless = self._useless or found is Fate.NEVER_THIS_CLIENT
        return found

    def acknowledged(self) -> None:
        """Tell the sender that a message arrived: the client works."""
        self._renewals = 0

    def _renew(self) -> None:
        """Raises an error that means `AGAIN` while it is too early, or no broker answers."""
        if time.monotonic() < self._renew_at:
            raise kafka.errors.KafkaTimeoutError("waiting before the next client")
        self._renewals += 1
        self._renew_at = time.monotonic() + pause_seconds(self._renewals, LONGEST_RENEWAL_SECONDS)
        try:
            fresh = clients.producer(self._settings)
        except ServiceError as error:
            raise kafka.errors.KafkaConnectionError(str(error)) from error
        self._close(0)
        self._producer, self._useless = fresh, False
        self.repeated.say(logging.WARNING, "the producer no longer works: a new one takes its place")

    def send_all(self, batch: list[Message], timeout_seconds: float = 60.0) -> None:
        """Send and wait until the broker has acknowledged all messages; those that fail are sent again until the time is up.

        Raises NotNow when it is up, and PermanentError if the broker refuses one of the messages for good.
        """
        deadline, tries, alone = time.monotonic() + timeout_seconds, 0, False
        left = list(batch)
        while left:
            failed: list[tuple[Message, BaseException]] = []
            for part in [[message] for message in left] if alone else [left]:
                failed += self._try(part, max(1.0, min(timeout_seconds, deadline - time.monotonic())))
            if not failed:
                return
            message, error = failed[0]
            fates = [self.failed(one) for _, one in failed]
            never = [one for one, found in zip(failed, fates, strict=True) if found is Fate.NEVER_THIS_MESSAGE]
            if never and (alone or len(left) == 1 or is_certain(never[0][1])):
                raise PermanentError(f"the broker refuses a message to {never[0][0].topic} for good: {_text(never[0][1])}")
            alone = bool(never)
            left = [one for one, _ in failed]
            why = diagnosis.refusal(self._settings, error, message.topic) or f"the broker took no messages: {_text(error)}"
            if time.monotonic() >= deadline:
                raise NotNow(why)
            self.repeated.say(logging.WARNING, f"{why}; trying again")
            time.sleep(min(pause_seconds(tries), max(0.0, deadline - time.monotonic())))
            tries += 1

    def _try(self, batch: list[Message], timeout_seconds: float) -> list[tuple[Message, BaseException]]:
        """Send the batch and wait. Returns the messages that were not acknowledged, each with its error."""
        futures: list[tuple[Message, Any]] = []
        failed: list[tuple[Message, BaseException]] = []
        for message in batch:
            try:
                futures.append((message, self.send(message)))
            except Exception as error:  # the client raises more than its own errors once it is closed or broken
                failed.append((message, error))
        try:
            self._producer.flush(timeout=timeout_seconds)
        except Exception as error:
            log.debug("flush: %s", error)
        for message, future in futures:
            if not future.is_done:
                failed.append((message, kafka.errors.KafkaTimeoutError(f"no answer within {timeout_seconds:.0f} s")))
            elif future.failed():
                failed.append((message, future.exception))
            else:
                self.acknowledged()
        return failed

    def partition_count(self, topic: str) -> int:
        """The latest known number: a topic that is being created anew has none for a moment. Raises KafkaError if none is known."""
        try:
            self._partition_counts[topic] = len(self._producer.partitions_for(topic))
        except kafka.errors.KafkaError:
            if topic not in self._partition_counts:
                raise
        return self._partition_counts[topic]

    def close(self, timeout_seconds: float = 5.0) -> None:
        """Never raises: the sender of a message that is not acknowledged by now sends it again."""
        self._close(timeout_seconds)

    def _close(self, timeout_seconds: float) -> None:
        try:
            self._producer.close(timeout=timeout_seconds)
        except (kafka.errors.KafkaError, AssertionError, OSError, RuntimeError) as error:
            log.debug("close: %s", error)


def pause_seconds(tries: int, longest: float = LONGEST_PAUSE_SECONDS) -> float:
    """How long to wait after so many failed tries in a row before this one. Pure."""
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(tries, 20), longest)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if not isinstance(error, kafka.errors.KafkaError) else str(error)
