"""What a benchmark runs on: market, broker and PostgreSQL in a home of their own, and the project's scripts as children."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import config
from config import Settings
from kafka_scraper_producer import ScraperProducer
from launch.services import Services
from local.market import screening
from local.market.companies import REGION_SHARES, build_market
from local.postgres_place import remove_data
from local.state import data_dir
from pipeline.broker import clients
from pipeline.broker.patient import partitions_of
from pipeline.broker.sender import Message, Sender
from pipeline.process import child as children
from pipeline.process import discovery
from pipeline.process.child import Child
from pipeline.storage import database
from pipeline.wire import messages, quotes, topics
from pipeline.wire.market_cap import parse_band
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.regions import REGIONS

#: Seconds in which consumers must have joined their group, and in which a part must come to its end.
JOIN_SECONDS = 90.0
PART_SECONDS = 600.0
#: The market's seed.
SEED = 1
#: The consumers, by stage.
SCRIPTS = {"scraping": "kafka_scraper_consumer.py", "processing": "kafka_processing_consumer.py"}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> Any:
    """The value of `condition` once it is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)
    return value


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A folder for state and logs, removed at the end. After a failure its logs stay, and their path is printed."""
    folder = Path(tempfile.mkdtemp(prefix="stocks-"))
    environ = {"PIPELINE_HOME": str(folder)}
    try:
        yield folder
    except BaseException:
        say(f"logs: {folder}/logs")
        raise
    finally:
        for demo in (True, False):
            remove_data(data_dir(config.state_dir(demo, environ)))
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Timed:
    """One run of tasks: from the first task's time stamp to the last completion's, and what it cost the consumers."""

    began: float
    completions: list[float]
    cpu_seconds: float = 0.0
    requests: int = 0
    peak_memory_bytes: int = 0

    @property
    def tasks(self) -> int:
        return len(self.completions)

    @property
    def seconds(self) -> float:
        return max(self.completions) - self.began

    @property
    def per_second(self) -> float:
        return self.tasks / self.seconds

    @property
    def steady_per_second(self) -> float:
        """Between the first tenth and the last fifth: while every consumer has work."""
        ordered = sorted(self.completions)
        first, last = len(ordered) // 10, len(ordered) * 8 // 10
        return (last - first) / (ordered[last] - ordered[first])


class Listed(TypedDict):
    """What a listing says about a company."""

    symbol: str
    name: str
    region: str
    quote: dict[str, Any]


class Stand:
    """Embedded services, and consumers that have joined their group. A context manager."""

    def __init__(self, folder: Path, market_options: list[str], threads: int = 32, processing_options: Sequence[str] = ()) -> None:
        """processing_options: command line options of the processing consumers, beside `--demo`."""
        self.folder = folder
        self._options = {"processing": list(processing_options), "scraping": []}
        self._stocks = int(market_options[market_options.index("--stocks") + 1])
        self.environ = {"PIPELINE_HOME": str(folder), "PROCESSOR_THREADS": str(threads), "REQUESTS_PER_SECOND": "0"}
        self.settings: Settings = config.load(True, {**os.environ, **self.environ})
        self.services = Services.start(self.settings, folder / "logs", ["--seed", str(SEED), *market_options], lambda text: None)
        self.settings = self.services.settings
        self.consumers: list[Child] = []
        self._runs = 0
        try:
            discovery.ensure_topics(self.settings)
            self.producer = Sender(self.settings.kafka)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stop_consumers()
        self.services.stop()

    def stop_consumers(self) -> None:
        children.stop(self.consumers)
        self.consumers = []

    def add(self, stage: str) -> Child:
        """Start one more consumer of a stage, `processing` or `scraping`, and wait for nothing."""
        log_file = self.folder / "logs" / f"{stage}-{time.time_ns()}.log"
        command = [SCRIPTS[stage], "--demo", *self._options[stage]]
        self.consumers.append(Child(f"{stage}-{len(self.consumers)}", command, log_file, dict(self.environ)))
        self.consumers[-1].start()
        return self.consumers[-1]

    def start(self, stage: str, count: int) -> None:
        """Start consumers of a stage until there are `count`, and wait until all share the partitions."""
        for _ in range(len(self.consumers), count):
            self.add(stage)
        partitions = 2 * self.settings.kafka.task_partitions

        def all_share() -> bool:
            held = [_partitions_held(child) for child in self.consumers]
            return min(held) > 0 and sum(held) == partitions

        wait_until(all_share, JOIN_SECONDS, "the consumers' joining their group")

    # -- tasks ------------------------------------------------------------------------------------------------------

    def companies(self) -> list[Listed]:
        """The market's companies within the default band and regions, each with the quote that a listing has of it."""
        market = build_market(self._stocks, SEED)
        band = parse_band(self.settings.market_cap_min, self.settings.market_cap_max)
        seen_at = quotes.seen_at(self.settings.today())
        found = (company for region in REGION_SHARES for company in market.in_dollars(region, *band))
        return [
            {"symbol": one.symbol, "name": one.name, "region": one.region, "quote": quotes.cleaned(screening.listed(one), seen_at)}
            for one in found
        ]

    def forget(self) -> None:
        """Delete the stored statements, so that the next run is a first one."""
        connection = database.connect(self.settings.database)
        with connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE company_statements")
        connection.close()

    def requests(self) -> int:
        """Requests of the processing consumers that the market has answered so far."""
        with urllib.request.urlopen(f"{self.settings.yahoo_base_url}/market/counts") as answer:  # noqa: S310 (loopback)
            counts = json.load(answer)["requests"]
        return sum(counts.get(name, 0) for name in ("quoteSummary", "quote", "timeseries", "chart", "crumb", "cookie"))

    def market_cpu_seconds(self) -> float:
        """CPU time of the market so far."""
        assert self.services.market is not None
        return cpu_seconds(self.services.market.pid)

    def process(self, companies: list[Listed], runs: int = 1) -> Timed:
        """Send one task for each company in each of `runs` runs, all at once, and wait until all are done."""
        # Numbered rather than random: several runs begin within one second.
        run_ids = [f"{messages.new_run_id()[:-4]}{self._runs + number:04x}" for number in range(runs)]
        self._runs += runs
        tasks = [ProcessingTask(run_id, one["symbol"], one["name"], one["region"], one["quote"]) for run_id in run_ids for one in companies]
        wanted = {task.task_id for task in tasks}
        # What earlier runs left in the topics is not read again while this one is measured.
        watch = Watch(self.settings, topics.PROCESSING, from_now=True)
        cpu, requests = self._cpu_seconds(), self.requests()
        began = time.time()
        self.producer.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task)) for task in tasks])
        try:
            wait_until(lambda: watch.read() and wanted <= watch.final.keys(), PART_SECONDS, f"{len(tasks)} completions")
        finally:
            watch.close()
        memory = max((peak_memory_bytes(child) for child in self.consumers), default=0)
        completions = [watch.final[task_id] for task_id in wanted]
        return Timed(began, completions, self._cpu_seconds() - cpu, self.requests() - requests, memory)

    def scrape(self, region: str) -> Timed:
        """Send one region's scraping task, and wait until it and all bands that it was split into are done."""
        producer = ScraperProducer(self.settings)
        watch = Watch(self.settings, topics.SCRAPING)
        began = time.time()
        task = producer.send_scraping_task({"code": region, "name": REGIONS[region]})
        try:
            wait_until(lambda: watch.read() and watch.closed({task.task_id}), PART_SECONDS, f"the end of {task}")
        finally:
            watch.close()
            producer.close()
        return Timed(began, [at for task_id, at in watch.final.items() if task.run_id in task_id])

    def _cpu_seconds(self) -> float:
        return sum(cpu_seconds(child.process.pid) for child in self.consumers if child.process)


