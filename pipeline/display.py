"""What the monitor shows: bars on a terminal (with `rich`), plain lines elsewhere. Texts of others can't drive the terminal."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

from pipeline.account import Account, Stage

try:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the five scripts run without it: plain lines
    Live = None  # type: ignore[assignment,misc]

#: Seconds over which the rate is measured.
RATE_WINDOW_SECONDS = 30.0
#: How many of the newest errors are shown.
ERRORS_SHOWN = 5


def safe(text: str, width: int = 200) -> str:
    """`text` on one line, cut to `width`, every character that could drive a terminal replaced."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
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


class Display:
    """`live` draws on the terminal and needs `rich`; without either it prints a line at each `show`."""

    def __init__(self, live: bool, json_lines: bool = False) -> None:
        self._json = json_lines
        self._live: Any = Live(console=Console(), auto_refresh=False, transient=False) if live and Live is not None else None
        self._rates = {"scraping": Rate(), "processing": Rate()}
        self._last_line = ""

    def __enter__(self) -> Display:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, account: Account | None, elapsed_seconds: float) -> None:
        """Show the account as it is now; None where no run is known yet."""
        if self._live is not None:
            self._live.update(self._drawing(account, elapsed_seconds), refresh=True)
            return
        line = "waiting for a run" if account is None else self.line(account, elapsed_seconds)
        if self._json and account is not None:
            line = json.dumps(account.summary(elapsed_seconds))
        if line != self._last_line:
            print(line, flush=True)
            self._last_line = line

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
    def text(account: Account, elapsed_seconds: float) -> str:
        """The account and its newest errors as plain text."""
        if not account.run_id:
            return "no run yet"
        errors = [Display.error(error) for error in list(account.errors)[-ERRORS_SHOWN:]]
        return "\n".join([Display.line(account, elapsed_seconds), *errors])

    @staticmethod
    def error(error: dict[str, Any], width: int = 200) -> str:
        """One error on one line: what, which task, which attempt."""
        what = f"{error.get('error_type')}: {error.get('error')}"
        return safe(f"{error.get('status')} {error.get('task_id')} (attempt {error.get('attempt')}) {what}", width)

    def _drawing(self, account: Account | None, elapsed_seconds: float) -> Any:
        if account is None:
            return Text("Waiting for a run…", style="dim")
        assert self._live is not None
        width = self._live.console.width
        title = Text.assemble(
            ("run ", "dim"), (account.run_id, "bold"), f"   {elapsed_seconds:.0f} s   ", (", ".join(account.regions), "cyan")
        )
        stages = Table.grid(padding=(0, 1), expand=True)
        for _ in range(2):
            stages.add_column(no_wrap=True)
        stages.add_column(ratio=1)
        stages.add_column(justify="right", no_wrap=True)
        counts = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name in ("", "sent", "completed", "split", "no data", "failed", "retrying", "pending", "per second"):
            counts.add_column(name, justify="left" if not name else "right", no_wrap=True)
        for stage in (account.scraping, account.processing):
            bar = ProgressBar(total=max(len(stage.tasks), 1), completed=stage.finished)
            stages.add_row(stage.name, f"{percent(stage):3.0f} %", bar, f"{stage.finished}/{len(stage.tasks)}")
            failed = Text(str(stage["failed"]), style="bold red" if stage["failed"] else "")
            row: list[Any] = [
                stage.name,
                str(len(stage.tasks)),
                str(stage["completed"]),
                str(stage["split"]),
                str(stage["no_data"]),
                failed,
            ]
            counts.add_row(*row, str(stage.retrying), str(stage["pending"]), f"{self._rates[stage.name](stage.finished):.1f}")
        errors = [Text(self.error(error, width), style="yellow", no_wrap=True) for error in list(account.errors)[-ERRORS_SHOWN:]]
        parts: list[Any] = [title, Text(""), stages, Text(""), counts]
        return Group(*parts, Text(""), Text("recent errors", style="dim"), *errors) if errors else Group(*parts)
