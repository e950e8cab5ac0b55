"""Ctrl+C at any moment, and SIGKILL of the orchestrator: nothing stays behind, and the next run starts at once."""

import os
import re
import signal
import subprocess
import sys

import pytest

import config
from tests.conftest import PROJECT, until


def start_demo(terminal, *more):
    # Half a minute of work: the monitor's lines, seconds apart, do not miss it.
    return terminal.start("run_pipeline.py", "--demo", "--stocks", "300", "--latency-ms", "2000", *more)


@pytest.mark.parametrize(("number", "moment"), [(signal.SIGINT, "services"), (signal.SIGTERM, "children"), (signal.SIGINT, "work")])
def test_a_stop_signal_at_any_moment_leaves_no_process_and_the_next_run_starts_at_once(terminal, number, moment):
    process = start_demo(terminal)
    wait_for(terminal, process, moment)
    process.send_signal(number)
    assert process.wait(60) == config.EXIT_INTERRUPTED, terminal.errors(process)
    if moment == "work":
        assert "stopped before the run was done: the next run asks for what is still missing" in terminal.output(process)
    until(lambda: not terminal.processes(), 5, "the end of all processes")
    assert config.lock_holder(config.state_dir(True, terminal.environment())) is None


@pytest.mark.parametrize("moment", ["services", "work"])
def test_sigkill_of_the_orchestrator_leaves_no_process_and_the_next_run_starts_at_once(terminal, moment):
    process = start_demo(terminal)
    wait_for(terminal, process, moment)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not terminal.processes(), 20, "the end of all processes")
    again = terminal.run("run_pipeline.py", "--demo", "--exit-when-done", "--stocks", "20", "--regions", "fr")
    assert again.returncode == 0, again.stderr


def wait_for(terminal, process, moment):
    words = {"services": "site: local market", "children": "logs:", "work": r"processing \d+/\d+ .*[1-9]\d* pending"}[moment]
    until(lambda: re.search(words, terminal.output(process)) or process.poll() is not None, 150, moment)
    assert process.poll() is None, terminal.errors(process)


def test_a_run_whose_output_is_no_longer_read_goes_on_to_its_end(terminal):
    """`run_pipeline.py … | head -1`."""
    script = f"{sys.executable} run_pipeline.py --demo --exit-when-done --stocks 20 --regions fr | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=PROJECT, env=terminal.environment(), capture_output=True, text=True, timeout=150, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("site: local market")
    log = next((terminal.home / "logs").glob("2*/run_pipeline.log")).read_text()
    assert "monitor died" not in log
    until(lambda: not terminal.processes(), 20, "the end of all processes")
