"""What the orchestrator says, to its log and to the terminal; and the logs of earlier runs that it removes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TextIO

from pipeline.process.script import reason, tell
from pipeline.wire import messages
from pipeline.wire.text import printable

#: Folders of earlier runs' logs that are kept.
LOGS_KEPT = 20


class Voice:
    """Call it with a text. One process owns the terminal: while the monitor draws on it, the text goes to the log alone."""

    def __init__(self, log_dir: Path, out: TextIO) -> None:
        self.log_dir = log_dir
        self.out = out
        self.terminal_is_the_monitors = False
        self._log_failed = False

    def __call__(self, text: str) -> None:
        text = "\n".join(map(printable, text.split("\n")))  # whatever texts of others are in it
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            with open(self.log_dir / "run_pipeline.log", "a", encoding="utf-8") as log:
                log.write(f"{messages.now_text()} {text}\n")
        except OSError as error:
            if not self._log_failed:
                tell(f"run_pipeline.log can't be written, the run goes on: {reason(error)}", sys.stderr)
            self._log_failed = True
        if not self.terminal_is_the_monitors:
            tell(text, self.out)


def forget_old_logs(log_dir: Path) -> None:
    """Keep the newest LOGS_KEPT folders of runs."""
    folders = sorted(folder for folder in log_dir.glob("2*Z-*") if folder.is_dir()) if log_dir.is_dir() else []
    for folder in folders[:-LOGS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
