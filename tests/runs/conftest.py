"""The monitor as its users start it: in a terminal of a fixed size, or in a pipe, over a real broker."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from config import Kafka
from tests.conftest import PROJECT

#: What a terminal does not display: control sequences and window titles.
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
#: The beginning of each picture.
_HOME = "\x1b[H"


def plain(text: str) -> str:
    return _CONTROL.sub("", text)


def environment(kafka: Kafka, home: Any, **more: str) -> dict[str, str]:
    """As a user's, with this broker; `home` keeps demos of others away."""
    found = {**os.environ, "PIPELINE_HOME": str(home), "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        found.pop(name, None)
    return found | more


class Window:
    """A terminal of so many columns and lines, in which one command runs."""

    def __init__(self, command: list[str], env: dict[str, str], columns: int = 80, lines: int = 24) -> None:
        self._master, slave = os.openpty()
        self.resize(columns, lines)
        self.process = subprocess.Popen(
            command, cwd=PROJECT, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self._said = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                said = os.read(self._master, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return  # the command has ended
            if not said:
                return
            self._said += said

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    @property
    def said(self) -> str:
        """All output."""
        return bytes(self._said).decode("utf-8", "replace")

    def pictures(self) -> list[list[str]]:
        """All whole pictures that were drawn, as lines of text."""
        # Before the first one, the screen that they are drawn on is entered.
        whole = self.said.split(_HOME)[2:-1]
        return [plain(picture).split("\r\n") for picture in whole]

    @property
    def screen(self) -> str:
        """The newest whole picture."""
        pictures = self.pictures()
        return "\n".join(pictures[-1]) if pictures else ""

    def shows(self, words: str) -> bool:
        assert self.process.poll() is None, f"the monitor ended:\n{self.said[-3000:]}"
        return words in self.screen

    def end(self, number: int = signal.SIGINT, seconds: float = 20.0) -> str:
        """End the command; all that it said after its last picture."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(seconds)
        self._thread.join(60)
        return plain(self.said.rpartition(_HOME)[2].rpartition("\x1b[?1049l")[2]).replace("\r\n", "\n")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._thread.join(60)
        with contextlib.suppress(OSError):
            os.close(self._master)


@pytest.fixture
def window(tmp_path: Any) -> Iterator[Any]:
    """window(kafka, *arguments, columns=80, lines=24, command=None, **environ): the monitor in a terminal."""
    opened: list[Window] = []

    def start(
        kafka: Kafka, *arguments: str, columns: int = 80, lines: int = 24, command: list[str] | None = None, **environ: str
    ) -> Window:
        words = command or [sys.executable, "kafka_monitor.py"]
        opened.append(Window([*words, *arguments], environment(kafka, tmp_path, **environ), columns, lines))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
