"""The task worker: polls, hands tasks to threads, sends their results, retries, commits.

One thread, the polling thread, owns the consumer and keeps the accounts; worker threads only run the handler. A record goes
through these steps, and its offset is committed after the last one:

    1. polled from the task or the retry topic, noted in the ledger, decoded (or made a dead letter if it is not a valid task)
    2. a retry waits until its `not-before`, and holds nothing else up
    3. handed to a worker thread, in order per key: two tasks of one key never run at once
    4. the handler's rows are committed to PostgreSQL by the writer thread
    5. its messages are sent, and acknowledged by the broker
    6. the ledger's safe position is committed, below which every record has come this far

If the process is killed at any point, records before step 6 are delivered again: task_ids are deterministic and writes are
upserts, so doing a task twice is doing it once.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Generic

import kafka.errors
from kafka import TopicPartition

from config import Kafka
from pipeline.broker import clients
from pipeline.broker.outage import BrokerWatch
from pipeline.broker.patient import IDLE_POLL_MS
from pipeline.broker.sender import Message, Sender
from pipeline.errors import MessageError, ServiceError
from pipeline.storage.writer import Writer
from pipeline.wire.request_count import RequestCount, TaskRequests
from pipeline.wire.results import Untouched
from pipeline.wire.topics import StageTopics
from pipeline.worker import failures, intake
from pipeline.worker.delivery import Delivery, Handler, Outcome, T
from pipeline.worker.failures import ComesBack, GoesBack, StaysUndone
from pipeline.worker.faults import Faults
from pipeline.worker.outbox import Outbox, Settling
from pipeline.worker.positions import Positions
from pipeline.worker.replies import Replies, without_value
from pipeline.worker.task_queue import TaskQueue

log = logging.getLogger(__name__)

#: Longest wait of one poll, in ms, while tasks are in progress: a result is handled after that at the latest.
POLL_MS = 20
#: Longest time in seconds without a poll while there is no room for more tasks. A rebalance is noticed that late at most.
UNPOLLED_SECONDS = 0.5
#: How many retries are held in memory until they are due; above that, the retry topic is paused.
RETRIES_HELD = 1_000
#: The messages of how many records may wait for the broker; above that, no more tasks are taken.
OUTBOX_HELD = 1_000
#: Seconds that tasks in progress have to finish when the process is told to stop; unfinished ones are delivered again.
DRAIN_SECONDS = 15.0


class TaskWorker(Generic[T]):
    """Runs `handler` over the tasks of one stage until `stop()`.

    decode: bytes → task, raising MessageError.  threads: how many tasks run at once.  buffered: how many tasks may run or wait for
    a thread; no more are polled.  writer: where rows go, None for a stage without rows.  untouched: why a task is not done on purpose,
    None if it is to be done; called before the handler.  ahead: begins, without waiting, what the handler will need; called before a
    thread is free, but not before an earlier task of the same key has ended. The handler finds what it returns as `delivery.ahead`.
    requests: counts the requests to the site, which each task's result reports.
    """

    def __init__(
        self,
        settings: Kafka,
        topics: StageTopics,
        decode: Callable[[bytes | None], T],
        handler: Handler[T],
        *,
        threads: int,
        buffered: int,
        max_attempts: int,
        writer: Writer | None = None,
        untouched: Callable[[T], Untouched | None] = lambda task: None,
        ahead: Callable[[T], Any] = lambda task: None,
        requests: RequestCount | None = None,
    ) -> None:
        self.settings = settings
        self.topics = topics
        self.decode = decode
        self.handler = handler
        self.threads = threads
        self.buffered = buffered
        self.max_attempts = max_attempts
        self.writer = writer
        self.untouched = untouched
        self.ahead = ahead
        self.requests = requests or RequestCount()
        self.finished_tasks = 0
        #: Which fraction of the task topic's partitions this worker has.
        self.share = 0.0
        self._faults = Faults()
        self._replies: Replies[T] = Replies(topics)
        self._tasks: TaskQueue[T] = TaskQueue()
        self._results: queue.SimpleQueue[tuple[Delivery[T], Outcome | BaseException, int]] = queue.SimpleQueue()
        # Tasks that threads have or will have next: if there are none, no rows are to come for now.
        self._handed = 0
        self._handed_lock = threading.Lock()
        self._stopping = threading.Event()
        self._abandon = threading.Event()
        self._last_poll = 0.0

    def stop(self) -> None:
        """Finish tasks in progress, commit, and return from `run`. For any thread or signal handler."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop()`. Raises ServiceError if the broker is not reachable at the start, or is replaced by another one later."""
        self._sender = Sender(self.settings)
        self._consumer = clients.group_consumer(self.settings, self.topics.group, max(1, self.buffered), "none")
        self._broker = BrokerWatch(self._consumer, self.settings)
        self._outbox = Outbox(self._sender, self._broker)
        self._positions = Positions(self._consumer, self._broker, self.topics)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix=self.topics.name)
        ready()
        try:
            while not self._stopping.is_set():
                self._round(self._poll)
            self._drain()
        except ServiceError:
            self._positions.forget()  # they are of the other broker's topics, and must not be committed here
            raise
        finally:
            self._close()

    def _round(self, poll: Callable[[], None]) -> None:
        poll()
        self._start_due_retries()
        self._take_results()
        for settling in self._outbox.advance():
            self._positions.finish(settling.partition, settling.offset)
            self.finished_tasks += 1
        self._broker.look()
        self._positions.commit_if_due()

    # -- steps 1 and 2: from the topic ------------------------------------------------------------------------------

    def _poll(self) -> None:
        room = self._room()
        if room == 0 and time.monotonic() - self._last_poll < UNPOLLED_SECONDS:
            time.sleep(POLL_MS / 1000)
            return
        self._last_poll = time.monotonic()
        self._positions.pause(everything=room == 0, retries=self._tasks.waiting >= RETRIES_HELD)
        busy = self._tasks.in_work or self._outbox or self._tasks.waiting
        records = self._positions.poll(POLL_MS if busy else IDLE_POLL_MS, max(1, room))
        kept = self._positions.kept
        if kept is not None:
            # Tasks in progress of other consumers' partitions may end as they like: nothing of them is committed here.
            for delivery in self._tasks.drop_waiting(lambda delivery: delivery.partition not in kept):
                self._positions.dropped(delivery.partition, delivery.offset)
            mine = sum(partition.topic == self.topics.tasks for partition in self._consumer.assignment())
            self.share = mine / max(self._task_partitions(), 1)
        for record in records:
            self._take(record)

    def _task_partitions(self) -> int:
        return self._sender.partition_count(self.topics.tasks)

    def _room(self) -> int:
        """How many tasks may be polled now."""
        away = self.writer is not None and self.writer.away.is_set()
        room = self.buffered - self._tasks.in_work
        # The threads have enough work until a quarter of the tasks is done: a poll per result would cost more than the task.
        return 0 if away or room < self.buffered // 4 or len(self._outbox) >= OUTBOX_HELD else max(0, room)

    def _take(self, record: Any) -> None:
        headers = intake.read_headers(record)
        try:
            delivery = intake.read_task(record, headers, self.decode)
        except MessageError as error:
            self._no_task(record, headers, error)
            return
        if reason := intake.too_large(record.value):
            log.error("%s failed for good: %s", delivery.task, reason)
            self._settle_without_value(record, self._replies.failed(delivery, "TooLarge", reason, with_value=False))
            return
        due = intake.due_at(headers, time.time())
        if due > time.time():
            self._tasks.add_later(delivery, due)
        else:
            self._submit(self._tasks.add(delivery))

    def _no_task(self, record: Any, headers: dict[str, str], error: MessageError) -> None:
        log.warning("%s[%d]@%d is not a valid task and becomes a dead letter: %s", record.topic, record.partition, record.offset, error)
        letter = self._replies.no_task(record, headers, error.error_type, str(error))
        if intake.too_large(record.value or b""):
            self._settle_without_value(record, [without_value(letter)])
            return
        partition = TopicPartition(record.topic, record.partition)
        self._outbox.put(Settling(partition, record.offset, [letter], lambda reason: [without_value(letter)]))

    def _settle_without_value(self, record: Any, messages: list[Message]) -> None:
        """Report a record whose value is too large to be sent, without keeping the value in memory until the report has arrived."""
        self._outbox.put(Settling(TopicPartition(record.topic, record.partition), record.offset, messages, lambda reason: messages))

    def _start_due_retries(self) -> None:
        while self._tasks.in_work < self.buffered and (delivery := self._tasks.take_due(time.time())):
            self._submit(self._tasks.add(delivery))

    # -- steps 3 and 4: in a worker thread, and the writer's ----------------------------------------------------------

    def _submit(self, delivery: Delivery[T] | None) -> None:
        if delivery is not None and not self._stopping.is_set():
            with self._handed_lock:
                self._handed += 1
            self._pool.submit(self._work, replace(delivery, ahead=self.ahead(delivery.task)))

    def _work(self, delivery: Delivery[T]) -> None:
        self._do(delivery)
        with self._handed_lock:
            self._handed -= 1
            is_last = not self._handed
        if is_last and self.writer is not None:
            self.writer.hurry()

    def _do(self, delivery: Delivery[T]) -> None:
        if self._stopping.is_set():
            self._results.put((delivery, GoesBack(), 0))
            return
        counted = TaskRequests()
        try:
            with self.requests.of_task(counted):
                untouched = self.untouched(delivery.task)
                outcome = Outcome(untouched) if untouched else self.handler(delivery)
        except BaseException as error:
            self._results.put((delivery, error, counted.number))
            return
        if outcome.write is None or self.writer is None:
            self._results.put((delivery, outcome, counted.number))
        else:
            self.writer.submit(outcome.write, lambda error: self._results.put((delivery, error or outcome, counted.number)))

    # -- step 5: what became of it ------------------------------------------------------------------------------------

    def _take_results(self) -> None:
        while True:
            try:
                delivery, result, requests = self._results.get_nowait()
            except queue.Empty:
                return
            self._submit(self._tasks.finish(delivery))
            if isinstance(result, Outcome):
                messages = self._replies.done(delivery, result.result, self._task_partitions, requests)
                self._put(delivery, messages, requests)
            elif not self._abandon.is_set():
                self._failed(delivery, result, requests)

    def _failed(self, delivery: Delivery[T], error: BaseException, requests: int) -> None:
        verdict = failures.judge(error, delivery.failed_attempts, self.max_attempts, time.time())
        if isinstance(verdict, StaysUndone):
            return
        if not verdict.expected:
            self._faults.report(delivery.task, error)
        what = f"{verdict.error_type}: {verdict.text}"
        if isinstance(verdict, ComesBack):
            log.warning("%s comes back in %.1f s after attempt %d: %s", delivery.task, verdict.at - time.time(), delivery.attempt, what)
            again = self._replies.again(delivery, verdict.error_type, verdict.text, verdict.failed_attempts, verdict.at, requests)
            self._put(delivery, again, requests)
        else:
            log.error("%s failed for good at attempt %d: %s", delivery.task, delivery.attempt, what)
            self._put(delivery, self._replies.failed(delivery, verdict.error_type, verdict.text, requests=requests), requests)

    def _put(self, delivery: Delivery[T], messages: list[Message], requests: int = 0) -> None:
        def instead(reason: str) -> list[Message]:
            return self._replies.failed(delivery, "Refused", reason, with_value=False, requests=requests)

        self._outbox.put(Settling(delivery.partition, delivery.offset, messages, instead))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Stop polling; within DRAIN_SECONDS, finish the tasks that threads have, send their messages and commit."""
        log.info("stopping: %d tasks in progress", self._tasks.in_work)
        self._tasks.drop_waiting()
        self._pool.shutdown(wait=False, cancel_futures=False)
        deadline = time.monotonic() + DRAIN_SECONDS
        while (self._tasks.in_work or self._outbox) and time.monotonic() < deadline:
            self._round(lambda: time.sleep(POLL_MS / 1000))
        if self._tasks.in_work:
            log.warning("%d tasks are not finished: they are delivered again", self._tasks.in_work)
        self._abandon.set()

    def _close(self) -> None:
        self._abandon.set()
        try:
            self._positions.commit()
            clients.leave(self._consumer, self.settings)
        except (kafka.errors.KafkaError, AssertionError) as error:
            log.warning("the broker was not told that this consumer ends: %s: %s", type(error).__name__, error)
        self._sender.close(3)
        self._pool.shutdown(wait=False, cancel_futures=True)
