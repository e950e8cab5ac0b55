"""The monitor over a real broker: in a terminal of 80 × 24, in a pipe, and once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from rich.cells import cell_len

from config import Kafka
from local.tansu import Broker
from pipeline.errors import ServiceError
from pipeline.process.script import PARENT_PIPE
from pipeline.runs.account_reader import Tally
from pipeline.runs.follower import RunFollower
from pipeline.wire import messages
from tests.conftest import PROJECT, make_topics, quiet_port, until
from tests.runs.conftest import environment, plain
from tests.ui.conftest import Producer

#: Runs `kafka_monitor.py` in a Python that has no `rich`.
WITHOUT_RICH = [
    sys.executable,
    "-c",
    "import runpy, sys; sys.modules['rich'] = None; sys.argv[0] = 'kafka_monitor.py'; "
    "runpy.run_path('kafka_monitor.py', run_name='__main__')",
]
OLD, NEW = "20261124T080000Z-0001", "20261124T090000Z-0002"


def begin(producer, symbols=("AAA.PA", "BBB.PA", "CCC.PA", "DDD.PA")):
    """One region, scraped; its stocks as tasks."""
    producer.scraped(producer.scraping("fr", "France"), len(symbols))
    return producer.processing(list(symbols), "fr")


def run_monitor(kafka, tmp_path, *arguments, **environ):
    return subprocess.run(
        [sys.executable, "kafka_monitor.py", *arguments],
        cwd=PROJECT,
        env=environment(kafka, tmp_path, **environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_run_is_watched_to_its_end_in_80_by_24(kafka, window):
    run_id = messages.new_run_id()
    seen = window(kafka)
    until(lambda: seen.shows("Waiting for a run…"), 30, "the first picture")
    with Producer(kafka, run_id) as producer:
        tasks = begin(producer)
        until(lambda: seen.shows("0/4"), 30, "the tasks")
        until(lambda: seen.shows("stock-processors  lag 4 "), 30, "the lag")
        until(lambda: seen.shows("no process is asking the site"), 30, "the throttle")
        producer.processed(tasks[:2])
        producer.failed(tasks[2], "no such \x1b[2J[bold]thing[/]")
        until(lambda: seen.shows("3/4"), 30, "the results")
        assert "failed   CCC.PA" in seen.screen
        assert "[2J[bold]thing[/]" in seen.screen
        producer.processed(tasks[3:])
        until(lambda: seen.shows("done: nothing is pending; 1 failed"), 30, "the end")
    assert all(len(lines) == 24 for lines in seen.pictures())
    assert max(cell_len(line) for lines in seen.pictures() for line in lines) <= 80
    seen.resize(120, 40)
    until(lambda: len(seen.pictures()[-1]) == 40, 10, "a picture of another size")
    assert max(map(cell_len, seen.pictures()[-1])) in range(100, 121)
    summary = seen.end(signal.SIGINT)
    assert seen.process.returncode == 0
    # The terminal is as it was: its own screen, its cursor, its wrapping.
    assert seen.said.count("\x1b[?1049h") == seen.said.count("\x1b[?1049l") == 1
    assert seen.said.rindex("\x1b[?25h") > seen.said.rindex("\x1b[?25l")
    assert seen.said.rindex("\x1b[?7h") > seen.said.rindex("\x1b[?7l")
    assert re.search(r"^fr France +4 +3 +0 +1$", summary, re.MULTILINE), summary
    assert re.search(rf"^failed: PermanentError +1  process:{run_id}:CCC.PA$", summary, re.MULTILINE), summary


def test_a_newer_run_is_followed_unless_one_was_asked_for(kafka, window):
    with Producer(kafka, OLD) as producer:
        producer.processed(begin(producer)[:1])
    newest, chosen = window(kafka, "--follow"), window(kafka, "--run", OLD)
    for one in (newest, chosen):
        until(lambda one=one: one.shows(OLD) and one.shows("1/4"), 30, "the old run")
    with Producer(kafka, NEW) as producer:
        producer.processed(begin(producer))
    until(lambda: newest.shows(NEW) and newest.shows("4/4"), 30, "the new run")
    with Producer(kafka, OLD) as producer:
        producer.processed(producer.processing(["AAA.PA", "BBB.PA"], "fr"))
    until(lambda: chosen.shows("2/4"), 30, "the old run's progress")
    assert OLD in chosen.screen
    assert NEW not in chosen.said


def test_missing_consumers_are_reported(kafka, window):
    with Producer(kafka, messages.new_run_id()) as producer:
        begin(producer)
    seen = window(kafka)
    until(lambda: seen.shows("stopped: no consumer takes the records"), 60, "the verdict")
    assert "0 members" in seen.screen


def test_a_lost_broker_is_reported_and_found_again(tmp_path, window):
    port = quiet_port()
    broker = Broker.start(tmp_path / "broker.log", port)
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded")
    make_topics(kafka)
    run_id = messages.new_run_id()
    with Producer(kafka, run_id) as producer:
        producer.processed(begin(producer)[:1])
    seen, piped = window(kafka), window(kafka, TERM="dumb")
    until(lambda: seen.shows("1/4"), 30, "the run")
    until(lambda: "processing 1/4" in piped.said, 30, "the run in lines")
    broker.stop()
    until(lambda: seen.shows("broker not reachable for "), 30, "the loss")
    assert run_id in seen.screen, "what was known is still shown"
    until(lambda: f"{run_id} " in piped.said and "broker not reachable for " in piped.said, 30, "the loss in lines")
    again = Broker.start(tmp_path / "again.log", port)
    try:
        assert again.bootstrap_servers == kafka.bootstrap_servers
        make_topics(kafka)
        # Memory only: the new broker knows nothing of the old run.
        with Producer(kafka, NEW) as producer:
            producer.processed(begin(producer)[:3])
        until(lambda: seen.shows(NEW) and seen.shows("3/4") and not seen.shows("not reachable"), 60, "the new broker")
        until(lambda: f"{NEW} " in piped.said and "processing 3/4" in piped.said, 60, "the new broker in lines")
    finally:
        again.stop()


def test_another_broker_on_the_old_port_is_not_followed(tmp_path):
    port = quiet_port()
    broker = Broker.start(tmp_path / "broker.log", port)
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded")
    make_topics(kafka)
    run_id = messages.new_run_id()
    with Producer(kafka, run_id) as producer:
        producer.processed(begin(producer)[:1])
    looked = []

    def find():
        """As discovery does once the demo that had the broker has ended."""
        looked.append(time.monotonic())
        if len(looked) > 1:
            raise ServiceError("no demo is running")
        return kafka

    follower = RunFollower(Tally(kafka), find)
    follower.start()
    try:
        until(lambda: follower.read(20) or (follower.view().groups and follower.account), 30, "the run and the groups")
        broker.stop()
        again = Broker.start(tmp_path / "again.log", port)
        try:
            until(lambda: follower.read(20) or follower.view().problem == "no demo is running", 30, "the loss")
            make_topics(kafka)
            with Producer(kafka, NEW) as producer:
                begin(producer)
            seen = len(looked)
            until(lambda: follower.read(20) or len(looked) > seen + 1, 30, "two more looks for the broker")
            assert follower.account.run_id == run_id
            assert follower.view().lost
        finally:
            again.stop()
    finally:
        follower.stop()


def test_a_frozen_broker_is_noticed(tmp_path, window):
    broker = Broker.start(tmp_path / "broker.log", quiet_port())
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded")
    make_topics(kafka)
    seen = window(kafka)
    until(lambda: seen.shows("stock-processors  lag 0"), 30, "the groups")
    os.kill(broker.process_id, signal.SIGSTOP)
    try:
        until(lambda: seen.shows("broker not reachable for "), 40, "the loss")
    finally:
        os.kill(broker.process_id, signal.SIGCONT)
    until(lambda: not seen.shows("not reachable"), 60, "the recovery")
    broker.stop()


def test_stopping_is_shown_while_the_workers_end(kafka, window):
    with Producer(kafka, NEW) as producer:
        begin(producer)
    seen = window(kafka)
    until(lambda: seen.shows("under way"), 30, "the run")
    seen.process.send_signal(signal.SIGUSR1)
    until(lambda: seen.shows("stopping: the workers finish their tasks"), 10, "the word of it")


def test_the_terminal_is_restored_when_the_orchestrator_is_gone(kafka, window, tmp_path):
    # As run_pipeline.py starts it, with a pipe whose end is its end.
    script = (
        "import subprocess, sys; child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); sys.stdin.readline(); child.stdin.close()"
    )
    command = [sys.executable, "-c", f"{script}; sys.exit(child.wait())", sys.executable, "kafka_monitor.py"]
    seen = window(kafka, command=command, **{PARENT_PIPE: "1"})
    until(lambda: seen.shows("Waiting for a run…"), 30, "the first picture")
    seen.type("\n")
    seen.process.wait(60)
    assert "\x1b[?1049l" in until(lambda: seen.said if "\x1b[?1049l" in seen.said else None, 10, "the terminal's own screen")
    assert seen.said.rindex("\x1b[?25h") > seen.said.rindex("\x1b[?25l")


def test_plain_lines_are_printed_without_rich_and_into_a_pipe(kafka, window, tmp_path):
    run_id = messages.new_run_id()
    with Producer(kafka, run_id) as producer:
        producer.processed(begin(producer)[:1])
    line = re.compile(rf"^{run_id} +\d+ s  scraping 1/1 \(100 %: 1 completed, 0 pending\)  processing 1/4 \(25 %: 1 completed, 3 pending\)")
    bare = window(kafka, command=WITHOUT_RICH)
    until(lambda: "processing 1/4" in bare.said, 30, "a line")
    assert bare.process.poll() is None
    assert "\x1b" not in bare.said
    said = bare.end().splitlines()
    assert line.match(said[0]) or line.match(said[1]), said  # before it, there may be a line that says that no run is known
    assert any(re.match(r"fr France +4 +1 ", text) for text in said), said
    with subprocess.Popen(
        [sys.executable, "kafka_monitor.py"],
        cwd=PROJECT,
        env=environment(kafka, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as piped:
        assert piped.stdout is not None
        found = next(text for text in piped.stdout if text.startswith(run_id))
        piped.terminate()
        piped.communicate(timeout=60)
    assert line.match(found), found


def test_once_prints_the_counts_of_the_tally(kafka, tmp_path):
    for run_id in (OLD, NEW):
        with Producer(kafka, run_id) as producer:
            tasks = begin(producer)
            producer.processed(tasks[:2])
            if run_id == OLD:
                producer.failed(tasks[2], "broken")
    for arguments, run_id in (((), NEW), (("--run", OLD), OLD), (("--run", NEW), NEW)):
        done = run_monitor(kafka, tmp_path, "--once", "--json", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        shown = json.loads(done.stdout)
        tally = Tally(kafka, run_id)
        assert tally.read_to_now()
        account = tally.newest()
        tally.close()
        assert account is not None
        # The run goes on, so its time does too.
        assert 0 <= account.elapsed_seconds(time.time()) - shown.pop("elapsed_seconds") < 60
        expected = account.summary(0)
        expected.pop("elapsed_seconds")
        assert shown == expected
        assert shown["run_id"] == run_id
    text = run_monitor(kafka, tmp_path, "--once", "--run", OLD).stdout
    assert text.startswith(f"{OLD} ")
    assert f"failed process:{OLD}:CCC.PA (attempt 3) PermanentError: broken" in text


def test_once_on_an_empty_broker_says_that_there_is_no_run(kafka, tmp_path):
    assert run_monitor(kafka, tmp_path, "--once").stdout == "no run yet\n"
    unknown = run_monitor(kafka, tmp_path, "--once", "--json", "--run", OLD)
    assert unknown.stderr == f"the topics hold nothing of run {OLD}\n"
    shown = json.loads(unknown.stdout)
    assert (shown["run_id"], shown["stocks"]) == (OLD, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--run", "yesterday"), "run_id 'yesterday': expected one such as 20261124T071326Z-1f3a"),
        (("--run", ""), "run_id '': expected one such as 20261124T071326Z-1f3a"),
        (("--run", "20261324T071326Z-1f3a"), "20261324T071326Z-1f3a"),
    ],
)
def test_an_invalid_run_id_is_refused_in_one_line(arguments, words, tmp_path):
    # No broker is needed for that.
    done = run_monitor(Kafka(bootstrap_servers="127.0.0.1:9"), tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_once_and_follow_exclude_each_other(tmp_path):
    assert run_monitor(Kafka(bootstrap_servers="127.0.0.1:9"), tmp_path, "--once", "--follow").returncode == 2
    assert run_monitor(Kafka(bootstrap_servers="127.0.0.1:9"), tmp_path, "--run", OLD, "--follow").returncode == 2


def test_json_output_is_one_object_per_line(kafka, tmp_path):
    with Producer(kafka, NEW) as producer:
        producer.processed(begin(producer)[:1])
    with subprocess.Popen(
        [sys.executable, "kafka_monitor.py", "--json"],
        cwd=PROJECT,
        env=environment(kafka, tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as piped:
        assert piped.stdout is not None
        assert json.loads(piped.stdout.readline())["run_id"] == NEW
        piped.terminate()
        rest, _ = piped.communicate(timeout=60)
    assert all(json.loads(line)["run_id"] == NEW for line in rest.splitlines())


def test_colours_are_omitted_if_they_are_not_wanted(kafka, window):
    with Producer(kafka, NEW) as producer:
        producer.failed(begin(producer)[0], "broken")
    seen = window(kafka, NO_COLOR="1")
    until(lambda: seen.shows("failed   AAA.PA"), 30, "the error")
    assert not re.search(r"\x1b\[[0-9;]*(?<![0-9])(?:3[0-9]|4[0-9]|9[0-7])m", seen.said)
    assert plain(seen.said) != seen.said
