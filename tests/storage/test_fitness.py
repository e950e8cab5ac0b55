"""A database that can't hold what the pipeline writes is one line at the start, with what mends it."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config import Database, Kafka
from pipeline.errors import ServiceError
from pipeline.storage import database, fitness, schema
from pipeline.storage.rows import Profile, Write, write
from tests.process.test_script import start
from tests.ui.conftest import environment

ROLE = "fitness_role"
PASSWORD = "fitness"


@contextlib.contextmanager
def superuser(settings: Database) -> Iterator[Any]:
    connection = database.connect(settings)
    connection.autocommit = True
    with connection.cursor() as cursor:
        yield cursor
    connection.close()


@pytest.fixture
def own(postgres: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A new database, UTF-8 unless the test says otherwise, seen by a role that may do nothing special."""
    encoding = getattr(request, "param", "UTF8")
    with superuser(postgres) as cursor:
        cursor.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
        cursor.execute(f"CREATE DATABASE {ROLE} ENCODING '{encoding}' TEMPLATE template0 OWNER {ROLE}")
    yield replace(postgres, name=ROLE, user=ROLE, password=PASSWORD, source="environment")
    with superuser(postgres) as cursor:
        cursor.execute(f"DROP DATABASE {ROLE} WITH (FORCE)")
        cursor.execute(f"DROP ROLE {ROLE}")


def as_owner(postgres: Database, *statements: str) -> None:
    """Statements of a superuser in the new database."""
    with superuser(replace(postgres, name=ROLE)) as cursor:
        for statement in statements:
            cursor.execute(statement)


def refusal(settings: Database) -> str:
    """The one line with which the tables are refused."""
    connection = database.connect(settings)
    try:
        with pytest.raises(ServiceError) as error:
            schema.create_tables(connection)
    finally:
        connection.close()
    text = str(error.value)
    assert "\n" not in text
    assert PASSWORD not in text.replace(ROLE, "")
    return text


