"""What the tests of the embedded services share."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

import config

#: Starts both services over the folder that it is given, says where they are, and waits to be killed.
OWNER = """
import json, signal, sys
from pathlib import Path
# Whoever started the tests may have had them ignored, as nohup does.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
from local.tansu import Broker
from local.postgres import Postgres
folder = Path(sys.argv[1])
broker = Broker.start(folder / "broker.log", 19092)
postgres = Postgres.start(folder / "postgres", folder / "postgres.log", 15432)
print(json.dumps({
    "servers": broker.bootstrap_servers,
    "settings": postgres.settings,
    "data_dir": str(postgres.data_dir),
    "processes": [broker.process_id, postgres.process_id],
    "guardians": [broker._guardian._process.pid, postgres._guardian._process.pid],
}), flush=True)
sys.stdin.read()
postgres.stop()
broker.stop()
"""


def is_running(process_id: int) -> bool:
    """Whether the process lives; a zombie that nobody reaps does not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


@contextlib.contextmanager
def python(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process of the project with pipes, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=config.PROJECT,
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> Any:
    """The JSON value of the process's next line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended without a word"
    return json.loads(line)


def kill(process_id: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGKILL)


def sql(settings: dict[str, str], statement: str, **options: Any) -> list[tuple[Any, ...]]:
    """Run one statement, commit, and return its rows, if it has any."""
    connection = psycopg2.connect(
        **{
            "dbname": settings["DB_DEV_NAME"],
            "user": settings["DB_USER"],
            "password": settings["DB_PASSWORD"],
            "host": settings["DB_HOST"],
            "port": settings["DB_PORT"],
            **options,
        }
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()
