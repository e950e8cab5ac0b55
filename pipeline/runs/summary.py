"""The summary at the end of a run: tables of the account, the logs' folder, a query to paste."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from config import PROJECT, Settings
from pipeline.runs.account import Account
from pipeline.runs.text import safe
from pipeline.wire.states import NAMES, RARE, STATES

#: Widest line in columns, except the SQL.
WIDTH = 99
#: How many reasons (the most frequent) and regions are listed. The others are summed up.
REASONS_SHOWN = 12
REGIONS_SHOWN = 60


def text(account: Account, summary: dict[str, Any], settings: Settings, log_dir: str, page: str = "", stays: bool = True) -> str:
    """The summary for the terminal. `stays` is whether the services stay up after it."""
    lines = [_cut(f"run {summary['run_id']}: {', '.join(summary['regions'])}, {_duration(summary['elapsed_seconds'])}"), ""]
    lines += tables(account)
    lines += ["", f"{summary['stocks']} stocks, {summary['ratio_rows']} rows of ratios, {summary['dead_letters']} dead letters"]
    if summary["unreadable"]:
        lines[-1] += f", {summary['unreadable']} unreadable records (named in the consumers' logs)"
    fetched, stored = summary["processing"]["fetched"], summary["processing"]["stored"]
    lines.append(f"statements: fetched for {fetched} stocks, stored already for {stored}; {summary['requests']} requests")
    if account.lists.text():
        lines.append(_cut(account.lists.text()))
    lines += ["", f"logs:   {log_dir}", *_queries(settings)]
    demo = " --demo" if settings.demo else ""
    if summary["dead_letters"]:
        lasts = stays or settings.kafka.source != "embedded"
        command = f"{python_command()} kafka_dead_letters.py{demo} list"
        lines.append(f"failed: {command if lasts else 'the letters end with the embedded broker; the next run tries these tasks again'}")
    if page and stays:
        lines.append(f"page:   {page} (while the services are up)")
    lines.append(f"export: {python_command()} export_ratios.py{demo} --where 'price_to_earnings < 15'")
    if settings.database.source == "embedded":
        again = f"{python_command()} run_pipeline.py{demo} --services"
        lines += ["        while the services are up; to start them again:", f"        {again}"]
    return "\n".join(lines)


def python_command() -> str:
    """The command for this Python in the project's folder. After `make demo` its environment is usually not activated."""
    if shutil.which("python") == sys.executable:
        return "python"
    path = Path(sys.executable)
    return shlex.quote(str(path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path))


def tables(account: Account) -> list[str]:
    """The account as lines of text: both stages, each region's stocks, and the reasons of tasks that failed or had no data."""
    return [*_stages(account), *_by_region(account), *_reasons(account)]


def _stages(account: Account) -> list[str]:
    stages = (account.scraping, account.processing)
    columns = [state for state in NAMES if state not in RARE or any(stage[state] for stage in stages)]
    rows = []
    for stage in stages:
        known = stage.states()
        counts = [str(stage[state]) if state in known or stage[state] else "-" for state in columns]
        rows.append([stage.name, str(len(stage.tasks)), *counts])
    return _table(["", "sent", *columns], rows)


def _by_region(account: Account) -> list[str]:
    """Each region's number of stocks, and how many are in each state."""
    counts: dict[str, Counter[str]] = {code: Counter() for code in account.regions}
    for task in account.processing.tasks.values():
        counts.setdefault(task.region, Counter())[task.state] += 1
    usual = [state.name for state in STATES if state.always and state.name != "pending" and "processing" in state.stages]
    columns = [state for state in NAMES if state in usual or any(row[state] for row in counts.values())]
    named = [(f"{code} {account.regions.get(code, '')}".strip() or "?", states) for code, states in counts.items()]
    if len(named) > REGIONS_SHOWN:
        rest = sum((states for _, states in named[REGIONS_SHOWN:]), Counter())
        named = [*named[:REGIONS_SHOWN], (f"{len(named) - REGIONS_SHOWN} more", rest)]
    rows = [[name, str(states.total()), *(str(states[state]) for state in columns)] for name, states in named]
    return ["", *_table(["region", "stocks", *columns], rows)] if rows else []


def _reasons(account: Account) -> list[str]:
    """The reasons of tasks that failed or had no data, the most frequent first, with an example each."""
    with_reason = {state.name for state in STATES if state.has_reason}
    found: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for stage in (account.scraping, account.processing):
        for task_id, task in stage.tasks.items():
            if task.state in with_reason:
                key = (task.state, task.reason or "no reason given")
                found[key] += 1
                example.setdefault(key, task_id)
    if not found:
        return []
    shown = found.most_common(REASONS_SHOWN)
    width = max(len(_reason(*key)) for key, _ in shown)
    lines = [f"{'why':<{width}}    tasks  such as"]
    lines += [f"{_reason(*key):<{width}}  {count:>7}  {safe(example[key], WIDTH - width - 11)}" for key, count in shown]
    rest = found.total() - sum(count for _, count in shown)
    return ["", *lines, *([f"other reasons: {rest}"] if rest else [])]


def _reason(state: str, reason: str) -> str:
    return safe(f"{state.replace('_', ' ')}: {reason}", 44)


def _table(heading: list[str], rows: list[list[str]]) -> list[str]:
    """Aligned columns: the first to the left, all others to the right."""
    heading = [name.replace("_", " ") for name in heading]
    rows = [[safe(row[0], 30), *row[1:]] for row in rows]
    widths = [max(len(row[number]) for row in [heading, *rows]) for number in range(len(heading))]
    # A minimum width, so that columns of numbers are not too close.
    widths = [max(widths[0], 12), *(max(width, 7) for width in widths[1:])]

    def line(row: list[str]) -> str:
        return "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])

    return [_cut(line(row)) for row in [heading, *rows]]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _cut(line: str) -> str:
    return safe(line.rstrip(), WIDTH)


def _queries(settings: Settings) -> list[str]:
    database = settings.database
    sql = (
        "SELECT s.symbol, s.name, s.country_code, r.price_to_earnings, r.return_on_equity FROM financial_ratios r "
        "JOIN stock s USING (symbol) WHERE r.period_type = 'ttm' AND r.price_to_earnings < 15 AND r.return_on_equity > 0.15 "
        "ORDER BY r.price_to_earnings LIMIT 20"
    )
    if database.source == "embedded":
        where = "make sql"
    else:
        address = f"host={database.host} port={database.port} dbname={database.name} user={database.user}"
        where = f"psql {shlex.quote(address)}"
    return [f"query:  {where}", f"  {sql};"]