STOCK = (
    "symbol text PRIMARY KEY, name text NOT NULL, country_code text NOT NULL, exchange text, sector text, industry text, currency text, "
    "financial_currency text, first_seen timestamptz, last_seen timestamptz"
)
#: What another application may have made there → what the line names.
FOREIGN = {
    "a warehouse": ("CREATE TABLE stock (id serial PRIMARY KEY, quantity integer)", "country_code"),
    "the same columns of other types": (
        f"CREATE TABLE stock ({STOCK.replace('last_seen timestamptz', 'last_seen text')})",
        "stock.last_seen",
    ),
    "the same columns without a key": (f"CREATE TABLE stock ({STOCK.replace(' PRIMARY KEY', '')})", "unique key of stock over symbol"),
    "a key that holds for some rows": (
        f"CREATE TABLE stock ({STOCK.replace(' PRIMARY KEY', '')}); CREATE UNIQUE INDEX ON stock (symbol) WHERE name <> ''",
        "unique key of stock over symbol",
    ),
    "a view": ("CREATE VIEW stock AS SELECT 'A'::text AS symbol", "stock"),
    "another table of ours": ("CREATE TABLE pipeline_run (id integer)", "pipeline_run"),
    "a sequence": ("CREATE SEQUENCE country", "country"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_table_of_another_application_is_named_and_left_alone(postgres: Database, own: Database, kind: str) -> None:
    statement, named = FOREIGN[kind]
    as_owner(postgres, f"SET ROLE {ROLE}", statement)
    text = refusal(own)
    assert "another application's" in text
    assert named in text
    with superuser(own) as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'", (list(schema.TABLES),))
        assert cursor.fetchone()[0] == (0 if kind in ("a view", "a sequence") else 1), "tables of ours were left behind"


@pytest.mark.parametrize("own", ["LATIN1", "SQL_ASCII"], indirect=True)
def test_an_encoding_that_cannot_hold_every_name_is_refused(own: Database) -> None:
    assert "which can't hold every company's name: make another database with CREATE DATABASE … ENCODING 'UTF8'" in refusal(own)


def test_a_missing_right_is_named_with_its_grant_and_the_grant_mends_it(postgres: Database, own: Database) -> None:
    as_owner(postgres, f"ALTER SCHEMA public OWNER TO {postgres.user}", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    text = refusal(own)
    assert f"may not create tables in schema public. Its owner lets it by: GRANT CREATE ON SCHEMA public TO {ROLE};" in text
    as_owner(postgres, text.partition("lets it by: ")[2])
    with contextlib.closing(database.connect(own)) as connection:
        schema.create_tables(connection)


def test_missing_rights_on_existing_tables_are_named_with_their_grant(postgres: Database, own: Database) -> None:
    with contextlib.closing(database.connect(replace(postgres, name=ROLE))) as connection:
        schema.create_tables(connection)
    text = refusal(own)
    assert "GRANT SELECT, INSERT, UPDATE, DELETE ON company_statements, country, financial_ratios, " in text
    as_owner(postgres, text.partition("lets it by: ")[2])
    with contextlib.closing(database.connect(own)) as connection:
        schema.create_tables(connection)


def test_a_search_path_without_a_schema_is_named(postgres: Database, own: Database) -> None:
    as_owner(postgres, f"ALTER ROLE {ROLE} SET search_path TO elsewhere")
    assert "the search path is 'elsewhere', in which no schema exists" in refusal(own)
    as_owner(postgres, f"CREATE SCHEMA elsewhere AUTHORIZATION {ROLE}")
    with contextlib.closing(database.connect(own)) as connection:
        schema.create_tables(connection)


def write_a_country(settings: Database, ended_by: Database | None = None) -> None:
    with database.connected(settings) as connection:
        if ended_by:
            as_owner(ended_by, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
        write(connection, [Write(countries={"fr": "France"})])


def test_a_user_who_only_reads_is_told_which_setting_does_so(postgres: Database, own: Database) -> None:
    named = f"default_transaction_read_only is on, for this user, this database or the whole server (ALTER ROLE {ROLE} RESET"
    as_owner(postgres, f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    assert f"tables are missing: {named}" in refusal(own)
    as_owner(postgres, f"ALTER ROLE {ROLE} RESET default_transaction_read_only")
    with database.connected(own) as connection:
        schema.create_tables(connection)
    as_owner(postgres, f"ALTER DATABASE {ROLE} SET default_transaction_read_only = on")
    with pytest.raises(ServiceError, match=f"cannot execute INSERT in a read-only transaction: {re.escape(named)}"):
        write_a_country(own)


def test_quoted_identifiers_are_no_other_application(postgres: Database, own: Database) -> None:
    as_owner(postgres, f"ALTER ROLE {ROLE} SET quote_all_identifiers = on")
    with database.connected(own) as connection:
        schema.create_tables(connection)


def test_a_connection_that_was_ended_says_what_ended_it(postgres: Database, own: Database) -> None:
    with pytest.raises(ServiceError, match=r"terminating connection|server closed the connection"):
        write_a_country(own, ended_by=postgres)


def test_the_client_uses_utf_8_whatever_it_is_told(postgres: Database, own: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c client_encoding=LATIN9")
    as_owner(postgres, f"ALTER ROLE {ROLE} SET client_encoding TO 'LATIN2'")
    name = "東京 Łódź €"
    with contextlib.closing(database.connect(own)) as connection:
        schema.create_tables(connection)
        write(connection, [Write(countries={"jp": "日本"}, profiles=[Profile("A", name, "jp", "X", "", "", "JPY", "JPY")])])
        with connection.cursor() as cursor:
            cursor.execute("SELECT name FROM stock")
            assert cursor.fetchone() == (name,)


def test_the_created_tables_are_the_expected_ones(postgres: Database, own: Database) -> None:
    """Of new tables, exactly the described columns and keys are there."""
    with contextlib.closing(database.connect(own)) as connection:
        schema.create_tables(connection)
        with connection.cursor() as cursor:
            assert fitness.missing(cursor, schema.TABLES) == []
            cursor.execute("SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'")
            assert set(cursor.fetchall()) == {(name, column) for name, table in schema.TABLES.items() for column in table.columns}


@pytest.mark.parametrize("own", ["LATIN1"], indirect=True)
def test_a_script_reports_an_unfit_database_in_one_line_with_exit_code_3(broker: Kafka, own: Database, tmp_path: Path) -> None:
    for script in ("kafka_processing_consumer.py", "kafka_scraper_consumer.py"):
        process = start(script, tmp_path, **environment(broker, own))
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (3, ""), complained
        assert complained.startswith(f"{script}: PostgreSQL {ROLE}@")
        assert complained.count("\n") == 1, complained


def test_the_check_continues_if_tables_cannot_be_created(postgres: Database, broker: Kafka, own: Database, tmp_path: Path) -> None:
    as_owner(postgres, f"ALTER SCHEMA public OWNER TO {postgres.user}", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    market = subprocess.Popen(
        [sys.executable, "-m", "local.market", "--port", "0", "--stocks", "5"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert market.stdout is not None
        address = market.stdout.readline().split()[2]
        more = environment(broker, own) | {"YAHOO_BASE_URL": address, "SCRAPER_SOURCE": "api"}
        process = start("run_pipeline.py", tmp_path, "--check", **more)
        said, complained = process.communicate(timeout=120)
    finally:
        market.terminate()
        market.wait()
        market.stdout.close()
    assert process.returncode == 3, complained
    # Converting the bands says the same once more.
    assert all("exchange rates are neither read" in line for line in complained.splitlines()), complained
    lines = {line[8:20].strip(): line for line in said.splitlines() if line.startswith("  ")}
    assert "GRANT CREATE ON SCHEMA public" in lines["tables"]
    assert lines["one symbol"].startswith("  ok"), said
