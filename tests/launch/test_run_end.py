"""What is said at the end of a run that could not be finished, or whose summary can't be stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import config
from config import Database
from launch.children import Children
from launch.plan import close_run
from launch.run_log import RunLog
from pipeline.errors import ServiceError
from pipeline.process.child import Child
from pipeline.storage import database


@pytest.fixture
def read_only(tables: Database) -> Iterator[Database]:
    """The tables, in a database that has become read-only."""
    with database.connected(tables) as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {tables.name} SET default_transaction_read_only = on")
    yield tables
    with database.connected(tables) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ WRITE")
        cursor.execute(f"ALTER DATABASE {tables.name} RESET default_transaction_read_only")


def test_a_summary_that_the_database_refuses_is_one_line_and_not_a_crash(read_only: Database, tmp_path: Path) -> None:
    settings = replace(config.load(environ={}, env_file=tmp_path / "none"), database=read_only)
    line = (
        r"^PostgreSQL \S+ can't be used for a run: cannot execute UPDATE in a read-only transaction: default_transaction_read_only is on.*"
    )
    with pytest.raises(ServiceError, match=line):
        close_run(settings, "20261124T071326Z-1f3a", "completed", {})


def test_a_stalled_run_lists_each_warning_of_its_workers_once(tmp_path: Path) -> None:
    settings = config.load(environ={"PIPELINE_HOME": str(tmp_path)}, env_file=tmp_path / "none")
    with open(tmp_path / "said", "w") as out:
        children = Children(settings, RunLog(tmp_path, out))
        for number, last in (("1", "no space left"), ("2", "no space left"), ("3", None)):
            log = tmp_path / f"processor-{number}.log"
            warnings = f"2026-11-24T07:13:26.120Z WARNING earlier\n2026-11-24T07:14:26.120Z WARNING {last}\n" if last else ""
            log.write_text(f"{warnings}2026-11-24T07:15:26.120Z INFO stopping\n")
            children._workers.append(Child(f"processor-{number}", (), log))
        assert children.newest_warnings() == ["processor-1: no space left"]
