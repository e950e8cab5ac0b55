"""Odd records among good ones: none of them stops a worker, a reader, or the records beside it."""

from __future__ import annotations

import json
import logging
import zlib

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.errors import InvalidTimestampError

from pipeline.broker import clients, positions
from pipeline.broker.sender import Message, Sender
from pipeline.runs.account_reader import Tally
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.topics import LARGEST_MESSAGE_BYTES
from pipeline.worker import dead_letters
from pipeline.worker.replies import VALUE_BYTES
from tests.broker.batches import GZIP, batch, put, with_header_name
from tests.conftest import until
from tests.worker.test_worker import Running, committed, follow, run_id, send_tasks, short_sessions

__all__ = ["run_id", "short_sessions"]

MANY = 40
SYMBOLS = [f"S{number}" for number in range(MANY)]


def send_raw(settings, topic, value, partition=None, headers=(), key=b"raw", compression="gzip", timestamp_ms=None):
    """As another tool would, without this program's limits."""
    options = clients.common(settings)
    producer = KafkaProducer(**options, enable_idempotence=False, max_request_size=10**9, compression_type=compression)
    producer.send(topic, value, key=key, headers=list(headers), partition=partition, timestamp_ms=timestamp_ms).get(timeout=60)
    producer.close()


def unreadable():
    """Batches that cannot be read, each with its reason."""
    return {
        "invalid start byte": with_header_name([b"any"], b"\xff\xfe\xfd\xfc"),
        "unpacks to more than 32 MiB": batch([bytes(40 * 1024 * 1024)], compression=GZIP),
    }


@pytest.mark.parametrize("reason", unreadable())
def test_workers_and_readers_skip_an_unreadable_record(kafka, run_id, caplog, reason):
    caplog.set_level(logging.INFO, logger="pipeline")
    built = unreadable()[reason]
    places = [(name, partition) for name in (topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES) for partition in (0, 5, 23)]
    results = [topics.PROCESSING_COMPLETION, topics.PROCESSING_ERRORS, topics.SCRAPING_TASKS, topics.PROCESSING_DEAD_LETTERS]
    for topic, partition in [*places, *((name, number) for name in results for number in (0, 2))]:
        put(kafka, topic, partition, built)
    send_tasks(kafka, run_id, SYMBOLS)
    with Running(kafka):
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == MANY)
        marks = positions.high_watermarks(kafka, [topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES])
        until(lambda: committed(kafka) == marks, 30, "the commits behind what can't be read")
    assert account.processing.summary() == {"sent": MANY, "completed": MANY, "no_data": 0, "failed": 0, "pending": 0}
    tally = Tally(kafka, run_id)
    assert tally.read_to_now()
    assert tally.newest().unreadable == tally.newest().summary(0)["unreadable"] == 3 + 3 * 2
    tally.close()
    assert dead_letters.read(kafka, lambda letter: True) == []
    said = [record.getMessage() for record in caplog.records if "is passed over" in record.getMessage()]
    assert any(reason in text and "stock-processing-tasks[" in text for text in said)


def test_a_record_in_another_codec_is_read(kafka, run_id):
    codecs = ("zstd", "lz4", "snappy", "gzip")
    for codec in codecs:
        task = ProcessingTask(run_id, codec, "", "us")
        send_raw(kafka, topics.PROCESSING_TASKS, messages.pending(task), key=codec.encode(), compression=codec)
    with Running(kafka):
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == len(codecs))
    assert account.unreadable == 0


def test_a_task_too_large_after_decompression_is_a_letter_without_its_value(kafka, run_id):
    """As garbage, and as a task: a few kB of gzip."""
    task = ProcessingTask(run_id, "LARGE", "", "us")
    large_task = json.dumps({**json.loads(messages.pending(task)), "padding": " " * 6_000_000}).encode()
    garbage = b" " * 6_000_000
    for value in (large_task, garbage):
        send_raw(kafka, topics.PROCESSING_TASKS, value, partition=5)
    send_tasks(kafka, run_id, SYMBOLS)
    with Running(kafka):
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == MANY and account.processing["failed"] == 1)
        until(lambda: len(dead_letters.read(kafka, lambda letter: True)) == 2, 30, "both letters")
    assert account.pending == 0
    for letter, size in zip(dead_letters.read(kafka, lambda letter: True), (len(large_task), len(garbage)), strict=True):
        assert letter.value == b""
        assert letter.headers[VALUE_BYTES] == str(size)
        assert letter.headers["original-topic"] == topics.PROCESSING_TASKS
        assert letter.headers["original-partition"] == "5"
    assert (
        committed(kafka)[TopicPartition(topics.PROCESSING_TASKS, 5)]
        == positions.high_watermarks(kafka, [topics.PROCESSING_TASKS])[TopicPartition(topics.PROCESSING_TASKS, 5)]
    )


