"""The end of a run as people read it: the account as a table, where the logs are, queries ready to paste."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from config import Settings
from pipeline.account import Account
from pipeline.display import safe

_COLUMNS = ("sent", "completed", "split", "no_data", "failed", "fresh", "abandoned", "pending")


def text(account: Account, summary: dict[str, Any], settings: Settings, log_dir: str, page: str = "") -> str:
    """The summary on the terminal."""
    lines = [f"run {summary['run_id']}: {', '.join(summary['regions'])}, {summary['elapsed_seconds']:.0f} s", ""]
    columns = [name for name in _COLUMNS if any(name in summary[stage] for stage in ("scraping", "processing"))]
    lines.append(f"{'':<12}" + "".join(f"{name.replace('_', ' '):>11}" for name in columns))
    for stage in ("scraping", "processing"):
        lines.append(f"{stage:<12}" + "".join(f"{summary[stage].get(name, '-'):>11}" for name in columns))
    lines += ["", f"{summary['stocks']} stocks, {summary['ratio_rows']} rows of ratios, {summary['dead_letters']} dead letters"]
    lines += _by_region(account)
    lines += _reasons(account)
    lines += ["", f"logs: {log_dir}", *_queries(settings)]
    if page:
        lines.append(f"page: {page} (while the services are up)")
    demo = " --demo" if settings.demo else ""
    lines.append(f"export: python export_ratios.py{demo} --format csv --where 'price_to_earnings < 15 and return_on_equity > 0.15'")
    return "\n".join(lines)


def _by_region(account: Account) -> list[str]:
    counts = Counter(task.region for task in account.processing.tasks.values())
    return ["stocks by region: " + ", ".join(f"{code} {counts[code]}" for code in account.regions)] if account.regions else []


def _reasons(account: Account) -> list[str]:
    """Why tasks failed or had no data, with counts and one task each."""
    found: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for stage in (account.scraping, account.processing):
        for task_id, task in stage.tasks.items():
            if task.state in ("failed", "no_data"):
                key = (task.state.replace("_", " "), task.reason)
                found[key] += 1
                example.setdefault(key, task_id)
    lines = [safe(f"  {count} {state}: {reason} (such as {example[state, reason]})") for (state, reason), count in found.most_common()]
    return ["", *lines] if lines else []


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
    return [f"query: {where}", f"  {sql};"]
