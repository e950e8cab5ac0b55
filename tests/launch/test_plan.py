"""Runs of scripts in separate terminals: who closes them, and how."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

import config
from config import Database, Kafka
from launch import plan
from pipeline.storage import database, locks, rows, run_table
from pipeline.wire.regions import RegionBand
from tests.ui.conftest import Producer, make_topics

DONE, FAILED, PENDING, PLANNED, GONE = (f"20261124T08000{number}Z-000{number}" for number in range(5))


@pytest.fixture
def kafka(own_broker: Kafka) -> Kafka:
    make_topics(own_broker)
    return own_broker


def test_runs_of_separate_scripts_are_closed_only_if_the_topics_show_them_finished(kafka: Kafka, tables: Database) -> None:
    for run_id in (DONE, FAILED, PENDING, PLANNED):
        with Producer(kafka, run_id) as producer:
            scraping = producer.scraping("fr", "France")
            producer.scraped(scraping, 2)
            tasks = producer.processing(["AAA.PA", "BBB.PA"], "fr")
            producer.processed(tasks[:1] if run_id in (FAILED, PENDING) else tasks)
            if run_id == FAILED:
                producer.failed(tasks[1], "no such thing")
    said: list[str] = []

    def say(text: str) -> None:
        """The server may end a connection that is idle, as one that is held while the topics are read would be."""
        said.append(text)
        with connection, connection.cursor() as ending:
            ending.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND pid <> pg_backend_pid()",
                (locks.APPLICATION,),
            )

    settings = replace(config.load(environ={}), kafka=kafka, database=tables)
    with closing(database.connect(tables)) as connection:
        runs = [run_table.Run(run_id, ("fr",)) for run_id in (DONE, FAILED, PENDING, GONE)]
        runs.append(run_table.Run(PLANNED, ("fr",), 1.0, 2.0, (RegionBand("fr", 1, 2),)))
        rows.write(connection, [rows.Write(countries={"fr": "France"}, runs=runs)])
        plan.close_finished_runs(settings, say)
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT run_id, status, finished_at IS NOT NULL, summary->'stocks' FROM pipeline_run ORDER BY run_id")
            assert cursor.fetchall() == [
                (DONE, "completed", True, 2),
                (FAILED, "failed", True, 2),
                *((run_id, "running", False, None) for run_id in (PENDING, PLANNED, GONE)),
            ]
        assert said == [
            f"run {FAILED} of separate scripts is done: 3 tasks, 1 failed",
            f"run {DONE} of separate scripts is done: 3 tasks, 0 failed",
        ]
        assert run_table.abandon_unfinished_runs(connection, "") == [PENDING, PLANNED, GONE]
