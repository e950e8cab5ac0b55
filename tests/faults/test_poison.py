"""Messages that are no task, and tasks whose texts attack what they pass through, in the midst of a run."""

from __future__ import annotations

import json

import config
from pipeline.broker.sender import Message, Sender
from pipeline.runs.account_reader import Tally
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.worker import dead_letters
from tests.conftest import until
from tests.faults.conftest import Run

SLOW = ("--latency-ms", "150", "--page-latency-ms", "300")
TOPICS = [name for stage in topics.STAGES for name in (stage.tasks, stage.retries)]
#: Of the largest size that a producer of this pipeline may send, less what its envelope takes.
NEARLY_TOO_LARGE = topics.LARGEST_MESSAGE_BYTES - 2_000
NO_TASKS = [
    b"not json",
    b"",
    b"[]",
    b'{"status": "pending"}',
    b'{"task_id": NaN}',
    b'{"x": 1e999}',
    b"\xff\xfe",
    # All that a task needs, and a text that PostgreSQL or UTF-8 can't hold.
    *(
        json.dumps(
            {**ProcessingTask("20261124T071326Z-1f3a", "A", name, "us").fields(), "status": "pending", "timestamp": "2026-11-24T07:13:26Z"}
        ).encode()
        for name in ("a\x00b", "\ud800 lone")
    ),
    b"[" * 5_000,
    b"x" * NEARLY_TOO_LARGE,
]
ATTACKS = [
    ("A'; DROP TABLE stock;--", "Bobby"),
    ("../../x", "up"),
    ("ESC", "\x1b[2J\x1b]0;title\x07"),
    ("MARKUP", "<script>alert(1)</script>"),
    ("FORMULA", "=cmd|' /C calc'!A0"),
]


def test_a_run_survives_poison_in_all_topics_and_hostile_tasks(terminal, check):
    run = Run(terminal, *SLOW, "--scrapers", "1")
    until(lambda: run.shows("logs:"), 150, "the start")
    poison(run, config.load(True, terminal.environment()).kafka)
    check(run, run.end(), terminal.home)


def poison(run: Run, settings: config.Kafka) -> None:
    """Send it all into the midst of a run; return when each message is a dead letter, and each attack a task without data."""
    other_run = messages.new_run_id()
    attacks = [ProcessingTask(other_run, symbol, name, "us") for symbol, name in ATTACKS]
    producer = Sender(settings)
    producer.send_all([Message(topic, "poison", raw) for topic in TOPICS for raw in NO_TASKS])
    producer.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task)) for task in attacks])
    producer.close()
    run.hit(len(TOPICS) * len(NO_TASKS) + len(ATTACKS))

    letters: list[bytes | None] = []

    def all_are_there() -> bool:
        assert run.shows("")
        letters[:] = [letter.value for letter in dead_letters.read(settings, lambda letter: True)]
        return len(letters) >= len(TOPICS) * len(NO_TASKS)

    until(all_are_there, 150, "the dead letters")
    assert sorted(letters) == sorted(NO_TASKS * len(TOPICS))
    tally = Tally(settings, other_run)

    def states() -> dict[str, str]:
        tally.poll()
        account = tally.newest()
        return {task_id: task.state for task_id, task in account.processing.tasks.items()} if account else {}

    until(lambda: list(states().values()).count("no_data") == len(ATTACKS), 150, "the end of the attacks")
    tally.close()
