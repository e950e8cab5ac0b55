"""The services of a run: the database away, everything delivered again, a child that can't live."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

import config
from launch.market_process import MarketProcess
from local.postgres import Postgres
from local.postgres_place import remove_data
from local.tansu import Broker
from pipeline.broker import clients, positions
from pipeline.storage import database
from pipeline.wire import topics
from tests.conftest import quiet_port, reset_group, until
from tests.e2e.conftest import Terminal, last_json, shows_work
from tests.faults.conftest import BANDS, STOCKS, all_rows, assert_same_rows, check_account, longest_standstill, note


class Own:
    """Services of a user's own: the orchestrator finds them by its settings and starts none."""

    def __init__(self, terminal: Terminal) -> None:
        self.home = terminal.home
        self.broker = Broker.start(self.home / "broker.log", quiet_port())
        self.data = self.home / "data"
        # While it is away nobody else takes this one.
        self.port = quiet_port()
        self.postgres = Postgres.start(self.data, self.home / "postgres.log", self.port)
        self.market = MarketProcess.start(self.home / "market.log", ["--stocks", str(STOCKS), "--seed", "1", "--latency-ms", "150"])
        self.environ = {
            **self.postgres.settings,
            "KAFKA_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "YAHOO_BASE_URL": self.market.base_url,
            "PIPELINE_TODAY": self.market.day.isoformat(),
            "REQUESTS_PER_SECOND": "0",
            **BANDS,
        }

    def restart_postgres(self, away_seconds: float) -> None:
        self.postgres.stop()
        time.sleep(away_seconds)
        self.postgres = Postgres.start(self.data, self.home / "postgres.log", self.port)
        assert self.postgres.settings["DB_PORT"] == str(self.port)

    def connection(self) -> Any:
        found = self.postgres.settings
        return database.connect(
            config.Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]))
        )

    def stop(self) -> None:
        for service in (self.market, self.broker, self.postgres):
            service.stop()
        remove_data(self.data)


@pytest.fixture
def own(terminal: Terminal) -> Iterator[Own]:
    found = Own(terminal)
    yield found
    terminal.end_processes()
    found.stop()


@pytest.mark.parametrize("away_seconds", [0, 20])
def test_a_restart_or_absence_of_postgresql_is_waited_for_without_dead_letters(terminal, own, undisturbed, request, away_seconds):
    process = terminal.start("run_pipeline.py", "--exit-when-done", "--json", "--stall-timeout", "120", "--scrapers", "1", **own.environ)
    until(lambda: shows_work(terminal.errors(process)), 180, "some work")
    since = time.time()
    own.restart_postgres(away_seconds)
    assert process.wait(300) == 0, terminal.errors(process)
    summary = last_json(terminal.output(process))
    check_account(summary)
    wanted, expected = undisturbed
    assert summary["ratio_rows"] == wanted["ratio_rows"]
    connection = own.connection()
    assert_same_rows(all_rows(connection), expected)
    note(request, f"PostgreSQL away for {away_seconds} s", 1, summary["elapsed_seconds"], longest_standstill(connection, since))
    connection.close()


def test_redelivering_everything_after_a_finished_run_changes_nothing(terminal, undisturbed):
    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", str(STOCKS))
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the services")
    scripts = ("kafka_scraper_consumer.py", "kafka_processing_consumer.py")
    settings = config.load(True, terminal.environment())

    def tallies() -> dict:
        return json.loads(terminal.run("kafka_monitor.py", "--demo", "--once", "--json").stdout)

    def done() -> dict | None:
        found = tallies()
        return (
            found if found["processing"]["sent"] == STOCKS and not found["processing"]["pending"] + found["scraping"]["pending"] else None
        )

    first = [terminal.start(script, "--demo", **BANDS) for script in scripts]
    assert terminal.run("kafka_scraper_producer.py", "--demo").returncode == 0
    before = until(done, 180, "the end of the run")
    connection = terminal.database()
    rows_before = all_rows(connection)
    for process in first:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    for stage in topics.STAGES:
        reset_group(settings.kafka, stage.group, [stage.tasks, stage.retries])
    again = [terminal.start(script, "--demo", **BANDS) for script in scripts]
    until(lambda: all(_all_committed(settings.kafka, stage) for stage in topics.STAGES), 180, "everything again")
    after = tallies()
    for name in ("scraping", "processing", "stocks", "ratio_rows", "dead_letters"):
        assert after[name] == before[name]
    assert_same_rows(all_rows(connection), rows_before)
    assert_same_rows(rows_before, undisturbed[1])
    connection.close()
    assert all(process.poll() is None for process in again)


