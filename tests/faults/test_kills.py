"""Processes that die, freeze, join and leave in the middle of a run."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.conftest import until
from tests.faults.conftest import BANDS, Run

SLOW = ("--latency-ms", "150", "--page-latency-ms", "300")
PROCESSING, SCRAPING = "kafka_processing_consumer.py", "kafka_scraper_consumer.py"
#: Two of what is disturbed, one of what is not: most of what a case costs is starting browsers and importing pandas.
FEW = {PROCESSING: ("--scrapers", "1"), SCRAPING: ("--processors", "1")}


@pytest.mark.parametrize(
    ("kinds", "few"),
    [
        ([PROCESSING], FEW[PROCESSING]),
        ([SCRAPING], FEW[SCRAPING]),
        (["--type=renderer", "--remote-debugging-pipe"], FEW[SCRAPING]),
        (["chromedriver"], FEW[SCRAPING]),
        (["kafka_monitor.py"], FEW[PROCESSING]),
    ],
    ids=["processing consumer", "scraping consumer", "tab and browser", "driver", "monitor"],
)
def test_a_run_survives_several_kills(terminal, check, kinds, few):
    run = Run(terminal, *SLOW, *few)
    until(lambda: run.shows("logs:"), 150, "the start")
    until(lambda: run.victims(kinds[0]), 60, kinds[0])
    for number in range(3):
        run.pause(4)
        if run.process.poll() is not None:
            break
        run.kill(kinds[number % len(kinds)])
    check(run, run.end(), terminal.home)
    assert run.hits


def test_a_run_survives_the_death_of_every_process_that_may_die(terminal, check):
    run = Run(terminal, *SLOW, "--scrapers", "3", "--processors", "3")
    run.wait_for_work()
    for words in (PROCESSING, SCRAPING, "chromedriver", "kafka_monitor.py", PROCESSING):
        run.kill(words)
        run.pause(2)
        if run.process.poll() is not None:
            break
    check(run, run.end(), terminal.home)


@pytest.mark.parametrize("words", [PROCESSING, SCRAPING])
def test_a_consumer_frozen_past_its_session_commits_nothing_and_doubles_nothing(terminal, check, words):
    run = Run(terminal, *SLOW, *FEW[words])
    run.wait_for_work()
    victim = run.kill(words, signal.SIGSTOP)
    assert victim is not None
    # The embedded broker's sessions end after 6 s: by then its partitions are another's.
    time.sleep(9)
    os.kill(victim, signal.SIGCONT)
    check(run, run.end(), terminal.home)


def test_consumers_may_join_and_leave_during_a_run(terminal, check):
    # Longer than the guests take to join, on a machine that is busy too.
    run = Run(terminal, "--latency-ms", "600", "--page-latency-ms", "600", PROCESSOR_THREADS="4")
    run.wait_for_work()
    guests = [terminal.start(script, "--demo", **BANDS) for script in (PROCESSING, SCRAPING)]
    run.hit(len(guests))
    until(
        lambda: all("partitions assigned" in terminal.errors(guest) for guest in guests) or run.process.poll() is not None,
        150,
        "the guests",
    )
    run.pause(2)
    for guest in guests:
        guest.send_signal(signal.SIGTERM)
    for guest in guests:
        assert guest.wait(60) == 0, terminal.errors(guest)
    check(run, run.end(), terminal.home)


def test_postgresql_is_restarted_if_it_is_killed_during_a_run(terminal, check):
    run = Run(terminal, *SLOW, *FEW[PROCESSING], PROCESSOR_THREADS="4")
    run.wait_for_work()
    pid_file = next(iter(_postmaster_pids(terminal)), None)
    assert pid_file is not None
    os.kill(pid_file, signal.SIGKILL)
    run.hit()
    summary = run.end()
    assert "starting it again" in terminal.errors(run.process)
    check(run, summary, terminal.home)


def test_the_death_of_the_embedded_broker_ends_the_run_with_a_clear_message(terminal):
    run = Run(terminal, *SLOW)
    run.wait_for_work()
    assert run.kill("tansu") is not None
    assert run.process.wait(60) == 3
    assert "the embedded broker died and its messages are lost" in terminal.errors(run.process)
    until(lambda: not terminal.processes(), 20, "the end of all processes")


def _postmaster_pids(terminal) -> list[int]:
    """The server itself, not its helpers: their command lines begin with `postgres:`."""
    return [
        number
        for number, command in terminal.processes().items()
        if "/bin/postgres " in command + " " and not command.startswith("postgres:")
    ]
