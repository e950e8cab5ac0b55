"""A server that this process starts, and that never outlives it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

from pipeline.process.guardian import Guardian


class ServerProcess:
    """A running program in a session of its own, its output appended to `log_file`; the guardian ends it with this process.

    It is stopped with SIGINT and, `patience_seconds` later, SIGKILL. `options` go to Popen.
    """

    def __init__(self, guardian: Guardian, command: list[str], log_file: Path, patience_seconds: float, **options: Any) -> None:
        self._guardian = guardian
        self._patience_seconds = patience_seconds
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(log_file, "ab") as log:
            self._process, self._duty = guardian.start(command, "SIGINT", patience_seconds, stdout=log, stderr=log, **options)

    @property
    def process_id(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for its own end; returns its exit code."""
        try:
            return self._process.wait()
        finally:
            self.end()

    def end(self) -> None:
        """Stop it; may be called again."""
        if self.is_alive():
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(self._patience_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        # Not earlier: if this process is killed while it waits, the guardian must stop the server.
        self._guardian.forget(self._duty)
