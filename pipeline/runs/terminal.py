"""Shows the monitor's view on the terminal: drawn if `rich` is there and the terminal can, else line by line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from pipeline.runs.text import view_line
from pipeline.runs.view import MonitorView

#: A line that is wider than the terminal is cut there, not wrapped: one name whose width terminals disagree on would move all.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
#: Ends the drawing without a word to `rich`: the other screen, the cursor, the wrapping.
_LEAVE = f"{_WRAP}\x1b[?25h\x1b[?1049l"


class Display:
    """`live` draws on the terminal and needs `rich`; without either it prints a line at each `show`."""

    def __init__(self, live: bool, json_lines: bool = False) -> None:
        self._json = json_lines
        self._live = _live() if live else None
        self._last_line = ""

    @property
    def draws(self) -> bool:
        """Whether it draws, so that it should be shown often; else each `show` is a line."""
        return self._live is not None

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
            self._write(_NO_WRAP)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._write(_WRAP)
            self._live.stop()

    def leave(self) -> None:
        """Give the terminal back at once, from any thread: this process is about to end."""
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                os.write(sys.stdout.fileno(), _LEAVE.encode())

    def show(self, view: MonitorView) -> None:
        """Show what there is now."""
        if self._live is not None:
            from pipeline.runs.drawing import draw

            console = self._live.console
            console.size = _terminal_size()
            width, height = console.size
            self._live.update(draw(view, width, height, console.options.ascii_only), refresh=True)
        elif self._json:
            if view.lost:
                print(view.lost, file=sys.stderr, flush=True)
            elif view.account is not None:
                self._print(json.dumps(view.account.summary(view.elapsed_seconds)))
        else:
            self._print(view_line(view))

    def _print(self, line: str) -> None:
        if line != self._last_line:
            print(line, flush=True)
            self._last_line = line

    def _write(self, codes: str) -> None:
        assert self._live is not None
        self._live.console.file.write(codes)
        self._live.console.file.flush()


def _live() -> Any:
    """What draws, or None: without `rich`, and on a terminal that can do nothing but lines."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:  # the five scripts run without it
        return None
    console = Console()
    if console.is_dumb_terminal or not console.is_terminal:
        return None
    return Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _terminal_size() -> tuple[int, int]:
    """Columns and lines now; asked each time, since this process hears of no change: its session has no terminal."""
    try:
        width, height = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        width = height = 0
    return width or 80, height or 24
