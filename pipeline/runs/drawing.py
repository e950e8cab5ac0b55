"""Draws the monitor's view with `rich` into a given number of lines and columns. Pure: it does not access the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.text import Text

from pipeline.runs.account import Account, Stage
from pipeline.runs.lag import FINE, REWOUND, SLOW, STALLED, STOPPED, WAITING, GroupLag
from pipeline.runs.text import percent, safe
from pipeline.runs.view import MonitorView
from pipeline.wire.states import NAMES, RARE, STATES

#: Number of errors that have priority over the regions in a low window.
ERRORS_FIRST = 3
#: Columns of the counts, in order. Rare states are shown only if a task is in them.
_COLUMNS = ("sent", *(state for state in NAMES if state != "pending"), "retrying", "pending")
#: Columns that are left out of a narrow window if they have no counts, in this order.
_LEFT_OUT = (*(state.name for state in STATES if len(state.stages) == 1), "retrying", "completed")
_VERDICTS = {FINE: "green", WAITING: "yellow", SLOW: "yellow", STALLED: "bold red", STOPPED: "bold red", REWOUND: "yellow", None: "dim"}
_STATES = {"failed": "bold red", "retrying": "yellow", "completed": "green"}


def draw(view: MonitorView, width: int, height: int, ascii_only: bool = False) -> Group:
    """The view in at most `height` lines of at most `width` cells. ascii_only: for terminals that can only show ASCII."""
    lines = _lines(view, width, height, ascii_only)[:height]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="crop" if ascii_only else "ellipsis")
    return Group(*lines)


def seconds_text(seconds: float) -> str:
    """As on a clock: 0:09, 12:34, 1:02:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _lines(view: MonitorView, width: int, height: int, ascii_only: bool) -> list[Text]:
    account = view.account
    if account is None:
        return [_lost(view) if view.lost else Text("Waiting for a run…", style="dim"), *_groups(view)]
    head = [_title(account, view, width), _status(account, view)]
    stages = [
        _stage(account.scraping, view.scraping_rate, False, width, ascii_only),
        _stage(account.processing, view.processing_rate, bool(account.scraping["pending"]), width, ascii_only),
    ]
    counts = _counts((account.scraping, account.processing), width)
    groups = _groups(view)
    errors = [_error(error, account.run_id, width) for error in reversed(account.newest_errors())]
    room = height - len(head) - len(stages) - len(counts) - len(groups)
    regions = _regions(account, max(1, room - (1 + min(len(errors), ERRORS_FIRST) if errors else 0)), width, ascii_only)
    room -= len(regions)
    wanted = [head, stages, counts, regions, groups]
    blanks = max(0, min(4, room - (1 + min(len(errors), ERRORS_FIRST) if errors else 0)))
    # The first three blank lines separate the regions from the other parts. The one below the head comes last.
    gaps = {2: blanks >= 1, 3: blanks >= 2, 4: blanks >= 3, 0: blanks >= 4}
    lines: list[Text] = []
    for number, part in enumerate(wanted):
        lines += part
        # Without errors nothing comes after the groups.
        if gaps.get(number) and (number != 4 or errors):
            lines.append(Text(""))
    if errors:
        lines.append(Text(f"recent errors ({len(errors)}{'+' if len(errors) == account.errors.maxlen else ''})", style="dim"))
        lines += errors
    return lines


def _title(account: Account, view: MonitorView, width: int) -> Text:
    line = Text.assemble(("run ", "dim"), (account.run_id, "bold"), "  ", seconds_text(view.elapsed_seconds), "  ")
    codes = ", ".join(account.regions)
    line.append(safe(codes if cell_len(codes) <= width - line.cell_len else f"{len(account.regions)} regions"), style="cyan")
    return line


def _status(account: Account, view: MonitorView) -> Text:
    if view.ending:
        return Text("stopping: the workers finish their tasks (press Ctrl+C again to stop at once)", style="bold yellow")
    if view.lost:
        return _lost(view)
    if view.reading:
        line = Text("reading the topics…", style="dim")
    elif account.scraping.tasks and not account.pending:
        failed = f"; {account.failed} failed, they are in the dead letters" if account.failed else ""
        line = Text(f"done: nothing is pending{failed}", style="bold yellow" if failed else "bold green")
    else:
        line = Text("under way", style="dim")
    if account.unreadable:
        line.append(f"   unreadable records: {account.unreadable}", style="yellow")
    if view.page:
        line.append(f"   page: {safe(view.page)}", style="dim")
    if account.lists.text():
        line.append(f"   {account.lists.text()}", style="dim")
    return line


def _lost(view: MonitorView) -> Text:
    return Text.assemble((view.lost, "bold red"), (f"   {safe(view.problem)}" if view.problem else "", "dim"))


def _bar(fraction: float, width: int, ascii_only: bool) -> Text:
    """A progress bar. The unfilled part is thinner as well as darker, so that it is visible without colours."""
    full, rest = ("#", "-") if ascii_only else ("━", "─")
    filled = int(fraction * width)
    style = "green" if fraction >= 1 else "cyan"
    return Text.assemble((full * filled, style), (rest * (width - filled), "dim"))


