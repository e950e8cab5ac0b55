"""What the processing consumers tell each other of the site's patience: one process's 429 slows all of them on all hosts.

One small topic, `pipeline-control`, with two kinds of message. Both carry `sender` (host:pid) and `expires_at` (epoch ms)
and mean nothing after that, so what retention leaves standing does no harm.

slow_down   a warning of the site: `status`, `pause_seconds`
state       a throttled process's own state, every few seconds while it is throttled and once when it no longer is
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from config import Kafka
from pipeline.broker import clients
from pipeline.errors import ServiceError
from pipeline.wire import messages, topics
from pipeline.yahoo.throttle import LARGEST_PAUSE_SECONDS, Throttle, Warned

log = logging.getLogger(__name__)

#: Seconds for which a warning is news; where its pause is longer, for as long as that.
WARNING_SECONDS = 5.0
#: Seconds between two messages of a process's state, and for which one counts.
STATE_SECONDS = 3.0
STATE_EXPIRES_SECONDS = 10.0
#: A process that comes late reads so many messages back: what has not expired is among them.
READ_BACK = 200
#: Seconds before the follower connects again to a broker that was away.
AGAIN_SECONDS = 2.0

_PARTITION = TopicPartition(topics.CONTROL, 0)


def slow_down(sender: str, warned: Warned, now: float) -> bytes:
    """A warning as a message. Pure; `now` in epoch seconds."""
    expires = now + max(warned.pause_seconds, WARNING_SECONDS)
    return _message("slow_down", sender, expires, {"status": warned.status, "pause_seconds": warned.pause_seconds})


def state(sender: str, found: dict[str, Any], now: float) -> bytes:
    """`Throttle.state()` as a message. Pure."""
    return _message("state", sender, now + STATE_EXPIRES_SECONDS, found)


def _message(status: str, sender: str, expires: float, more: dict[str, Any]) -> bytes:
    named = {"status": status, "sender": sender, "timestamp": messages.now_text(), "expires_at": int(expires * 1000)}
    # `status` says what a message is on every topic; the site's own is `site_status`.
    return messages.encode({**named, **{"site_status" if name == "status" else name: value for name, value in more.items()}})


def decode(raw: bytes | None, now: float) -> dict[str, Any] | None:
    """The fields of a message that still counts; None for one that has expired, and for what is none. Pure."""
    try:
        fields = json.loads(raw or b"")
        good = isinstance(fields["sender"], str) and fields["status"] in ("slow_down", "state") and fields["expires_at"] > now * 1000
        names = ("site_status", "pause_seconds") if fields["status"] == "slow_down" else ("requests_per_second", "paused_seconds")
        numbers = all(isinstance(fields[name], int | float) and math.isfinite(fields[name]) for name in names)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return fields if good and numbers else None


def sender_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class Follower:
    """Ties a process's throttle to the topic: tells the others of its warnings, and heeds theirs. Two threads, both daemons.

    A broker that is away stops neither the process nor its own courtesy.
    """

    def __init__(self, settings: Kafka, throttle: Throttle, sender: str = "") -> None:
        """The topic must be there (topics.ensure). Returns at once; `ready` is set when warnings are heard."""
        self.settings = settings
        self.throttle = throttle
        self.sender = sender or sender_name()
        self.ready = threading.Event()
        self._stopping = threading.Event()
        self._warnings: queue.SimpleQueue[Warned | None] = queue.SimpleQueue()
        throttle.on_warning = self._warnings.put
        self._threads = [threading.Thread(target=work, name="control", daemon=True) for work in (self._tell, self._hear)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._warnings.put(None)
        for thread in self._threads:
            thread.join(5)

    def _tell(self) -> None:
        """Publish warnings as they come, and the state while it is throttled."""
        producer = None
        told_of = False
        last = 0.0
        while not self._stopping.is_set():
            try:
                warned = self._warnings.get(timeout=STATE_SECONDS)
            except queue.Empty:
                warned = None
            found = self.throttle.state()
            try:
                if warned is None and not found["reason"] and not told_of:
                    continue
                producer = producer or clients.producer(self.settings)
                if warned is not None:
                    log.warning("slowing down, and all others with this process: the site answered %d", warned.status)
                    producer.send(topics.CONTROL, value=slow_down(self.sender, warned, time.time()))
                if time.monotonic() - last >= STATE_SECONDS or not found["reason"]:
                    producer.send(topics.CONTROL, value=state(self.sender, found, time.time()))
                    last, told_of = time.monotonic(), bool(found["reason"])
            except (kafka.errors.KafkaError, ServiceError) as error:
                log.warning("the other processes could not be told: %s", error)
        if producer is not None:
            producer.close(timeout=1)

    def _hear(self) -> None:
        """Act on the others' warnings."""
        while not self._stopping.is_set():
            try:
                consumer = _reader(self.settings)
            except (kafka.errors.KafkaError, ServiceError) as error:
                log.warning("the other processes are not heard: %s", error)
                self._stopping.wait(AGAIN_SECONDS)
                continue
            self.ready.set()
            try:
                while not self._stopping.is_set():
                    for fields in _poll(consumer, clients.IDLE_POLL_MS):
                        self._heed(fields)
            except kafka.errors.KafkaError as error:
                log.warning("the other processes are not heard: %s", error)
                self._stopping.wait(AGAIN_SECONDS)
            finally:
                consumer.close()

    def _heed(self, fields: dict[str, Any]) -> None:
        if fields["status"] != "slow_down" or fields["sender"] == self.sender:
            return
        # What was a pause when it was sent is less by now; a clock that is off must not make it more.
        left = min(fields["pause_seconds"], fields["expires_at"] / 1000 - time.time(), LARGEST_PAUSE_SECONDS)
        log.info("slowing down: the site answered %s to %s", fields["site_status"], fields["sender"])
        self.throttle.slow_down(fields["site_status"], left, f"the site answered {fields['site_status']} to {fields['sender']}")


