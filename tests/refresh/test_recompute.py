"""`recompute` while things happen to it: it says so and leaves no process behind."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

import config
from config import Database, Settings
from local.market.companies import build_market
from pipeline.errors import ServiceError
from pipeline.refresh.recompute import recompute
from pipeline.storage import database
from pipeline.storage.run_table import newest_computations
from tests.conftest import until
from tests.e2e.conftest import rows
from tests.refresh.nights import empty_database, night

_WAITING = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def stored(postgres: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with empty_database(postgres) as base:
        night(base, tmp_path_factory.mktemp("recompute"), 20, 0)
        yield base


def settings_of(base: Database) -> Settings:
    return replace(config.load(demo=False, environ={}), database=base, fixed_day=build_market(20).today)


@contextlib.contextmanager
def in_the_middle(base: Database) -> Iterator[tuple[Future[Any], Any]]:
    """A recomputation whose two processes wait for a lock, and the connection that has it."""
    connection = database.connect(base)
    rows(connection, "UPDATE financial_ratios SET net_margin = -9 RETURNING 1")
    connection.cursor().execute("LOCK TABLE financial_ratios IN ACCESS EXCLUSIVE MODE")
    watch = database.connect(base)
    with ThreadPoolExecutor(1) as threads:
        work = threads.submit(lambda: list(recompute(settings_of(base), "anew", 2)))
        until(lambda: work.done() or rows(watch, f"SELECT count(*) {_WAITING}") == [(2,)], 60, "two processes at work")
        yield work, watch
        connection.rollback()
    connection.close()
    watch.close()


def a_process_is_killed(watch: Any) -> None:
    multiprocessing.active_children()[0].kill()


def the_database_ends_its_connections(watch: Any) -> None:
    rows(watch, f"SELECT pg_terminate_backend(pid) {_WAITING}")


@pytest.mark.parametrize(
    ("happens", "words"),
    [(a_process_is_killed, "one of the 2 processes died"), (the_database_ends_its_connections, "the database can't be used")],
)
def test_what_stops_a_process_ends_the_others_and_is_said(stored: Database, happens: Callable[[Any], None], words: str) -> None:
    with in_the_middle(stored) as (work, watch):
        happens(watch)
        with pytest.raises(ServiceError, match=words):
            work.result(60)
        assert not multiprocessing.active_children()


def test_rows_computed_again_do_not_keep_their_stocks_from_the_next_run(stored: Database) -> None:
    connection = database.connect(stored)
    rows(connection, "UPDATE financial_ratios SET piotroski_tested = -9 RETURNING 1")
    assert sum(done.rows for done in recompute(settings_of(stored), "anew", 1)) > 0
    assert rows(connection, "SELECT DISTINCT run_id FROM financial_ratios") == [("anew",)]
    # `--max-age 24h` skips the stocks that are in here.
    assert newest_computations(connection) == {}
    connection.close()