def test_a_task_too_large_for_a_letter_is_a_letter_without_its_value(kafka, run_id):
    """It fits into its own topic, but not with the headers of a letter."""
    value = zlib.compress(b"") + bytes(LARGEST_MESSAGE_BYTES - 40)
    send_raw(kafka, topics.PROCESSING_TASKS, value, partition=5)
    send_tasks(kafka, run_id, SYMBOLS)
    with Running(kafka):
        follow(kafka, run_id, lambda account: account.processing["completed"] == MANY)
        until(lambda: dead_letters.read(kafka, lambda letter: True), 30, "the letter")
    (letter,) = dead_letters.read(kafka, lambda letter: True)
    assert (letter.value, letter.headers[VALUE_BYTES]) == (b"", str(len(value)))


HOSTILE = [
    [("not-before", "²".encode())],
    [("not-before", b"9" * 400), ("attempt", b"9" * 400)],
    [("attempt", "٣".encode())],
    [("not-before", b"\xff\xfe"), ("attempt", b"")],
    [("original-partition", "²".encode()), ("cuts", "²".encode()), ("original-offset", b"-1")],
    [("error-message", b"\x1b[2J\x00" * 10_000), ("error-type", b"x" * 100_000)],
    [("x" * 50_000, b""), *[(f"h{number}", b"v") for number in range(2_000)]],
    [("not-before", b"-5"), ("not-before", b"1e3")],
]


def test_headers_may_contain_anything(kafka, run_id):
    tasks = [ProcessingTask(run_id, f"H{number}", "", "us") for number in range(len(HOSTILE))]
    for task, headers in zip(tasks, HOSTILE, strict=True):
        for topic in (topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES):
            send_raw(kafka, topic, messages.pending(task), headers=headers, key=b"k" * 100_000)
            send_raw(kafka, topic, b"no task", headers=headers, key=b"\xff" * 100_000)
        send_raw(kafka, topics.PROCESSING_DEAD_LETTERS, messages.pending(task), headers=headers)
    with Running(kafka):
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == len(HOSTILE))
        until(lambda: len(dead_letters.read(kafka, lambda letter: letter.task is None)) == 2 * len(HOSTILE), 30, "the letters")
    assert account.pending == 0


@pytest.mark.parametrize("timestamp_ms", [0, 1, 253_402_300_800_000, 2**62])
def test_a_letter_with_any_timestamp_is_listed_and_replayed_like_those_after_it(kafka, run_id, timestamp_ms):
    task = ProcessingTask(run_id, "A", "", "us")
    try:
        send_raw(kafka, topics.PROCESSING_DEAD_LETTERS, messages.pending(task), partition=0, timestamp_ms=timestamp_ms)
    except InvalidTimestampError:
        pytest.skip("this broker refuses such a time")
    sender = Sender(kafka)
    sender.send_all([Message(topics.PROCESSING_DEAD_LETTERS, "B", messages.pending(ProcessingTask(run_id, "B", "", "us")), partition=0)])
    found = dead_letters.read(kafka, dead_letters.LetterFilter())
    assert [letter.task.symbol for letter in found] in (["A", "B"], ["B", "A"])
    assert all(json.dumps(letter.fields()) for letter in found)
    assert dead_letters.replay(sender, found) == 2
    sender.close()


ODD_RESULTS = {
    "timestamp": ["", "yesterday", "2026-11-28T10:00:00", 5, None, "9" * 100_000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
    "ratios_calculated": [-1, 10**30, "5", None, True],
    "reason": [None, [], "x" * 100_000],
    "country_code": [None, 5, "\x1b[2J", "x" * 100_000],
    "children": ["x", [5], {}],
    "region_name": [None, 5, "x" * 100_000],
    "error": [None, {}, "\x1b]0;title\x07" * 1_000],
    "attempt": [None, "many", 10**30],
}


def test_results_may_contain_anything_and_are_counted(kafka, run_id):
    sender, sent = Sender(kafka), 0
    for name, values in ODD_RESULTS.items():
        for value in values:
            task = ProcessingTask(run_id, f"R{sent}", "", "us")
            done = {**task.fields(), "timestamp": messages.now_text(), "ratios_calculated": 1, "status": "completed", name: value}
            failed = {**done, "error": "x", "error_type": "y", "attempt": 1, "status": "retrying", name: value}
            sender.send_all([Message(topics.PROCESSING_COMPLETION, "k", json.dumps(done).encode())])
            sender.send_all([Message(topics.PROCESSING_ERRORS, "k", json.dumps(failed).encode())])
            sent += 1
    sender.close()
    account = follow(kafka, run_id, lambda account: account.processing["completed"] == sent)
    json.dumps(account.summary(1.0))
    assert account.ratio_rows >= 0
