"""The log of every script: one printable line a record, whatever is in it."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.process import log_lines
from pipeline.wire.text import one_line, printable

HOSTILE = {
    "an escape sequence": "before\x1b[2J\x1b]0;title\x07after",
    "line breaks": "before\n2026-01-01T00:00:00.000Z ERROR forged\r\nafter",
    "unusual line breaks": "before\x0b\x0c\x1c\x85\u2028\u2029after",
    "C1 controls": "before\x9b31mafter",
    "direction marks": "before\u202e\u2066after\u200f",
    "a lone surrogate": "before\udce9after",
    "NUL and backspaces": "before\x00\x08\x08after",
}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What this process logs, as a script sets it up; all as before afterwards."""
    root = logging.getLogger()
    before, level, hook = root.handlers[:], root.level, threading.excepthook
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    log_lines.log_to_stderr(logging.INFO)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = before
    root.setLevel(level)
    threading.excepthook = hook


def only_line(stream: io.StringIO) -> str:
    text = stream.getvalue()
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    assert text[:-1].isprintable(), repr(text)
    return text[:-1]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_foreign_text_becomes_one_printable_line(logged: io.StringIO, text: str) -> None:
    # Not by the root logger: pytest-xdist can't send what pytest captures of a lone surrogate.
    logger = logging.Logger("any")
    logger.addHandler(next(one for one in logging.getLogger().handlers if getattr(one, "stream", None) is logged))
    logger.warning("the site says: %s", text)
    line = only_line(logged)
    assert line[24:].startswith(" WARNING the site says: before")
    assert line.endswith(("after", "after\ufffd"))


def test_a_traceback_stays_on_the_line_of_its_record(logged: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond \x1b[31m")
    except ValueError:
        logging.getLogger("any").exception("it failed")
    line = only_line(logged)
    assert "ERROR it failed | Traceback" in line
    assert "ValueError: first | second" in line


def test_warnings_and_thread_crashes_are_logged_as_records(logged: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old\ncall", stacklevel=1)
        logging.captureWarnings(False)
    assert "old | call" in only_line(logged)
    logged.truncate(0)
    logged.seek(0)
    thread = threading.Thread(target=lambda: int("x\n"), name="worker")
    thread.start()
    thread.join()
    assert "ERROR thread worker ended | Traceback" in only_line(logged)


def test_long_records_are_truncated(logged: io.StringIO) -> None:
    logging.getLogger("any").error("x" * 1_000_000)
    assert len(only_line(logged)) == log_lines.LONGEST


@given(st.text())
def test_any_text_is_made_printable_without_changing_printable_parts(text: str) -> None:
    assert printable(text).isprintable()
    assert len(printable(text)) == len(text)
    assert one_line(text).isprintable()
    if text.isprintable():
        assert printable(text) == text
