"""Computes all ratios again from what is stored: statements, closes, splits, the newest quotes and rates. Makes no request to the site.

    python recompute_ratios.py              after a formula has changed
    python recompute_ratios.py --demo       for the demo that is up

Ages count from today (PIPELINE_TODAY): a quote of more than ten days ago gives no trailing market value. Rows that do
not change are left as they are. It may run beside consumers: if both write a row, the later one wins.

Exit codes: 0 done; 2 bad settings or arguments; 3 the database can't be reached, or nothing is stored yet.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import os
import sys
import time

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "yfinance")

import psycopg2.errors

import config
from pipeline.errors import ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import Parser, whole
from pipeline.process.script import run_script
from pipeline.refresh.recompute import recompute
from pipeline.storage import database, statements_store
from pipeline.wire import messages

#: Seconds between two lines of progress if stdout is no terminal.
SAY_SECONDS = 5.0
MOST_PROCESSES = 64


def main() -> int:
    parser = Parser(__doc__)
    parser.add_argument("--demo", action="store_true", help="use the database of the demo that is up")
    cores = min(os.cpu_count() or 2, MOST_PROCESSES)
    parser.add_argument("--processes", type=whole(1, MOST_PROCESSES), default=cores, metavar="N", help="default: one per core")
    arguments = parser.parse_args()
    settings = config.load(demo=arguments.demo)
    discovery.find_database(settings)
    total = _stored(settings)
    began = said = time.monotonic()
    stocks = rows = 0
    for done in recompute(settings, messages.new_run_id(), arguments.processes):
        stocks, rows = stocks + done.stocks, rows + done.rows
        if sys.stdout.isatty() or time.monotonic() - said >= SAY_SECONDS:
            said = time.monotonic()
            line = f"{stocks} of {total} stocks, {stocks / max(said - began, 0.001):.0f} a second"
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
    seconds = max(time.monotonic() - began, 0.001)
    if sys.stdout.isatty():
        print()
    print(f"{stocks} stocks, {rows} rows, {seconds:.1f} s, {stocks / seconds:.0f} stocks a second")
    return config.EXIT_DONE


def _stored(settings: config.Settings) -> int:
    connection = database.connect(settings.database)
    try:
        count = statements_store.count(connection)
    except psycopg2.errors.UndefinedTable:
        count = 0
    finally:
        connection.close()
    if not count:
        raise ServiceError("no statements are stored yet: run the pipeline first (python run_pipeline.py)")
    return count


if __name__ == "__main__":
    run_script(main)
