"""A database that takes no rows for a while, in the ways that operators meet: the writer waits, names the cause, and blames no task."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from pipeline.errors import PermanentError
from pipeline.storage import database
from pipeline.storage.judgement import reason
from pipeline.storage.rows import ListedStock, Write
from pipeline.storage.statements_store import Fetched
from pipeline.storage.writer import Writer
from tests.conftest import until
from tests.storage.proxy import Proxy
from tests.storage.test_writer import task

ROLE = "pipeline_of_this_test"


@pytest.fixture
def role(query, tables):
    """Settings of a user who may do with the tables what the program needs, and no more."""
    query(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'x'")
    query(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}")
    yield replace(tables, user=ROLE, password="x")
    query(f"DROP OWNED BY {ROLE}; DROP ROLE {ROLE}")


class Writing:
    """A writer, and what became of what it was given."""

    def __init__(self, settings):
        self.writer = Writer(settings)
        self.answers = queue.SimpleQueue()

    def submit(self, rows):
        self.writer.submit(rows, self.answers.put)

    def answer(self, seconds=20):
        return self.answers.get(timeout=seconds)

    def waits(self):
        until(self.writer.away.is_set, 20, "the writer's waiting")
        assert self.answers.empty()

    def goes_on(self):
        assert self.answer() is None
        assert not self.writer.away.is_set()


@pytest.fixture
def writing(role, caplog):
    caplog.set_level(logging.INFO, logger="pipeline")
    running = Writing(role)
    yield running
    running.writer.close()


def stocks(query):
    return [symbol for (symbol,) in query("SELECT symbol FROM stock ORDER BY 1")]


def test_a_server_that_becomes_read_only_is_waited_for(writing, query, caplog):
    query("ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        query("SELECT pg_reload_conf()")
        until(lambda: query("SHOW default_transaction_read_only") == [("on",)], 10, "the setting")
        writing.submit(task("A"))
        writing.waits()
    finally:
        query("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
        query("ALTER SYSTEM RESET default_transaction_read_only")
        query("SELECT pg_reload_conf()")
    writing.goes_on()
    assert stocks(query) == ["A"]
    assert caplog.text.count("read-only transaction (SQLSTATE 25006)") == 1
    assert "the database is back" in caplog.text


def test_a_right_revoked_during_a_run_is_waited_for_and_named(writing, query, caplog):
    writing.submit(task("A"))
    writing.goes_on()
    query(f"REVOKE INSERT ON stock FROM {ROLE}")
    writing.submit(task("B"))
    writing.submit(task("C"))
    writing.waits()
    assert "permission denied for table stock (SQLSTATE 42501)" in caplog.text
    query(f"GRANT INSERT ON stock TO {ROLE}")
    writing.goes_on()
    writing.goes_on()
    assert stocks(query) == ["A", "B", "C"]


def test_a_missing_table_is_waited_for(writing, query, caplog):
    query("ALTER TABLE financial_ratios RENAME TO moved_away")
    try:
        writing.submit(task("A"))
        writing.waits()
        until(lambda: "financial_ratios" in caplog.text or "may not" in caplog.text, 10, "its name")
    finally:
        query("DROP TABLE IF EXISTS financial_ratios")
        query("ALTER TABLE moved_away RENAME TO financial_ratios")
    writing.goes_on()


def test_the_pause_ends_even_if_no_task_succeeds(writing, query):
    """The work in hand fails for what it holds: the database has answered, so it is not away."""
    query(f"REVOKE INSERT ON stock FROM {ROLE}")
    writing.submit(Write(listings=[ListedStock("A", "A Company", "xx")]))
    writing.waits()
    query(f"GRANT INSERT ON stock TO {ROLE}")
    assert isinstance(writing.answer(), PermanentError)
    assert not writing.writer.away.is_set()


def test_the_pause_ends_even_with_nothing_to_write(writing, query):
    writing.writer.away.set()
    query(f"REVOKE UPDATE ON pipeline_run FROM {ROLE}")
    writing.submit(task("A"))
    writing.waits()
    query(f"GRANT UPDATE ON pipeline_run TO {ROLE}")
    writing.goes_on()
    writing.writer.away.set()
    writing.submit(Write())  # wakes the thread without any rows
    until(lambda: not writing.writer.away.is_set(), 20, "the end of the brake")


def test_the_present_cause_is_reported_and_not_only_the_first(writing, query, caplog):
    query(f"ALTER ROLE {ROLE} NOLOGIN")
    query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
    writing.submit(task("A"))
    until(lambda: "is not permitted to log in" in caplog.text, 20, "the first cause")
    query(f"ALTER ROLE {ROLE} LOGIN CONNECTION LIMIT 0")
    until(lambda: "too many connections for role" in caplog.text, 20, "the second cause")
    query(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1 PASSWORD 'y'")
    until(lambda: "password authentication failed" in caplog.text, 20, "the third cause")
    query(f"ALTER ROLE {ROLE} PASSWORD 'x'")
    writing.goes_on()
    waiting = [record.getMessage() for record in caplog.records if "waiting for it" in record.getMessage()]
    assert len(waiting) <= 4, waiting


def test_a_statement_time_limit_is_named_as_such(role, tables, query, caplog):
    query(f"ALTER ROLE {ROLE} SET statement_timeout = '300ms'")
    running = Writing(role)
    holding = psycopg2.connect(dbname=tables.name, user=tables.user, password=tables.password, host=tables.host, port=tables.port)
    try:
        with holding.cursor() as cursor:
            cursor.execute("LOCK TABLE stock IN ACCESS EXCLUSIVE MODE")
        running.submit(task("A"))
        running.submit(task("B"))
        until(lambda: "a limit on its time (statement_timeout)" in caplog.text, 20, "the limit's name")
        assert "is away" not in caplog.text
        holding.rollback()
        running.goes_on()
        assert running.answer() is None
    finally:
        holding.close()
        running.writer.close()


@pytest.mark.parametrize("locked", ["LOCK TABLE stock", "ALTER TABLE stock ADD COLUMN later text", "DELETE FROM stock WHERE symbol = 'A'"])
def test_a_lock_of_another_session_is_named_with_its_holder_and_waited_for(writing, tables, caplog, monkeypatch, locked):
    writing.submit(task("A"))
    writing.goes_on()
    monkeypatch.setattr(database, "LOCK_TOLD_SECONDS", 0.2)
    monkeypatch.setattr(database, "SILENT_SECONDS", 1.2)
    where = {"dbname": tables.name, "user": tables.user, "password": tables.password, "host": tables.host, "port": tables.port}
    holding = psycopg2.connect(**where, application_name="migration")
    try:
        process = holding.info.backend_pid
        with holding.cursor() as cursor:
            cursor.execute(locked)
        began = time.monotonic()
        writing.submit(task("A"))
        until(lambda: "another session holds a lock on " in caplog.text, 20, "the reason")
        # A lock is no silence, however long it is held.
        until(lambda: time.monotonic() - began > 1.8, 20)
        assert writing.answers.empty()
        holding.rollback()
        writing.goes_on()
        until(lambda: "the wait for that lock has ended" in caplog.text, 20, "its end")
    finally:
        holding.close()
    waits, ends = (record.getMessage() for record in caplog.records)
    assert ("on rows" if "DELETE" in locked else "on table stock") in waits
    assert f"PostgreSQL's process {process} (" in waits
    assert f"(user {tables.user}, migration)" in waits
    assert "the wait for that lock has ended" in ends


def test_the_first_moment_after_a_long_wait_for_a_lock_is_no_silence(monkeypatch, caplog):
    began, ended, given_up = time.monotonic(), threading.Event(), []

    def blocker(connection):
        if time.monotonic() - began < 1.2:
            return "a lock"
        threading.Timer(0.2, ended.set).start()  # the statement goes on, and ends
        return None

    monkeypatch.setattr(database, "LOCK_TOLD_SECONDS", 0.05)
    monkeypatch.setattr(database, "blocker_of", blocker)
    database._watch(None, ended, 1.0, lambda: given_up.append(True))
    assert not given_up
    assert "the wait for that lock has ended" in caplog.text


def test_a_start_during_a_migration_says_what_it_waits_for(tables, query, caplog, monkeypatch):
    """Tables of an older version have to be altered, and a transaction that reads them is enough to hold that up."""
    monkeypatch.setattr(database, "LOCK_TOLD_SECONDS", 0.2)
    query("DROP INDEX stock_country")
    where = {"dbname": tables.name, "user": tables.user, "password": tables.password, "host": tables.host, "port": tables.port}
    holding = psycopg2.connect(**where, application_name="report")
    try:
        with holding.cursor() as cursor:
            cursor.execute("UPDATE stock SET name = ''")
        with ThreadPoolExecutor() as pool:
            starting = pool.submit(Writer, tables)
            try:
                until(lambda: "report, idle in transaction" in caplog.text, 20, "the reason")
                assert not starting.done()
            finally:
                holding.rollback()
            starting.result(20).close()
    finally:
        holding.close()


def test_a_connection_cut_while_idle_is_not_an_outage(role, caplog):
    caplog.set_level(logging.INFO, logger="pipeline")
    between = Proxy(role.host, role.port)
    running = Writing(replace(role, host="127.0.0.1", port=between.port))
    try:
        for symbol in ("A", "B"):
            running.submit(task(symbol))
            running.goes_on()
            between.cut()
        until(lambda: not running.writer.away.is_set(), 20)
        assert between.accepted == 2
        assert caplog.text == ""
    finally:
        running.writer.close()
        between.close()


def test_a_silent_database_is_given_up_and_connected_again(role, caplog, monkeypatch):
    """Whatever stands between has taken the statement, and nobody will ever answer."""
    monkeypatch.setattr(database, "SILENT_SECONDS", 0.5)
    between = Proxy(role.host, role.port)
    running = Writing(replace(role, host="127.0.0.1", port=between.port))
    try:
        between.swallows.set()
        running.submit(task("A"))
        running.waits()
        between.swallows.clear()
        between.cut()
        running.goes_on()
        assert "PostgreSQL" in caplog.text
    finally:
        running.writer.close()
        between.close()


@pytest.mark.parametrize(
    ("refuse", "allow", "said"),
    [
        ("ALTER TABLE stock ADD CONSTRAINT none CHECK (false) NOT VALID", "ALTER TABLE stock DROP CONSTRAINT none", "23514"),
        ("ALTER TABLE stock ADD COLUMN reviewed boolean NOT NULL", "ALTER TABLE stock DROP COLUMN reviewed", "23502"),
        (
            "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed for today'; END $$;"
            " CREATE TRIGGER closed BEFORE INSERT ON financial_ratios EXECUTE FUNCTION closed()",
            "DROP FUNCTION IF EXISTS closed CASCADE",
            "P0001",
        ),
    ],
    ids=["a constraint", "a column that must not be empty", "a trigger"],
)
def test_a_refusal_of_every_row_is_waited_for_even_with_a_row_error_code(writing, query, caplog, refuse, allow, said):
    query(refuse)
    try:
        writing.submit(task("A"))
        writing.submit(task("B"))
        writing.waits()
        until(lambda: f"(SQLSTATE {said})" in caplog.text, 20, "the reason")
    finally:
        query(allow)
    writing.goes_on()
    writing.goes_on()
    assert stocks(query) == ["A", "B"]


DROP_ROWS = """
CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER drop_row BEFORE INSERT ON {} FOR EACH ROW {} EXECUTE FUNCTION drop_row()
"""
NO_DROPPING = "DROP FUNCTION IF EXISTS drop_row CASCADE"


def with_statements(symbol):
    return replace(task(symbol), statements=[Fetched(symbol, "2026-06-30T22:00:00Z", "hash", "{}", {})])


@pytest.mark.parametrize("table", ["stock", "financial_ratios", "company_statements"])
def test_rows_that_vanish_without_an_error_are_waited_for(writing, query, caplog, table):
    query(DROP_ROWS.format(table, ""))
    try:
        writing.submit(with_statements("A"))
        writing.submit(with_statements("B"))
        writing.waits()
        until(lambda: f"table {table} has kept 0 of 1 rows" in caplog.text, 20, "the reason")
    finally:
        query(NO_DROPPING)
    writing.goes_on()
    writing.goes_on()
    assert query(f"SELECT symbol FROM {table} ORDER BY 1") == [("A",), ("B",)]


def test_changed_rows_of_a_night_that_vanish_without_an_error_are_waited_for(writing, query, caplog):
    """On a night only rows that differ from the stored ones are written, so that fewer than sent are no sign."""
    night = replace(task("A"), only_changes=True)
    for _ in range(2):
        writing.submit(night)
        writing.goes_on()
    query("UPDATE financial_ratios SET price_to_book = 99")
    query(DROP_ROWS.format("financial_ratios", "").replace("INSERT", "UPDATE"))
    try:
        writing.submit(night)
        writing.waits()
        until(lambda: "table financial_ratios has kept 0 of 1 rows" in caplog.text, 20, "the reason")
    finally:
        query(NO_DROPPING)
    writing.goes_on()
    assert query("SELECT count(*) FROM financial_ratios WHERE price_to_book = 99") == [(0,)]


def test_a_trigger_that_changes_rows_drops_none(writing, query):
    query("CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.price_to_book = 99; RETURN NEW; END $$;")
    query("CREATE TRIGGER drop_row BEFORE INSERT OR UPDATE ON financial_ratios FOR EACH ROW EXECUTE FUNCTION drop_row()")
    try:
        for _ in range(2):
            writing.submit(replace(task("A"), only_changes=True))
            writing.goes_on()
    finally:
        query(NO_DROPPING)


def test_a_row_that_alone_vanishes_without_an_error_fails_its_own_task(writing, query):
    query(DROP_ROWS.format("financial_ratios", "WHEN (NEW.symbol = 'B')"))
    try:
        for symbol in ("A", "B", "C"):
            writing.submit(with_statements(symbol))
        answers = [writing.answer() for _ in range(3)]
    finally:
        query(NO_DROPPING)
    assert [type(answer) for answer in answers if answer] == [PermanentError]
    assert stocks(query) == ["A", "C"]


def test_a_fiscal_year_that_vanishes_is_noticed_beside_trailing_figures_that_do_not(writing, query):
    query(DROP_ROWS.format("financial_ratios", "WHEN (NEW.symbol = 'B' AND NEW.period_type = 'annual')"))
    write = task("B")
    ((run_id, year),) = write.ratios
    write.ratios.append((run_id, replace(year, period_type="ttm")))
    try:
        writing.submit(write)
        assert isinstance(writing.answer(), PermanentError)
    finally:
        query(NO_DROPPING)


def test_the_reason_does_not_depend_on_the_row_so_that_it_is_said_once(query):
    said = set()
    for symbol in ("A", "B"):
        with pytest.raises(psycopg2.Error) as refused:
            query(f"INSERT INTO stock (symbol, name) VALUES ('{symbol}', 'One')")
        said.add(reason(refused.value))
    assert said == {
        "the database accepts no rows, waiting until it does: "
        'null value in column "country_code" of relation "stock" violates not-null constraint (SQLSTATE 23502)'
    }


def test_a_constraint_that_the_specimen_does_not_meet_does_not_blame_the_database(writing, query):
    query("ALTER TABLE quote ADD CONSTRAINT own_currency CHECK (currency = 'EUR') NOT VALID")
    query("ALTER TABLE stock ADD CONSTRAINT not_b CHECK (symbol <> 'B') NOT VALID")
    try:
        writing.submit(task("B"))
        assert isinstance(writing.answer(), PermanentError)
        writing.writer.away.set()
        writing.submit(Write())  # wakes the thread without any rows
        until(lambda: not writing.writer.away.is_set(), 20, "the end of the brake")
    finally:
        query("ALTER TABLE stock DROP CONSTRAINT not_b; ALTER TABLE quote DROP CONSTRAINT own_currency")


def test_a_refusal_of_one_row_is_blamed_on_that_row(writing, query):
    query("ALTER TABLE stock ADD CONSTRAINT not_b CHECK (symbol <> 'B') NOT VALID")
    try:
        for symbol in ("A", "B", "C"):
            writing.submit(task(symbol))
        answers = [writing.answer() for _ in range(3)]
    finally:
        query("ALTER TABLE stock DROP CONSTRAINT not_b")
    assert [type(answer) for answer in answers if answer] == [PermanentError]
    assert not writing.writer.away.is_set()
    assert stocks(query) == ["A", "C"]


@pytest.fixture
def small_disk():
    """A folder of 1 MB that belongs to the server, which runs as nobody if root has started it."""
    folder = Path(tempfile.mkdtemp(prefix="small-disk-", dir="/var/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    if not mounted:
        folder.rmdir()
        pytest.skip("a small disk can be mounted by root only")
    folder.chmod(0o711)
    data = folder / "data"
    data.mkdir()
    os.chown(data, 65534, 65534)
    yield folder
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


def test_a_full_disk_is_waited_for_even_with_nothing_to_write(writing, query, small_disk, caplog):
    query(f"CREATE TABLESPACE small LOCATION '{small_disk / 'data'}'")
    try:
        query("ALTER TABLE stock SET TABLESPACE small")
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        writing.submit(task("A"))
        writing.waits()
        assert "No space left on device" in caplog.text
        ballast.unlink()
        writing.goes_on()
        assert stocks(query) == ["A"]
    finally:
        query("ALTER TABLE stock SET TABLESPACE pg_default")
        query("DROP TABLESPACE small")
