"""One run, from starting its services to its summary: the order of the steps, when they end, and the exit code."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence

import kafka.errors
import psycopg2

import config
from config import Settings
from launch.bands import Converter
from launch.children import Children
from launch.plan import Plan, close_finished_runs, close_run, open_run, resumed
from launch.run_log import RunLog
from launch.services import Services
from launch.signals import Interrupted, Signals
from pipeline.broker import positions
from pipeline.broker.patient import IDLE_POLL_MS
from pipeline.errors import ServiceError
from pipeline.process import discovery
from pipeline.process.folders import make_folder
from pipeline.process.script import print_result
from pipeline.runs import summary
from pipeline.runs.account import Account
from pipeline.runs.account_reader import Tally
from pipeline.screener.binaries import find_browser
from pipeline.storage import database, schema
from pipeline.wire import topics
from pipeline.yahoo import shared_throttle

#: Seconds in which a topic must be read to its end.
READ_SECONDS = 30.0
#: Seconds between two checks of the services while only the services are held.
LOOK_SECONDS = 0.2
#: Seconds after which a run that waits for the site's allowance is looked at again.
SITE_WAIT_SECONDS = 30.0
#: Seconds after which it is said again that the run waits for the site.
TELL_WAIT_SECONDS = 300.0
#: Scripts for other terminals, named while the services are held.
SCRIPTS = ("kafka_scraper_consumer.py", "kafka_processing_consumer.py", "kafka_monitor.py", "kafka_scraper_producer.py")


class Orchestrator:
    """`arguments` are those of `run_pipeline.py`, `plan` is what they ask for, `usual` the default regions with the user's names."""

    def __init__(self, arguments: argparse.Namespace, settings: Settings, plan: Plan, usual: Sequence[dict[str, str]]) -> None:
        self._arguments = arguments
        self._settings = settings
        self._plan = plan
        #: Requests of this process, for exchange rates.
        self._own_requests = 0
        self._usual = usual
        self._signals = Signals()
        self._say = RunLog(settings.log_dir / plan.run_id, sys.stderr if arguments.json else sys.stdout)
        self._started = time.monotonic()
        #: When the consumers were last known to wait for the site, less the time until the next look.
        self._waited_at = self._told_waits_at = float("-inf")
        self._finished = False

    def main(self) -> int:
        """Do the run and return its exit code. Raises SettingsError or ServiceError if it can't be finished."""
        make_folder(self._say.log_dir, "logs")
        find_browser(self._settings.scraper_browser, self._settings.scraper_driver)
        site_needed = not self._arguments.services
        services = Services.start(self._settings, self._say.log_dir, self._arguments.market, self._say, site_needed)
        self._settings = services.settings
        children = Children(self._settings, self._say)
        try:
            discovery.ensure_topics(self._settings)
            self._set_up_tables()
            children.start_page()
            if self._arguments.services:
                return self._hold(services, children)
            self._open_run()
            return self._run(services, children)
        except Interrupted:
            return config.EXIT_DONE if self._finished or self._arguments.services else config.EXIT_INTERRUPTED
        finally:
            children.stop(at_once=services.has_lost_its_messages())
            if self._signals.received and not (self._arguments.services or self._finished):
                # Only now: as long as the monitor has the terminal, a line goes to the log alone.
                self._say(f"stopped before the run was done: {self._how_to_go_on()}")
            if (self._finished or self._arguments.services) and services.dead() is None:
                self._close_runs_of_terminals()
            services.stop()

    def _how_to_go_on(self) -> str:
        if self._settings.kafka.source == "embedded":
            return "the next run asks for what is still missing"
        return "python run_pipeline.py --resume continues with the unfinished tasks"

    def _set_up_tables(self) -> None:
        with database.connected(self._settings.database) as connection:
            schema.create_tables(connection)

    def _close_runs_of_terminals(self) -> None:
        """Close the runs that scripts in other terminals have finished. An embedded broker's messages end with it, so this is the time."""
        try:
            close_finished_runs(self._settings, self._say)
        except (ServiceError, kafka.errors.KafkaError, psycopg2.Error) as error:
            self._say(f"the runs of separate scripts stay open: {' '.join(str(error).split())}")

    def _open_run(self) -> None:
        given = self._arguments
        old = None
        if given.resume:
            bounds = (given.market_cap_min, given.market_cap_max, given.market_cap_currency)
            was_told = any((given.regions, given.regions_file, *bounds))
            with database.connected(self._settings.database) as connection:
                old = resumed(connection, self._plan, self._settings, self._usual, was_told, self._say)
        # Rates wait for the site, and the end of other runs for Kafka: no connection to the database is held meanwhile.
        converter = Converter(self._settings)
        self._plan = old or self._plan.converted(converter)
        self._own_requests = converter.requests.take_outside()
        close_finished_runs(self._settings, self._say)
        with database.connected(self._settings.database) as connection:
            open_run(connection, self._plan, given.keep_others, self._say)

    def _hold(self, services: Services, children: Children) -> int:
        """Keep the services up for scripts in other terminals, until a stop signal."""
        children.say_where_the_page_is()
        flag = " --demo" if self._settings.demo else ""
        self._say("services are up; run these in other terminals, and as many consumers as you like:")
        for script in SCRIPTS:
            self._say(f"  {summary.python_command()} {script}{flag}")
        self._say("Ctrl+C stops them")
        while True:
            self._watch(services, children)
            time.sleep(LOOK_SECONDS)

    def _run(self, services: Services, children: Children) -> int:
        children.start(self._plan, self._arguments)
        tally = Tally(self._settings.kafka, self._plan.run_id)
        try:
            account = self._until_done(services, children, tally)
            self._finished = account is not None
            children.stop_monitor()
            result = self._report(account or tally.newest() or Account(self._plan.run_id), services, children, account is None)
            if account is None or self._arguments.exit_when_done:
                return result
            self._say("the run is done; everything stays up until Ctrl+C")
            while True:
                self._watch(services, children)
                tally.poll(IDLE_POLL_MS)
        finally:
            tally.close()

    def _until_done(self, services: Services, children: Children, tally: Tally) -> Account | None:
        """Follow the run to its end and return its account, or None if the run stalls."""
        tasks_known = processing_known = False
        while True:
            account = tally.newest()
            self._watch(services, children, account.finished if account else 0)
            tally.poll(IDLE_POLL_MS)
            if self._is_stalled(tally):
                for (topic, number), count in sorted(tally.removed().items()):
                    self._say(f"{topic}[{number}]: {count} tasks were removed by the topic's retention before they were done")
                return None
            if not children.producer_has_ended():
                continue
            if not tasks_known:
                tasks_known = self._read_to_now(services, tally, topics.SCRAPING_TASKS)
            account = tally.newest()
            if not tasks_known or account is None or account.scraping["pending"]:
                continue
            # Every scraping task is final, so every processing task is in its topic by now. Read up to there once.
            if not processing_known:
                processing_known = self._read_to_now(services, tally, topics.PROCESSING_TASKS)
            elif not account.pending:
                return account

    def _is_stalled(self, tally: Tally) -> bool:
        """Whether nothing was finished for too long, without the site being what is waited for."""
        now, timeout = time.monotonic(), float(self._arguments.stall_timeout)
        if now - max(tally.last_progress, self._started, self._waited_at) <= timeout:
            return False
        waits = shared_throttle.waits_for_the_site(self._settings.kafka)
        if not waits:
            return True
        if now - self._told_waits_at >= TELL_WAIT_SECONDS:
            self._say(f"no task was finished for {timeout:g} s or more, but the run is not stalled: {waits}")
            self._told_waits_at = now
        self._waited_at = now - timeout + min(timeout, SITE_WAIT_SECONDS)
        return False

    def _read_to_now(self, services: Services, tally: Tally, topic: str) -> bool:
        try:
            marks = positions.high_watermarks(self._settings.kafka, [topic])
        except ServiceError:
            return False  # the broker is not reachable; the next round tries again
        # If a service died, stop reading: `_watch` restarts it or ends the run.
        return tally.read_to(marks, READ_SECONDS, stop=lambda: self._signals.received or not services.all_alive())

    def _watch(self, services: Services, children: Children, finished_tasks: int = 0) -> None:
        """Act on signals, dead services and dead children."""
        self._signals.check()
        services.revive(stopping=lambda: self._signals.received)
        self._signals.check()
        dead = services.dead()
        if dead is not None:
            more = " and its messages are lost, so this run can't go on: start it again" if "broker" in dead else ""
            raise ServiceError(f"{dead} died{more}. The logs are in {self._say.log_dir}")
        children.keep_alive(finished_tasks)

    def _report(self, account: Account, services: Services, children: Children, stalled: bool) -> int:
        """Write the summary to the terminal (table or JSON) and to `pipeline_run`. Returns the exit code."""
        if stalled:
            self._say(f"stalled: no task was finished for {self._arguments.stall_timeout:g} s; the logs are in {self._say.log_dir}")
            for warning in children.newest_warnings():
                self._say(f"  {warning}")
        account.requests += self._own_requests
        result = account.summary(time.monotonic() - self._started)
        result["regions"] = list(self._plan.names)
        status = "stalled" if stalled else "failed" if account.failed else "completed"
        try:
            services.revive(stopping=lambda: self._signals.received)  # it may have died with the last task
            site = close_run(self._settings, self._plan.run_id, status, result).text()
        except ServiceError as error:
            # The account is in the topics. It must be shown, even if it can't be stored.
            site = f"the summary is not stored in pipeline_run, and the ratios are not held against the site's own: {error}"
        stays = not (stalled or self._arguments.exit_when_done)
        self._say("\n" + summary.text(account, result, self._settings, str(self._say.log_dir), children.page_address, stays))
        self._say(f"\n{site}")
        if self._arguments.json:
            print_result(json.dumps(result))
        return config.EXIT_STALLED if stalled else config.EXIT_TASKS_FAILED if account.failed else config.EXIT_DONE
