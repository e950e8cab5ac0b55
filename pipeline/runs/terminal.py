"""What the monitor shows: bars on a terminal (with `rich`), plain lines elsewhere. Texts of others can't drive the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from pipeline.runs.account import Account, Stage
from pipeline.runs.lag import FINE, GroupLag
from pipeline.wire.text import printable

#: Seconds over which the rate is measured.
RATE_WINDOW_SECONDS = 30.0
#: How many of the newest errors plain text shows.
ERRORS_SHOWN = 5
#: A line that is wider than the terminal is cut there, not wrapped: one name whose width terminals disagree on would move all.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
#: Ends the drawing without a word to `rich`: the other screen, the cursor, the wrapping.
_LEAVE = f"{_WRAP}\x1b[?25h\x1b[?1049l"


def safe(text: str, width: int = 200) -> str:
    """`text` on one line, cut to `width`, every character that could drive a terminal replaced."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def percent(stage: Stage) -> float:
    """Share of the stage's tasks that have a final state, in percent; 0 before the first task."""
    return 100.0 * stage.finished / len(stage.tasks) if stage.tasks else 0.0


class Rate:
    """Final states a second over the last RATE_WINDOW_SECONDS."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def __call__(self, count: int) -> float:
        now = time.monotonic()
        if self._seen and count < self._seen[-1][1]:
            self._seen.clear()  # another run
        self._seen.append((now, count))
        while now - self._seen[0][0] > RATE_WINDOW_SECONDS:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        return (count - self._seen[0][1]) / seconds if seconds > 0 else 0.0


@dataclass(frozen=True)
class View:
    """All that the monitor knows at one moment.

    account: None where no run is known yet; reading: what stands in the topics is not read to its end yet; ending: the run is
    being stopped; lost_seconds: since when the broker does not answer, None while it does; problem: why not, or why there are no
    groups; throttle, page: one line each, "" for none; rates: final states a second.
    """

    account: Account | None
    elapsed_seconds: float = 0.0
    reading: bool = False
    ending: bool = False
    lost_seconds: float | None = None
    problem: str = ""
    groups: tuple[GroupLag, ...] = ()
    throttle: str = ""
    page: str = ""
    scraping_rate: float = 0.0
    processing_rate: float = 0.0

    @property
    def lost(self) -> str:
        """What to say of a broker that is away; "" while it is there."""
        return "" if self.lost_seconds is None else f"broker not reachable since {self.lost_seconds:.0f} s; trying again"


class Rates:
    """The rates of both stages of one run."""

    def __init__(self) -> None:
        self._run_id = ""
        self._rates: dict[str, Rate] = {}

    def __call__(self, account: Account | None) -> tuple[float, float]:
        """Final states a second: scraping, processing."""
        if account is None:
            return 0.0, 0.0
        if account.run_id != self._run_id:
            self._run_id = account.run_id
            self._rates = {"scraping": Rate(), "processing": Rate()}
        return self._rates["scraping"](account.scraping.finished), self._rates["processing"](account.processing.finished)


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

    def show(self, view: View) -> None:
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
            self._print(self.view_line(view))

    def _print(self, line: str) -> None:
        if line != self._last_line:
            print(line, flush=True)
            self._last_line = line

    def _write(self, codes: str) -> None:
        assert self._live is not None
        self._live.console.file.write(codes)
        self._live.console.file.flush()

    @staticmethod
    def view_line(view: View) -> str:
        """The view on one line."""
        if view.account is None:
            return view.lost or "waiting for a run"
        if view.lost:
            return f"{view.account.run_id} {view.elapsed_seconds:5.0f} s  {view.lost}"
        bad = [f"{group.name} {group.verdict} ({group.lag} behind)" for group in view.groups if group.verdict not in (None, FINE)]
        return "  ".join([Display.line(view.account, view.elapsed_seconds), *bad])

    @staticmethod
    def line(account: Account, elapsed_seconds: float) -> str:
        """The account on one line."""
        parts = []
        for stage in (account.scraping, account.processing):
            counts = ", ".join(
                f"{stage[state]} {state.replace('_', ' ')}" for state in stage.states() if stage[state] or state == "pending"
            )
            retrying = f", {stage.retrying} retrying" if stage.retrying else ""
            parts.append(f"{stage.name} {stage.finished}/{len(stage.tasks)} ({percent(stage):.0f} %: {counts}{retrying})")
        return f"{account.run_id} {elapsed_seconds:5.0f} s  " + "  ".join(parts)

    @staticmethod
    def errors(account: Account) -> list[str]:
        """The newest errors, with a heading; nothing where there are none."""
        lines = [Display.error(error) for error in list(account.errors)[-ERRORS_SHOWN:]]
        return ["", "newest errors:", *lines] if lines else []

    @staticmethod
    def error(error: dict[str, Any], width: int = 200) -> str:
        """One error on one line: what, which task, which attempt."""
        what = f"{error.get('error_type')}: {error.get('error')}"
        return safe(f"{error.get('status')} {error.get('task_id')} (attempt {error.get('attempt')}) {what}", width)


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
