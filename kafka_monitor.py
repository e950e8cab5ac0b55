"""Shows a run's progress: both stages, each region, lag of the groups, recent errors. Only reads the topics.

python kafka_monitor.py                    follow the newest run, and switch when a newer one begins (--follow)
python kafka_monitor.py --demo             the same for the running demo
python kafka_monitor.py --run RUN_ID       follow this run
python kafka_monitor.py --once --json      print the current counts as one JSON object, and exit
python kafka_monitor.py --json             print such an object every few seconds, one per line

On a terminal it draws, if `rich` is installed. Otherwise it prints a line every few seconds. Ctrl+C ends it with a summary.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import json
import logging
import os
import signal
import sys
import time
from dataclasses import replace

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka")

import config
from config import Kafka, SettingsError
from pipeline.broker import clients
from pipeline.broker.patient import IDLE_POLL_MS
from pipeline.errors import MessageError, ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import Parser
from pipeline.process.script import PARENT_PIPE, end_with_orchestrator, on_stop, run_script, set_up_logging, write_to_nowhere
from pipeline.runs import summary
from pipeline.runs.account import Account
from pipeline.runs.account_reader import Tally
from pipeline.runs.follower import RunFollower
from pipeline.runs.terminal import Display
from pipeline.runs.text import account_line, error_lines
from pipeline.wire.messages import run_started_at

#: Seconds between two updates on a terminal, and between two printed lines otherwise.
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
#: Largest share of the time spent on drawing. Runs of many tasks take long to draw.
DRAWING_SHARE = 0.2


def main() -> int:
    arguments = parse_arguments()
    set_up_logging()
    kafka_settings = _find(arguments.demo)
    tally = Tally(kafka_settings, arguments.run)
    if arguments.once:
        return once(tally, arguments.json)
    stopping: list[bool] = []
    on_stop(lambda: stopping.append(True))
    display = Display(sys.stdout.isatty() and not arguments.json, json_lines=arguments.json)
    end_with_orchestrator(display.leave)
    monitor = Monitor(arguments, tally)
    # The orchestrator sends it: its workers may take a while to end, and this process has the terminal until then.
    signal.signal(signal.SIGUSR1, monitor.note_the_end)
    if display.draws and sys.stderr.isatty():
        logging.disable()  # log lines would overwrite the drawing on the same terminal
    with display:
        monitor.follow(display, stopping)
    account = monitor.follower.account
    if os.environ.get(PARENT_PIPE):
        # The orchestrator prints a summary of finished runs only, so an interrupted run gets this line.
        if display.draws and account is not None and account.pending:
            print(account_line(account, account.elapsed_seconds(time.time())), flush=True)
    elif not arguments.json:
        print(text(account, account.elapsed_seconds(time.time())) if account else "no run was found", flush=True)
    return config.EXIT_DONE


def parse_arguments() -> argparse.Namespace:
    """Raises SettingsError if --run is not a run_id."""
    parser = Parser(__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="RUN_ID", help="follow this run")
    which.add_argument("--follow", action="store_true", help="follow the newest run, and switch when a newer one begins (the default)")
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    parser.add_argument("--once", action="store_true", help="print the current counts, and exit")
    parser.add_argument("--json", action="store_true", help="print JSON: one object with --once, else one per line")
    parser.add_argument("--page", default="", help=argparse.SUPPRESS)  # the page's address, to be shown
    arguments = parser.parse_args()
    if arguments.once and arguments.follow:
        parser.error("--once and --follow exclude each other: give one of them")
    if arguments.run is not None:
        try:
            run_started_at(arguments.run)
        except MessageError as error:
            raise SettingsError(f"--run: {error}") from error
    return arguments


def once(tally: Tally, as_json: bool) -> int:
    """Print the current counts. Raises ServiceError if the topics can't be read to their end."""
    with clients.reaching(tally.settings):
        if not tally.read_to_now():
            raise ServiceError(f"Kafka at {tally.settings.bootstrap_servers} did not deliver all records of the topics in time: try again")
    account = tally.newest()
    if account is None:
        # Zeros by themselves would say that the run has no tasks.
        if tally.run_id:
            print(f"the topics hold nothing of run {tally.run_id}", file=sys.stderr)
        account = Account(tally.run_id or "")
    if as_json:
        print(json.dumps(account.summary(account.elapsed_seconds(time.time()))))
    else:
        print(text(account, account.elapsed_seconds(time.time())))
    return config.EXIT_DONE


class Monitor:
    """Shows a run's progress until it is told to stop."""

    def __init__(self, arguments: argparse.Namespace, tally: Tally) -> None:
        self.follower = RunFollower(tally, lambda: _find(arguments.demo))
        self.page: str = arguments.page
        self.ending = False

    def note_the_end(self, number: int, frame: object) -> None:
        """Signal handler: the orchestrator is stopping the run."""
        self.ending = True

    def follow(self, display: Display, stopping: list[bool]) -> None:
        """Show the run until `stopping` is not empty."""
        self.follower.start()
        due = 0.0
        while not stopping:
            self.follower.read(IDLE_POLL_MS)
            now = time.monotonic()
            if now >= due:
                self.show(display)
                took = time.monotonic() - now
                due = now + (max(REFRESH_SECONDS, took / DRAWING_SHARE) if display.draws else LINE_SECONDS)
        self.follower.stop()
        self.show(display)

    def show(self, display: Display) -> None:
        """Show the run. Under an orchestrator, output that can't be written is ignored, because the run must go on."""
        try:
            display.show(replace(self.follower.view(), page=self.page, ending=self.ending))
        except OSError as error:
            if not os.environ.get(PARENT_PIPE):
                raise
            if isinstance(error, BrokenPipeError):
                write_to_nowhere()


def text(account: Account, elapsed_seconds: float) -> str:
    """The account and its tables as plain text."""
    if not account.run_id:
        return "no run yet"
    return "\n".join([account_line(account, elapsed_seconds), "", *summary.tables(account), *error_lines(account)])


def _find(demo: bool) -> Kafka:
    return discovery.find_broker(config.load(demo=demo)).kafka


if __name__ == "__main__":
    run_script(main)