def _stage(stage: Stage, rate: float, grows: bool, width: int, ascii_only: bool) -> Text:
    """grows: more tasks will come, so the time left is a minimum."""
    left = ""
    if rate > 0 and stage["pending"]:
        left = f"left {seconds_text(stage['pending'] / rate)}{'+' if grows else ''}"
    end = f"{stage.finished}/{len(stage.tasks)}".rjust(13) + f"{rate:.1f}/s".rjust(9) + f"  {left:<14}"
    start = f"{stage.name:<10} {int(percent(stage)):3} % "
    room = max(0, width - len(start) - len(end))
    return Text.assemble((start, "bold"), _bar(percent(stage) / 100, room, ascii_only), end)


def _counts(stages: Sequence[Stage], width: int) -> list[Text]:
    """A heading and one line per stage; `-` for a state that the stage does not have. A narrow window has no empty columns."""

    def value(stage: Stage, column: str) -> int | None:
        if column in ("sent", "retrying"):
            return {"sent": len(stage.tasks), "retrying": stage.retrying}[column]
        return stage[column] if column in stage.states() else None

    values = {column: [value(stage, column) for stage in stages] for column in _COLUMNS}
    columns = [column for column in _COLUMNS if column not in RARE or any(values[column])]

    def widths(gap: int) -> list[int]:
        return [gap + max(len(column), *(len(_count(number)) for number in values[column])) for column in columns]

    for column in _LEFT_OUT:
        if 10 + sum(widths(1)) > width and column in columns and not any(values[column]):
            columns.remove(column)
    gap = 2 if 10 + sum(widths(2)) <= width else 1
    heading = Text(" " * 10, style="dim")
    for column, size in zip(columns, widths(gap), strict=True):
        heading.append(column.replace("_", " ").rjust(size))
    lines = [heading]
    for number, stage in enumerate(stages):
        line = Text(f"{stage.name:<10}")
        for column, size in zip(columns, widths(gap), strict=True):
            count = values[column][number]
            line.append(_count(count).rjust(size), style=_STATES.get(column, "") if count else "dim")
        lines.append(line)
    return lines


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _regions(account: Account, most: int, width: int, ascii_only: bool) -> list[Text]:
    """A bar for each region, of its stocks. If there is no room for all, the last line sums up the others."""
    scraping: Counter[tuple[str, str]] = Counter((task.region, task.state) for task in account.scraping.tasks.values())
    processing: Counter[tuple[str, str]] = Counter((task.region, task.state) for task in account.processing.tasks.values())
    parts = []
    for code, name in account.regions.items():
        states = {state: count for (region, state), count in processing.items() if region == code}
        bands = {state: count for (region, state), count in scraping.items() if region == code}
        parts.append((code, name, states, bands))
    shown = parts if len(parts) <= most else parts[: most - 1]
    lines = [_region(*part, width, ascii_only) for part in shown]
    rest = parts[len(shown) :]
    if rest:
        sent = sum(sum(states.values()) for _, _, states, _ in rest)
        done = sent - sum(states.get("pending", 0) for _, _, states, _ in rest)
        lines.append(Text(f"and {len(rest)} more regions: {done}/{sent}", style="dim"))
    return lines


def _region(code: str, name: str, states: dict[str, int], bands: dict[str, int], width: int, ascii_only: bool) -> Text:
    sent = sum(states.values())
    done = sent - states.get("pending", 0)
    names = 14 if width < 100 else 30
    start = f"{_cells(code, 3)} {_cells(name, names)} {100 * done // sent if sent else 0:3} % "
    notes = []
    if bands.get("pending"):
        notes.append((f"scraping {bands['pending']}", "cyan"))
    for stage, failed in (("bands ", bands.get("failed", 0)), ("", states.get("failed", 0))):
        if failed:
            notes.append((f"{stage}{failed} failed", "bold red"))
    if states.get("no_data"):
        notes.append((f"{states['no_data']} no data", ""))
    end = f"{done}/{sent}".rjust(12) + "  "
    tail = Text(", ").join(Text(text, style=style) for text, style in notes)
    space = 22 if width < 100 else 36
    room = max(0, width - cell_len(start) - len(end) - space)
    return Text.assemble(start, _bar(done / sent if sent else 0.0, room, ascii_only), end, tail)


def _cells(text: str, width: int) -> str:
    """`text` in exactly `width` cells. Some letters take two cells."""
    text = safe(text)
    return set_cell_size(text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…", width)


def _groups(view: MonitorView) -> list[Text]:
    lines = [_group(group) for group in view.groups]
    if view.problem and not view.groups and not view.lost:
        lines.append(Text(safe(f"groups: {view.problem}"), style="yellow"))
    if view.throttle:
        lines.append(Text.assemble(("throttle ".ljust(18), "dim"), safe(view.throttle)))
    return lines


def _group(group: GroupLag) -> Text:
    members = "" if group.members is None else f"{group.members} member{'' if group.members == 1 else 's'}"
    judgement = (group.judgement, _VERDICTS[group.verdict])
    return Text.assemble((safe(group.name, 17).ljust(18), "dim"), f"lag {group.lag}".ljust(11), f" {members:<11} ", judgement)


def _error(error: dict[str, Any], run_id: str, width: int) -> Text:
    """Status, task and reason. The task_id is shown without its run_id, which is in the title."""
    status = str(error.get("status"))
    task = str(error.get("task_id")).replace(f":{run_id}:", ":", 1).removeprefix("process:")
    why = f"{error.get('error_type')}: {error.get('error')} (attempt {error.get('attempt')})"
    line = Text.assemble((safe(status, 8).ljust(9), "bold red" if status == "failed" else "dim" if status == "retried" else "yellow"))
    return line.append(f"{safe(task, 40):<10}", style="bold").append("  ").append(safe(why, max(width, 20)))
