"""Starts the whole pipeline and keeps it alive: services, topics, consumers, monitor, producer; then the account.

    python run_pipeline.py                             the real thing; stays up until Ctrl+C
    python run_pipeline.py --demo                      everything embedded, over a local market with made-up companies
    python run_pipeline.py --demo --exit-when-done     ends with the run; exit code 0 if nothing failed
    python run_pipeline.py --regions us,fr --market-cap-min 300M --market-cap-max 2B --scrapers 2 --processors 2
    python run_pipeline.py --services                  only the services, for scripts in other terminals
    python run_pipeline.py --check                     what works here, and what to do about the rest

Exit codes: 0 done, nothing failed; 1 done, some tasks failed; 2 bad settings or arguments; 3 a service can't be reached
or started; 4 stalled; 130 Ctrl+C during a run.
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "selenium")

import config
import kafka_scraper_producer
from config import Settings, SettingsError
from pipeline.broker import clients
from pipeline.errors import ServiceError
from pipeline.process import child as children
from pipeline.process import discovery, region_file
from pipeline.process.ages import parse_age
from pipeline.process.child import Child
from pipeline.process.script import reason, run_script, set_up_logging, stop_signals, tell
from pipeline.ratios import site_check
from pipeline.runs import summary
from pipeline.runs.account import Account
from pipeline.runs.account_reader import Tally
from pipeline.screener.browser import find_browser
from pipeline.storage import database, rows, run_table, schema
from pipeline.wire import messages, topics
from pipeline.wire.market_cap import format_market_cap, parse_band
from pipeline.wire.regions import RegionBand
from pipeline.yahoo.throttle import shares

#: Seconds within which the page must say its address.
PAGE_SECONDS = 15.0
#: Folders of earlier runs' logs that are kept.
LOGS_KEPT = 20


class Signals:
    """Ctrl+C and its like: the first one asks to stop, the second one ends everything at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        for number in stop_signals():
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        if self.received is not None:
            # Children see the end of their pipes, guardians the end of theirs: nothing stays behind.
            os._exit(config.EXIT_INTERRUPTED)
        self.received = number
        tell("stopping… (Ctrl+C once more stops at once)", sys.stderr)


class Interrupted(Exception):
    """A signal asked to stop."""


