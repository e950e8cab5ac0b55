"""What one process learns of the site holds for all of them: on a real broker."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from config import PROJECT
from pipeline.broker import clients
from pipeline.wire import topics
from pipeline.yahoo import shared_throttle
from pipeline.yahoo.throttle import Throttle
from tests.conftest import until
from tests.yahoo.reports import REPORT

#: How long the others may take to hear of a refusal.
HEARD_SECONDS = 2.0

_OTHER = """
import sys
from config import Kafka
from pipeline.broker import clients
from pipeline.yahoo import shared_throttle
from pipeline.yahoo.throttle import Throttle
clients.quiet()
throttle = Throttle(8.0, "processing", lambda: 0.5, sender="elsewhere:1")
follower = shared_throttle.Follower(Kafka(bootstrap_servers=sys.argv[1], source=sys.argv[2]), throttle)
assert follower.ready.wait(60)
print("ready", flush=True)
for line in sys.stdin:
    throttle.noted(int(line))
follower.stop()
"""


@pytest.fixture
def follow(kafka):
    """Followers, stopped at the end."""
    running = []

    def start(throttle):
        follower = shared_throttle.Follower(kafka, throttle)
        running.append(follower)
        assert follower.ready.wait(60)
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
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_429_in_one_process_stops_another_within_two_seconds(follow, other_process):
    throttle = Throttle(8.0, "processing", sender="here:1")
    follow(throttle)
    other_process.stdin.write("429\n")
    other_process.stdin.flush()
    asked = time.monotonic()
    until(lambda: throttle.state()["requests_per_second"] == 0.0, 10, "the stop")
    assert time.monotonic() - asked < HEARD_SECONDS
    assert throttle.state()["reason"] == "the site answered 429 to elsewhere:1"


def test_all_processes_know_the_learned_limits_and_the_requests_made(follow):
    first, second = Throttle(0.0, "processing", sender="here:1"), Throttle(0.0, "processing", sender="here:2")
    follow(first)
    follow(second)
    first.remember({"limits": [{"requests": 300, "seconds": 30, "confirmed": 1}], "history": []})
    for _ in range(20):
        first.noted(200)
    first.noted(429)
    until(lambda: second.governor.episode is not None, 10, "the stop")
    first.acquire()  # the older one asks first
    first.answered(200)
    until(lambda: second.governor.limits and second.governor.episode is None, 10, "the limits")
    assert [(one.seconds, one.requests) for one in second.governor.limits] == [(30, 300)]
    assert second.governor.history.count(-1e9) == 21
    assert second.report()["answered_total"] == 0


def test_a_site_error_slows_all_processes(follow):
    first, second = Throttle(8.0, "processing", sender="here:1"), Throttle(8.0, "processing", sender="here:2")
    follow(first)
    follow(second)
    first.noted(500)
    until(lambda: second.state()["requests_per_second"] == 4.0, 10, "the slower rate")


def test_every_process_sees_the_state_of_the_site(kafka, follow):
    throttle = Throttle(8.0, "processing", sender="here:1")
    follow(throttle)
    assert shared_throttle.latest(kafka) == []
    throttle.noted(200)
    throttle.noted(429)
    reports = shared_throttle.Reports(kafka)
    site = until(lambda: (found := reports.site()).refused and found, 10, "the report")
    assert (site.answered, site.refused, site.ceiling, site.reason) == (1, 1, 8.0, "the site answered 429")
    reports.close()


def test_a_wait_for_the_site_is_distinguished_from_a_stall(kafka):
    producer = clients.producer(kafka)
    full = "waiting 12 min until the site's allowance has room"
    refused = "the site has refused everything for 60 min; next try in 5 min"
    for fields, waits in (
        ({"waits_seconds": 720.0}, full),
        ({"waits_seconds": 300.0, "refused_seconds": 3600.0}, refused),
        ({"waits_seconds": 300.0, "refused_seconds": 7300.0}, ""),
        ({"waits_seconds": 0.0}, ""),
    ):
        producer.send(topics.CONTROL, value=shared_throttle.encode({**REPORT, **fields}, time.time()))
        producer.flush()
        assert shared_throttle.waits_for_the_site(kafka) == waits
    producer.close()


# What counts as a report


def test_a_report_is_valid_until_it_expires():
    message = shared_throttle.encode(REPORT, now=1000.0)
    assert shared_throttle.decode(message, now=1009.9)["answered_total"] == 1234
    assert shared_throttle.decode(message, now=1010.1) is None


@pytest.mark.parametrize(
    "raw",
    [None, b"", b"\xff", b"[]", b"7", b"{}", b'{"status": "report"}', b'{"status": [], "sender": "a", "expires_at": 9e99}', b"[" * 99_999],
)
def test_an_invalid_report_is_ignored(raw):
    assert shared_throttle.decode(raw, now=0.0) is None


@pytest.mark.parametrize("name", [name for name in REPORT if name not in ("busy", "holding")])
def test_a_report_with_a_missing_field_is_ignored(name):
    fields = json.loads(shared_throttle.encode(REPORT, now=1000.0))
    del fields[name]
    assert shared_throttle.decode(json.dumps(fields).encode(), now=1000.0) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, -1, 10**400])
@pytest.mark.parametrize("name", ["refusals", "since", "per_second", "answers", "limits"])
def test_a_report_with_an_invalid_number_is_ignored(name, value):
    limit = {"requests": 300.0, "seconds": 30.0, "confirmed": 1, "cap": value, "left": 0}
    wrong = {"answers": [[0.5, value]], "limits": [limit]}.get(name, value)
    fields = json.loads(shared_throttle.encode(REPORT, now=1000.0))
    assert shared_throttle.decode(json.dumps({**fields, name: wrong}).encode(), now=1000.0) is None


@pytest.mark.parametrize(
    "fields", [{}, {"sender": "a"}, {**REPORT, "answers": [[1]]}, {**REPORT, "limits": [{"seconds": 1}]}, {**REPORT, "busy": 1, "stage": 5}]
)
def test_an_odd_report_does_no_harm(fields):
    throttle = Throttle(8.0, "processing")
    with pytest.raises((KeyError, TypeError, ValueError)) if fields.get("stage") != 5 else pytest.MonkeyPatch.context():
        throttle.heard(fields)
    assert throttle.try_start() == 0.0 or throttle.governor.episode is not None
