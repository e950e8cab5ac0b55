"""The end of a log in the text of an error: never empty, never more than text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.process.log_end import last_lines


def test_the_last_lines_are_printable_and_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * 200_000 + b"\nfirst \x1b[31m\x9b\xff\nsecond\r\n\n" + b"y" * 1000 + b"\n")
    lines = last_lines(log, 3).split("\n")
    assert lines[:2] == ["first \ufffd[31m\ufffd\ufffd", "second"]
    assert len(lines[2]) == 500
    assert all(line.isprintable() for line in lines)


def test_an_empty_or_missing_log_gives_a_reason(tmp_path: Path) -> None:
    (tmp_path / "log").touch()
    assert last_lines(tmp_path / "log") == "(empty log)"
    assert last_lines(tmp_path / "none") == "(no log: No such file or directory)"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a disk")
def test_a_full_disk_is_given_as_the_reason_for_an_empty_log(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("this machine mounts nothing")
    try:
        (tmp_path / "log").touch()
        (tmp_path / "fill").write_bytes(b"x" * 4096)
        assert last_lines(tmp_path / "log") == "(empty log: no space is left on its disk)"
    finally:
        subprocess.run(["umount", tmp_path], check=True)
