"""The log format of every script: one line per record, times in UTC, no control characters."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

from pipeline.wire.text import one_line

#: Longest record in characters, without and with a stack trace.
LONGEST = 4_000
LONGEST_WITH_STACK = 16_000


class OneLine(logging.Formatter):
    """`2026-11-24T07:13:26.120Z WARNING text`. A stack trace follows on the same line, its lines separated by " | "."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        has_stack = bool(record.exc_info or record.exc_text or record.stack_info)
        return one_line(super().format(record), LONGEST_WITH_STACK if has_stack else LONGEST)


def log_to_stderr(level: int) -> None:
    """Send all log records, Python's warnings and uncaught exceptions of threads to standard error in the format of `OneLine`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    for other in root.handlers[:]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)
    threading.excepthook = _say_the_end_of_a_thread


def _say_the_end_of_a_thread(ended: Any) -> None:
    if ended.exc_type is not SystemExit:
        name = ended.thread.name if ended.thread is not None else "unknown"
        told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        logging.getLogger(__name__).error("thread %s ended", name, exc_info=told)
