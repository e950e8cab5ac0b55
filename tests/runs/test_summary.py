"""The summary of a run: aligned, narrow, and with queries that can be pasted."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys

import config
from config import Database, Kafka
from pipeline.runs import summary
from pipeline.runs.account import Account
from tests.runs.test_drawing import HOSTILE, RUN, account_of


def said(account, database=Database(source="embedded"), log_dir="/var/log/stocks", page="", stays=True, kafka=Kafka()):  # noqa: B008 (frozen)
    settings = dataclasses.replace(config.load(demo=True, environ={}), kafka=kafka, database=database)
    return summary.text(account, account.summary(83.4), settings, log_dir, page, stays)


def part(text, first):
    """The lines of one table, from the one that begins with `first` to the next blank one."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(first))
    return lines[start : lines.index("", start)]


def test_the_table_of_regions_says_what_became_of_their_stocks():
    text = said(account_of())
    # Of 20 stocks each: 10 completed, 2 failed, 1 without data; the 7 others are not done.
    assert part(text, "region") == [
        "region              stocks  completed  no data   failed  pending",
        "us United States        20         10        1        2        7",
        "fr France               20         10        1        2        7",
        "gb United Kingdom       20         10        1        2        7",
        "de Germany              20         10        1        2        7",
        "jp Japan                20         10        1        2        7",
    ]


def test_both_stages_add_up():
    account = account_of()
    assert [line.split() for line in part(said(account), "scraping")] == [
        ["scraping", "5", "4", "0", "-", "0", "1"],
        ["processing", "100", "50", "-", "5", "10", "35"],
    ]
    for state in ("fresh", "abandoned"):
        account.completion("processing", {"task_id": f"process:{RUN}:{state}", "country_code": "us", "status": state})
    assert part(said(account), "processing")[0].split() == ["processing", "102", "50", "-", "5", "10", "1", "1", "35"]
    assert part(said(account), "region")[0].split() == [
        "region",
        "stocks",
        "completed",
        "no",
        "data",
        "failed",
        "fresh",
        "abandoned",
        "pending",
    ]


def test_reasons_have_a_count_and_an_example_with_the_most_frequent_first():
    assert part(said(account_of()), "why") == [
        "why                       tasks  such as",
        f"failed: PermanentError       10  process:{RUN}:us10",
        f"no data: gone                 5  process:{RUN}:us12",
    ]


def test_a_run_without_failures_has_no_table_of_reasons():
    account = Account(RUN)
    account.completion("scraping", {"task_id": "s", "region_code": "fr", "region_name": "France", "status": "completed"})
    assert "why" not in said(account)


def test_it_names_the_next_commands():
    text = said(account_of(), page="http://localhost:8080")
    assert "run 20261124T090029Z-08af: us, fr, gb, de, jp, 1 min 23 s" in text
    assert "logs:   /var/log/stocks" in text
    assert "page:   http://localhost:8080 (while the services are up)" in text
    assert "query:  make sql" in text
    export = next(line for line in text.splitlines() if line.startswith("export: "))
    assert shlex.split(export)[2:] == ["export_ratios.py", "--demo", "--where", "price_to_earnings < 15"]
    assert f"to start them again:\n        {summary.python_command()} run_pipeline.py --demo --services" in text
    own = said(account_of(), database=Database("stocks", "me", "secret", "db.example", 5433, source="environment"))
    assert "query:  psql 'host=db.example port=5433 dbname=stocks user=me'" in own
    assert "secret" not in own
    assert "--services" not in own, "the user's own database is up without them"


def test_it_names_only_services_that_outlive_the_run():
    failed = account_of()
    assert "kafka_dead_letters.py --demo list" in said(failed)
    assert "kafka_dead_letters.py --demo list" in said(failed, stays=False)
    ended = said(failed, page="http://localhost:8080", stays=False, kafka=Kafka(source="embedded"))
    assert "failed: the letters end with the embedded broker; the next run tries these tasks again" in ended
    assert "page:" not in ended
    assert "failed:" not in said(Account(RUN))


def test_it_counts_fetched_and_stored_statements_separately():
    account = Account(RUN)
    for name, source in (("new", "fetched"), ("old", "stored"), ("older", "stored")):
        task = {"task_id": f"process:{RUN}:{name}", "country_code": "us", "status": "completed", "ratios_calculated": 5, "source": source}
        account.completion("processing", task)
    account.requests = 3
    assert "statements: fetched for 1 stocks, stored already for 2; 3 requests" in said(account)


def test_only_the_sql_is_wider_than_a_hundred_columns():
    many = {f"{chr(97 + number // 26)}{chr(97 + number % 26)}": HOSTILE["long"] for number in range(100)}
    account = account_of(stocks=2, regions=many)
    for number in range(30):
        named = {"task_id": "t" * 500 + str(number), "country_code": "aa", "status": "failed", "error_type": f"{number} " + HOSTILE["long"]}
        account.error("processing", {**named, "error": "x", "attempt": 1})
    wide = [line for line in said(account).splitlines() if len(line) >= 100]
    assert [line[:9] for line in wide] == ["  SELECT "]
    assert "other reasons: " in said(account)
    assert "40 more" in said(account)


def test_foreign_text_cannot_control_the_terminal():
    account = account_of(stocks=1)
    for text in HOSTILE.values():
        named = {"task_id": text, "country_code": text, "region_name": text, "status": "failed", "error_type": text, "error": text}
        account.error("processing", {**named, "attempt": 1})
    assert all(character.isprintable() for line in said(account).split("\n") for character in line)


def test_the_commands_that_it_names_work_as_printed(monkeypatch):
    """Even if the environment is not activated, as after `make demo`."""
    for path in (f"{os.path.dirname(sys.executable)}{os.pathsep}/usr/bin:/bin", "/usr/bin:/bin"):
        monkeypatch.setenv("PATH", path)
        line = next(line for line in said(account_of()).splitlines() if line.startswith("export: "))
        command = shlex.split(line.removeprefix("export: ").partition(" --")[0])
        done = subprocess.run([*command, "--help"], cwd=config.PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
