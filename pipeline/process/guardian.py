"""Cleans up after a process that may die without doing so itself (SIGKILL, a crash).

A guardian is a small child process that reads a pipe from its owner. When the pipe closes, for whatever reason, the guardian
carries out its duties in order: kill a process group, run a command, remove a folder. An owner that has cleaned up by itself
takes the duty back (`forget`) at once, because the system may give the dead process's id to another one.

This file runs as a plain script (`python guardian.py`) and imports only the standard library, so that the process stays small.
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

#: Seconds between the first, polite signal to a group and SIGKILL, unless the duty says otherwise.
KILL_AFTER_SECONDS = 3.0

#: Waits for a line before it executes the program. If the owner dies before it has given the duty, nothing is left running.
_WAIT_THEN_EXEC = 'read -r go && exec "$0" "$@" </dev/null'


class Guardian:
    """The owner's side. Duties are dicts. `add` returns a number for `forget`.

    `{"kill_group": pgid, "signal": "SIGINT", "patience_seconds": 3}` | `{"run": [argv], "user": uid | None}` |
    `{"remove": folder}`
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_number = 0
        self._process = subprocess.Popen(
            # -I: the environment and the files beside this script do not affect its imports.
            [sys.executable, "-I", "-S", os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            bufsize=0,
        )

    def add(self, duty: dict[str, Any]) -> int:
        with self._lock:
            self._last_number += 1
            self._tell({"number": self._last_number, **duty})
            return self._last_number

    def forget(self, number: int) -> None:
        # A guardian that has finished (ValueError) or is gone has no duties either.
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._tell({"forget": number})

    def start(
        self, command: list[str], first_signal: str = "SIGTERM", patience_seconds: float = KILL_AFTER_SECONDS, **options: Any
    ) -> tuple[subprocess.Popen[bytes], int]:
        """Start `command` in its own session. The guardian gets the duty to kill it before it runs.

        `options` go to Popen (stdin is taken). Returns the process and the number to `forget` the duty by. A command that
        cannot be executed ends with exit code 126 or 127, and its stderr says why.
        """
        process = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT_THEN_EXEC, *command], stdin=subprocess.PIPE, start_new_session=True, bufsize=0, **options
        )
        assert process.stdin is not None
        try:
            number = self.add({"kill_group": process.pid, "signal": first_signal, "patience_seconds": patience_seconds})
            process.stdin.write(b"go\n")
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdin.close()
        return process, number

    def finish(self, timeout_seconds: float = 20.0) -> None:
        """Carry out all remaining duties now, and wait until they are done."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout_seconds)

    def _tell(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # A write of less than PIPE_BUF bytes arrives whole or not at all, even if the owner is killed.
        self._process.stdin.write(json.dumps(line).encode() + b"\n")


def kill_group(pgid: int, first_signal: int, patience_seconds: float = KILL_AFTER_SECONDS) -> None:
    """Send the signal to a process group, then SIGKILL to what is left. Returns when the group is gone or SIGKILL was sent."""
    for number, seconds in ((first_signal, patience_seconds), (signal.SIGKILL, 2.0)):
        try:
            os.killpg(pgid, number)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(0.02)
                os.killpg(pgid, 0)
                if _only_zombies(pgid):
                    return
        except (ProcessLookupError, PermissionError):
            return  # gone, or (macOS) only zombies are left


def _only_zombies(pgid: int) -> bool:
    """Whether (on Linux) only dead processes are left in a group, which their parent has not reaped.

    The parent may be an owner that waits for this guardian, or the first process of a container, which reaps no one.
    """
    if _state_and_group(pgid)[0] != "Z":
        return False
    members = (_state_and_group(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return not any(group == pgid and state not in "ZX" for state, group in members)


def _state_and_group(pid: int) -> tuple[str, int]:
    """A process's state, such as "S" or "Z" (zombie), and its process group; ("", 0) if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The name in parentheses may contain any character.
            fields = file.read().rpartition(")")[2].split()
        return fields[0], int(fields[2])
    except (OSError, IndexError, ValueError):
        return "", 0


def _carry_out(duty: dict[str, Any]) -> None:
    if "kill_group" in duty:
        kill_group(duty["kill_group"], getattr(signal, duty.get("signal", "SIGTERM")), duty.get("patience_seconds", KILL_AFTER_SECONDS))
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
