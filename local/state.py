"""The folder in which one orchestrator at a time keeps its embedded services: its lock and their settings.

`services.env` counts only while the lock is held (config.embedded_services), so a file that a killed orchestrator left behind
is ignored.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import time
from pathlib import Path

from dotenv import dotenv_values

import config
from pipeline.errors import ServiceError
from pipeline.process.folders import needing_folder

#: Seconds to wait for the lock: a process that looks up its holder also has it for a moment (config.lock_holder).
LOCK_SECONDS = 1.0

#: Values that need no quotes in an `.env` file, nor in a shell.
_PLAIN = re.compile(r"[\w./:@%+,=-]+", re.ASCII)


class State:
    """A folder that this process holds until `release()` or its end. `folder` is its path."""

    def __init__(self, folder: Path, lock: io.TextIOWrapper) -> None:
        self.folder = folder
        self._lock = lock

    @classmethod
    def acquire(cls, folder: Path) -> State:
        """Take the folder for this process. Raises ServiceError, with the owner's process id, if it is taken."""
        with needing_folder(folder, "state"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _keep_to_its_owner(folder)
            # Python opens files so that programs it starts do not inherit them: a surviving child would go on holding the lock.
            lock = open(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")  # noqa: SIM115
            try:
                _lock_exclusively(lock, folder)
                lock.truncate()
                lock.write(f"{os.getpid()}\n")
                lock.flush()
                state = cls(folder, lock)
                state.withdraw()
                return state
            except BaseException:
                lock.close()
                raise

    @property
    def data_dir(self) -> Path:
        """Where the embedded database's data belongs (local.postgres.Postgres.start)."""
        return data_dir(self.folder)

    @property
    def services_file(self) -> Path:
        return self.folder / "services.env"

    def publish(self, values: dict[str, str]) -> None:
        """Write the services' settings for the other processes, in one piece."""
        text = dotenv_text(values)
        temporary = self.folder / "services.env.new"
        temporary.unlink(missing_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(self.services_file)

    def withdraw(self) -> None:
        """Remove the services' settings. Called before the services stop, so that nobody connects to them any more."""
        self.services_file.unlink(missing_ok=True)

    def release(self) -> None:
        """Give the folder back. May be called more than once."""
        if not self._lock.closed:
            self.withdraw()
            self._lock.close()


def _keep_to_its_owner(folder: Path) -> None:
    """Let only this user into the folder. It changes the folder that was opened, even if its name leads elsewhere a moment later.

    Raises ServiceError if the folder is another user's.
    """
    # A user may keep the folder on another disk by a link. For root, somebody else may have made the link.
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (os.O_NOFOLLOW if os.geteuid() == 0 else 0))
    try:
        if os.fstat(number).st_uid != os.geteuid():
            raise ServiceError(f"{folder} is another user's: set PIPELINE_HOME to a folder of your own")
        os.fchmod(number, 0o700)
    finally:
        os.close(number)


def data_dir(folder: Path) -> Path:
    """The embedded database's folder under a state folder."""
    return folder / "postgres"


def dotenv_text(values: dict[str, str]) -> str:
    """The text of an `.env` file that reads back as exactly `values`.

    Raises ValueError if it would not (a carriage return; with python-dotenv before 1.2.3 a last backslash).
    """
    lines = [
        f"{key}={value}\n" if _PLAIN.fullmatch(value) else "{}='{}'\n".format(key, value.replace("\\", "\\\\").replace("'", "\\'"))
        for key, value in values.items()
    ]
    text = "".join(lines)
    # newline=None: as from a file, where a lone carriage return is a new line as well.
    if dotenv_values(stream=io.StringIO(text, newline=None), interpolate=False) != values:
        raise ValueError(f"the values of {', '.join(values)} cannot all be written to an .env file")
    return text


def _lock_exclusively(lock: io.TextIOWrapper, folder: Path) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                break
        time.sleep(0.02)
    holder = config.lock_holder(folder)
    who = f"process {holder}" if holder else "another process"
    raise ServiceError(f"{who} already runs the services in {folder}: stop it first, or use its services (docs/usage.md)")
