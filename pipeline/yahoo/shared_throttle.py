"""What all processes that ask the site tell each other, because the site's limits are for all hosts together.

One small topic, `pipeline-control`. Its messages are reports (`Throttle.report`): what a process asked since its last one, and
from the one that leads, what the site is believed to allow. Each has a `sender` (host:pid) and
an `expires_at` (epoch ms), after which it means nothing, so old messages in the topic do no harm. The times of answers are given in
seconds before the report, because the clocks of hosts differ.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition

from config import Kafka
from pipeline.broker import clients, positions
from pipeline.broker.patient import IDLE_POLL_MS, partitions_of
from pipeline.errors import ServiceError
from pipeline.wire import messages, topics
from pipeline.yahoo.learned import Learned
from pipeline.yahoo.throttle import Throttle
from pipeline.yahoo.throttle_text import Site, site_of, waiting

log = logging.getLogger(__name__)

#: Seconds between two reports of a busy process. A refusal is reported at once.
REPORT_SECONDS = 0.5
#: Seconds for which a report is valid.
EXPIRES_SECONDS = 10.0
#: A new process reads this many messages back. Those that have not expired are among them.
READ_BACK = 200
#: Seconds before the follower connects again to a broker that was away, and between two savings of what was learned.
AGAIN_SECONDS = 2.0
SAVE_SECONDS = 5.0
#: A run waits for the end of refusals for so many seconds: two hours, since the first encounter with an hour's window takes one.
LONGEST_REFUSAL_SECONDS = 7_200.0
#: A report with more answers than this is not one of ours.
_MOST_ANSWERS = 1_000
#: The longest sender's name that is accepted, and how many senders are remembered.
_LONGEST_NAME = 300
_MOST_SENDERS = 10_000

_PARTITION = TopicPartition(topics.CONTROL, 0)


def encode(report: dict[str, Any], now: float) -> bytes:
    """A report as a message. Pure; `now` in epoch seconds."""
    named = {"status": "report", "timestamp": messages.now_text(), "expires_at": int((now + EXPIRES_SECONDS) * 1000)}
    return messages.encode({**named, **report})


def decode(raw: bytes | None, now: float) -> dict[str, Any] | None:
    """The fields of a report that still counts; None for an expired one, and for anything else. Pure."""
    try:
        fields = json.loads(raw or b"")
        good = fields["status"] == "report" and fields["expires_at"] > now * 1000 and isinstance(fields["sender"], str)
        good = good and len(fields["sender"]) <= _LONGEST_NAME
        texts = all(isinstance(fields[name], str) for name in ("stage", "probe", "reason"))
        numbers = [fields[name] for name in ("since", "in_flight", "courtesy", "refusals", "answered_total", "refused_total")]
        answers = fields["answers"]
        numbers += [number for ago, count in answers for number in (ago, count)]
        limits = fields["limits"] if fields["leads"] else []
        numbers += [limit[name] for limit in limits for name in ("requests", "seconds", "confirmed", "cap", "left")]
        numbers += [fields[name] for name in ("waits_seconds", "refused_seconds", "per_second", "ceiling", "rate") if fields["leads"]]
        good = good and texts and len(answers) <= _MOST_ANSWERS and all(map(_is_number, numbers))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return fields if good else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12 and math.isfinite(value)


def sender_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


class Follower:
    """Connects a process's throttle with the topic, and with the file that keeps what was learned. Has two daemon threads.

    If the broker is away, the process goes on with its own throttle.
    """

    def __init__(self, settings: Kafka, throttle: Throttle, learned: Learned | None = None) -> None:
        """The topic must be there (topics.ensure). Returns at once; `ready` is set when others are heard."""
        self.settings = settings
        self.throttle = throttle
        self.learned = learned
        self.ready = threading.Event()
        self._stopping = threading.Event()
        self._news = threading.Event()
        self._told_busy = False
        self._saved_at = time.monotonic()
        self._remember()
        throttle.shared = True
        throttle.on_news = self._news.set
        self._threads = [threading.Thread(target=work, name="control", daemon=True) for work in (self._tell, self._hear)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._news.set()
        for thread in self._threads:
            thread.join(5)
        self._save()

    def _remember(self) -> None:
        kept = self.learned.load() if self.learned is not None else None
        if kept is None:
            return
        try:
            self.throttle.remember(kept)
        except (KeyError, TypeError, ValueError) as error:
            log.warning("what was learned about the site is not valid, so it is learned anew: %s: %s", type(error).__name__, error)

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        if self.learned is not None:
            found = self.throttle.learned()
            if found["limits"]:
                self.learned.save(found)

    def _tell(self) -> None:
        """Publish reports: a refusal at once, anything else twice a second."""
        producer = None
        while not self._stopping.is_set():
            urgent = self._news.wait(REPORT_SECONDS)
            self._news.clear()
            busy = self.throttle.has_news()
            try:
                if urgent or busy or self._told_busy:
                    producer = producer or clients.producer(self.settings)
                    report = self.throttle.report()
                    producer.send(topics.CONTROL, value=encode(report, time.time()))
                    self._told_busy = bool(report["busy"])
                    if urgent:
                        producer.flush(timeout=1.0)
            except (kafka.errors.KafkaError, ServiceError) as error:
                log.warning("the other processes could not be told of the site: %s", error)
            if busy and time.monotonic() - self._saved_at >= SAVE_SECONDS and self.throttle.leads():
                self._save()
        if producer is not None:
            producer.close(timeout=1)

    def _hear(self) -> None:
        """Act on the other processes' reports."""
        while not self._stopping.is_set():
            try:
                consumer = _reader(self.settings)
            except (kafka.errors.KafkaError, ServiceError) as error:
                log.warning("the other processes' reports can't be read: %s", error)
                self._stopping.wait(AGAIN_SECONDS)
                continue
            self.ready.set()
            try:
                while not self._stopping.is_set():
                    for fields in _poll(consumer, IDLE_POLL_MS):
                        self._heed(fields)
            except kafka.errors.KafkaError as error:
                log.warning("the other processes' reports can't be read: %s", error)
                self._stopping.wait(AGAIN_SECONDS)
            finally:
                consumer.close()

    def _heed(self, fields: dict[str, Any]) -> None:
        try:
            self.throttle.heard(fields)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            log.warning("ignored a message that is not a valid report: %s: %s", type(error).__name__, error)


