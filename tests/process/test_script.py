"""Every script as users start it: what is wrong is one line and an exit code, also at the wrong moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import Database, Kafka
from tests.conftest import PROJECT

SCRIPTS = sorted(path.name for path in PROJECT.glob("*.py") if "run_script(main)" in path.read_text())
#: Arguments with which a script would begin its work.
ARGUMENTS = {"kafka_dead_letters.py": ["list"], "run_pipeline.py": ["--demo", "--services"], "kafka_ui.py": ["--port", "0"]}


def start(
    script: str, home: Path, *arguments: str, project: Path = PROJECT, stdout: int = subprocess.PIPE, **environ: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=project,
        env={**os.environ, "PIPELINE_HOME": str(home), **environ},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def unread() -> int:
    """The end of a pipe that nobody reads: as standard output of `… | head -1` once that has ended."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in another folder, for a .env of its own."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("config", "pipeline", "launch", "local", "ui"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in PROJECT.glob("*.py"):
        shutil.copy(path, folder)
    return folder


def test_all_scripts_are_known() -> None:
    assert {"run_pipeline.py", "kafka_ui.py", "export_ratios.py", "kafka_monitor.py", "kafka_scraper_producer.py"} <= set(SCRIPTS)
    for script in SCRIPTS:
        assert "    import pipeline.process.early" in (PROJECT / script).read_text(), f"{script} can't be interrupted while it imports"


def test_a_broken_env_file_is_one_line_and_exit_code_2_in_every_script(copy: Path, tmp_path: Path) -> None:
    (copy / ".env").write_bytes("KAFKA_BOOTSTRAP_SERVERS=mine:9092\n".encode("utf-16"))
    started = {script: start(script, tmp_path, *ARGUMENTS.get(script, []), project=copy) for script in SCRIPTS}
    for script, process in started.items():
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (2, ""), script
        assert complained == f"{script}: {copy}/.env is in UTF-16: save it as UTF-8\n"


def test_a_safe_path_and_warnings_as_errors_end_no_script(tmp_path: Path) -> None:
    environ = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    started = {script: start(str(PROJECT / script), tmp_path, "--nonsense", project=tmp_path, **environ) for script in SCRIPTS}
    for script, process in started.items():
        _, complained = process.communicate(timeout=60)
        assert process.returncode == 2, complained
        assert "Traceback" not in complained
        assert complained.splitlines()[-1].startswith(f"{script}: "), complained


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes root and setpriv to become another user")
def test_a_user_without_a_name_and_a_home_runs_every_script(tmp_path: Path) -> None:
    """As in a container started with `--user 12345`."""
    # It may read everything, because the interpreter's folder can be closed to others.
    reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", *reading, "env", "-u", "HOME"]
    started = {
        script: subprocess.Popen(
            [*become, sys.executable, script, "--help"], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for script in SCRIPTS
    }
    said = {script: (process.communicate(timeout=120)[1], process.returncode) for script, process in started.items()}
    assert said == dict.fromkeys(SCRIPTS, ("", 0))


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_into_a_closed_pipe_ends_quietly(script: str, tmp_path: Path) -> None:
    writing = unread()
    process = start(script, tmp_path, "--help", stdout=writing)
    os.close(writing)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


def test_a_script_that_prints_into_a_closed_pipe_ends_quietly(broker: Kafka, tables: Database, tmp_path: Path) -> None:
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        **{
            "DB_DEV_NAME": tables.name,
            "DB_USER": tables.user,
            "DB_PASSWORD": tables.password,
            "DB_HOST": tables.host,
            "DB_PORT": str(tables.port),
        },
    }
    commands = [
        ("kafka_scraper_producer.py", "--regions", "us"),
        ("kafka_dead_letters.py", "list"),
        ("kafka_monitor.py", "--once"),
        ("kafka_monitor.py", "--follow"),
        ("kafka_monitor.py", "--json"),
        ("export_ratios.py",),
    ]
    for command in commands:  # one after the other: the first one makes the topics
        writing = unread()
        process = start(*command[:1], tmp_path, *command[1:], stdout=writing, **environ)
        os.close(writing)
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0), command


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_stream_that_is_closed_at_the_start_is_not_an_error(closed: str, tmp_path: Path) -> None:
    for arguments, code in (("kafka_monitor.py --run nonsense", 2), ("export_ratios.py --help", 0)):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} {arguments} {closed}"],
            cwd=PROJECT, env={**os.environ, "PIPELINE_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_a_full_disk_is_reported(tables: Database, tmp_path: Path) -> None:
    environ = {
        "DB_DEV_NAME": tables.name,
        "DB_USER": tables.user,
        "DB_PASSWORD": tables.password,
        "DB_HOST": tables.host,
        "DB_PORT": str(tables.port),
    }
    with open("/dev/full", "w") as full:
        process = start("export_ratios.py", tmp_path, stdout=full.fileno(), **environ)
        complained = process.communicate(timeout=60)[1]
    assert process.returncode == 3
    assert complained == "export_ratios.py: standard output can't be written: No space left on device\n"


def test_ctrl_c_ends_the_script_even_if_a_library_catches_it(tmp_path: Path) -> None:
    script = """
import pipeline.process.early
import os, signal
from pipeline.process.script import on_stop, run_script

def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        pass  # as in an import's callback
    on_stop(lambda: None)
    return 0

run_script(main)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_path_that_the_system_s_encoding_lacks_is_one_line_with_the_way_out(tmp_path: Path) -> None:
    script = "from pipeline.process.script import run_script\nrun_script(lambda: len(open('L\\u00e4rm').read()))"
    environ = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "set LC_ALL=C.UTF-8" in done.stderr


def test_ctrl_c_in_the_first_second_is_one_line_or_none(tmp_path: Path) -> None:
    environ = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DB_DEV_NAME": "none", "DB_USER": "nobody", "DB_HOST": "127.0.0.1", "DB_PORT": "1"}
    for delay in (0.2, 0.5, 0.9):
        started = {}
        for script in SCRIPTS:
            more = {} if script == "run_pipeline.py" else environ
            started[script] = start(script, tmp_path, *ARGUMENTS.get(script, []), **more)
        time.sleep(delay)  # the moment is what is tried
        for process in started.values():
            process.send_signal(signal.SIGINT)
        ends = {script: (process.communicate(timeout=60)[1], process.returncode) for script, process in started.items()}
        for script, (complained, code) in ends.items():
            # The interpreter itself may still have been starting: on a busy machine that takes a while.
            too_soon = code == -signal.SIGINT or complained == "KeyboardInterrupt\n"
            if too_soon or any(text in complained for text in ("import pipeline.process.early", "site>")):
                continue
            assert complained.count("\n") <= 1, (script, delay, complained)
            assert code in (0, 130, 3), (script, delay, complained)
