"""Shows the monitor's view: drawn if `rich` is installed and the terminal supports it, else line by line."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any

from pipeline.runs.text import view_line
from pipeline.runs.view import MonitorView

#: Turn off wrapping: terminals disagree about the width of some names, and one wrapped line would shift all others.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
#: Ends the drawing without `rich`: leaves the other screen, shows the cursor, turns wrapping on.
_LEAVE = f"{_WRAP}\x1b[?25h\x1b[?1049l"


class Display:
    """Draws on the terminal if `live` and `rich` is installed. Otherwise each `show` prints a line."""

    def __init__(self, live: bool, json_lines: bool = False) -> None:
        self._json = json_lines
        self._live = _live() if live else None
        self._last_line = ""

    @property
    def draws(self) -> bool:
        """Whether it draws. If so, call `show` often; else each call prints a line."""
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
        """Restore the terminal at once, from any thread, because this process is about to end."""
        if self._live is not None:
            with contextlib.suppress(OSError, ValueError):
                os.write(sys.stdout.fileno(), _LEAVE.encode())

    def show(self, view: MonitorView) -> None:
        """Show the view."""
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
    """The object that draws, or None if `rich` is missing or the terminal can't draw."""
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
    """Current columns and lines. This process gets no signal when they change, because its session has no terminal."""
    try:
        width, height = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        width = height = 0
    return width or 80, height or 24
