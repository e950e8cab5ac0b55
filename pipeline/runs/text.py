"""A run as lines of text, for logs and for terminals that do not draw. Pure. Untrusted text is made printable."""

from __future__ import annotations

from typing import Any

from pipeline.runs.account import Account, Stage
from pipeline.runs.lag import FINE
from pipeline.runs.view import MonitorView
from pipeline.wire.text import printable

#: How many of the newest errors are shown.
ERRORS_SHOWN = 5


def safe(text: str, width: int = 200) -> str:
    """`text` on one line, cut to `width`, with every character replaced that could control a terminal."""
    shown = printable(text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def percent(stage: Stage) -> float:
    """Share of the stage's tasks that have a final state, in percent; 0 before the first task."""
    return 100.0 * stage.finished / len(stage.tasks) if stage.tasks else 0.0


def view_line(view: MonitorView) -> str:
    """The view on one line."""
    if view.account is None:
        return view.lost or "waiting for a run"
    if view.lost:
        return f"{view.account.run_id} {view.elapsed_seconds:5.0f} s  {view.lost}"
    bad = [f"{group.name} {group.verdict} ({group.lag} behind)" for group in view.groups if group.verdict not in (None, FINE)]
    waits = [safe(view.waits)] if view.waits else []
    return "  ".join([account_line(view.account, view.elapsed_seconds), *bad, *waits])


def account_line(account: Account, elapsed_seconds: float) -> str:
    """The account on one line."""
    parts = []
    for stage in (account.scraping, account.processing):
        counts = ", ".join(f"{stage[state]} {state.replace('_', ' ')}" for state in stage.states() if stage[state] or state == "pending")
        retrying = f", {stage.retrying} retrying" if stage.retrying else ""
        parts.append(f"{stage.name} {stage.finished}/{len(stage.tasks)} ({percent(stage):.0f} %: {counts}{retrying})")
    unreadable = [f"unreadable records: {account.unreadable}"] if account.unreadable else []
    return f"{account.run_id} {elapsed_seconds:5.0f} s  " + "  ".join([*parts, *unreadable])


def error_lines(account: Account) -> list[str]:
    """The newest errors with a heading; empty if there are none."""
    lines = [_error_line(error) for error in account.newest_errors()[-ERRORS_SHOWN:]]
    return ["", "newest errors:", *lines] if lines else []


def _error_line(error: dict[str, Any]) -> str:
    """One error: status, task, attempt and text."""
    what = f"{error.get('error_type')}: {error.get('error')}"
    return safe(f"{error.get('status')} {error.get('task_id')} (attempt {error.get('attempt')}) {what}")
