"""Whatever becomes of the process that started the services, none of them stays behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

from local.postgres import Postgres
from local.tansu import Broker
from pipeline.process.guardian import Guardian
from pipeline.process.ports import answers
from tests.conftest import until
from tests.local.helpers import OWNER, is_running, python, said, sql


def test_a_killed_owner_leaves_no_process_and_the_next_start_finds_the_rows(folder: Path) -> None:
    with python(OWNER, str(folder)) as owner:
        up = said(owner)
        sql(up["settings"], "CREATE TABLE kept (number int)")
        sql(up["settings"], "INSERT INTO kept SELECT generate_series(1, 1000)")
        owner.send_signal(signal.SIGKILL)
        owner.wait()
        # At once: whatever still runs of the old ones, the new ones come up.
        broker = Broker.start(folder / "broker.log", 19092)
        postgres = Postgres.start(folder / "postgres", folder / "postgres.log", 15432)
        until(lambda: not any(map(is_running, up["processes"] + up["guardians"])), 10)
        assert sql(postgres.settings, "SELECT count(*) FROM kept") == [(1000,)]
        postgres.stop()
        broker.stop()
    ports = {int(up["servers"].rpartition(":")[2]), int(up["settings"]["DB_PORT"])}
    assert not any(map(answers, ports))


def test_an_owner_ended_by_another_signal_leaves_no_process(folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with python(OWNER, str(folder), stderr=subprocess.DEVNULL) as owner:
            up = said(owner)
            # Python swallows a KeyboardInterrupt that is raised in a destructor, so the signal may be needed again.
            while owner.poll() is None:
                owner.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    owner.wait(5)
            until(lambda: not any(map(is_running, up["processes"] + up["guardians"])), 10)  # noqa: B023


def test_ctrl_c_in_the_terminal_reaches_neither_service(folder: Path) -> None:
    with python(OWNER, str(folder)) as owner:
        up = said(owner)
        groups = subprocess.run(["ps", "-o", "pgid=", "-p", f"{owner.pid}"], capture_output=True, text=True).stdout.split()
        for process_id in up["processes"] + up["guardians"]:
            group = subprocess.run(["ps", "-o", "pgid=", "-p", f"{process_id}"], capture_output=True, text=True).stdout.split()
            assert group
            assert group != groups
        owner.communicate("")
        assert owner.returncode == 0
        assert not any(map(is_running, up["processes"] + up["guardians"]))


def test_no_program_runs_before_its_guardian_knows_of_it(tmp_path: Path) -> None:
    # An owner that dies between the two leaves a shell at the end of its pipe, which goes too.
    code = """
import sys
from pipeline.process.guardian import Guardian
guardian = Guardian()
guardian.add = lambda duty: sys.exit(str(duty["kill_group"]))
guardian.start(["touch", sys.argv[1]])
"""
    with python(code, str(tmp_path / "ran"), stderr=subprocess.PIPE) as owner:
        _, errors = owner.communicate()
        until(lambda: not is_running(int(errors)))
    assert not (tmp_path / "ran").exists()


def test_a_guardian_kills_a_program_that_ignores_sigterm_and_its_children(tmp_path: Path) -> None:
    guardian = Guardian()
    script = (
        f"trap '' TERM; sleep 600 & echo $! > {tmp_path}/child.new; mv {tmp_path}/child.new {tmp_path}/child; while :; do sleep 1; done"
    )
    process, _ = guardian.start(["sh", "-c", script], patience_seconds=0.2)
    until((tmp_path / "child").exists)
    guardian.finish()
    assert process.wait(60) == -signal.SIGKILL
    until(lambda: not is_running(int((tmp_path / "child").read_text())))


def test_a_guardian_does_not_wait_for_a_dead_program() -> None:
    guardian = Guardian()
    process, _ = guardian.start(["sleep", "600"], patience_seconds=60)
    # Nobody reaps the process while its owner waits here.
    guardian.finish(timeout_seconds=10)
    assert process.wait(60) == -signal.SIGTERM


def test_a_forgotten_duty_is_not_carried_out(tmp_path: Path) -> None:
    guardian = Guardian()
    (tmp_path / "kept").mkdir()
    (tmp_path / "removed").mkdir()
    number = guardian.add({"remove": str(tmp_path / "kept")})
    guardian.add({"remove": str(tmp_path / "removed")})
    guardian.forget(number)
    guardian.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    guardian.forget(number)