class Reports:
    """The newest report of each process, kept up to date by `latest()`, for a monitor that asks repeatedly."""

    def __init__(self, settings: Kafka) -> None:
        """Raises ServiceError if the broker or the topic is not there."""
        with clients.reaching(settings):
            self._consumer = _reader(settings)
        #: By sender: the newest report, and when it came (time.monotonic): the clocks of hosts differ.
        self._reports: dict[str, tuple[dict[str, Any], float]] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._leader: dict[str, Any] | None = None

    def site(self, timeout_ms: int = 200) -> Site:
        """What the processes report about the site, with the counts of all processes heard of so far."""
        return site_of(self.latest(timeout_ms), self._totals.values(), self._leader)

    def latest(self, timeout_ms: int = 200) -> list[dict[str, Any]]:
        """One report for each process that has asked the site lately."""
        for fields in _poll(self._consumer, timeout_ms):
            sender = fields["sender"]
            self._reports[sender] = (fields, time.monotonic())
            self._leader = fields if fields["leads"] else self._leader
            if sender in self._totals or len(self._totals) < _MOST_SENDERS:
                self._totals[sender] = (int(fields["answered_total"]), int(fields["refused_total"]))
        now, wall = time.monotonic(), time.time() * 1000
        self._reports = {
            sender: (fields, at)
            for sender, (fields, at) in self._reports.items()
            if now - at < EXPIRES_SECONDS and fields["expires_at"] > wall
        }
        return [fields for _, (fields, _) in sorted(self._reports.items())]

    def close(self) -> None:
        self._consumer.close()


def latest(settings: Kafka) -> list[dict[str, Any]]:
    """The newest reports, read once; see Reports. Raises ServiceError."""
    reports = Reports(settings)
    try:
        return reports.latest(1_000)
    finally:
        reports.close()


def waits_for_the_site(settings: Kafka) -> str:
    """What the consumers wait for if it is the site, which is no stall: room in its allowance, or the end of refusals. "" if not.

    Refusals that last longer than an hour's window can are not waited for.
    """
    try:
        reports = Reports(settings)
        try:
            site = reports.site(1_000)
        finally:
            reports.close()
    except (kafka.errors.KafkaError, ServiceError) as error:
        log.warning("it is not known whether the consumers wait for the site: %s", error)
        return ""
    return waiting(site) if site.refused_seconds <= LONGEST_REFUSAL_SECONDS else ""


def _reader(settings: Kafka) -> KafkaConsumer:
    """A reader that starts far enough before the end of the topic to see every report that is still valid."""
    consumer = clients.reader(settings, for_watermarks=True)
    try:
        partitions_of(consumer, [topics.CONTROL])
        begins, marks = positions.watermarks(consumer, [_PARTITION])
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
