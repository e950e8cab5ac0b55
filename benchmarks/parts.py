"""The parts of the benchmark: each returns some keys of the result, and reports its progress on standard error."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import config
from benchmarks import allowance, bare, carriers, nights, sequential
from benchmarks.stand import PART_SECONDS, Stand, Timed, Watch, home, say, wait_until
from pipeline.wire import topics

#: The site's latency in ms: of each request, and of each page of the screener.
LATENCY_MS = 100
PAGE_LATENCY_MS = 1_000
_LATENCIES = ["--latency-ms", str(LATENCY_MS), "--page-latency-ms", str(PAGE_LATENCY_MS)]
PROCESSORS = 2
SCRAPERS = 2
THREADS = 32
#: If the site is to be the limit: its latency in ms, and the threads and stocks of each consumer.
SLOW_LATENCY_MS = 400
SLOW_THREADS = 4
SLOW_STOCKS = 100
CONSUMERS = (1, 2, 4, 8)
BROWSERS = (1, 2, 4)

#: Some parts give the same stocks several times and measure the fetch, so each task must fetch.
ALL = ("--refresh", "all")

Found = dict[str, Any]


def sequential_program(options: argparse.Namespace) -> Found:
    """The plain program, on a market of the same size as the pipeline's."""
    with home() as folder, Stand(folder, [*_LATENCIES, "--stocks", str(options.stocks)]) as stand:
        found = sequential.run(stand.settings, "us", options.sample, stand.requests)
    say(
        f"sequential: {found.per_second:.3f} stocks/s ({found.scraping_seconds_per_stock:.3f} s scraping and "
        f"{found.processing_seconds_per_stock:.3f} s processing a stock, {found.requests_per_stock:.1f} requests)"
    )
    return {
        "sequential_stocks_per_second": found.per_second,
        "sequential_processing_stocks_per_second": found.processing_per_second,
        "sequential_requests_per_stock": found.requests_per_stock,
    }


