"""One process's 429 slows all of them: on a real broker."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from config import PROJECT
from pipeline.broker import clients, topic_setup
from pipeline.yahoo import shared_throttle
from pipeline.yahoo.throttle import Throttle, Warned
from tests.conftest import until

#: How long the others may take to hear of a warning.
HEARD_SECONDS = 2.0

_OTHER = """
import sys
from config import Kafka
from pipeline.broker import clients
from pipeline.yahoo import shared_throttle
from pipeline.yahoo.throttle import Throttle
clients.quiet()
throttle = Throttle(8.0)
follower = shared_throttle.Follower(Kafka(bootstrap_servers=sys.argv[1], source=sys.argv[2]), throttle, "elsewhere:1")
assert follower.ready.wait(30)
print("ready", flush=True)
for line in sys.stdin:
    throttle.answered(int(line))
follower.stop()
"""


@pytest.fixture
def kafka(own_broker):
    admin = clients.admin(own_broker)
    topic_setup.ensure(admin, own_broker)
    admin.close()
    return own_broker


@pytest.fixture
def follow(kafka):
    """Followers, stopped at the end."""
    running = []

    def start(throttle, sender):
        follower = shared_throttle.Follower(kafka, throttle, sender)
        running.append(follower)
        assert follower.ready.wait(30)
        return follower

    yield start
    for follower in running:
        follower.stop()


@pytest.fixture
def other_process(kafka, python):
    process = subprocess.Popen(
        [python, "-c", _OTHER, kafka.bootstrap_servers, kafka.source], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_429_in_one_process_slows_another_within_two_seconds(follow, other_process):
    throttle = Throttle(8.0)
    follow(throttle, "here:1")
    other_process.stdin.write("429\n")
    other_process.stdin.flush()
    asked = time.monotonic()
    until(lambda: throttle.state()["requests_per_second"] == 4.0, 10, "the slower rate")
    assert time.monotonic() - asked < HEARD_SECONDS
    assert throttle.state()["reason"] == "the site answered 429 to elsewhere:1"


def test_a_process_that_comes_late_hears_of_a_warning_that_still_counts(follow):
    first = Throttle(8.0)
    follow(first, "here:1")
    first.answered(429, retry_after_seconds=30)
    second = Throttle(8.0)
    follow(second, "here:2")
    until(lambda: second.state()["paused_seconds"] > 20, 10, "the pause")


def test_ones_own_warning_is_heard_once(follow):
    first, second = Throttle(8.0), Throttle(8.0)
    follow(first, "here:1")
    follow(second, "here:2")
    first.answered(500)
    until(lambda: second.state()["requests_per_second"] == 4.0, 10, "the slower rate")
    assert first.state()["requests_per_second"] == 4.0


def test_the_state_of_a_throttled_process_is_there_for_all_to_see(kafka, follow):
    throttle = Throttle(8.0)
    follow(throttle, "here:1")
    assert shared_throttle.latest(kafka) == []
    throttle.answered(429)
    (found,) = until(lambda: shared_throttle.latest(kafka), 10, "the state")
    assert found["sender"] == "here:1"
    assert found["requests_per_second"] == 4.0
    assert found["reason"] == "the site answered 429"


def test_a_message_counts_until_it_expires():
    message = shared_throttle.slow_down("here:1", Warned(429, 1.0), now=1000.0)
    assert shared_throttle.decode(message, now=1004.9)["site_status"] == 429
    assert shared_throttle.decode(message, now=1005.1) is None
    assert shared_throttle.decode(shared_throttle.slow_down("here:1", Warned(429, 60.0), now=1000.0), now=1059.0) is not None


@pytest.mark.parametrize(
    "raw",
    [
        None,
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"status": "slow_down"}',
        b'{"status": [], "sender": "a", "expires_at": 9e99}',
        b"[" * 99_999,
    ],
)
def test_what_is_no_message_is_none(raw):
    assert shared_throttle.decode(raw, now=0.0) is None


@pytest.mark.parametrize("pause", [float("nan"), float("inf"), "1", None, 10**400])
def test_a_pause_that_is_no_number_is_none(pause):
    fields = json.loads(shared_throttle.slow_down("here:1", Warned(429, 1.0), now=1000.0))
    assert shared_throttle.decode(json.dumps({**fields, "pause_seconds": pause}).encode(), now=1000.0) is None


@pytest.mark.parametrize("field", ["status", "sender", "expires_at", "site_status", "pause_seconds"])
def test_a_message_without_one_of_its_fields_is_none(field):
    fields = json.loads(shared_throttle.slow_down("here:1", Warned(429, 1.0), now=1000.0))
    del fields[field]
    assert shared_throttle.decode(json.dumps(fields).encode(), now=1000.0) is None
