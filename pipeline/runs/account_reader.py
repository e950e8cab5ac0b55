"""Reads the task, completion and error topics into accounts, one per run."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import kafka.errors
from kafka import TopicPartition

from config import Kafka
from pipeline.broker import clients, positions
from pipeline.broker.lost_positions import bounds
from pipeline.errors import MessageError
from pipeline.runs.account import Account
from pipeline.wire import messages, topics

log = logging.getLogger(__name__)

#: Start reading this many seconds before a run's start, because clocks of machines differ.
CLOCK_MARGIN_SECONDS = 300.0
#: How many times of unreadable records are kept, for runs that are seen later.
UNREADABLE_KEPT = 10_000
#: topic → (stage, kind of message)
_KINDS = {
    name: (stage.name, kind)
    for stage in topics.STAGES
    for name, kind in ((stage.tasks, "task"), (stage.completion, "completion"), (stage.errors, "error"))
}


def _is_of(run_id: str, timestamp_ms: int) -> bool:
    """Whether an unreadable record may belong to the run: it is not older, or its time is unreadable too."""
    return timestamp_ms < 0 or timestamp_ms / 1000 >= messages.run_started_at(run_id).timestamp() - CLOCK_MARGIN_SECONDS


def _result(stage: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a completion or error. Raises MessageError if its task_id does not fit its run and stage."""
    name, symbol = fields["task_id"], fields.get("symbol")
    prefix = f"{'scrape' if stage == 'scraping' else 'process'}:{fields['run_id']}:"
    if not name.startswith(prefix) or not name.isprintable() or (stage == "processing" and symbol not in (None, name[len(prefix) :])):
        raise MessageError(f"task_id {name[:100]!r}: not a task of run {fields['run_id']}")
    return fields


class Tally:
    """Follows the topics without a consumer group and keeps the accounts of the runs it has seen.

    run_id: read from this run's start, and keep only its account. None: read from the beginning, and keep all runs'.
    """

    def __init__(self, settings: Kafka, run_id: str | None = None) -> None:
        """Raises ServiceError if the broker is not reachable or a topic does not exist."""
        self.settings = settings
        self.run_id = run_id
        self.accounts: dict[str, Account] = {}
        #: Seconds (time.monotonic) of the last change of a task's state.
        self.last_progress = time.monotonic()
        self._latest = ""
        #: Of one run, where the record of each task stands.
        self._places: dict[str, tuple[TopicPartition, int]] = {}
        #: Times in ms of the records that could not be read: their runs are unknown.
        self._unreadable: deque[int] = deque(maxlen=UNREADABLE_KEPT)
        self._consumer = clients.reader(settings)
        with clients.reaching(settings):
            self._seek(self._consumer.follow(_KINDS))

    def _seek(self, partitions: list[TopicPartition]) -> None:
        if self.run_id is None:
            return
        start = max(0.0, messages.run_started_at(self.run_id).timestamp() - CLOCK_MARGIN_SECONDS)
        found = self._consumer.offsets_for_times({partition: int(start * 1000) for partition in partitions}, timeout_ms=10_000)
        for partition in partitions:
            offset = found.get(partition)
            # No record is that new, so there is nothing to skip: keep the position, to read what comes next.
            if offset is not None:
                self._consumer.seek(partition, offset.offset)

    def poll(self, timeout_ms: int = 100) -> int:
        """Read new records. Returns their number."""
        count = 0
        self._latest = messages.new_run_id(datetime.now(timezone.utc) + timedelta(days=1))
        for partition, records in self._consumer.poll(timeout_ms).items():
            for record in records:
                count += 1
                self._note(partition, record.offset, record.value)
        for one in self._consumer.take_unreadable():
            self._unreadable.append(one.timestamp_ms)
            for account in self.accounts.values():
                account.unreadable += _is_of(account.run_id, one.timestamp_ms)
        return count

    def newest(self) -> Account | None:
        """The account of the chosen run, or of the newest one; None if no message of it was seen yet."""
        if self.run_id is not None:
            return self.accounts.get(self.run_id)
        return self.accounts[max(self.accounts)] if self.accounts else None

    def read_to(
        self, watermarks: dict[TopicPartition, int], timeout_seconds: float = 60.0, stop: Callable[[], bool] = lambda: False
    ) -> bool:
        """Read until every partition is read up to its watermark. False if time ran out or `stop` returned true."""
        deadline = time.monotonic() + timeout_seconds
        if not watermarks.keys() <= self._consumer.assignment():
            self._consumer.follow(_KINDS)
        while any(self._consumer.position(partition) < mark for partition, mark in watermarks.items()):
            if time.monotonic() > deadline or stop():
                return False
            self.poll()
        return True

    def read_to_now(self, timeout_seconds: float = 60.0) -> bool:
        """Read everything that is in the topics at this moment."""
        return self.read_to(positions.high_watermarks(self.settings, _KINDS), timeout_seconds)

    def removed(self) -> dict[TopicPartition, int]:
        """Partition → how many tasks of the run that are still waited for stand there no longer: nobody will do them.

        For the tally of one run. Empty if the broker does not answer.
        """
        account = self.newest()
        if account is None:
            return {}
        tasks = account.scraping.tasks | account.processing.tasks
        waited_for = [place for name, place in self._places.items() if tasks[name].state == "pending" and not tasks[name].retrying]
        if not waited_for:
            return {}
        try:
            begins, _ = bounds(self._consumer, list({partition for partition, _ in waited_for}))
        except kafka.errors.KafkaError as error:
            log.debug("where the topics begin is not known: %s", error)
            return {}
        return dict(Counter(partition for partition, offset in waited_for if offset < begins[partition]))

    def close(self) -> None:
        try:
            self._consumer.close()
        except kafka.errors.KafkaError as error:
            log.debug("close: %s", error)

    def _note(self, partition: TopicPartition, offset: int, value: bytes | None) -> None:
        stage, kind = _KINDS[partition.topic]
        try:
            fields = self._fields(stage, kind, value)
        except MessageError:
            return  # it belongs to no run; the worker that reads it sends it to the dead letters
        run_id = fields["run_id"]
        # A run_id from the future is invented, or from a wrong clock. It must not hide all other runs.
        if run_id > self._latest if self.run_id is None else run_id != self.run_id:
            return
        account = self.accounts.get(run_id)
        if account is None:
            account = self.accounts[run_id] = Account(run_id)
            account.unreadable = sum(_is_of(run_id, timestamp_ms) for timestamp_ms in self._unreadable)
        if kind == "task":
            account.task(stage, fields)
            if self.run_id is not None:
                self._places[fields["task_id"]] = (partition, offset)
            return
        account.count_requests(fields)
        if (account.completion if kind == "completion" else account.error)(stage, fields):
            self.last_progress = time.monotonic()

    def _fields(self, stage: str, kind: str, value: bytes | None) -> dict[str, Any]:
        if kind != "task":
            return _result(stage, messages.decode(value))
        if stage == "processing":
            return messages.processing_task(value).fields()
        # `requests`: what the producer asked the site before it sent the task.
        return {**messages.scraping_task(value).fields(), "requests": messages.decode(value).get("requests")}
