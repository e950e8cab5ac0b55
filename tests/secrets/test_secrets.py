"""Passwords are in no output, no log, no command line and no error text; files that hold one are their owner's alone."""

from __future__ import annotations

import contextlib
import re
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import config
from config import Database, Kafka
from local.state import data_dir
from pipeline.storage import database
from tests.conftest import until
from tests.e2e.conftest import Terminal, last_json
from tests.screener.conftest import local_market

#: Part of every password here, and of nothing else. The other characters are those that quoting could go wrong with.
TELLING = "Telltale7f3a"
DB_PASSWORD = f"db'\"{TELLING} $HOME\\pg"
KAFKA_PASSWORD = f"kafka {TELLING}%s"
LOGIN = "telling_login"


@pytest.fixture(scope="module")
def own_database(postgres: Database) -> Iterator[Database]:
    """A database of the user's own, with a telling password."""
    connection = database.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {LOGIN} LOGIN PASSWORD %s", (DB_PASSWORD,))
        cursor.execute(f"CREATE DATABASE {LOGIN} OWNER {LOGIN}")
    yield Database(LOGIN, LOGIN, DB_PASSWORD, postgres.host, postgres.port, source="environment")
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {LOGIN} WITH (FORCE)")
        cursor.execute(f"DROP ROLE {LOGIN}")
    connection.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal.opened()
    yield found
    found.close()


@pytest.fixture
def settings(broker: Kafka, own_database: Database) -> dict[str, str]:
    """Kafka and database of the user's own, as they stand in the environment."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "KAFKA_SASL_USERNAME": LOGIN,
        "KAFKA_SASL_PASSWORD": KAFKA_PASSWORD,
        "KAFKA_TASK_PARTITIONS": "2",
        "DB_DEV_NAME": own_database.name,
        "DB_USER": own_database.user,
        "DB_PASSWORD": own_database.password,
        "DB_HOST": own_database.host,
        "DB_PORT": str(own_database.port),
    }


def telling_command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if TELLING in command:
                found.append(command)
    return found


def telling_files(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if TELLING.encode() in path.read_bytes()]


def test_a_whole_run_prints_no_password(terminal: Terminal, settings: dict[str, str]) -> None:
    with local_market("alternate", stocks=60) as market:
        command = ("run_pipeline.py", "--exit-when-done", "--json", "--regions", "fr", "--scrapers", "1", "--processors", "1")
        run = terminal.start(*command, **settings, YAHOO_BASE_URL=market.url)
        seen: set[int] = set()
        page = ""

        def ended() -> bool:
            nonlocal page
            seen.update(terminal.processes())
            assert not telling_command_lines()
            address = re.search(r"page: (http://\S+)", terminal.errors(run))
            if address and not page:
                with contextlib.suppress(OSError), urllib.request.urlopen(address[1], timeout=60) as answer:
                    page = answer.read().decode()
            return run.poll() is not None

        until(ended, 180, "the end of the run")
    assert run.returncode == 0, terminal.errors(run)
    assert last_json(terminal.output(run))["ratio_rows"] > 0, "the password has been of use"
    assert len(seen) > 5, "all children were looked at"
    assert "<html" in page
    assert TELLING not in page
    # Output, errors, and the log of every child.
    assert {"scraper-1.log", "processor-1.log", "monitor.log", "producer.log", "page.log"} <= {
        path.name for path in (terminal.home / "logs").rglob("*.log")
    }
    assert telling_files(terminal.home) == []


def refused(terminal: Terminal, script: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a script says to settings that do not work."""
    found = terminal.run(script, seconds=120, **environ)
    assert found.returncode == config.EXIT_SERVICE, found.stderr
    assert TELLING not in found.stdout + found.stderr
    return found


@pytest.mark.parametrize("script", ["kafka_processing_consumer.py", "run_pipeline.py"])
def test_a_wrong_database_password_is_refused_without_being_printed(script: str, terminal: Terminal, settings: dict[str, str]) -> None:
    with local_market("1", stocks=20) as market:
        wrong = {**settings, "DB_PASSWORD": f"wrong {TELLING}", "YAHOO_BASE_URL": market.url}
        assert "password authentication failed" in refused(terminal, script, wrong).stderr


@pytest.mark.parametrize("script", ["kafka_scraper_producer.py", "kafka_scraper_consumer.py", "run_pipeline.py"])
def test_a_broker_without_a_login_is_named_without_the_password(script: str, terminal: Terminal, settings: dict[str, str]) -> None:
    with local_market("1", stocks=20) as market:
        environ = {**settings, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "YAHOO_BASE_URL": market.url}
        assert settings["KAFKA_BOOTSTRAP_SERVERS"] in refused(terminal, script, environ).stderr


def test_settings_and_their_parts_never_show_a_password_as_text(settings: dict[str, str], tmp_path: Path) -> None:
    found = config.load(environ={**settings, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, env_file=tmp_path / ".env")
    assert found.database.password == DB_PASSWORD
    assert found.kafka.sasl_password == KAFKA_PASSWORD
    assert TELLING not in f"{found!r} {found} {found.kafka} {found.database}"


def test_only_the_owner_can_read_files_with_the_embedded_databases_password(terminal: Terminal) -> None:
    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", "20")
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the demo's services")
    password = terminal.demo_settings()["DB_PASSWORD"]
    state = config.state_dir(True, terminal.environment())
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "services.env").stat().st_mode) == 0o600
    holding = [path for path in terminal.home.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]
    assert state / "services.env" in holding
    for path in holding:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert data_dir(state) in path.parents or path.parent == state, path
    assert not [command for command in terminal.processes().values() if password in command]
