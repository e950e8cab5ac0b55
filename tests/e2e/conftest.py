"""The scripts as users run them: processes of their own, state and logs in a folder of the test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import config
from local.market.companies import Market, build_market
from local.postgres_place import remove_data
from local.state import data_dir
from pipeline.broker import clients, positions
from pipeline.broker.patient import partitions_of
from pipeline.storage import database
from tests.conftest import PROJECT, until

STOCKS = 60
SEED = 1
LOW, HIGH = 300_000_000, 2_000_000_000


class Terminal:
    """Terminals in which scripts run, all with the same PIPELINE_HOME."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.open: list[subprocess.Popen[str]] = []

    def environment(self, **more: str) -> dict[str, str]:
        # Browsers keep their profiles in TMPDIR: so that they are found by their command lines.
        return {**os.environ, "PIPELINE_HOME": str(self.home), "TMPDIR": str(self.home), **more}

    def start(self, *command: str, inside: Sequence[str] = (), **environ: str) -> subprocess.Popen[str]:
        """Start `python COMMAND` in the background, as an argument of the command `inside` where there is one.

        Its output goes to `.out` and `.err` files.
        """
        number = len(self.open)
        with open(self.home / f"{number}.out", "w") as out, open(self.home / f"{number}.err", "w") as err:
            process = subprocess.Popen(
                [*inside, sys.executable, *command],
                cwd=PROJECT,
                env=self.environment(**environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
                start_new_session=True,
            )
        self.open.append(process)
        return process

    def output(self, process: subprocess.Popen[str]) -> str:
        return (self.home / f"{self.open.index(process)}.out").read_text()

    def errors(self, process: subprocess.Popen[str]) -> str:
        return (self.home / f"{self.open.index(process)}.err").read_text()

    def run(self, *command: str, seconds: float = 180.0, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=PROJECT,
            env=self.environment(**environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def demo_is_up(self) -> bool:
        return bool(self.demo_settings())

    def demo_settings(self) -> dict[str, str]:
        return config.embedded_services(config.state_dir(True, self.environment()))

    def database(self) -> Any:
        """A connection to the demo's database."""
        return database.connect(config.load(True, self.environment()).database)

    def processes(self) -> dict[int, str]:
        """Living processes that were started under this home, with their command lines."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environ = (folder / "environ").read_bytes().split(b"\0")
                if f"PIPELINE_HOME={self.home}".encode() in environ or f"{self.home}/" in command:
                    state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                    if state != "Z":
                        found[int(folder.name)] = command
        return found

    @classmethod
    def opened(cls) -> Terminal:
        """With a home of its own, whose path is short: a socket's path has little room."""
        return cls(Path(tempfile.mkdtemp(prefix="stocks-")))

    def close(self) -> None:
        """End everything, see that nothing is left, and remove the home."""
        self.end_processes()
        until(lambda: not self.processes(), 20, f"the end of all processes ({self.processes()})")
        remove_data(data_dir(config.state_dir(True, self.environment())))
        remove_data(data_dir(config.state_dir(False, self.environment())))
        shutil.rmtree(self.home)

    def end_processes(self) -> None:
        for process in self.open:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        for process in self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal.opened()
    yield found
    found.close()


@pytest.fixture
def services(terminal: Terminal) -> Terminal:
    """A terminal in whose home a demo's services are up."""
    holder = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", str(STOCKS), "--seed", str(SEED))
    until(lambda: terminal.demo_is_up() or holder.poll() is not None, 150, "the demo's services")
    assert holder.poll() is None, terminal.errors(holder)
    return terminal


@pytest.fixture(scope="session")
def market() -> Market:
    """The companies that the demo of these tests serves."""
    return build_market(STOCKS, SEED)


def shows_work(said: str) -> bool:
    """Whether the monitor's lines say that stocks are being processed."""
    return any(" processing " in line and " processing 0/0" not in line for line in said.splitlines())


def rows(connection: Any, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def values_of(settings: config.Kafka, topic: str) -> list[bytes]:
    """What stands in a topic now."""
    reader = clients.reader(settings)
    reader.assign(partitions_of(reader, [topic]))
    marks = positions.high_watermarks(settings, [topic])
    values: list[bytes] = []

    def all_read() -> bool:
        values.extend(record.value for batch in reader.poll(200).values() for record in batch)
        return all(reader.position(partition) >= mark for partition, mark in marks.items())

    until(all_read, 20, f"the end of {topic}")
    reader.close()
    return values


def last_json(text: str) -> dict[str, Any]:
    return json.loads(text.strip().splitlines()[-1])


__all__ = ["HIGH", "LOW", "SEED", "STOCKS", "Terminal", "last_json", "psycopg2", "rows", "shows_work", "values_of"]
