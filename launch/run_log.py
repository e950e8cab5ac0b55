"""The orchestrator's messages, to its log and to the terminal. Also removes the logs of old runs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TextIO

from pipeline.process.script import reason, tell
from pipeline.wire import messages
from pipeline.wire.text import printable

#: How many folders of earlier runs' logs are kept.
LOGS_KEPT = 20


class RunLog:
    """Called with a text, writes it to `run_pipeline.log` in `log_dir` and to `out`.

    While the monitor draws on the terminal (`monitor_has_terminal`), the text goes to the log only. If the log can't be written, the
    first text says so.
    """

    def __init__(self, log_dir: Path, out: TextIO) -> None:
        self.log_dir = log_dir
        self.out = out
        self.monitor_has_terminal = False
        self._log_failed = False

    def __call__(self, text: str) -> None:
        text = "\n".join(map(printable, text.split("\n")))  # it may quote foreign text
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            with open(self.log_dir / "run_pipeline.log", "a", encoding="utf-8") as log:
                log.write(f"{messages.now_text()} {text}\n")
        except OSError as error:
            if not self._log_failed:
                tell(f"run_pipeline.log can't be written ({reason(error)}); the run goes on without it", sys.stderr)
            self._log_failed = True
        if not self.monitor_has_terminal:
            tell(text, self.out)


def remove_old_logs(log_dir: Path) -> None:
    """Remove all but the newest LOGS_KEPT runs' folders."""
    folders = sorted(folder for folder in log_dir.glob("2*Z-*") if folder.is_dir()) if log_dir.is_dir() else []
    for folder in folders[:-LOGS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
