"""Clean up after a process that may die without a word (SIGKILL, a crash).

A guardian is a small child that blocks on a pipe from its owner. When the pipe closes, for whatever reason, it carries
out the duties it was given, in order: kill a process group, run a command, remove a folder. The owner that cleans up by
itself takes the duty back first (`forget`), so that a process id that is used again is never killed.

This file runs as a plain script (`python guardian.py`) with nothing but the standard library, so that it stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any

#: Seconds between the first, polite signal to a group and SIGKILL.
KILL_AFTER_SECONDS = 3.0


class Guardian:
    """The owner's side. Duties are dicts; `add` returns a number to `forget` one by.

    `{"kill_group": pgid, "signal": "SIGINT"}` | `{"run": [argv], "user": uid | None}` | `{"remove": folder}`
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_number = 0
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def add(self, duty: dict[str, Any]) -> int:
        with self._lock:
            self._last_number += 1
            self._tell({"number": self._last_number, **duty})
            return self._last_number

    def forget(self, number: int) -> None:
        with self._lock:
            self._tell({"forget": number})

    def finish(self, timeout_seconds: float = 20.0) -> None:
        """Have all remaining duties carried out now, and wait for that."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait(timeout_seconds)

    def _tell(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # One write of less than PIPE_BUF bytes arrives whole or not at all, also when the owner is killed.
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        self._process.stdin.flush()


def kill_group(pgid: int, first_signal: int, patience_seconds: float = KILL_AFTER_SECONDS) -> None:
    """Signal a process group, then SIGKILL what is left of it; returns when it is gone or SIGKILL was sent."""
    for number, seconds in ((first_signal, patience_seconds), (signal.SIGKILL, 2.0)):
        try:
            os.killpg(pgid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(0.02)
                os.killpg(pgid, 0)
        except (ProcessLookupError, PermissionError):
            return  # gone, or (macOS) nothing left in it but zombies


def _carry_out(duty: dict[str, Any]) -> None:
    if "kill_group" in duty:
        kill_group(duty["kill_group"], getattr(signal, duty.get("signal", "SIGTERM")))
    elif "run" in duty:
        user = duty.get("user")
        identity: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        subprocess.run(duty["run"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False, **identity)
    elif "remove" in duty:
        shutil.rmtree(duty["remove"], ignore_errors=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    duties: dict[int, dict[str, Any]] = {}
    for line in sys.stdin:
        duty = json.loads(line)
        if "forget" in duty:
            duties.pop(duty["forget"], None)
        else:
            duties[duty["number"]] = duty
    for duty in duties.values():
        try:
            _carry_out(duty)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"guardian: {duty}: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
