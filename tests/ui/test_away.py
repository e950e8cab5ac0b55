"""The page while broker or database is away, at the start or later, and after they are back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Database, Kafka
from local.postgres import Postgres
from local.postgres_place import remove_data
from local.tansu import Broker
from pipeline.broker import clients
from pipeline.process.ports import free_port
from pipeline.wire import messages
from tests.conftest import make_topics, until
from tests.ui.conftest import Producer, environment, fill, page_process


class Away:
    """A broker and a database that this test starts and stops, always on the same ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker: Broker | None = None
        self._postgres: Postgres | None = None
        # The first start only creates the data and finds the port. Then it is stopped.
        started = Postgres.start(folder / "postgres", folder / "postgres.log", free_port(25_000))
        found = started.settings
        self.database = Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]))
        started.stop()
        self.kafka = Kafka(bootstrap_servers=f"127.0.0.1:{free_port(26_000)}", source="embedded")

    def start_broker(self) -> None:
        self._broker = Broker.start(self._folder / "broker.log", int(self.kafka.bootstrap_servers.rpartition(":")[2]))
        assert self._broker.bootstrap_servers == self.kafka.bootstrap_servers
        make_topics(self.kafka)

    def stop_broker(self) -> None:
        if self._broker is not None:
            self._broker.stop()
            self._broker = None

    def start_database(self) -> None:
        self._postgres = Postgres.start(self._folder / "postgres", self._folder / "postgres.log", self.database.port)
        assert self._postgres.settings["DB_PORT"] == str(self.database.port)

    def stop_database(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Away]:
    clients.quiet()
    found = Away(tmp_path)
    yield found
    with contextlib.suppress(Exception):
        found.stop_broker()
    found.stop_database()
    remove_data(tmp_path / "postgres")


VIEWS = ("/kafka", "/kafka/topics/stock-processing-tasks", "/dead-letters", "/stocks", "/stocks/M001", "/scatter", "/distribution")


def every_view_says_that_both_are_away(window, page):
    window.open(page.url + "/")
    until(lambda: "can’t be read now" in window.text("#live-state"), 20, "the notice")
    for view in VIEWS:
        answer = page.ask(view)
        assert answer.status == 503, view
        assert 'role="alert"' in answer.text, view
    assert page.ask("/stocks.csv").status == 503


def the_pipeline_view_fills_without_a_reload(window, page, away):
    away.start_broker()
    window.run("window.same = true")
    with Producer(away.kafka, messages.new_run_id()) as producer:
        tasks = producer.processing(["ONE", "TWO"], "fr")
        producer.processed(tasks[:1])
        producer.failed(tasks[1], "lost with the broker")
    until(lambda: window.percent("processing") == 100, 30, "the run")
    until(lambda: "stock-processors" in window.text('[data-testid="lag-table"]'), 30, "the groups")
    assert window.run("return window.same") is True
    until(lambda: page.ask("/dead-letters").status == 200, 10, "the dead letters")
    assert page.ask("/stocks").status == 503


def a_view_that_showed_an_error_shows_the_stocks(window, page, away):
    window.open(page.url + "/stocks")
    assert "can’t be shown now" in window.text("#stocks")
    away.start_database()
    until(lambda: "no tables yet" in window.text("#stocks"), 20, "the notice that there are no tables")
    fill(away.database)
    until(lambda: "Aubergine SA" in window.text('[data-testid="stocks-table"]'), 20, "the stocks")


def old_values_are_not_shown_as_present_ones(window, page, away):
    window.open(page.url + "/kafka")
    assert "processing-errors" in window.text('[data-testid="topics-table"]')
    away.stop_broker()
    away.stop_database()
    until(lambda: "can't be reached" in window.text("#topics"), 30, "the notice")
    assert page.ask("/stocks").status == 503
    until(lambda: "can’t be read now" in page.ask("/").text, 30, "the pipeline's notice")
    until(lambda: "The groups can’t be read now" in page.ask("/").text, 30, "the notice in the place of the groups")
    assert "lag-table" not in page.ask("/").text


def a_restarted_broker_is_followed_from_nothing(page, away):
    """It has forgotten everything, and so has the page."""
    away.start_broker()
    away.start_database()
    until(lambda: "No run yet" in page.ask("/").text, 40, "the empty pipeline")
    with Producer(away.kafka, messages.new_run_id()) as producer:
        producer.processing(["ANEW"], "us")
        until(lambda: producer.run_id in page.ask("/").text, 30, "the new run")
    until(lambda: page.ask("/dead-letters").status == 200, 10, "the dead letters again")
    assert "lost with the broker" not in page.ask("/dead-letters").text
    assert page.ask("/stocks").status == 200


def test_each_view_says_what_happened_and_recovers_by_itself(window, away, tmp_path):
    """One page through it all: services away, up one after the other, away again, and up with an empty broker."""
    with page_process(tmp_path, environment(away.kafka, away.database)) as page:
        every_view_says_that_both_are_away(window, page)
        the_pipeline_view_fills_without_a_reload(window, page, away)
        a_view_that_showed_an_error_shows_the_stocks(window, page, away)
        old_values_are_not_shown_as_present_ones(window, page, away)
        a_restarted_broker_is_followed_from_nothing(page, away)


def test_a_demo_that_starts_after_the_page_is_found(away, tmp_path):
    """The embedded services' settings are read when they appear, not only at the start."""
    with page_process(tmp_path, {}, "--demo", "--port", "0") as page:
        assert "no demo is running" in page.ask("/stocks").text
        away.start_database()
        fill(away.database)
        folder = tmp_path / ".pipeline" / "demo"
        folder.mkdir(parents=True)
        settings = environment(away.kafka, away.database)
        with open(folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(str(os.getpid()))
            lock.flush()
            (folder / "services.env").write_text("".join(f"{name}={json.dumps(value)}\n" for name, value in settings.items()))
            answer = page.ask("/stocks?region=fr")
            assert answer.status == 200
            assert "Aubergine SA" in answer.text
        assert page.ask("/stocks").status == 503
