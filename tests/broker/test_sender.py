"""What an error of sending means, and how often the same trouble is said."""

from __future__ import annotations

import logging

import kafka.errors
import pytest

from pipeline import repeated
from pipeline.broker.outage import _Noise
from pipeline.broker.sender import LONGEST_PAUSE_SECONDS, Fate, fate, is_certain, pause_seconds


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (kafka.errors.KafkaTimeoutError(), Fate.AGAIN),
        (kafka.errors.NotEnoughReplicasError(), Fate.AGAIN),
        (kafka.errors.TopicAuthorizationFailedError(), Fate.AGAIN),
        (kafka.errors.ClusterAuthorizationFailedError(), Fate.AGAIN),
        (kafka.errors.SaslAuthenticationFailedError(), Fate.AGAIN),
        (kafka.errors.InvalidTimestampError(), Fate.AGAIN),
        (kafka.errors.UnknownTopicOrPartitionError(), Fate.AGAIN),
        (kafka.errors.MessageSizeTooLargeError(), Fate.NEVER_THIS_MESSAGE),
        (kafka.errors.RecordListTooLargeError(), Fate.NEVER_THIS_MESSAGE),
        (kafka.errors.PolicyViolationError(), Fate.NEVER_THIS_MESSAGE),
        (kafka.errors.InvalidRecordError(), Fate.NEVER_THIS_MESSAGE),
        (kafka.errors.IllegalStateError("closed"), Fate.NEVER_THIS_CLIENT),
        (kafka.errors.ProducerFencedError(), Fate.NEVER_THIS_CLIENT),
        (kafka.errors.OutOfOrderSequenceNumberError(), Fate.NEVER_THIS_CLIENT),
        (RuntimeError("the thread is gone"), Fate.NEVER_THIS_CLIENT),
    ],
)
def test_each_error_is_blamed_on_the_moment_the_message_or_the_client(error, expected):
    assert fate(error) is expected


def test_only_a_size_error_is_certainly_caused_by_the_message():
    assert is_certain(kafka.errors.MessageSizeTooLargeError())
    assert not is_certain(kafka.errors.InvalidRecordError()), "it may be of another record in the batch"


def test_pauses_grow_up_to_a_maximum():
    assert [pause_seconds(tries) for tries in (0, 1, 2, 3)] == [0.2, 0.4, 0.8, 1.6]
    assert pause_seconds(10**6) == LONGEST_PAUSE_SECONDS


def test_ten_minutes_of_the_same_problem_are_twenty_lines(monkeypatch, caplog):
    now = [1_000.0]
    monkeypatch.setattr(repeated.time, "monotonic", lambda: now[0])
    said, noise, heard = repeated.Repeated(logging.getLogger("pipeline.test")), _Noise(), 0
    for _ in range(600 * 5):
        said.say(logging.WARNING, "the database is away")
        record = logging.LogRecord("kafka.consumer.fetcher", logging.WARNING, "", 0, "Not authorized to read from topic %s.", ("x",), None)
        heard += noise.filter(record)
        now[0] += 0.2
    assert len(caplog.records) == heard == 20
    said.say(logging.WARNING, "the login is refused")
    assert len(caplog.records) == 21, "another cause is news"


def test_at_most_twenty_different_lines_a_minute_are_logged(monkeypatch, caplog):
    now = [1_000.0]
    monkeypatch.setattr(repeated.time, "monotonic", lambda: now[0])
    said = repeated.Bounded(logging.getLogger("pipeline.test"))
    for number in range(120):
        said.say(logging.WARNING, f"record {number}")
        now[0] += 1
    texts = [record.getMessage() for record in caplog.records]
    assert texts[:2] == ["record 0", "record 1"]
    assert texts[19] == "record 19 (further ones in this minute are not named)"
    assert texts[20] == "record 60"
    assert len(texts) == 40
