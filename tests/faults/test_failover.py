"""A rehearsal with two real servers: the primary is lost in mid-work, the standby promoted, the address moved to it.

With `synchronous_standby_names` set, nothing may be lost: what a worker has committed in Kafka stands on the new primary.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from config import Database, Kafka
from local.postgres import Postgres
from local.postgres_place import Place, place_of, remove_data
from local.tansu import Broker
from pipeline.broker import clients, positions
from pipeline.process.ports import free_port
from pipeline.storage.writer import Writer
from pipeline.wire import messages, topics
from pipeline.wire.results import Computed
from pipeline.worker.delivery import Outcome
from tests.conftest import make_topics, quiet_port, until
from tests.storage.test_writer import task
from tests.worker.test_worker import Running, follow, send_tasks

STOCKS = 1_500


class Address:
    """A port whose connections go to one server or another; those that are open are cut when it moves."""

    def __init__(self) -> None:
        self.port = free_port(20_300)
        self.target = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    def move_to(self, port: int) -> None:
        """0: nobody is there."""
        self.target = port
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in list(self._open)])

    def close(self) -> None:
        self.move_to(0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for one in asyncio.all_tasks(self._loop):
            one.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target or 1)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}

        async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
            try:
                while block := await source.read(65536):
                    to.write(block)
                    await to.drain()
            except OSError:
                pass
            finally:
                to.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))
        self._open -= {writer, back}


class Pair:
    """A primary and its synchronous standby."""

    def __init__(self, folder: Path) -> None:
        self.primary = Postgres.start(folder / "data", folder / "primary.log")
        self.settings = self.primary.settings
        self.place: Place = place_of((folder / "data").resolve())
        self.standby_data = self.place.data_dir.with_name(self.place.data_dir.name + "-standby")
        self.standby_port = quiet_port()
        self.log = folder / "standby.log"
        self.standby: subprocess.Popen[bytes] | None = None

    def make_standby(self) -> None:
        options = self.place.child_options()
        options["env"] = {**options["env"], "PGPASSWORD": self.settings["DB_PASSWORD"]}
        where = f"host=127.0.0.1 port={self.settings['DB_PORT']} user={self.settings['DB_USER']} application_name=standby"
        backup = [str(self.place.bin_dir / "pg_basebackup"), "-d", where, "-D", str(self.standby_data), "-R", "-c", "fast", "-X", "stream"]
        subprocess.run(backup, check=True, capture_output=True, timeout=60, **options)
        command = [str(self.place.bin_dir / "postgres"), "-D", str(self.standby_data), "-p", str(self.standby_port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "logging_collector=off"]
        with open(self.log, "ab") as log:
            self.standby = subprocess.Popen(command, stdout=log, stderr=log, **self.place.child_options())
        self.ask(self.settings["DB_PORT"], "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        self.ask(self.settings["DB_PORT"], "SELECT pg_reload_conf()")
        until(
            lambda: self.ask(self.settings["DB_PORT"], "SELECT sync_state FROM pg_stat_replication") == [("sync",)], 90, "the replication"
        )

    def ask(self, port: int | str, sql: str) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(
            dbname=self.settings["DB_DEV_NAME"],
            user=self.settings["DB_USER"],
            password=self.settings["DB_PASSWORD"],
            host="127.0.0.1",
            port=port,
        )
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def promote(self) -> None:
        self.ask(self.standby_port, "SELECT pg_promote(true, 30)")

    def close(self) -> None:
        if self.standby is not None:
            self.standby.kill()
            self.standby.wait(60)
        self.primary.stop()
        shutil.rmtree(self.standby_data, ignore_errors=True)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    found = Pair(tmp_path)
    yield found
    found.close()
    remove_data(tmp_path / "data")


def stock(delivery):
    time.sleep(0.02)  # so that there is a middle of the work
    return Outcome(Computed(1), task(delivery.task.symbol))


def test_a_failover_to_a_synchronous_standby_loses_nothing_and_costs_no_attempt(pair, tmp_path, caplog):
    pair.make_standby()
    address = Address()
    address.move_to(int(pair.settings["DB_PORT"]))
    found = pair.settings
    database = Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], "127.0.0.1", address.port, source="environment")
    clients.quiet()
    broker = Broker.start(tmp_path / "broker.log", quiet_port())
    kafka = Kafka(bootstrap_servers=broker.bootstrap_servers, source="embedded")
    make_topics(kafka)
    writer = Writer(database)
    run_id = messages.new_run_id()
    try:
        with Running(kafka, stock, threads=8, buffered=64, writer=writer):
            send_tasks(kafka, run_id, [f"S{number}" for number in range(STOCKS)])
            follow(kafka, run_id, lambda account: account.processing["completed"] > STOCKS // 10, 60)
            pair.primary._process.end()  # with all that it has not sent to the standby
            address.move_to(0)
            until(writer.away.is_set, 30, "the writer's waiting")
            # The address moves before the promotion: for a while a server is there that takes no rows.
            address.move_to(pair.standby_port)
            until(lambda: "SQLSTATE 25006" in caplog.text, 30, "the read-only standby")
            pair.promote()
            account = follow(kafka, run_id, lambda account: account.processing["completed"] == STOCKS, 120)
        assert account.processing.summary() == {**account.processing.summary(), "failed": 0, "pending": 0, "completed": STOCKS}
        assert pair.ask(pair.standby_port, "SELECT count(DISTINCT symbol), count(*) FROM financial_ratios") == [(STOCKS, STOCKS)]
        assert sum(positions.high_watermarks(kafka, [topics.PROCESSING_DEAD_LETTERS, topics.PROCESSING_RETRIES]).values()) == 0
        lines = [record.getMessage() for record in caplog.records if "waiting" in record.getMessage()]
        assert len(lines) < 8, lines
    finally:
        writer.close()
        broker.stop()
        address.close()
