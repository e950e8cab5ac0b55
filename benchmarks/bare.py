"""The same fetches and ratios without Kafka and without a database: what the pipeline's overhead is measured against."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stand import SEED
from pipeline.errors import NoData
from pipeline.ratios.rows import ratio_rows
from pipeline.yahoo import fetch, session

#: Stocks that each process fetches first, so that cookie, connections and exchange rates are there: two for each thread.
WARM_UP = 64


@dataclass
class Bare:
    """stocks a second of all processes together, from their common start to the last one's end; CPU seconds a stock."""

    per_second: float
    cpu_seconds_per_stock: float


def run(base_url: str, symbols: list[str], processes: int, threads: int) -> Bare:
    """Fetch and compute all `symbols`, spread over so many processes and threads."""
    # Never forked: children would share sockets.
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    results = context.SimpleQueue()
    shares = [symbols[number::processes] for number in range(processes)]
    children = [context.Process(target=_work, args=(base_url, share, threads, start, results)) for share in shares]
    for child in children:
        child.start()
    found = [results.get() for _ in children]
    for child in children:
        child.join()
    seconds = max(end for _, end, _ in found) - min(began for began, _, _ in found)
    return Bare(len(symbols) / seconds, sum(cpu for _, _, cpu in found) / len(symbols))


def _work(base_url: str, symbols: list[str], threads: int, start: Any, results: Any) -> None:
    with tempfile.TemporaryDirectory(prefix=f"stocks-bare-{SEED}-") as cache, ThreadPoolExecutor(threads) as pool:
        session.setup(base_url, Path(cache))
        list(pool.map(_one, symbols[:WARM_UP]))
        # As the processing consumer does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        start.wait()
        began, cpu = time.time(), time.process_time()
        list(pool.map(_one, symbols))
        results.put((began, time.time(), time.process_time() - cpu))


def _one(symbol: str) -> int:
    try:
        return len(ratio_rows(fetch.fetch(symbol)))
    except NoData:
        return 0
