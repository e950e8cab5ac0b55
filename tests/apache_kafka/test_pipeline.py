"""A whole live run on a cluster, and on the Apache Kafka that KAFKA_HOME names."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

import config
from pipeline.broker import positions
from pipeline.broker.consumer_groups import GroupReader
from pipeline.runs.account_reader import Tally
from pipeline.storage import database
from pipeline.wire import topics
from tests.apache_kafka.conftest import Live, database_environment, note
from tests.conftest import reset_group, until
from tests.e2e.conftest import HIGH, LOW, last_json, rows, shows_work
from tests.faults.conftest import all_rows, assert_same_rows, by_state

HOME = str(Path(os.environ["TEST_KAFKA_HOME"]).resolve())
#: run_pipeline.py where nothing answers at localhost:9092, whatever else this machine has up.
ALONE = """
import launch.services, run_pipeline
launch.services.DEFAULT_SERVERS = "127.0.0.1:1"
run_pipeline.run_script(run_pipeline.main)
"""


def test_a_run_on_a_cluster_adds_up_and_redelivering_everything_changes_nothing(live, kafka, start_market, market, tables):
    site = start_market()
    done = live.run("run_pipeline.py", "--exit-when-done", "--json", "--regions", "fr,gb,jp", YAHOO_BASE_URL=site.base_url)
    assert done.returncode == 0, done.stderr
    summary = last_json(done.stdout)
    listed = [company for code in summary["regions"] for company in market.in_dollars(code, LOW, HIGH)]
    without = [company for company in listed if company.traits & {"gone", "no_statements"}]
    assert summary["scraping"] == {"sent": 3, "completed": 3, "split": 0, "failed": 0, "pending": 0}
    assert by_state(summary)["processing"] == {
        "sent": len(listed),
        "completed": len(listed) - len(without),
        "no_data": len(without),
        "failed": 0,
        "pending": 0,
    }
    connection = database.connect(tables)
    assert rows(connection, "SELECT count(*) FROM stock")[0][0] == len(listed)
    assert rows(connection, "SELECT count(*) FROM financial_ratios")[0][0] == summary["ratio_rows"]
    before = all_rows(connection)

    sent = sum(positions.high_watermarks(kafka, [topics.PROCESSING_TASKS]).values())
    for stage in topics.STAGES:
        reset_group(kafka, stage.group, [stage.tasks, stage.retries])
    again = [live.start(f"kafka_{name}_consumer.py", YAHOO_BASE_URL=site.base_url) for name in ("scraper", "processing")]
    reader = GroupReader(kafka)
    until(lambda: all(state.lag == 0 for state in reader.read().values()), 180, "everything again")
    reader.close()
    # The scraping consumer has sent each stock's task once more.
    assert sum(positions.high_watermarks(kafka, [topics.PROCESSING_TASKS]).values()) >= sent + len(listed)
    assert all(process.poll() is None for process in again)
    tally = Tally(kafka, summary["run_id"])
    assert tally.read_to_now()
    account = tally.newest().summary(0)
    tally.close()
    assert by_state(account) == by_state(summary)
    assert_same_rows(all_rows(connection), before)
    connection.close()


@pytest.fixture
def at_home(terminal, tables):
    """No broker is set, but KAFKA_HOME."""
    return Live(terminal, {**database_environment(tables), "KAFKA_HOME": HOME, "REQUESTS_PER_SECOND": "0"})


def published(terminal):
    return config.embedded_services(config.state_dir(False, terminal.environment()))


def test_kafka_home_replaces_the_embedded_broker_and_keeps_its_messages(at_home, start_market):
    terminal, site = at_home.terminal, start_market()
    at_home.settings["YAHOO_BASE_URL"] = site.base_url

    def started():
        holder = at_home.start("-c", ALONE, "--services")
        until(lambda: published(terminal) or holder.poll() is not None, 180, "the services")
        assert holder.poll() is None, terminal.errors(holder)
        return holder

    holder = started()
    assert f"Apache Kafka {kafka_version()} at 127.0.0.1:" in terminal.output(holder)
    found = config.load(environ=terminal.environment(**at_home.settings), env_file=Path("/nowhere")).kafka
    assert (found.source, found.bootstrap_servers) == ("apache", published(terminal)["KAFKA_BOOTSTRAP_SERVERS"])
    sent = at_home.run("kafka_scraper_producer.py", "--regions", "us,fr,de")
    assert sent.returncode == 0, sent.stderr
    assert sum(positions.high_watermarks(found, [topics.SCRAPING_TASKS]).values()) == 3

    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    until(lambda: not terminal.processes(), 40, f"the end of all processes ({terminal.processes()})")

    holder = started()
    found = config.load(environ=terminal.environment(**at_home.settings), env_file=Path("/nowhere")).kafka
    assert sum(positions.high_watermarks(found, [topics.SCRAPING_TASKS]).values()) == 3
    holder.send_signal(signal.SIGINT)
    assert holder.wait(60) == 0, terminal.errors(holder)
    until(lambda: not terminal.processes(), 5, "the end of all processes")


def kafka_version() -> str:
    return HOME.rpartition("-")[2]


def broker_of(terminal):
    return next((pid for pid, command in terminal.processes().items() if "kafka.Kafka" in command), None)


def test_a_run_continues_when_the_broker_of_kafka_home_is_restarted(at_home, start_market, market, tables):
    terminal = at_home.terminal
    site = start_market("--latency-ms", "300")
    run = at_home.start(
        "-c", ALONE, "--exit-when-done", "--json", "--regions", "fr,gb", YAHOO_BASE_URL=site.base_url, PROCESSOR_THREADS="1"
    )
    until(lambda: shows_work(terminal.errors(run)) or run.poll() is not None, 180, "some work")
    killed = broker_of(terminal)
    os.kill(killed, signal.SIGKILL)
    until(lambda: "Apache Kafka is up again" in terminal.errors(run) or run.poll() is not None, 180, "the broker")
    assert broker_of(terminal) not in (None, killed), terminal.errors(run)
    assert run.wait(300) == 0, terminal.errors(run)
    said = terminal.errors(run)
    assert said.count("Apache Kafka died; starting it again (see ") == 1
    (seconds,) = re.findall(r"Apache Kafka is up again after ([0-9.]+) s", said)
    note("a run's own broker (KAFKA_HOME) killed: started again and answering after", float(seconds))

    summary = last_json(terminal.output(run))
    listed = [company for code in ("fr", "gb") for company in market.in_dollars(code, LOW, HIGH)]
    assert summary["scraping"] == {"sent": 2, "completed": 2, "split": 0, "failed": 0, "pending": 0}
    assert summary["processing"]["sent"] == len(listed)
    assert (summary["processing"]["failed"], summary["processing"]["pending"], summary["dead_letters"]) == (0, 0, 0)
    connection = database.connect(tables)
    assert rows(connection, "SELECT count(*) FROM stock")[0][0] == len(listed)
    assert rows(connection, "SELECT count(*) FROM financial_ratios")[0][0] == summary["ratio_rows"]
    connection.close()


def test_a_kafka_home_broker_that_cannot_restart_ends_the_run_with_the_end_of_its_log(at_home, start_market, tmp_path):
    """A Java that works once: as where the broker's machine has run out of something."""
    java, broken = tmp_path / "bin" / "java", tmp_path / "broken"
    java.parent.mkdir()
    java.write_text(f'#!/bin/sh\nif [ -e {broken} ]; then echo this machine has no luck; exit 1; fi\nexec {shutil.which("java")} "$@"\n')
    java.chmod(0o755)
    terminal = at_home.terminal
    holder = at_home.start("-c", ALONE, "--services", JAVA_HOME=str(tmp_path), YAHOO_BASE_URL=start_market().base_url)
    until(lambda: "services are up" in terminal.output(holder) or holder.poll() is not None, 180, "the services")
    assert holder.poll() is None, terminal.errors(holder)
    broken.touch()
    os.kill(broker_of(terminal), signal.SIGKILL)
    assert holder.wait(120) == config.EXIT_SERVICE
    said = terminal.output(holder) + terminal.errors(holder)
    assert "Apache Kafka died; starting it again" in said
    assert "trying again in 4.0 s" in said
    assert terminal.errors(holder).rstrip().endswith("this machine has no luck")
    until(lambda: not terminal.processes(), 20, "the end of all processes")


def test_a_wrong_kafka_home_is_exit_code_3_and_one_line(at_home, start_market):
    done = at_home.run("-c", ALONE, KAFKA_HOME="/nowhere", YAHOO_BASE_URL=start_market().base_url)
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert "KAFKA_HOME is '/nowhere': expected" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_demo_leaves_kafka_home_alone():
    assert config.load(demo=True, environ={"KAFKA_HOME": HOME}).kafka_home is None
    assert config.load(environ={"KAFKA_HOME": HOME}).kafka_home == Path(HOME)