def whole_pipeline(options: argparse.Namespace) -> Found:
    """run_pipeline.py with nothing stored, from the first scraping task to the last completion."""
    with home() as folder:
        command = [sys.executable, "run_pipeline.py", "--demo", "--stocks", str(options.stocks), *_LATENCIES]
        command += ["--scrapers", str(SCRAPERS), "--processors", str(PROCESSORS)]
        environ = {**os.environ, "PIPELINE_HOME": str(folder)}
        log_file = folder / "run.log"
        with open(log_file, "wb") as log:
            process = subprocess.Popen(
                command, cwd=config.PROJECT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(lambda: "the run is done" in _text(log_file, process), PART_SECONDS, "the run")
            timed = _read_back(environ)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    say(f"whole pipeline: {timed.tasks} stocks in {timed.seconds:.1f} s, {timed.per_second:.1f} stocks/s")
    return {"pipeline_stocks": timed.tasks, "pipeline_seconds": timed.seconds, "pipeline_stocks_per_second": timed.per_second}


def _text(log_file: Path, process: subprocess.Popen[bytes]) -> str:
    text = log_file.read_text()
    if process.poll() is not None:
        raise RuntimeError(f"run_pipeline.py ended early:\n{text[-2000:]}")
    return text


def _read_back(environ: dict[str, str]) -> Timed:
    """The finished run's times, from the topics of the demo that is still up."""
    settings = config.load(True, environ)
    scraping, processing = Watch(settings, topics.SCRAPING), Watch(settings, topics.PROCESSING)
    wait_until(lambda: scraping.read() and scraping.first_task < float("inf"), 30, "the scraping tasks")
    known = -1
    while known < len(processing.final):
        known = len(processing.final)
        for _ in range(5):
            processing.read()
    scraping.close()
    processing.close()
    return Timed(scraping.first_task, list(processing.final.values()))


def processing_stage(options: argparse.Namespace) -> Found:
    """Two consumers and the tasks of a first run, all sent at once, in turn with bare loops of as many processes and threads."""
    with home() as folder, Stand(folder, ["--latency-ms", str(LATENCY_MS), "--stocks", str(options.stocks)], THREADS) as stand:
        companies = stand.companies()
        # The market makes each answer at its first request, so the first measurement would pay for it.
        bare.run(stand.settings.yahoo_base_url, companies, PROCESSORS, THREADS, everything=True)
        bares, plain, timed = [], [], []
        stand.start("processing", PROCESSORS)
        stand.process(companies[: 4 * THREADS])  # cookies, connections, exchange rates
        market_cpu = 0.0
        # In turn, since a shared machine's speed changes within minutes. Idle consumers cost the loop 1 % of a core.
        for _ in range(options.repeat):
            bares.append(bare.run(stand.settings.yahoo_base_url, companies, PROCESSORS, THREADS))
            say(f"bare loop: {bares[-1].per_second:.1f} stocks/s, {1000 * bares[-1].cpu_seconds_per_stock:.1f} ms of CPU per stock")
            stand.forget()
            before = stand.market_cpu_seconds()
            timed.append(stand.process(companies))
            market_cpu += stand.market_cpu_seconds() - before
            plain.append(bare.run(stand.settings.yahoo_base_url, companies, PROCESSORS, THREADS, everything=True))
            cpu_ms = 1000 * timed[-1].cpu_seconds / timed[-1].tasks
            say(f"processing: {timed[-1].per_second:.1f} stocks/s, {cpu_ms:.1f} ms of CPU per stock")
            say(f"bare loop of three requests: {plain[-1].per_second:.1f} stocks/s")
    best, best_bare = max(timed, key=lambda one: one.per_second), max(bares, key=lambda one: one.per_second)
    best_plain = max(one.per_second for one in plain)
    total = sum(one.tasks for one in timed)
    return {
        "processing_stocks_per_second": best.per_second,
        "processing_cpu_ms_per_stock": 1000 * sum(one.cpu_seconds for one in timed) / total,
        "bare_stocks_per_second": best_bare.per_second,
        "bare_cpu_ms_per_stock": 1000 * sum(one.cpu_seconds_per_stock for one in bares) / len(bares),
        "market_cpu_ms_per_stock": 1000 * market_cpu / total,
        "efficiency_vs_bare_fetch": best.per_second / best_bare.per_second,
        "plain_stocks_per_second": best_plain,
        "efficiency_vs_three_requests": best.per_second / best_plain,
        "requests_per_stock": sum(one.requests for one in timed) / total,
    }


def scaling(options: argparse.Namespace) -> Found:
    """1, 2, 4 and 8 processing consumers while the site is the limit."""
    rates = {}
    stocks = SLOW_STOCKS * max(CONSUMERS)
    with home() as folder, Stand(folder, ["--latency-ms", str(SLOW_LATENCY_MS), "--stocks", str(stocks)], SLOW_THREADS, ALL) as stand:
        companies = stand.companies()
        for count in CONSUMERS:
            stand.start("processing", count)
            stand.process(companies[: 4 * count * SLOW_THREADS])
            rates[count] = stand.process(companies[: SLOW_STOCKS * count]).steady_per_second
            say(f"{count} processing consumers: {rates[count]:.2f} stocks/s")
    return {
        "scaling": {str(count): rate / rates[1] for count, rate in rates.items()},
        "scaling_stocks_per_second": {str(count): rate for count, rate in rates.items()},
    }


def one_region(options: argparse.Namespace) -> Found:
    """Seconds in which 1, 2 and 4 browsers list one region of `--region-stocks` stocks."""
    seconds = {}
    stocks = options.region_stocks * 5 // 2  # two of five are American
    with home() as folder, Stand(folder, ["--page-latency-ms", str(PAGE_LATENCY_MS), "--stocks", str(stocks)]) as stand:
        for count in BROWSERS:
            stand.start("scraping", count)
            seconds[count] = stand.scrape("us").seconds
            say(f"{count} browsers: {seconds[count]:.1f} s for a region of {options.region_stocks} stocks")
    return {"one_region_seconds": {str(count): one for count, one in seconds.items()}}


def memory(options: argparse.Namespace) -> Found:
    """Peak memory of one processing consumer after a tenth of the tasks, and after all."""
    with home() as folder, Stand(folder, ["--stocks", "250"], THREADS, ALL) as stand:
        stand.start("processing", 1)
        companies = stand.companies()[:200]
        runs = max(options.memory_tasks // len(companies) // 10, 1)
        first = stand.process(companies, runs)
        last = first
        for _ in range(9):
            last = stand.process(companies, runs)
            say(f"memory: peak of {last.peak_memory_bytes / 1e6:.0f} MB ({last.per_second:.0f} stocks/s)")
    return {
        "memory_growth": last.peak_memory_bytes / first.peak_memory_bytes,
        "memory_peak_mb": last.peak_memory_bytes / 1e6,
        "memory_tasks": 10 * first.tasks,
    }


def what_carries(options: argparse.Namespace) -> Found:
    """Kafka alone and PostgreSQL alone."""
    with home() as folder, Stand(folder, ["--stocks", "100"]) as stand:
        found = {
            "broker_messages_per_second": carriers.broker_messages_per_second(stand, options.messages),
            "rows_per_second": carriers.rows_per_second(stand, 5.0),
        }
    say(f"broker: {found['broker_messages_per_second']:.0f} messages/s; PostgreSQL: {found['rows_per_second']:.0f} rows/s")
    return found


def site_allowance(options: argparse.Namespace) -> Found:
    """How well the throttle uses what the site allows. Takes 25 minutes."""
    return allowance.run()


def ordinary_nights(options: argparse.Namespace) -> Found:
    """Nights on which no company publishes anything: no requests."""
    with home() as folder, Stand(folder, ["--stocks", str(options.night_stocks)], THREADS) as stand:
        return nights.run(stand, PROCESSORS)


PARTS = {
    "sequential": sequential_program,
    "whole": whole_pipeline,
    "processing": processing_stage,
    "nights": ordinary_nights,
    "scaling": scaling,
    "one-region": one_region,
    "memory": memory,
    "carriers": what_carries,
    "allowance": site_allowance,
}
#: What is measured if no part is named: the other one takes longer than all of these.
USUAL = [name for name in PARTS if name != "allowance"]