def _all_committed(kafka: config.Kafka, stage: topics.StageTopics) -> bool:
    """Whether the group has committed everything that stands in its topics, counted from the beginning again."""
    marks = positions.high_watermarks(kafka, [stage.tasks, stage.retries])
    admin = clients.admin(kafka)
    try:
        committed = positions.committed_offsets(admin, stage.group)
    finally:
        admin.close()
    return all(committed.get(partition, 0) >= mark for partition, mark in marks.items())


def test_a_child_that_dies_at_each_start_stops_the_run_with_the_end_of_its_log(terminal):
    process = terminal.start("run_pipeline.py", "--demo", "--exit-when-done", "--page-latency-ms", "20000", "--scrapers", "1")
    killed: set[int] = set()

    def kill_each() -> bool:
        for number, command in terminal.processes().items():
            if "kafka_scraper_consumer.py" in command and number not in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
                killed.add(number)
        return process.poll() is not None

    until(kill_each, 180, "the end of the run")
    assert process.returncode == config.EXIT_SERVICE
    assert "scraper-1 died 5 times right after its start" in terminal.errors(process)
    assert len(killed) == 5


def test_dead_letters_are_listed_shown_and_replayed_without_control_characters(terminal):
    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", "20")
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the services")
    settings = config.load(True, terminal.environment())
    run_id = "20261124T071326Z-1f3a"
    task = {
        "task_id": f"scrape:{run_id}:zz:1-2",
        "run_id": run_id,
        "region_code": "zz",
        "region_name": "\x1b[31mred\x07 <b>",
        "market_cap_min": 1,
        "market_cap_max": 2,
        "status": "pending",
        "timestamp": "2026-11-24T07:13:26Z",
        "unknown": "travels along",
    }
    producer = clients.producer(settings.kafka)
    producer.send(topics.SCRAPING_TASKS, key=task["task_id"].encode(), value=json.dumps(task).encode())
    producer.send(topics.SCRAPING_TASKS, key=b"poison", value=b"\x1b[2Jnot json")
    producer.flush()
    producer.close()
    terminal.start("kafka_scraper_consumer.py", "--demo")

    def letters(*filters: str) -> list[dict]:
        done = terminal.run("kafka_dead_letters.py", "list", "--demo", "--json", *filters)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    until(lambda: len(letters()) == 2, 150, "two dead letters")
    (letter,) = letters("--region", "zz", "--stage", "scraping", "--run", run_id, "--error-type", "PermanentError", "--newer-than", "1h")
    assert letter["task_id"] == task["task_id"]
    assert json.loads(letter["value"]) == task, "the original bytes"
    assert letters("--region", "fr") == []
    assert letters("--older-than", "1h") == []
    for command in (["list"], ["show"], ["show", letter["id"]]):
        shown = terminal.run("kafka_dead_letters.py", *command, "--demo")
        assert shown.returncode == 0
        assert "\x1b" not in shown.stdout
        assert "\x07" not in shown.stdout

    for command in ("show", "replay", "list"):
        unknown = terminal.run("kafka_dead_letters.py", command, "scraping/0/999", "--demo")
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "dead letter scraping/0/999 is not in the topics" in unknown.stderr
    other = terminal.run("kafka_dead_letters.py", "show", letter["id"], "--region", "fr", "--demo")
    assert (other.returncode, other.stderr) == (1, f"dead letter {letter['id']} does not match the other flags\n")
    none = terminal.run("kafka_dead_letters.py", "list", "--symbol", "NOPE", "--demo")
    assert (none.stdout, none.stderr) == ("0 dead letters\n", "no dead letter matches; others: 2 not replayed\n")
    assert terminal.run("kafka_dead_letters.py", "show", "7", "--demo").returncode == config.EXIT_SETTINGS

    dry = terminal.run("kafka_dead_letters.py", "replay", "--demo", "--dry-run")
    assert "would replay 1 task\n" in dry.stdout
    assert "they can't be replayed: 1 letter " in dry.stdout
    assert "replayed 1 task\n" in terminal.run("kafka_dead_letters.py", "replay", "--demo", "--run", run_id).stdout
    again = terminal.run("kafka_dead_letters.py", "replay", letter["id"], "--demo")
    assert (again.returncode, again.stderr) == (1, f"dead letter {letter['id']} was replayed already\n")
    until(lambda: len(letters("--run", run_id)) == 1, 150, "the new dead letter of the replayed task")
    assert len(letters("--run", run_id, "--all")) == 2
    summary = json.loads(terminal.run("kafka_monitor.py", "--demo", "--once", "--json", "--run", run_id).stdout)
    assert summary["scraping"] == {"sent": 1, "completed": 0, "split": 0, "failed": 1, "pending": 0}
    assert terminal.run("kafka_dead_letters.py", "list", "--demo", "--older-than", "soon").returncode == config.EXIT_SETTINGS