class Orchestrator:
    """One run: its services, its children, its account."""

    def __init__(self, arguments: argparse.Namespace, settings: Settings) -> None:
        self.arguments = arguments
        self.settings = settings
        tasks = kafka_scraper_producer.chosen_tasks(arguments, settings)
        self.regions = list({region["code"]: region for region, _, _ in tasks}.values())
        self.tasks = tuple(dict.fromkeys(RegionBand(region["code"], *parse_band(low, high)) for region, low, high in tasks))
        self.run_id = messages.new_run_id()
        self.log_dir = settings.log_dir / self.run_id
        self.signals = Signals()
        self.workers: list[Child] = []
        self.monitor: Child | None = None
        self.producer: Child | None = None
        self.page: Child | None = None
        self.page_address = ""
        self.started = time.monotonic()
        self.finished = False
        self.log_failed = False
        # One process owns the terminal: while the monitor draws on it, what is said goes to the log alone.
        self.terminal_is_the_monitors = False
        self.out = sys.stderr if arguments.json else sys.stdout

    def say(self, text: str) -> None:
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            with open(self.log_dir / "run_pipeline.log", "a", encoding="utf-8") as log:
                log.write(f"{messages.now_text()} {text}\n")
        except OSError as error:
            if not self.log_failed:
                tell(f"run_pipeline.log can't be written, the run goes on: {reason(error)}", sys.stderr)
            self.log_failed = True
        if not self.terminal_is_the_monitors:
            tell(text, self.out)

    # -- the parts of a run, in order -------------------------------------------------------------------------------

    def main(self) -> int:
        from launch.services import Services  # here, so that the other scripts' users need nothing of it

        find_browser(self.settings.scraper_browser, self.settings.scraper_driver)
        found = Services.start(self.settings, self.log_dir, self.arguments.market, self.say)
        self.settings = found.settings
        try:
            discovery.ensure_topics(self.settings)
            connection = database.connect(self.settings.database)
            schema.create_tables(connection)
            self._start_page()
            if self.arguments.services:
                return self._hold(found)
            missing = self._open_run(connection)
            connection.close()
            return self._run(found, missing)
        except Interrupted:
            if not self.arguments.services and not self.finished:
                self.say("stopped before the run was done: unfinished tasks are delivered again where the broker keeps them")
            return config.EXIT_DONE if self.finished or self.arguments.services else config.EXIT_INTERRUPTED
        finally:
            self._stop(found)

    def _start_page(self) -> None:
        """Start the page at localhost:8080, or the next free port."""
        self.page = self._child("page", ["kafka_ui.py", *(["--demo"] if self.settings.demo else [])])
        self.page.start()

    def _say_where_the_page_is(self) -> None:
        """Wait for the page's address and say it. A run does without the page if it must."""
        assert self.page is not None
        deadline = time.monotonic() + PAGE_SECONDS
        while not self.page_address and self.page.returncode() is None and time.monotonic() < deadline:
            found = [line for line in self.page.tail().splitlines() if line.startswith("page: ")]
            self.page_address = found[0].removeprefix("page: ") if found else ""
            time.sleep(0.05)
        if self.page_address:
            self.say(f"page: {self.page_address}")
        else:
            self.say(f"no page this time: {self.page.tail(1)}")
            self.page.kill()
            self.page = None

    def _keep_page(self) -> None:
        if self.page is None:
            return
        try:
            self.page.keep_alive(0, self.say)
        except ServiceError as error:
            self.say(f"no page any more: {error}")
            self.page = None

    def _open_run(self, connection: Any) -> Sequence[RegionBand]:
        """Write the run into `pipeline_run`, or with --resume take up the newest unfinished one; the tasks still to be sent."""
        missing: Sequence[RegionBand] = self.tasks
        unfinished = run_table.newest_unfinished_run(connection) if self.arguments.resume else None
        if unfinished is not None and self.settings.kafka.source == "embedded":
            self.say(f"run {unfinished.run_id} is gone: the embedded broker kept nothing of it; starting anew")
        elif unfinished is not None:
            missing = self._resume(unfinished)
        elif self.arguments.resume:
            self.say("no unfinished run to resume; starting anew")
        if not self.arguments.keep_others:
            given_up = run_table.abandon_unfinished_runs(connection, self.run_id)
            if given_up:
                self.say(f"given up for this run: {', '.join(given_up)} (--keep-others lets them go on, --resume takes up the newest)")
        codes = tuple(region["code"] for region in self.regions)
        bounds = [bound for task in self.tasks for bound in (task.market_cap_min, task.market_cap_max)]
        run = run_table.Run(self.run_id, codes, min(bounds, default=None), max(bounds, default=None), self.tasks)
        rows.write(connection, [rows.Write(countries={r["code"]: r["name"] for r in self.regions}, runs=[run])])
        return missing

    def _resume(self, run: run_table.Run) -> Sequence[RegionBand]:
        """Go on with `run`, whatever this command was told to run; the tasks that its producer had not sent yet."""
        given = (self.arguments.regions, self.arguments.regions_file, self.arguments.market_cap_min, self.arguments.market_cap_max)
        if any(given) and set(self.tasks) != set(run.tasks):
            self.say(f"run {run.run_id} goes on with its own regions and bands, which are others than this command's")
        self.run_id = run.run_id
        self.tasks = run.tasks
        self.regions = kafka_scraper_producer.chosen_regions(",".join([task.code for task in run.tasks] or run.regions))
        tally = Tally(self.settings.kafka, self.run_id)
        with clients.reaching(self.settings.kafka):
            tally.read_to_now()
        account = tally.newest() or Account(self.run_id)
        tally.close()
        self.say(f"resuming {self.run_id}: {account.finished} tasks are done, {account.pending} are pending")
        # By task_id, which is what makes a task the same one: bands that came of a split stand there too.
        sent = account.scraping.tasks
        unsent = [task for task in run.tasks if messages.ScrapingTask(run.run_id, task.code, "", *task[1:]).task_id not in sent]
        unknown = set(run.regions) - {task.code for task in run.tasks} - {task.region for task in sent.values()}
        if unknown:
            raise ServiceError(
                f"run {run.run_id} can't be resumed: nothing was sent of {', '.join(sorted(unknown))}, and with which bands is not known, "
                "because an older version started it. Without --resume a new run starts"
            )
        return unsent

    def _hold(self, found: Any) -> int:
        self._say_where_the_page_is()
        flag = " --demo" if self.settings.demo else ""
        self.say("services are up; in other terminals, as many consumers as wanted:")
        for script in ("kafka_scraper_consumer.py", "kafka_processing_consumer.py", "kafka_monitor.py", "kafka_scraper_producer.py"):
            self.say(f"  {summary.python_command()} {script}{flag}")
        self.say("Ctrl+C stops them")
        while True:
            self._watch(found)
            time.sleep(0.2)

    def _run(self, found: Any, missing: Sequence[RegionBand]) -> int:
        self._start_children(missing)
        tally = Tally(self.settings.kafka, self.run_id)
        try:
            account = self._until_done(found, tally)
            self.finished = account is not None
            result = self._report(account or tally.newest() or Account(self.run_id), stalled=account is None)
            if account is None or self.arguments.exit_when_done:
                return result
            self.say("the run is done; everything stays up until Ctrl+C")
            while True:
                self._watch(found)
                tally.poll(clients.IDLE_POLL_MS)
        finally:
            tally.close()

    def _start_children(self, missing: Sequence[RegionBand]) -> None:
        demo = ["--demo"] if self.settings.demo else []
        max_age = ["--max-age", self.arguments.max_age] if self.arguments.max_age else []
        width = self.arguments.processors
        may_list = self.settings.scraper_source != "browser"
        rate, listing_rate = shares(self.settings.requests_per_second, width, self.arguments.scrapers if may_list else 0)
        for number in range(1, self.arguments.scrapers + 1):
            child = self._child(f"scraper-{number}", ["kafka_scraper_consumer.py", *demo])
            if may_list:
                child.environment["REQUESTS_PER_SECOND"] = f"{listing_rate:.6g}"
            self.workers.append(child)
        for number in range(1, width + 1):
            child = self._child(f"processor-{number}", ["kafka_processing_consumer.py", *demo, *max_age])
            child.environment["REQUESTS_PER_SECOND"] = f"{rate:.6g}"
            self.workers.append(child)
        self.monitor = self._child("monitor", ["kafka_monitor.py", *demo, "--run", self.run_id])
        self.monitor.stdout = self.out
        if missing:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            tasks = (self.log_dir / "tasks.txt").resolve()
            region_file.write(tasks, missing)
            command = ["kafka_scraper_producer.py", *demo, "--run-id", self.run_id, "--regions-file", str(tasks)]
            self.producer = self._child("producer", command)
        codes = ",".join(region["code"] for region in self.regions)
        bands = {f"{format_market_cap(task.market_cap_min)} to {format_market_cap(task.market_cap_max)}" for task in self.tasks}
        band = f"market cap {bands.pop()}" if len(bands) == 1 else "bands of their own"
        self.say(f"run {self.run_id}: {codes}, {band}; {self.arguments.scrapers} scrapers, {width} processors")
        self.say(f"logs: {self.log_dir}")
        # What takes longest to be ready starts first; the monitor gets the terminal when all that is to be said is said.
        for child in (*self.workers, *([self.producer] if self.producer else [])):
            child.start()
        self._say_where_the_page_is()
        if self.page_address:
            self.monitor.command = [*self.monitor.command, "--page", self.page_address]
        self.terminal_is_the_monitors = self.out.isatty()
        self.monitor.start()

    def _child(self, name: str, command: list[str]) -> Child:
        return Child(name, command, self.log_dir / f"{name}.log")

    def _until_done(self, found: Any, tally: Tally) -> Account | None:
        """Follow the run to its end; None where it stalls."""
        tasks_known = processing_known = False
        while True:
            self._watch(found, tally)
            tally.poll(clients.IDLE_POLL_MS)
            if time.monotonic() - max(tally.last_progress, self.started) > self.arguments.stall_timeout:
                return None
            if not self._producer_ended():
                continue
            if not tasks_known:
                tasks_known = self._read_to_now(found, tally, topics.SCRAPING_TASKS)
            account = tally.newest()
            if not tasks_known or account is None or account.scraping["pending"]:
                continue
            # Every scraping task is final, so every processing task stands in its topic by now: read up to there once.
            if not processing_known:
                processing_known = self._read_to_now(found, tally, topics.PROCESSING_TASKS)
            elif not account.pending:
                return account

    def _read_to_now(self, found: Any, tally: Tally, topic: str) -> bool:
        try:
            marks = clients.high_watermarks(self.settings.kafka, [topic])
        except ServiceError:
            return False  # the broker is away: tried again with the next round
        # One that died is started again, or ends the run, by `_watch`.
        return tally.read_to(marks, 30.0, stop=lambda: bool(self.signals.received) or not found.all_alive())

    def _producer_ended(self) -> bool:
        if self.producer is None:
            return True
        code = self.producer.returncode()
        if code is not None and code != config.EXIT_DONE:
            error = SettingsError if code == config.EXIT_SETTINGS else ServiceError
            raise error(f"the producer ended with exit code {code}; {self.producer.log_file} ends with:\n{self.producer.tail()}")
        return code is not None

    def _watch(self, found: Any, tally: Tally | None = None) -> None:
        """Act on signals, dead services and dead children."""
        if self.signals.received is not None:
            raise Interrupted
        found.revive(self.say, stopping=lambda: self.signals.received is not None)
        if self.signals.received is not None:
            raise Interrupted
        dead = found.dead()
        if dead is not None:
            more = ": its messages are gone with it, so this run is lost; start it again" if "broker" in dead else ""
            raise ServiceError(f"{dead} died{more}. See {self.log_dir}")
        self._keep_page()
        account = tally.newest() if tally is not None else None
        for child in [*self.workers, *([self.monitor] if self.monitor is not None and not self.finished else [])]:
            child.keep_alive(account.finished if account else 0, self.say)

    def _report(self, account: Account, stalled: bool) -> int:
        """Close the account: table or JSON, and pipeline_run."""
        self._stop_monitor()
        if stalled:
            self.say(f"stalled: no task came to an end for {self.arguments.stall_timeout:g} s; see {self.log_dir}")
        result = account.summary(time.monotonic() - self.started)
        result["regions"] = [region["code"] for region in self.regions]
        connection = database.connect(self.settings.database)
        site = site_check.check(run_table.trailing_rows(connection, self.run_id))
        result["site_check"] = site.summary()
        status = "stalled" if stalled else "failed" if account.failed else "completed"
        run_table.finish_run(connection, self.run_id, status, result, datetime.now(timezone.utc))
        connection.close()
        self.say("\n" + summary.text(account, result, self.settings, str(self.log_dir), self.page_address))
        self.say(f"\n{site.text()}")
        if self.arguments.json:
            print(json.dumps(result), flush=True)
        return config.EXIT_STALLED if stalled else config.EXIT_TASKS_FAILED if account.failed else config.EXIT_DONE

    # -- the end ----------------------------------------------------------------------------------------------------

    def _stop_monitor(self) -> None:
        if self.monitor is not None:
            children.stop([self.monitor], 5.0)
            self.monitor = None
        self.terminal_is_the_monitors = False

    def _stop(self, found: Any) -> None:
        """Workers first, then monitor and page, then the services."""
        if self.monitor is not None and self.terminal_is_the_monitors:
            self.monitor.signal(signal.SIGUSR1)  # it says so on its screen, where a line of ours would be overwritten
        late = children.stop([*self.workers, *([self.producer] if self.producer else [])])
        if late:
            self.say(f"killed after {children.DRAIN_SECONDS:g} s: {', '.join(late)}")
        self._stop_monitor()
        if self.page is not None:
            children.stop([self.page], 5.0)
        found.stop()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kafka_scraper_producer.add_arguments(parser)
    parser.add_argument("--scrapers", type=_width, default=2, metavar="N", help="scraping consumers, each with a browser (default 2)")
    parser.add_argument("--processors", type=_width, default=2, metavar="N", help="processing consumers (default 2)")
    parser.add_argument("--demo", action="store_true", help="everything embedded, Yahoo replaced by a local market")
    parser.add_argument("--services", action="store_true", help="start only the services and hold them")
    parser.add_argument("--check", action="store_true", help="go through all a run needs, and end")
    parser.add_argument("--exit-when-done", action="store_true", help="end when the run is done")
    parser.add_argument("--json", action="store_true", help="the last line of stdout is the summary; all else goes to stderr")
    parser.add_argument("--max-age", metavar="AGE", help="skip stocks whose ratios are younger, such as 24h")
    parser.add_argument("--resume", action="store_true", help="take up the newest unfinished run where it stood")
    parser.add_argument("--keep-others", action="store_true", help="do not give up older unfinished runs for this one")
    parser.add_argument("--stall-timeout", type=float, default=600.0, metavar="SECONDS", help="give up without any final state for so long")
    market = parser.add_argument_group("the demo's market")
    market.add_argument("--stocks", type=int, metavar="N", help="made-up companies within the default band (default 300)")
    market.add_argument("--seed", type=int, metavar="N", help="what they are made from (default 1)")
    market.add_argument("--latency-ms", type=int, metavar="MS", help="of each API request (default 0)")
    market.add_argument("--page-latency-ms", type=int, metavar="MS", help="of each screener page (default 0)")
    market.add_argument("--faults", metavar="NAME=RATE,…", help="see python -m local.market --help")
    market.add_argument("--allowance", action="append", metavar="N/SECONDS", help="refuse more requests than 600/60, say; repeatable")
    arguments = parser.parse_args()
    given = {name: getattr(arguments, name) for name in ("stocks", "seed", "latency_ms", "page_latency_ms", "faults")}
    if not arguments.demo and (arguments.allowance or any(value is not None for value in given.values())):
        parser.error("--stocks, --seed, --latency-ms, --page-latency-ms, --faults and --allowance belong to --demo")
    defaults = {"stocks": 300, "seed": 1, "latency_ms": 0, "page_latency_ms": 0}
    options = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    if arguments.max_age:
        parse_age(arguments.max_age)
    arguments.market = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    arguments.market += [part for limit in arguments.allowance or () for part in ("--allowance", limit)]
    return arguments


def _width(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0 to 64")
    return number


def _forget_old_logs(log_dir: Path) -> None:
    """Keep the newest LOGS_KEPT folders of runs."""
    folders = sorted(folder for folder in log_dir.glob("2*Z-*") if folder.is_dir()) if log_dir.is_dir() else []
    for folder in folders[:-LOGS_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    arguments = parse_arguments()
    set_up_logging(logging.WARNING)
    settings = config.load(demo=arguments.demo)
    if arguments.check:
        from launch.check import check

        return check(settings, arguments.market)
    _forget_old_logs(settings.log_dir)
    return Orchestrator(arguments, settings).main()


if __name__ == "__main__":
    run_script(main)
