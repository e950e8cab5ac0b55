"""What only a durable broker can show: it goes, it comes back, and nothing is lost and nothing counted twice.

Several outages and kills a run. The recovery times are printed at the end of the session (see docs/kafka.md).
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter

import pytest

import config
from pipeline.broker.consumer_groups import GroupReader
from pipeline.runs.account_reader import Tally
from pipeline.storage import database
from pipeline.wire import messages, topics
from tests.apache_kafka.conftest import FAULTS_SEED, REPORT, away, note
from tests.conftest import until
from tests.e2e.conftest import HIGH, LOW, STOCKS, last_json, rows
from tests.worker.test_worker import Running, complete, follow, send_tasks

#: Seconds for which the broker is away in these tests.
AWAY_SECONDS = 20.0


class Outage:
    """Ends the broker, and measures from its return (and its answer) to the next task that comes to an end."""

    def __init__(self, apache_kafka, finished):
        self.broker = apache_kafka
        self.finished = finished

    def __call__(self, what, seconds, number=signal.SIGTERM):
        self.broker.kill() if number == signal.SIGKILL else self.broker.stop()
        away(seconds)
        before = time.monotonic()
        self.broker.start_again()
        started, count = time.monotonic(), self.finished()
        until(lambda: self.finished() > count, 180, f"work after: {what}")
        note(f"{what}: broker up again after {started - before:.1f} s, next task done", time.monotonic() - started)


def test_workers_survive_restarts_crashes_and_20_seconds_without_a_broker(apache_kafka, kafka):
    count, run_id = 1_500, messages.new_run_id()
    handled: Counter[str] = Counter()
    lock = threading.Lock()

    def handler(delivery):
        away(0.1)  # so that the run outlasts the outages
        with lock:
            handled[delivery.task.symbol] += 1
        return complete(delivery)

    outage = Outage(apache_kafka, lambda: sum(handled.values()))
    send_tasks(kafka, run_id, [f"S{number}" for number in range(count)])
    with Running(kafka, handler), Running(kafka, handler):
        until(lambda: len(handled) > 50, 180, "work")
        outage("workers: restarted", 0.0)
        outage("workers: killed and started", 0.0, signal.SIGKILL)
        outage(f"workers: away for {AWAY_SECONDS:.0f} s", AWAY_SECONDS)
        outage(f"workers: killed, away for {AWAY_SECONDS:.0f} s", AWAY_SECONDS, signal.SIGKILL)
        account = follow(kafka, run_id, lambda account: account.processing["completed"] == count, 200)
    assert account.processing.summary() == {"sent": count, "completed": count, "no_data": 0, "failed": 0, "pending": 0}
    assert set(handled) == {f"S{number}" for number in range(count)}
    reader = GroupReader(kafka)
    until(lambda: reader.read()[topics.PROCESSING.group].lag == 0, 60, "the last commit")
    reader.close()
    REPORT.append(f"  {count} tasks, two workers: {sum(handled.values()) - count} done a second time")


def test_a_tally_continues_where_it_was_when_the_broker_comes_back(apache_kafka, kafka):
    run_id = messages.new_run_id()
    send_tasks(kafka, run_id, ["A", "B"])
    tally = Tally(kafka, run_id)
    until(lambda: tally.poll() and len(tally.newest().processing.tasks) == 2, 60, "the tasks")
    apache_kafka.kill()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        assert tally.poll(100) == 0
    apache_kafka.start_again()
    started = time.monotonic()
    send_tasks(kafka, run_id, ["C"])
    until(lambda: tally.poll() and len(tally.newest().processing.tasks) == 3, 180, "the third task")
    note("a tally (monitor): a new task seen", time.monotonic() - started)
    tally.close()


def test_the_group_reader_reports_a_lost_broker_and_its_return(apache_kafka, kafka):
    reader = GroupReader(kafka)
    assert reader.read()[topics.PROCESSING.group].lag == 0
    apache_kafka.stop()
    with pytest.raises(Exception, match="can't be reached"):
        reader.read()
    apache_kafka.start_again()
    assert reader.read()[topics.PROCESSING.group].state == "Empty"
    reader.close()


def test_a_producer_without_a_broker_gives_up_in_time_and_sends_all_when_it_is_back(apache_kafka, live):
    apache_kafka.stop()
    started = time.monotonic()
    # Bounds as the site takes them: there is no site here that could say the rates.
    send = ("kafka_scraper_producer.py", "--regions", "us,fr", "--market-cap-currency", "local")
    done = live.run(*send)
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert time.monotonic() - started < 45, "it says so after 10 s, on a machine that is not busy"
    assert done.stderr.count("\n") == 1
    apache_kafka.start_again()
    done = live.run(*send)
    assert done.returncode == 0, done.stderr
    counted = live.run("kafka_monitor.py", "--once", "--json")
    assert json.loads(counted.stdout)["scraping"]["sent"] == 2


def test_a_run_survives_outages_and_kills(apache_kafka, live, kafka, start_market, market, tables):
    """The orchestrator, its two scraping and two processing consumers, its monitor: all of them, all at once."""
    site = start_market("--latency-ms", "250", "--page-latency-ms", "1500")
    chosen = random.Random(FAULTS_SEED)
    codes = ["us", "fr", "gb", "de", "jp"]
    listed = [company for code in codes for company in market.in_dollars(code, LOW, HIGH)]
    run = live.start(
        "run_pipeline.py", "--exit-when-done", "--json", "--stall-timeout", "120", YAHOO_BASE_URL=site.base_url, PROCESSOR_THREADS="1"
    )
    watching = live.start("kafka_monitor.py", "--json")
    tally = Tally(kafka)

    def finished():
        assert run.poll() is None, f"the run ended too early:\n{live.terminal.errors(run)}"
        tally.poll(100)
        account = tally.newest()
        return account.finished if account else 0

    until(lambda: finished() >= 2, 180, "work")
    outage = Outage(apache_kafka, finished)
    outage("a run: killed and started", 0.0, signal.SIGKILL)
    for script in ("kafka_processing_consumer.py", "kafka_scraper_consumer.py"):
        victims = [pid for pid, command in live.terminal.processes().items() if script in command]
        os.kill(chosen.choice(victims), signal.SIGKILL)
    outage(f"a run, a consumer of each kind killed: away for {AWAY_SECONDS:.0f} s", AWAY_SECONDS)
    assert run.wait(300) == 0, live.terminal.errors(run)
    tally.close()

    summary = last_json(live.terminal.output(run))
    assert summary["scraping"] == {"sent": 5, "completed": 5, "split": 0, "failed": 0, "pending": 0}
    assert summary["processing"]["sent"] == len(listed) >= STOCKS
    assert (summary["processing"]["pending"], summary["processing"]["failed"], summary["dead_letters"]) == (0, 0, 0)
    connection = database.connect(tables)
    assert rows(connection, "SELECT count(*) FROM stock")[0][0] == len(listed)
    assert rows(connection, "SELECT count(*) FROM financial_ratios")[0][0] == summary["ratio_rows"]
    connection.close()

    # A monitor in a terminal of its own has seen it all, and shows the same in the end.
    def same():
        shown = last_json(live.terminal.output(watching))
        return shown["processing"] == summary["processing"]

    until(same, 180, "the monitor's last line")
    assert watching.poll() is None
