"""The task worker: polls, hands tasks to threads, sends their results, retries, commits.

One thread, the polling thread, owns the consumer and all book-keeping; worker threads only run the handler. A record
goes through these steps, and its offset is committed after the last one:

    1. polled from the task or the retry topic, decoded (bytes that are no task: dead letter), noted in the ledger
    2. a retry that is not due yet waits, up to its `not-before`, and holds nothing else up
    3. handed to a worker thread, in order per key: two tasks of one key never run at once
    4. the handler's rows are committed to PostgreSQL by the writer thread
    5. its messages are sent, and acknowledged by the broker
    6. the ledger's safe position, below which every record has come to here, is committed

Kill the process anywhere, and what had not reached step 6 is delivered again: task_ids are deterministic and writes are
upserts, so doing it twice is doing it once.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import kafka.errors
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from config import Kafka
from pipeline.broker import clients
from pipeline.broker.outage import BrokerWatch
from pipeline.broker.sender import Headers, Message, send
from pipeline.errors import BrowserLost, MessageError, NoData, PermanentError, RateLimited, ServiceError, TransientError
from pipeline.storage.writer import Writer
from pipeline.wire import market_cap, messages, results
from pipeline.wire.market_cap import places_of_halves
from pipeline.wire.results import Split, Untouched
from pipeline.wire.topics import StageTopics
from pipeline.worker import backoff
from pipeline.worker.delivery import Delivery, GoesBack, Handler, Outcome, T
from pipeline.worker.ledger import OffsetLedger

log = logging.getLogger(__name__)

#: Seconds between two commits.
COMMIT_SECONDS = 0.5
#: Longest wait of one poll, in ms, while tasks are in work: a result is taken up at the latest after that.
POLL_MS = 20
#: Longest time in seconds without a poll while there is no room for more tasks: how late a rebalance is noticed at most.
UNPOLLED_SECONDS = 0.5
#: How many retries that are not due yet are held in memory; above that the retry topic is paused.
RETRIES_HELD = 1_000
#: Seconds that tasks in work are given when the process is told to stop; what isn't finished then goes back.
DRAIN_SECONDS = 15.0
#: An error of this type in the headers says that the site has called the symbol unknown once already.
GONE = "Gone"


@dataclass
class _Settling:
    """A record whose messages are on their way; a Delivery, or the position of bytes that were no task."""

    partition: TopicPartition
    offset: int
    messages: list[Message]
    futures: list[Any] = field(default_factory=list)


class _Rebalances(ConsumerRebalanceListener):
    """Only notes what happened: a commit in a listener is refused, so the polling thread acts on it after its poll."""

    def __init__(self) -> None:
        self.assigned = False
        self.lost = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        log.info("partitions revoked: %d", len(revoked))
        self.assigned = True

    def on_partitions_assigned(self, assigned: Any) -> None:
        log.info("partitions assigned: %d", len(assigned))
        self.assigned = True

    def on_partitions_lost(self, lost: Any) -> None:
        log.warning("left the group without a word: %d partitions lost, their tasks are done by others", len(lost))
        self.lost = True


class TaskWorker(Generic[T]):
    """Runs `handler` over the tasks of one stage until `stop()`.

    decode: bytes → task, raising MessageError.  threads: how many tasks run at once.  buffered: how many tasks may be
    in work or wait for a thread; no more are polled.  writer: where rows go, None for a stage without any.
    untouched: says of a task why it is left alone, None where it is to be done; asked before the handler.
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
        self.finished_tasks = 0
        self._stopping = threading.Event()
        self._abandon = threading.Event()
        self._ledgers: dict[TopicPartition, OffsetLedger] = {}
        self._waiting: list[tuple[float, int, Delivery[T]]] = []  # heap of retries that are not due: (when, number, task)
        self._numbers = itertools.count()
        self._by_key: dict[str, deque[Delivery[T]]] = {}  # the first of each queue is with a thread
        self._in_work = 0
        self._results: queue.SimpleQueue[tuple[Delivery[T], Outcome | BaseException]] = queue.SimpleQueue()
        self._unsent: deque[_Settling] = deque()
        self._settling: deque[_Settling] = deque()
        self._last_commit = 0.0
        self._last_poll = 0.0

    # -- the outside ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Finish what is in work, commit, return from `run`. From any thread or signal handler."""
        self._stopping.set()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop()`. Raises ServiceError where the broker can't be reached at the start, or is another one later."""
        self._producer: KafkaProducer = clients.producer(self.settings)
        self._consumer: KafkaConsumer = clients.group_consumer(self.settings, self.topics.group, max(1, self.buffered))
        self._broker = BrokerWatch(self._consumer, self.settings)
        self._rebalances = _Rebalances()
        self._consumer.subscribe([self.topics.tasks, self.topics.retries], listener=self._rebalances)
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix=self.topics.name)
        ready()
        try:
            while not self._stopping.is_set():
                self._round(self._poll)
            self._drain()
        except ServiceError:
            self._ledgers.clear()  # positions in another broker's topics: nothing of them may be committed in this one's
            raise
        finally:
            self._close()

    # -- the polling thread -----------------------------------------------------------------------------------------

    def _round(self, poll: Callable[[], None]) -> None:
        poll()
        self._start_due_retries()
        self._take_results()
        self._send()
        self._settle()
        self._broker.look()
        if time.monotonic() - self._last_commit >= COMMIT_SECONDS:
            self._commit()

    def _poll(self) -> None:
        room = self.buffered - self._in_work
        away = self.writer is not None and self.writer.away.is_set()
        # Threads have enough to do until a quarter of the tasks are done: a poll for each result would cost more than the task.
        if away or room < self.buffered // 4:
            room = 0
        if room == 0 and time.monotonic() - self._last_poll < UNPOLLED_SECONDS:
            time.sleep(POLL_MS / 1000)
            return
        self._last_poll = time.monotonic()
        # A paused consumer goes on polling: that keeps it in its group, however long a task takes.
        if room <= 0:
            self._consumer.pause(*self._consumer.assignment())
        else:
            held_back = [tp for tp in self._consumer.assignment() if tp.topic == self.topics.retries and len(self._waiting) >= RETRIES_HELD]
            self._consumer.pause(*held_back)
            self._consumer.resume(*(self._consumer.paused() - set(held_back)))
        try:
            busy = self._in_work or self._settling or self._waiting
            records = self._consumer.poll(POLL_MS if busy else clients.IDLE_POLL_MS, max_records=max(1, room))
        except kafka.errors.KafkaError as error:
            self._broker.trouble("poll failed, trying again", error)
            time.sleep(0.2)
            return
        self._after_rebalance()
        for partition, batch in records.items():
            for record in batch:
                self._take(partition, record)

    def _after_rebalance(self) -> None:
        """Forget partitions that are another's now. Tasks of theirs that are in work end as they like: nothing of them is
        committed here, and doing them twice is doing them once.
        """
        if self._rebalances.lost:
            self._rebalances.lost = False
            self._ledgers.clear()
            self._drop_waiting(lambda delivery: True)
        if self._rebalances.assigned:
            self._rebalances.assigned = False
            mine = self._consumer.assignment()
            self._ledgers = {partition: ledger for partition, ledger in self._ledgers.items() if partition in mine}
            self._drop_waiting(lambda delivery: delivery.partition not in mine)

    def _drop_waiting(self, unwanted: Callable[[Delivery[T]], bool]) -> None:
        self._waiting = [entry for entry in self._waiting if not unwanted(entry[2])]
        heapq.heapify(self._waiting)
        for tasks in self._by_key.values():
            for delivery in [one for one in itertools.islice(tasks, 1, None) if unwanted(one)]:
                tasks.remove(delivery)
                self._in_work -= 1

    def _take(self, partition: TopicPartition, record: Any) -> None:
        ledger = self._ledgers.setdefault(partition, OffsetLedger())
        if not ledger.take(record.offset):
            return
        headers = {key: (value or b"").decode("utf-8", "replace") for key, value in record.headers or ()}
        try:
            task = self.decode(record.value)
        except MessageError as error:
            log.warning("%s[%d]@%d is no task, to the dead letters: %s", record.topic, record.partition, record.offset, error)
            letter = self._letter(record, headers, error.error_type, str(error))
            self._unsent.append(_Settling(partition, record.offset, [letter]))
            return
        failed = int(headers["attempt"]) if headers.get("attempt", "").isdecimal() else 0
        delivery = Delivery(partition, record.offset, record.value, headers, task, failed)
        not_before = headers.get("not-before", "")
        # A clock that is far off must not hold a task for ever.
        due = min(int(not_before) / 1000, time.time() + backoff.LARGEST_SECONDS) if not_before.isdigit() else 0.0
        if due > time.time():
            heapq.heappush(self._waiting, (due, next(self._numbers), delivery))
        else:
            self._enqueue(delivery)

    def _letter(self, record: Any, headers: Headers, error_type: str, text: str) -> Message:
        key = (record.key or b"").decode("utf-8", "replace")
        origin = {
            "original-topic": headers.get("original-topic", record.topic),
            "original-partition": headers.get("original-partition", str(record.partition)),
            "original-offset": headers.get("original-offset", str(record.offset)),
        }
        reason = {"attempt": headers.get("attempt", "1"), "error-type": error_type, "error-message": text[: messages.ERROR_TEXT_LIMIT]}
        return Message(self.topics.dead_letters, key, record.value or b"", {**origin, **reason})

    def _enqueue(self, delivery: Delivery[T]) -> None:
        self._in_work += 1
        tasks = self._by_key.setdefault(delivery.task.key, deque())
        tasks.append(delivery)
        if len(tasks) == 1:
            self._pool.submit(self._work, delivery)

    def _start_due_retries(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.time() and self._in_work < self.buffered:
            self._enqueue(heapq.heappop(self._waiting)[2])

    def _take_results(self) -> None:
        while True:
            try:
                delivery, result = self._results.get_nowait()
            except queue.Empty:
                return
            self._in_work -= 1
            tasks = self._by_key[delivery.task.key]
            tasks.popleft()
            if not tasks:
                del self._by_key[delivery.task.key]
            elif not self._stopping.is_set():
                self._pool.submit(self._work, tasks[0])
            done = self._success(delivery, result) if isinstance(result, Outcome) else self._failure(delivery, result)
            if done is not None:
                self._unsent.append(_Settling(delivery.partition, delivery.offset, done))

    def _send(self) -> None:
        while self._unsent:
            settling = self._unsent[0]
            try:
                for message in settling.messages[len(settling.futures) :]:
                    settling.futures.append(send(self._producer, message))
            except kafka.errors.KafkaError as error:
                self._broker.trouble("the broker takes no messages, trying again", error)
                return
            self._settling.append(self._unsent.popleft())

    def _settle(self) -> None:
        """Finish the records whose messages are all acknowledged; send again those of which one failed."""
        for _ in range(len(self._settling)):
            settling = self._settling.popleft()
            if not all(future.is_done for future in settling.futures):
                self._settling.append(settling)
                continue
            errors = [future.exception for future in settling.futures if future.failed()]
            if errors:
                self._broker.trouble("messages not acknowledged, sending them again", errors[0])
                self._unsent.append(replace(settling, futures=[]))
                continue
            ledger = self._ledgers.get(settling.partition)
            if ledger is not None:
                ledger.finish(settling.offset)
            self.finished_tasks += 1

    def _commit(self) -> None:
        self._last_commit = time.monotonic()
        mine = self._consumer.assignment()
        positions = {tp: ledger.to_commit() for tp, ledger in self._ledgers.items() if tp in mine}
        offsets = {tp: clients.position(position) for tp, position in positions.items() if position is not None}
        if not offsets:
            return
        try:
            self._consumer.commit(offsets, timeout_ms=5_000)
        except (kafka.errors.CommitFailedError, kafka.errors.BrokerResponseError, kafka.errors.RetriableError) as error:
            # A rebalance or a broker that is away: committed with the next round, or done again by the new owner.
            self._broker.trouble("commit put off", error, logging.INFO)
            return
        for tp, position in offsets.items():
            self._ledgers[tp].committed(position.offset)

    def _success(self, delivery: Delivery[T], outcome: Outcome) -> list[Message]:
        done = Message(self.topics.completion, delivery.task.task_id, results.completion(delivery.task, outcome.result))
        if not isinstance(outcome.result, Split):
            return [done]
        count = len(self._producer.partitions_for(self.topics.tasks))
        places, headers = places_of_halves(delivery.headers, delivery.partition.partition, count)
        halves = zip(outcome.result.halves, places, strict=True)
        return [*(Message(self.topics.tasks, half.key, messages.pending(half), headers, place) for half, place in halves), done]

    # -- what failed ------------------------------------------------------------------------------------------------

    def _failure(self, delivery: Delivery[T], error: BaseException) -> list[Message] | None:
        """What becomes of a task whose handler raised: a retry, or an error message and a dead letter."""
        if isinstance(error, GoesBack) or self._abandon.is_set():
            return None  # no attempt of its own failed
        error_type, text = type(error).__name__, str(error) or repr(error)
        if isinstance(error, RateLimited):
            return self._retry(delivery, error_type, text, delivery.failed_attempts, error.retry_after_seconds)
        if isinstance(error, NoData):
            return self._retry(delivery, GONE, text, delivery.attempt)
        final = isinstance(error, PermanentError) or delivery.attempt >= self.max_attempts
        if not final and isinstance(error, TransientError | BrowserLost | ServiceError):
            return self._retry(delivery, error_type, text, delivery.attempt)
        if not isinstance(error, TransientError | PermanentError | ServiceError):
            log.error("unexpected error in %s, please report it", delivery.task, exc_info=error)
            if not final:
                return self._retry(delivery, error_type, text, delivery.attempt)
        log.error("%s failed for good at attempt %d: %s: %s", delivery.task, delivery.attempt, error_type, text)
        headers = self._headers(delivery, error_type, text, delivery.attempt)
        letter = Message(self.topics.dead_letters, delivery.task.key, delivery.value, headers)
        return [letter, self._error(delivery, error_type, text, final=True)]

    def _retry(
        self, delivery: Delivery[T], error_type: str, text: str, failed_attempts: int, at_least: float | None = None
    ) -> list[Message]:
        delay = max(backoff.delay_seconds(max(failed_attempts, 1)), min(at_least or 0.0, backoff.LARGEST_SECONDS))
        log.warning("%s comes back in %.1f s after attempt %d: %s: %s", delivery.task, delay, delivery.attempt, error_type, text)
        headers = self._headers(delivery, error_type, text, failed_attempts)
        headers["not-before"] = str(int((time.time() + delay) * 1000))
        again = Message(self.topics.retries, delivery.task.key, delivery.value, headers)
        return [again, self._error(delivery, error_type, text, final=False)]

    def _headers(self, delivery: Delivery[T], error_type: str, text: str, failed_attempts: int) -> Headers:
        # Only the last error: headers that grow with each attempt make a record too large in the end.
        return {
            "original-topic": delivery.headers.get("original-topic", delivery.partition.topic),
            "original-partition": delivery.headers.get("original-partition", str(delivery.partition.partition)),
            "original-offset": delivery.headers.get("original-offset", str(delivery.offset)),
            "attempt": str(failed_attempts),
            "error-type": error_type,
            "error-message": messages.clean_text(text)[: messages.ERROR_TEXT_LIMIT],
            # Where the halves of this task go if it is split.
            **({market_cap.CUTS: delivery.headers[market_cap.CUTS]} if market_cap.CUTS in delivery.headers else {}),
        }

    def _error(self, delivery: Delivery[T], error_type: str, text: str, final: bool) -> Message:
        value = messages.error_message(delivery.task, text, error_type, delivery.attempt, final)
        return Message(self.topics.errors, delivery.task.task_id, value)

    # -- a worker thread --------------------------------------------------------------------------------------------

    def _work(self, delivery: Delivery[T]) -> None:
        if self._stopping.is_set():
            self._results.put((delivery, GoesBack()))
            return
        try:
            untouched = self.untouched(delivery.task)
            outcome = Outcome(untouched) if untouched else self.handler(delivery)
        except BaseException as error:
            self._results.put((delivery, error))
            return
        if outcome.write is None or self.writer is None:
            self._results.put((delivery, outcome))
        else:
            self.writer.submit(outcome.write, lambda error: self._results.put((delivery, error or outcome)))

    # -- the end ----------------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Stop polling, finish within DRAIN_SECONDS what a thread has in hand, send and commit it."""
        log.info("stopping: %d tasks in work", self._in_work)
        self._drop_waiting(lambda delivery: True)
        self._pool.shutdown(wait=False, cancel_futures=False)
        deadline = time.monotonic() + DRAIN_SECONDS
        while (self._in_work or self._unsent or self._settling) and time.monotonic() < deadline:
            self._round(lambda: time.sleep(POLL_MS / 1000))
        if self._in_work:
            log.warning("%d tasks go back unfinished: they are delivered again", self._in_work)
        self._abandon.set()

    def _close(self) -> None:
        self._abandon.set()
        try:
            self._commit()
            clients.leave(self._consumer, self.settings)
            self._producer.close(timeout=3)
        except (kafka.errors.KafkaError, AssertionError) as error:
            log.warning("the broker did not hear the good-bye: %s: %s", type(error).__name__, error)
        self._pool.shutdown(wait=False, cancel_futures=True)
