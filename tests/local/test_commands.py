"""`make`, `make sql`, `make clean` and the search for a browser."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import config
from local.postgres_place import has_data
from local.state import State
from tests.local.helpers import OWNER, python, said, sql
from tools import setup_browser

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(module: str, home: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DB_", "KAFKA_"))}
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=config.PROJECT,
        env={**environment, "PIPELINE_HOME": str(home)},
        capture_output=True,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def test_sql_and_clean_work_on_the_database_of_an_ended_run(tmp_path: Path) -> None:
    nothing = run("local.sql", tmp_path)
    assert (nothing.returncode, nothing.stdout) == (config.EXIT_SERVICE, "")
    assert "make demo" in nothing.stderr

    demo = tmp_path / ".pipeline" / "demo"
    state = State.acquire(demo)
    with python(OWNER, str(demo)) as owner:
        up = said(owner)
        sql(up["settings"], "CREATE TABLE kept AS SELECT 42 AS answer")
        # While it is up, and announced, the query goes to the running server.
        state.publish(up["settings"])
        running = run("local.sql", tmp_path, "-At", "-c", "SELECT answer FROM kept")
        assert (running.stdout, running.stderr) == ("42\n", "")
        busy = run("local.clean", tmp_path)
        assert busy.returncode == config.EXIT_SERVICE
        assert f"process {os.getpid()}" in busy.stderr
        owner.communicate("")
    state.release()

    ended = run("local.sql", tmp_path, "--demo", "-At", input="SELECT answer FROM kept")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("42\n", "", 0)
    assert run("local.sql", tmp_path, "-c", "SELECT", "-c", "nonsense").returncode != 0
    # Root's data lie outside of the project: they outlive a project's folder that is removed and cloned again.
    shutil.rmtree(demo, ignore_errors=True) if os.geteuid() == 0 else (demo / "lock").unlink()
    cloned = run("local.sql", tmp_path, "-At", "-c", "SELECT answer FROM kept")
    assert (cloned.stdout, cloned.stderr, cloned.returncode) == ("42\n", "", 0)
    # Another one of the live runs that was used later, by --check for example: what is opened is named.
    live = tmp_path / ".pipeline" / "live"
    state = State.acquire(live)
    with python(OWNER, str(live)) as owner:
        said(owner)
        owner.communicate("")
    state.release()
    newest = run("local.sql", tmp_path, "-At", "-c", "SELECT to_regclass('kept') IS NULL")
    assert newest.stdout == "t\n"
    assert newest.stderr == "the live runs' database, which was used last; make sql ARGS=--demo opens the demo's\n"
    assert has_data(demo / "postgres")
    for misunderstood, code in (("--help", 0), ("--liv", 2)):
        assert run("local.clean", tmp_path, misunderstood).returncode == code
        assert has_data(demo / "postgres")
    assert run("local.clean", tmp_path, "--live").returncode == 0
    assert not has_data(demo / "postgres")
    assert not demo.exists()


@pytest.mark.parametrize(("text", "expected"), [("ID=debian\n", True), ("ID=ubuntu\nID_LIKE=debian\n", False), ("", False)])
def test_only_root_on_debian_installs_the_browser(tmp_path: Path, text: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "os-release").write_text(text)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert setup_browser.can_install(tmp_path / "os-release") is expected
    assert setup_browser.can_install(tmp_path / "missing") is False
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert setup_browser.can_install(tmp_path / "os-release") is False


def test_a_browser_that_cannot_be_installed_is_one_line_and_exit_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRAPER_BROWSER", str(tmp_path / "none"))
    done = run("tools.setup_browser", tmp_path)
    assert done.returncode == config.EXIT_SERVICE
    assert done.stderr.count("\n") == 1
    assert "SCRAPER_BROWSER" in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, and an environment that is up to date and whose Python only says what it was given."""
    shutil.copy(config.PROJECT / "Makefile", tmp_path)
    for path in config.PROJECT.glob("requirements*.txt"):
        shutil.copy(path, tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program(tmp_path / ".venv" / "bin" / "python", 'echo "$@"; exit 4')
    (tmp_path / ".venv" / ".installed").touch()
    (tmp_path / ".venv" / ".browser").touch()
    return tmp_path


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without what an outer make, the one that runs these tests, hands down.
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "ARGS", "PYTHON")}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


@needs_make
def test_make_alone_lists_every_target(checkout: Path) -> None:
    done = make(checkout)
    phony = re.search(r"^\.PHONY: (.*)$", (checkout / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert [line.split()[1] for line in done.stdout.splitlines()] == phony[1].split()


@needs_make
def test_a_demo_ends_by_itself_only_without_a_terminal(checkout: Path) -> None:
    done = make(checkout, "demo", "ARGS=--stocks 3")
    assert done.stdout == "run_pipeline.py --demo --exit-when-done --stocks 3\n"
    # make itself knows 2 alone; the script's own code is in its message.
    assert done.returncode == 2
    assert "Error 4" in done.stderr

    ours, theirs = pty.openpty()
    with subprocess.Popen(["make", "demo"], cwd=checkout, stdout=theirs, stderr=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}):
        os.close(theirs)
        assert os.read(ours, 1000) == b"run_pipeline.py --demo\r\n"
    os.close(ours)


@needs_make
def test_an_old_python_is_rejected_in_one_line(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    old = program(checkout / "old-python", 'case "$2" in *sys.exit*) exit 1;; *) echo 3.9.18;; esac')
    done = make(checkout, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith(f"{old} is 3.9.18: Python 3.10 or newer is needed")
    assert not (checkout / ".venv").exists()


@needs_make
def test_setup_installs_again_only_when_the_requirements_change(checkout: Path) -> None:
    program(checkout / ".venv" / "bin" / "python", 'echo "$@"')
    assert "pip install" not in make(checkout, "setup").stdout
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(checkout / "requirements-local.txt", (later, later))
    assert "pip install" in make(checkout, "setup", f"PYTHON={sys.executable}").stdout
