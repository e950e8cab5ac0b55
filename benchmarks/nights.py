"""Nights on which no company has published anything: the rows are computed from what is stored, without a request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import config
from benchmarks.stand import Listed, Stand, say
from pipeline.storage import database

#: The factor by which every price moves in a night.
MOVE = 1.0137


def run(stand: Stand, processors: int) -> dict[str, Any]:
    """A first run, a night without a new price, two nights on which every price moves, and recompute_ratios.py."""
    companies = stand.companies()
    stand.start("processing", processors)
    stand.process(companies)
    sizes = [_size(stand)]
    turns = []
    for prices in (companies, _moved(companies, MOVE), _moved(companies, MOVE**2)):
        turns.append(stand.process(prices))
        sizes.append(_size(stand))
        say(f"night: {turns[-1].per_second:.0f} stocks/s, {turns[-1].requests} requests, database {sizes[-1] / sizes[-2] - 1:+.2%}")
    stand.stop_consumers()
    recomputed = _recompute(stand)
    say(f"recompute_ratios.py: {recomputed:.0f} stocks/s")
    growth = [later / earlier - 1 for earlier, later in pairwise(sizes)]
    return {
        "night_stocks_per_second": turns[1].per_second,
        "night_cpu_ms_per_stock": 1000 * turns[1].cpu_seconds / turns[1].tasks,
        "night_requests": sum(turn.requests for turn in turns),
        "night_growth_percent": {name: 100 * one for name, one in zip(("unchanged", "moved", "moved again"), growth, strict=True)},
        "recompute_stocks_per_second": recomputed,
    }


def _moved(companies: list[Listed], factor: float) -> list[Listed]:
    """The same companies; prices and market caps are multiplied by `factor`."""
    moved: list[Listed] = []
    for one in companies:
        prices = {name: value * factor for name, value in one["quote"].items() if name in ("regularMarketPrice", "marketCap")}
        moved.append({**one, "quote": {**one["quote"], **prices}})
    return moved


def _size(stand: Stand) -> int:
    """Bytes of the database."""
    connection = database.connect(stand.settings.database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        size = int(cursor.fetchone()[0])
    connection.close()
    return size


def _recompute(stand: Stand) -> float:
    """Stocks per second, as the program prints them. The time includes the start of its processes."""
    command = [sys.executable, "recompute_ratios.py", "--demo"]
    environ = {**os.environ, **stand.environ}
    output = subprocess.run(command, cwd=config.PROJECT, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    found = re.search(r"([\d.]+) stocks a second", output.stdout)
    assert found is not None, output.stdout
    return float(found[1])