class States:
    """The throttled processes, kept up to date by `latest()`; for a monitor that asks again and again."""

    def __init__(self, settings: Kafka) -> None:
        """Raises ServiceError where the broker or the topic isn't there."""
        with clients.reaching(settings):
            self._consumer = _reader(settings)
        self._states: dict[str, dict[str, Any]] = {}

    def latest(self, timeout_ms: int = 200) -> list[dict[str, Any]]:
        """One entry for each process that is slowed down now: sender, requests_per_second, paused_seconds, reason, expires_at."""
        for fields in _poll(self._consumer, timeout_ms):
            if fields["status"] == "state":
                self._states[fields["sender"]] = fields
        now = time.time() * 1000
        self._states = {sender: fields for sender, fields in self._states.items() if fields["expires_at"] > now}
        return [fields for _, fields in sorted(self._states.items()) if fields.get("reason")]

    def close(self) -> None:
        self._consumer.close()


def latest(settings: Kafka) -> list[dict[str, Any]]:
    """The processes that are slowed down now, read once; see States. Raises ServiceError."""
    states = States(settings)
    try:
        return states.latest(1_000)
    finally:
        states.close()


def _reader(settings: Kafka) -> KafkaConsumer:
    """A reader that stands so far before the end of the topic that whatever still counts is in front of it."""
    consumer = clients.reader(settings, for_watermarks=True)
    try:
        clients.partitions_of(consumer, [topics.CONTROL])
        begins, marks = clients.watermarks(consumer, [_PARTITION])
        consumer.seek(_PARTITION, max(begins[_PARTITION], marks[_PARTITION] - READ_BACK))
    except BaseException:
        consumer.close()
        raise
    return consumer


def _poll(consumer: KafkaConsumer, timeout_ms: int) -> Iterator[dict[str, Any]]:
    for records in consumer.poll(timeout_ms).values():
        for record in records:
            fields = decode(record.value, time.time())
            if fields is not None:
                yield fields
