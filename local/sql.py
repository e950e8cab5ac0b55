"""An interactive query over a run's database: `make sql`, or `python -m local.sql [--demo | --live] [psql's arguments]`.

It uses the database of the settings or of the running services. If there is none, it starts the embedded PostgreSQL on the
last run's data until the query ends.
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import config
from local.postgres import Postgres
from local.postgres_place import has_data, psql_path
from local.state import State, data_dir
from pipeline.errors import ServiceError
from pipeline.process.arguments import Parser
from pipeline.process.script import run_script


def main(arguments: list[str]) -> int:
    parser = Parser((__doc__ or "").split("\n")[0], prog="python -m local.sql")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--demo", action="store_true", help="the demo's database")
    which.add_argument("--live", action="store_true", help="the database of the settings, or the embedded one of the live runs")
    options, rest = parser.parse_known_args(arguments)
    with _database(options.demo, options.live) as database:
        return _query(database, rest)


@contextlib.contextmanager
def _database(demo: bool, live: bool) -> Iterator[config.Database]:
    """The chosen database. If it is embedded and not running, it is started while it is used."""
    chosen = [demo] if demo or live else [False, True]
    for is_demo in chosen:
        database = config.load(demo=is_demo).database
        if database.name:
            yield database
            return
    stopped = [is_demo for is_demo in chosen if has_data(data_dir(config.state_dir(is_demo)))]
    if not stopped:
        raise ServiceError("there is no database yet: run make demo, or python run_pipeline.py, first")
    # If neither is running, take the one that was used last.
    is_demo = max(stopped, key=lambda is_demo: _last_used(config.state_dir(is_demo)))
    folder = config.state_dir(is_demo)
    if len(stopped) > 1:
        which, other = ("the demo's", "--live opens the live runs'") if is_demo else ("the live runs'", "--demo opens the demo's")
        print(f"{which} database, which was used last; make sql ARGS={other}", file=sys.stderr)
    state = State.acquire(folder)
    try:
        server = Postgres.start(state.data_dir, folder / "sql.log")
        try:
            values = server.settings
            yield config.Database(
                values["DB_DEV_NAME"], values["DB_USER"], values["DB_PASSWORD"], values["DB_HOST"], int(values["DB_PORT"]), "disable"
            )
        finally:
            server.stop()
    finally:
        state.release()


def _last_used(folder: Path) -> float:
    """Epoch time at which an orchestrator last took the folder; 0 if only its data is left (root keeps that elsewhere)."""
    lock = folder / "lock"
    return lock.stat().st_mtime if lock.exists() else 0.0


def _query(database: config.Database, arguments: list[str]) -> int:
    psql = psql_path()
    if psql is None:
        raise ServiceError("psql is not installed: pip install -r requirements-local.txt, or PostgreSQL's client")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    environment |= {"PGHOST": database.host, "PGPORT": str(database.port), "PGDATABASE": database.name, "PGUSER": database.user}
    environment |= {"PGPASSWORD": database.password, "PGSSLMODE": database.sslmode, "PGAPPNAME": "make sql"}
    # Ctrl+C is for psql: it cancels a query.
    previous = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run([str(psql), *arguments], env=environment, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    run_script(lambda: main(sys.argv[1:]))