class Watch:
    """Follows a stage: `final` has the time stamp (epoch seconds) of each task's final state, `children` those it was split into."""

    def __init__(self, settings: Settings, stage: topics.StageTopics, from_now: bool = False) -> None:
        self._stage = stage
        self._consumer = clients.reader(settings.kafka)
        partitions = partitions_of(self._consumer, [stage.tasks, stage.completion, stage.errors])
        self._consumer.assign(partitions)
        if from_now:
            for partition, end in self._consumer.end_offsets(partitions).items():
                self._consumer.seek(partition, end)
        else:
            self._consumer.seek_to_beginning(*partitions)
        #: Time stamp of the first task.
        self.first_task = float("inf")
        self.final: dict[str, float] = {}
        self.children: dict[str, list[str]] = {}

    def read(self) -> bool:
        """Read what has arrived. Always true."""
        for partition, batch in self._consumer.poll(100).items():
            for record in batch:
                fields = messages.decode(record.value)
                at = record.timestamp / 1000
                if partition.topic == self._stage.tasks:
                    self.first_task = min(self.first_task, at)
                elif fields["status"] != "retrying":
                    self.final.setdefault(fields["task_id"], at)
                    self.children[fields["task_id"]] = fields.get("children", [])
        return True

    def closed(self, task_ids: set[str]) -> bool:
        """Whether these tasks, and all that they were split into, are done."""
        return all(task_id in self.final and self.closed(set(self.children[task_id])) for task_id in task_ids)

    def close(self) -> None:
        self._consumer.close()


def _partitions_held(child: Child) -> int:
    """The number of partitions that a consumer has, by its log: the embedded broker does not tell assignments."""
    log = child.log_file.read_text() if child.log_file.exists() else ""
    changes = re.findall(r"partitions (assigned|revoked): (\d+)", log)
    return sum(int(count) if change == "assigned" else -int(count) for change, count in changes)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_bytes(child: Child) -> int:
    assert child.process is not None
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child.process.pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
