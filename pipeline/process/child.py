"""Child processes of the orchestrator: each has its own session, is restarted when it dies, and is stopped in order."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import config
from pipeline.errors import ServiceError
from pipeline.process.failed_starts import FAILED_STARTS, FailedStarts
from pipeline.process.guardian import kill_group
from pipeline.process.log_end import last_lines
from pipeline.process.script import PARENT_PIPE

#: Seconds that workers have to drain before SIGKILL.
DRAIN_SECONDS = 20.0


@dataclass
class Child:
    """A script of this project that is kept alive. Its standard input is a pipe: the script ends when the pipe closes."""

    name: str
    command: Sequence[str]
    log_file: Path
    environment: dict[str, str] = field(default_factory=dict)
    #: Where standard output goes; None is the log file.
    stdout: IO[Any] | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    finished_at_start: int = 0
    restart_at: float | None = None
    failed: FailedStarts = field(default_factory=FailedStarts)

    def start(self, finished_tasks: int = 0) -> None:
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=config.PROJECT,
                stdin=subprocess.PIPE,
                stdout=log if self.stdout is None else self.stdout,
                stderr=log,
                env={**os.environ, **self.environment, PARENT_PIPE: "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.finished_at_start = finished_tasks
        self.restart_at = None

    def returncode(self) -> int | None:
        return self.process.poll() if self.process is not None else None

    def keep_alive(self, finished_tasks: int, say: Callable[[str], None]) -> None:
        """Restart the script if it has died. `finished_tasks` is the progress of the whole run.

        Raises ServiceError after FAILED_STARTS failed starts in a row, with the last lines of its log.
        """
        now = time.monotonic()
        code = self.returncode()
        if code is None:
            return
        if self.restart_at is None:
            # A start after which a task was finished somewhere in the run has not failed.
            self.failed.note(died_after_seconds=now - self.started if finished_tasks <= self.finished_at_start else math.inf)
            if self.failed.too_many:
                raise ServiceError(
                    f"{self.name} died {FAILED_STARTS} times right after its start; {self.log_file} ends with:\n{self.tail()}"
                )
            wait = self.failed.wait_seconds
            say(f"{self.name} died ({_ending(code)}); starting it again in {wait:.1f} s; its unfinished tasks are delivered again")
            self._close_pipe()
            self.restart_at = now + wait
        elif now >= self.restart_at:
            self.start(finished_tasks)

    def tail(self, count: int = 8) -> str:
        """The last lines of its log."""
        return last_lines(self.log_file, count)

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                kill_group(self.process.pid, signal.SIGKILL, 0.1)
            self.process.wait()
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()


def stop(children: Sequence[Child], seconds: float = DRAIN_SECONDS) -> list[str]:
    """Send SIGTERM to all at once, and SIGKILL to those still running after `seconds`. Returns the names of the latter."""
    for child in children:
        child.signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while any(child.process is not None and child.returncode() is None for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    late = [child.name for child in children if child.process is not None and child.returncode() is None]
    for child in children:
        child.kill()
    return late


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
