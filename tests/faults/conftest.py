"""A run that things happen to, and the three checks at its end.

1. The account adds up: nothing pending, and nothing failed that the fault does not explain.
2. The rows of `stock` and `financial_ratios` equal those of an undisturbed run, but for times and run_id.
3. No process, browser, port or lock is left (the `terminal` fixture sees to the processes).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import pytest

import config
from local.postgres import Postgres
from local.state import data_dir
from pipeline.ratios.formulas import RATIOS
from tests.conftest import until
from tests.e2e.conftest import Terminal, last_json, rows, shows_work, terminal

STOCKS = 200
#: Processes that share the tests share the seed too.
SEED = int(os.environ.setdefault("FAULTS_SEED", str(random.SystemRandom().randrange(10**6))))
#: Name of a test's property that is a line for the list, and those lines.
FAULT = "fault"
REPORT: list[str] = []

_RATIO_ROWS = (
    f"SELECT symbol, period_type, period_end, currency, {', '.join(RATIOS)}, null_reasons, inputs FROM financial_ratios ORDER BY 1, 2, 3"
)
_STOCK_ROWS = "SELECT symbol, name, country_code, exchange, sector, industry, currency, financial_currency FROM stock ORDER BY 1"

_TIMES = "SELECT DISTINCT extract(epoch FROM computed_at)::float8 AS time FROM financial_ratios ORDER BY 1"

Rows = dict[str, list[tuple[Any, ...]]]


def all_rows(connection: Any) -> Rows:
    return {"financial_ratios": rows(connection, _RATIO_ROWS), "stock": rows(connection, _STOCK_ROWS)}


def note(request: pytest.FixtureRequest, what: str, hits: int, seconds: float, standstill: float | None = None) -> None:
    """A line for the list of faults."""
    words = what.removeprefix("test_").replace("_", " ")
    line = f"{words:<88} {hits:>5} {seconds:>7.1f} {'' if standstill is None else f'{standstill:.1f}':>11}"
    # With the test's report, which reaches the process that prints whichever process ran the test.
    request.node.user_properties.append((FAULT, line))


def longest_standstill(connection: Any, since: float = 0.0) -> float:
    """Seconds in which no stock was finished, at most: from an epoch time, or from the first stock, to the last one."""
    times = [when for (when,) in rows(connection, _TIMES) if when > since]
    return max((later - earlier for earlier, later in zip([since or times[0], *times], times, strict=False)), default=0.0)


#: The largest region is split into bands.
BANDS = {"SPLIT_ABOVE": "50"}
#: What is disturbed.
UNATTENDED = ("run_pipeline.py", "--exit-when-done", "--json", "--stall-timeout", "120")
DEMO = (*UNATTENDED, "--demo", "--stocks", str(STOCKS))


class Run:
    """A demo, or another command, that runs by itself, to be disturbed."""

    def __init__(self, terminal: Terminal, *arguments: str, command: Sequence[str] = DEMO, **environ: str) -> None:
        self.terminal = terminal
        self.random = random.Random(SEED)
        self.process = terminal.start(*command, *arguments, **{**BANDS, **environ})
        self.hits = 0
        #: When it was first disturbed, as an epoch time.
        self.since = 0.0

    def hit(self, count: int = 1) -> None:
        self.since = self.since or time.time()
        self.hits += count

    def shows(self, words: str) -> bool:
        assert self.process.poll() is None, f"the run ended too early:\n{self.terminal.errors(self.process)}"
        return words in self.terminal.errors(self.process)

    def wait_for_work(self) -> None:
        """Return when stocks are being processed."""
        until(lambda: self.shows("logs:"), 150, "the start")
        until(lambda: self.shows("") and shows_work(self.terminal.errors(self.process)), 180, "some work")

    def victims(self, words: str) -> list[int]:
        """Processes of this run by a part of their command line."""
        return sorted(number for number, command in self.terminal.processes().items() if words in command)

    def kill(self, words: str, number: int = signal.SIGKILL) -> int | None:
        """Signal one of them, chosen at random; its process id."""
        found = self.victims(words)
        if not found:
            return None
        victim = self.random.choice(found)
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            return None
        self.hit()
        return victim

    def logs(self) -> str:
        """The end of what each process has logged."""
        found = sorted(self.terminal.home.glob("logs/*/*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}" for path in found)

    def tried_again(self) -> int:
        """How many times a task, or a page within a task, was tried again, by what the consumers' logs say."""
        said = [path.read_text(errors="replace") for path in self.terminal.home.glob("logs/*/*.log")]
        return sum(text.count(" comes back in ") + text.count("loading it again") for text in said)

    def pause(self, most_seconds: float) -> None:
        """Let a random time go by: the moment of the next kill is meant to be any."""
        time.sleep(self.random.uniform(0.1, most_seconds))

    def end(self, expected_code: int = 0, seconds: float = 400.0) -> dict[str, Any]:
        code = self.process.wait(seconds)
        said = self.terminal.errors(self.process)
        assert code == expected_code, f"{said}\n{self.logs()}"
        return last_json(self.terminal.output(self.process))


