"""The same fetches and ratios without Kafka and without a database: what the pipeline's overhead is measured against."""

from __future__ import annotations

import gc
import multiprocessing
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.stand import SEED, Listed
from pipeline.errors import NoData
from pipeline.ratios.rows import ratio_rows
from pipeline.refresh import due
from pipeline.refresh.processor import SAMPLE
from pipeline.yahoo import partly, session

#: Stocks that each process fetches before the start, so that it has cookie, connections and exchange rates: two per thread.
WARM_UP = 64


@dataclass
class Bare:
    """Stocks per second of all processes together, from their common start to the last one's end; CPU seconds per stock."""

    per_second: float
    cpu_seconds_per_stock: float


def run(base_url: str, companies: list[Listed], processes: int, threads: int, everything: bool = False) -> Bare:
    """Fetch all `companies` and compute their rows, in so many processes and threads.

    With the requests of a first run, two for most; `everything`: with all three, as a program does that knows only their symbols.
    """
    # Never forked: children would share sockets.
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes)
    results = context.SimpleQueue()
    shares = [companies[number::processes] for number in range(processes)]
    children = [context.Process(target=_work, args=(base_url, share, threads, everything, start, results)) for share in shares]
    for child in children:
        child.start()
    found = [results.get() for _ in children]
    for child in children:
        child.join()
    seconds = max(end for _, end, _ in found) - min(began for began, _, _ in found)
    return Bare(len(companies) / seconds, sum(cpu for _, _, cpu in found) / len(companies))


def _work(base_url: str, companies: list[Listed], threads: int, everything: bool, start: Any, results: Any) -> None:
    one = partial(_one, everything)
    with tempfile.TemporaryDirectory(prefix=f"stocks-bare-{SEED}-") as cache, ThreadPoolExecutor(threads) as pool:
        session.setup(base_url, Path(cache))
        list(pool.map(one, companies[:WARM_UP]))
        # As the processing consumer does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        start.wait()
        began, cpu = time.time(), time.process_time()
        list(pool.map(one, companies))
        results.put((began, time.time(), time.process_time() - cpu))


def _one(everything: bool, company: Listed) -> int:
    known = None if everything or due.share(company["symbol"], "sample") < SAMPLE else company["quote"]
    try:
        return len(ratio_rows(partly.fetch_needed(company["symbol"], known, None)))
    except NoData:
        return 0
