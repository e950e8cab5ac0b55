"""The end of a log, for the text of an error: printable, and never empty."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pipeline.wire.text import one_line

#: Most bytes read from the end of a log, and longest line shown.
MOST_BYTES = 64_000
LONGEST_LINE = 500


def last_lines(log_file: Path, count: int = 5, wanted: Callable[[str], bool] = lambda line: True) -> str:
    """The last lines of the log, of those that are wanted. If it is empty, the likely reason."""
    try:
        with open(log_file, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - MOST_BYTES))
            text = file.read(MOST_BYTES).decode(errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    lines = [one_line(line, LONGEST_LINE) for line in text.split("\n") if line.strip() and wanted(line)]
    return "\n".join(lines[-count:]) or ("(empty log: no space is left on its disk)" if _disk_is_full(log_file) else "(empty log)")


def _disk_is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail == 0 or (found.f_files > 0 and found.f_favail == 0)