def check_account(summary: dict[str, Any], failed: int = 0) -> None:
    for stage in ("scraping", "processing"):
        counts = dict(summary[stage])
        sent = counts.pop("sent")
        assert counts.pop("fetched", 0) + counts.pop("stored", 0) in (0, counts["completed"]), summary
        assert counts["pending"] == 0, summary
        for part in ("fetched", "stored"):  # of those completed
            counts.pop(part, None)
        assert sent == sum(counts.values()), summary
    assert summary["scraping"]["failed"] + summary["processing"]["failed"] == failed, summary


@contextlib.contextmanager
def stored(home: Path) -> Iterator[Any]:
    """A connection to what a demo that has ended left in its database."""
    folder = config.state_dir(True, {"PIPELINE_HOME": str(home)})
    assert config.lock_holder(folder) is None, "the lock is left"
    server = Postgres.start(data_dir(folder), home / "look.log")
    try:
        found = server.settings
        connection = psycopg2.connect(
            dbname=found["DB_DEV_NAME"], user=found["DB_USER"], password=found["DB_PASSWORD"], host=found["DB_HOST"], port=found["DB_PORT"]
        )
        yield connection
        connection.close()
    finally:
        server.stop()


def assert_same_rows(found: Rows, expected: Rows) -> None:
    for table, wanted in expected.items():
        assert len(found[table]) == len(wanted), table
        for one, other in zip(found[table], wanted, strict=True):
            assert one == other, table


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Rows]:
    """Summary and rows of a run that nothing happens to: one for all processes that share the tests."""
    kept = tmp_path_factory.getbasetemp().parent / f"undisturbed-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    with open(f"{kept}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            kept.write_bytes(pickle.dumps(_undisturbed()))
        found: tuple[dict[str, Any], Rows] = pickle.loads(kept.read_bytes())
    return found


def _undisturbed() -> tuple[dict[str, Any], Rows]:
    found = Terminal.opened()
    try:
        summary = Run(found).end()
        assert summary["scraping"]["split"] == 1
        with stored(found.home) as connection:
            return summary, all_rows(connection)
    finally:
        found.close()


def by_state(summary: dict[str, Any]) -> dict[str, Any]:
    """What disturbed and undisturbed runs have in common. What a dead process has fetched is stored when its task comes again."""
    stages = {
        stage: {name: count for name, count in summary[stage].items() if name not in ("fetched", "stored")}
        for stage in ("scraping", "processing")
    }
    return {**stages, **{name: summary[name] for name in ("stocks", "ratio_rows", "dead_letters")}}


@pytest.fixture
def check(undisturbed: tuple[dict[str, Any], Rows], request: pytest.FixtureRequest) -> Callable[..., None]:
    """The three checks; notes the fault in the report."""

    def run(disturbed: Run, summary: dict[str, Any], home: Path) -> None:
        check_account(summary)
        wanted, expected = undisturbed
        assert by_state(summary) == by_state(wanted)
        until(lambda: not disturbed.terminal.processes(), 20, "the end of all processes")
        with stored(home) as connection:
            assert_same_rows(all_rows(connection), expected)
            standstill = longest_standstill(connection, disturbed.since)
        note(request, request.node.name, disturbed.hits, summary["elapsed_seconds"], standstill)

    return run


@pytest.fixture(autouse=True)
def reported(request: pytest.FixtureRequest) -> Iterator[None]:
    """A case that has not noted what it did is noted with the time that it took."""
    began = time.monotonic()
    yield
    if not request.node.user_properties:
        note(request, request.node.name, 1, time.monotonic() - began)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        REPORT.extend(line for name, line in report.user_properties if name == FAULT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if REPORT:
        terminalreporter.section(f"faults (FAULTS_SEED={SEED} repeats the random moments)")
        terminalreporter.write_line(
            "hits: processes or messages hit, or tasks that were tried again; recovery: longest time without a finished stock"
        )
        terminalreporter.write_line(f"{'fault':<88} {'hits':>5} {'run/s':>7} {'recovery/s':>11}")
        for line in REPORT:
            terminalreporter.write_line(line)


__all__ = ["terminal"]
