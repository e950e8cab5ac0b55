"""Shows how far a run is: tallies of both stages, rate, recent errors. Reads the topics, changes nothing.

python kafka_monitor.py                    follow the newest run
python kafka_monitor.py --demo             the same for the demo that is up
python kafka_monitor.py --run RUN_ID       follow this run
python kafka_monitor.py --once --json      the tallies now, as one JSON object, and out
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import datetime

import config
from pipeline import kafka_clients, services
from pipeline.account import Account
from pipeline.display import Display
from pipeline.messages import run_started_at
from pipeline.process import end_with_orchestrator, on_stop, run_script, set_up_logging
from pipeline.tally import Tally

#: Seconds between two looks on a terminal, and between two lines elsewhere.
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="join the demo that is up")
    parser.add_argument("--once", action="store_true", help="print the tallies now, and end")
    parser.add_argument("--json", action="store_true", help="with --once: one JSON object; else one object a line")
    parser.add_argument("--run", metavar="RUN_ID", help="a run (default: the newest, also when a newer one begins)")
    parser.add_argument("--until-done", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    set_up_logging()
    settings = services.found(config.load(demo=arguments.demo), database=False)
    if arguments.run:
        run_started_at(arguments.run)
    tally = Tally(settings.kafka, arguments.run)

    if arguments.once:
        with kafka_clients.reaching(settings.kafka):
            tally.read_to_now()
        account = tally.newest() or Account(arguments.run or "")
        print(json.dumps(account.summary(_elapsed(account))) if arguments.json else Display.text(account, _elapsed(account)))
        return config.EXIT_DONE

    stopping = []
    on_stop(lambda: stopping.append(True))
    end_with_orchestrator()
    live = sys.stdout.isatty() and not arguments.json
    with Display(live, json_lines=arguments.json) as display:
        shown = 0.0
        while not stopping:
            tally.poll(100)
            if time.monotonic() - shown >= (REFRESH_SECONDS if live else LINE_SECONDS):
                shown = time.monotonic()
                _show(display, tally.newest())
        tally.poll(0)
        _show(display, tally.newest())
    return config.EXIT_DONE


def _show(display: Display, account: Account | None) -> None:
    display.show(account, _elapsed(account) if account else 0.0)


def _elapsed(account: Account) -> float:
    """Seconds from the run's start, which its run_id holds, to now or, with nothing pending, to its last result."""
    if not account.run_id:
        return 0.0
    end = time.time()
    if not account.pending and account.last_result_at:
        end = datetime.fromisoformat(account.last_result_at).timestamp()
    return max(0.0, end - run_started_at(account.run_id).timestamp())


if __name__ == "__main__":
    run_script(main)
