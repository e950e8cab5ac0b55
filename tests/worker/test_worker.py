"""The task worker on a real broker: what is committed, retried, dead-lettered, and what happens around a rebalance."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
from kafka import TopicPartition

from pipeline.broker import clients, dialect, positions
from pipeline.broker.sender import Message, Sender
from pipeline.errors import LayoutChanged, NoData, PermanentError, RateLimited, ServiceError, TransientError
from pipeline.runs.account_reader import Tally
from pipeline.storage import writer as writer_module
from pipeline.storage.rows import ListedStock, Write
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.results import Computed
from pipeline.worker import dead_letters
from pipeline.worker.delivery import Delivery, Outcome
from pipeline.worker.failures import GoesBack
from pipeline.worker.worker import TaskWorker
from tests.conftest import reset_group, until


@pytest.fixture(autouse=True)
def short_sessions(monkeypatch):
    """Joins on the embedded broker take half a session: these tests join often, and nothing of them hangs on its length."""
    monkeypatch.setattr(dialect, "EMBEDDED", replace(dialect.EMBEDDED, session_ms=2_000))


@pytest.fixture
def run_id():
    return messages.new_run_id()


def complete(delivery: Delivery) -> Outcome:
    return Outcome(Computed(1))


class Running:
    """A worker in a thread of its own."""

    def __init__(self, kafka, handler=complete, threads=4, buffered=16, max_attempts=3, writer=None, ahead=lambda task: None):
        self.worker = TaskWorker(
            kafka,
            topics.PROCESSING,
            messages.processing_task,
            handler,
            threads=threads,
            buffered=buffered,
            max_attempts=max_attempts,
            writer=writer,
            ahead=ahead,
        )
        self.error: ServiceError | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.worker.run()
        except ServiceError as error:
            self.error = error

    def has_partitions(self):
        consumer = getattr(self.worker, "_consumer", None)
        return consumer is not None and bool(consumer.assignment())

    def stop(self):
        self.worker.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def send_tasks(kafka, run_id, symbols, headers=None):
    producer = Sender(kafka)
    tasks = [ProcessingTask(run_id, symbol, "", "us") for symbol in symbols]
    producer.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task), headers or {}) for task in tasks])
    producer.close()
    return tasks


def follow(kafka, run_id, condition, seconds=40.0):
    """The account of the run once `condition(account)` is true."""
    tally = Tally(kafka, run_id)
    try:

        def done():
            tally.poll()
            account = tally.newest()
            return account if account and condition(account) else None

        return until(done, seconds, "the account")
    finally:
        tally.close()


def committed(kafka):
    """Committed positions of the group, by topic partition."""
    consumer = clients.group_consumer(kafka, topics.PROCESSING.group, 1)
    partitions = [TopicPartition(name, p) for name in (topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES) for p in range(24)]
    found = {partition: consumer.committed(partition) or 0 for partition in partitions}
    consumer.close()
    return found


def test_every_task_is_done_and_committed(kafka, run_id):
    send_tasks(kafka, run_id, [f"S{number}" for number in range(500)])
    with Running(kafka, threads=8, buffered=64):
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == 500)
    assert account.processing.summary() == {"sent": 500, "completed": 500, "no_data": 0, "failed": 0, "pending": 0}
    marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS])
    found = committed(kafka)
    assert {partition: found[partition] for partition in marks} == marks


def test_a_slow_task_delays_no_other_and_is_not_committed_past(kafka, run_id):
    release = threading.Event()

    def handler(delivery):
        if delivery.task.symbol == "SLOW":
            assert release.wait(240)
        return complete(delivery)

    (slow,) = send_tasks(kafka, run_id, ["SLOW"])
    send_tasks(kafka, run_id, [f"S{number}" for number in range(200)])
    with Running(kafka, handler) as running:
        follow(kafka, run_id, lambda account: account.processing["completed"] == 200)
        partition = next(partition for partition, ledger in running.worker._positions._ledgers.items() if ledger.open)
        assert (committed(kafka)[partition]) == 0
        release.set()
        follow(kafka, run_id, lambda account: account.processing["completed"] == 201)
    assert slow.symbol == "SLOW"


def test_two_tasks_of_one_symbol_run_one_after_the_other_in_order(kafka):
    runs = [messages.new_run_id() for _ in range(20)]
    running_now: Counter[str] = Counter()
    order: list[str] = []
    lock = threading.Lock()

    def handler(delivery):
        with lock:
            running_now[delivery.task.symbol] += 1
            assert running_now[delivery.task.symbol] == 1
            order.append(delivery.task.run_id)
        time.sleep(0.01)  # long enough for a second thread to enter, if it could
        with lock:
            running_now[delivery.task.symbol] -= 1
        return complete(delivery)

    for run in runs:
        send_tasks(kafka, run, ["SAME"])
    with Running(kafka, handler, threads=8):
        until(lambda: len(order) >= 20, 30, "all twenty")
    assert order == runs


def test_what_a_task_needs_is_begun_before_a_thread_is_free_but_not_before_an_earlier_task_of_its_symbol_has_ended(kafka, run_id):
    begun: list[str] = []
    found: list[str] = []
    may_end = threading.Event()

    def ahead(task):
        begun.append(f"{task.symbol} after {len(found)}")
        return begun[-1]

    def handler(delivery):
        assert may_end.wait(240)
        found.append(delivery.ahead)
        return complete(delivery)

    send_tasks(kafka, run_id, ["FIRST", "OTHER"])
    send_tasks(kafka, messages.new_run_id(), ["FIRST"])
    with Running(kafka, handler, threads=1, ahead=ahead):
        until(lambda: len(begun) == 2, 30, "both symbols")
        may_end.set()
        until(lambda: len(found) == 3, 30, "all three")
    assert sorted(begun[:2]) == ["FIRST after 0", "OTHER after 0"]
    assert begun[2] in ("FIRST after 1", "FIRST after 2")
    assert sorted(found) == sorted(begun)


def test_a_transient_error_is_tried_again_and_counts_as_one_task(kafka, run_id):
    attempts: list[tuple[int, str | None]] = []

    def handler(delivery):
        attempts.append((delivery.attempt, delivery.headers.get("cuts")))
        if delivery.attempt < 3:
            raise TransientError("the site hiccups")
        return complete(delivery)

    send_tasks(kafka, run_id, ["A"], {"cuts": "2"})
    with Running(kafka, handler):
        account = follow(kafka, run_id, lambda account: account.processing["completed"])
    assert attempts == [(1, "2"), (2, "2"), (3, "2")], "a band that comes back still says how often it was cut"
    assert account.processing.summary() == {"sent": 1, "completed": 1, "no_data": 0, "failed": 0, "pending": 0}
    assert [error["status"] for error in account.errors] == ["retrying", "retrying"]


@pytest.mark.parametrize(
    ("error", "attempts", "error_type"),
    [
        (TransientError("the site hiccups"), 3, "TransientError"),
        (PermanentError("never"), 1, "PermanentError"),
        (LayoutChanged("no table: tried a, b"), 1, "LayoutChanged"),
        (ZeroDivisionError("a bug"), 3, "ZeroDivisionError"),
    ],
)
def test_a_task_that_fails_for_good_gives_an_error_message_and_a_dead_letter(kafka, run_id, error, attempts, error_type):
    seen = []

    def handler(delivery):
        seen.append(delivery.attempt)
        raise error

    (task,) = send_tasks(kafka, run_id, ["A"])
    with Running(kafka, handler):
        account = follow(kafka, run_id, lambda account: account.processing["failed"])
    assert len(seen) == attempts
    last = account.errors[-1]
    assert (last["status"], last["error_type"], last["attempt"], last["task_id"]) == ("failed", error_type, attempts, task.task_id)
    (letter,) = dead_letters.read(kafka, lambda letter: True)
    assert letter.task == task
    assert letter.headers["error-type"] == error_type
    assert letter.headers["original-topic"] == topics.PROCESSING_TASKS
    assert letter.headers["attempt"] == str(attempts)
    assert messages.processing_task(letter.value) == task


def test_a_429_never_counts_as_an_attempt(kafka, run_id):
    attempts = []

    def handler(delivery):
        attempts.append(delivery.attempt)
        if len(attempts) <= 3:
            raise RateLimited("slow down", retry_after_seconds=0.1)
        return complete(delivery)

    send_tasks(kafka, run_id, ["A"])
    with Running(kafka, handler, max_attempts=2):
        account = follow(kafka, run_id, lambda account: account.processing["completed"])
    assert attempts == [1, 1, 1, 1]
    assert account.processing["failed"] == 0


def test_a_missing_symbol_is_requested_once_more(kafka, run_id):
    seen = []

    def handler(delivery):
        seen.append(delivery.headers.get("error-type"))
        if len(seen) == 1:
            raise NoData("gone")
        return complete(delivery)

    send_tasks(kafka, run_id, ["A"])
    with Running(kafka, handler):
        follow(kafka, run_id, lambda account: account.processing["completed"])
    assert seen == [None, "Gone"]


def test_rows_are_written_at_once_if_no_other_task_is_in_work(kafka, tables, run_id, monkeypatch):
    monkeypatch.setattr(writer_module, "REST", 1e9)
    monkeypatch.setattr(writer_module, "LONGEST_REST_SECONDS", 1e9)

    def handler(delivery):
        symbol = delivery.task.symbol
        return replace(complete(delivery), write=Write(countries={"us": "United States"}, listings=[ListedStock(symbol, symbol, "us")]))

    writer = writer_module.Writer(tables)
    with Running(kafka, handler, writer=writer):
        for done, symbol in enumerate(["A", "B", "C"], 1):
            send_tasks(kafka, run_id, [symbol])
            follow(kafka, run_id, lambda account, done=done: account.processing["completed"] == done)
    writer.close()


def test_a_waiting_retry_delays_no_other_task(kafka, run_id):
    done: list[str] = []

    def handler(delivery):
        if delivery.task.symbol == "LATER" and delivery.attempt < 3:
            raise TransientError("later")
        done.append(delivery.task.symbol)
        return complete(delivery)

    send_tasks(kafka, run_id, ["LATER", *[f"S{number}" for number in range(100)]])
    with Running(kafka, handler):
        follow(kafka, run_id, lambda account: account.processing["completed"] == 101)
    assert done[-1] == "LATER"


def test_a_dead_letter_is_replayed_once_with_a_fresh_attempt_count(kafka, run_id):
    broken = threading.Event()
    broken.set()
    attempts = []

    def handler(delivery):
        attempts.append(delivery.attempt)
        if broken.is_set():
            raise PermanentError("broken")
        return complete(delivery)

    send_tasks(kafka, run_id, ["A", "B"])
    with Running(kafka, handler):
        follow(kafka, run_id, lambda account: account.processing["failed"] == 2)
        broken.clear()
        producer = Sender(kafka)
        wanted = dead_letters.LetterFilter(symbol="A")
        assert dead_letters.replay(producer, dead_letters.read(kafka, wanted)) == 1
        assert dead_letters.replay(producer, dead_letters.read(kafka, wanted)) == 0
        producer.close()
        account = follow(kafka, run_id, lambda account: account.processing["completed"])
    assert account.processing.summary() == {"sent": 2, "completed": 1, "no_data": 0, "failed": 1, "pending": 0}
    assert attempts == [1, 1, 1]
    assert [letter.task.symbol for letter in dead_letters.read(kafka, dead_letters.LetterFilter())] == ["B"]
    assert len(dead_letters.read(kafka, dead_letters.LetterFilter(replayed_too=True))) == 2


def test_a_task_that_fails_for_good_twice_is_one_dead_letter_until_it_is_replayed(kafka, run_id):
    def handler(delivery):
        raise PermanentError("broken")

    send_tasks(kafka, run_id, ["A", "A"])  # as after a redelivery of the scraping task
    producer = Sender(kafka)
    producer.send_all([Message(topics.PROCESSING_TASKS, "poison", b"no task", partition=0)])

    def letters(**wanted):
        return [letter.value for letter in dead_letters.read(kafka, dead_letters.LetterFilter(**wanted))]

    def marks():
        return sum(positions.high_watermarks(kafka, [topics.PROCESSING_DEAD_LETTERS]).values())

    with Running(kafka, handler):
        until(lambda: marks() == 3, what="three letters")
        assert len(letters()) == 2
        assert dead_letters.replay(producer, dead_letters.read(kafka, dead_letters.LetterFilter())) == 1
        until(lambda: marks() == 5, what="the mark, and the letter of the replayed task")
        assert len(letters()) == 2
        assert len(letters(replayed_too=True)) == 3
    producer.close()


def test_a_second_worker_takes_its_share_and_nothing_is_lost_or_counted_twice(kafka, run_id):
    count = 600
    by_worker: dict[str, set[str]] = {"first": set(), "second": set()}
    joined = threading.Event()

    def handler_of(name):
        def handler(delivery):
            # The first one may not do everything before the second one has its share.
            if name == "first" and len(by_worker["first"]) > 10:
                assert joined.wait(240)
            by_worker[name].add(delivery.task.symbol)
            return complete(delivery)

        return handler

    with Running(kafka, handler_of("first")):
        send_tasks(kafka, run_id, [f"S{number}" for number in range(count)])
        follow(kafka, run_id, lambda account: account.processing["completed"] > 10)
        with Running(kafka, handler_of("second")) as second:
            until(lambda: second.has_partitions() and by_worker["second"], 60, "the second one's share")
            joined.set()
            account = follow(kafka, run_id, lambda account: account.processing["completed"] == count, 60)
    assert account.processing.summary() == {"sent": count, "completed": count, "no_data": 0, "failed": 0, "pending": 0}


def test_a_stopped_worker_finishes_and_commits_its_tasks_in_work(kafka, run_id):
    started = threading.Event()
    release = threading.Event()

    def handler(delivery):
        started.set()
        assert release.wait(240)
        return complete(delivery)

    send_tasks(kafka, run_id, ["A"])
    running = Running(kafka, handler)
    assert started.wait(240)
    running.worker.stop()
    release.set()
    running.stop()
    account = follow(kafka, run_id, lambda account: account.processing["completed"])
    assert account.pending == 0
    assert sum(committed(kafka).values()) == 1


def test_a_returned_task_goes_to_the_next_worker_and_costs_no_attempt(kafka, run_id):
    seen: list[Delivery] = []

    def can_not_begin(delivery):
        seen.append(delivery)
        running.worker.stop()
        raise GoesBack

    send_tasks(kafka, run_id, ["A"])
    with Running(kafka, can_not_begin) as running:
        until(lambda: seen and not running.thread.is_alive(), 30, "the end of the first worker")

    def handler(delivery):
        seen.append(delivery)
        return complete(delivery)

    with Running(kafka, handler):
        account = follow(kafka, run_id, lambda account: account.processing["completed"])
    assert [(delivery.partition.topic, delivery.attempt) for delivery in seen] == [(topics.PROCESSING_TASKS, 1)] * 2
    assert account.processing.summary() == {"sent": 1, "completed": 1, "no_data": 0, "failed": 0, "pending": 0}


def test_redelivering_everything_changes_nothing(kafka, run_id):
    send_tasks(kafka, run_id, [f"S{number}" for number in range(50)])
    with Running(kafka):
        before = follow(kafka, run_id, lambda account: account.processing["completed"] == 50).summary(0)
    reset_group(kafka, topics.PROCESSING.group, [topics.PROCESSING_TASKS])
    handled = Counter()

    def handler(delivery):
        handled[delivery.task.symbol] += 1
        return complete(delivery)

    with Running(kafka, handler):
        until(lambda: len(handled) == 50, 40, "everything again")
    tally = Tally(kafka, run_id)
    tally.read_to_now()
    assert tally.newest().summary(0) == before
    tally.close()


def test_a_group_works_again_after_its_members_left_in_any_order(kafka):
    """On the embedded broker, a follower that left before the leader once left the group without anyone to lead it."""
    for number in range(3):
        run_id = messages.new_run_id()
        send_tasks(kafka, run_id, [f"S{number}" for number in range(48)])
        first = Running(kafka)
        until(first.has_partitions, 40, f"an assignment in round {number}")
        with Running(kafka) as second:
            until(second.has_partitions, 40, f"the second assignment in round {number}")
            account = follow(kafka, run_id, lambda account: account.processing["completed"] == 48)
            assert account.pending == 0
        first.stop()
