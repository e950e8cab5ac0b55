"""Starts the whole pipeline (services, topics, consumers, monitor, producer), keeps it alive, and prints a summary at the end.

    python run_pipeline.py                             a real run; stays up until Ctrl+C
    python run_pipeline.py --demo                      a run without Kafka, PostgreSQL or the site: all local, made-up companies
    python run_pipeline.py --demo --exit-when-done     ends with the run; exit code 0 if nothing failed
    python run_pipeline.py --regions us,fr --market-cap-min 300M --market-cap-max 2B --scrapers 2 --processors 2
    python run_pipeline.py --services                  start only the services, for scripts in other terminals
    python run_pipeline.py --check                     test what works on this machine, and say how to fix the rest

Exit codes: 0 done, nothing failed; 1 done, some tasks failed; 2 bad settings or arguments; 3 a service can't be reached
or started; 4 stalled; 130 Ctrl+C or SIGTERM during a run.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import logging
import re

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "selenium")

import config
from kafka_scraper_producer import regions
from launch.orchestrator import Orchestrator
from launch.plan import Plan
from launch.run_log import remove_old_logs
from pipeline.process.arguments import Parser, add_region_flags, chosen_bands, parse_age, whole
from pipeline.process.script import run_script, set_up_logging
from pipeline.yahoo import recording

#: Longest time, in seconds, that a flag may name: a year.
MOST_SECONDS = 366 * 86_400.0
#: A number for the market, which checks its bounds itself.
_ANY = whole(-(10**9), 10**9)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--version", action="version", version=f"stock pipeline {config.VERSION}")
    add_region_flags(parser)
    parser.add_argument("--scrapers", type=whole(0, 64), default=2, metavar="N", help="scraping consumers, each with a browser (default 2)")
    parser.add_argument("--processors", type=whole(0, 64), default=2, metavar="N", help="processing consumers (default 2)")
    parser.add_argument("--demo", action="store_true", help="run everything on this machine, with a local market in place of Yahoo")
    parser.add_argument("--services", action="store_true", help="start only the services, and keep them up")
    parser.add_argument("--check", action="store_true", help="test everything a run needs, then exit")
    parser.add_argument("--exit-when-done", action="store_true", help="exit when the run is done")
    parser.add_argument("--json", action="store_true", help="print the summary as the last line of stdout, and all else to stderr")
    parser.add_argument(
        "--refresh",
        choices=("due", "all"),
        default="due",
        help="due: fetch only statements that may have changed (default); all: fetch everything",
    )
    parser.add_argument("--max-age", type=_age, metavar="AGE", help="skip stocks whose ratios are younger than this, such as 24h")
    parser.add_argument("--resume", action="store_true", help="continue the newest unfinished run")
    parser.add_argument("--keep-others", action="store_true", help="let older unfinished runs go on too")
    parser.add_argument("--stall-timeout", type=_seconds, default=600.0, metavar="SECONDS", help="stop if no task is finished for so long")
    recording.add_flag(parser)
    market = parser.add_argument_group("the demo's market")
    market.add_argument("--stocks", type=_ANY, metavar="N", help="made-up companies within the default band (default 300)")
    market.add_argument("--seed", type=_ANY, metavar="N", help="random seed for the companies (default 1)")
    market.add_argument("--market-day", type=_ANY, metavar="N", help="show the market N days later: prices, reports, splits (default 0)")
    market.add_argument("--latency-ms", type=_ANY, metavar="MS", help="delay of each API request (default 0)")
    market.add_argument("--page-latency-ms", type=_ANY, metavar="MS", help="delay of each screener page (default 0)")
    market.add_argument("--faults", metavar="NAME=RATE,…", help="faults: see python -m local.market --help")
    market.add_argument("--allowance", action="append", metavar="N/SECONDS", help="refuse requests above 600/60, say; may be repeated")
    arguments = parser.parse_args()
    arguments.market = _market_options(parser, arguments)
    return arguments


def _market_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The flags of the demo's market, in the form that `python -m local.market` accepts."""
    given = {name: getattr(arguments, name) for name in ("stocks", "seed", "latency_ms", "page_latency_ms", "faults")}
    given["day"] = arguments.market_day
    if not arguments.demo and (arguments.allowance or any(value is not None for value in given.values())):
        parser.error("--stocks, --seed, --market-day, --latency-ms, --page-latency-ms, --faults and --allowance need --demo")
    defaults = {"stocks": 300, "seed": 1, "latency_ms": 0, "page_latency_ms": 0}
    options = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return flags + [part for limit in arguments.allowance or () for part in ("--allowance", limit)]


def _age(text: str) -> str:
    """The age as it was given, for the consumers."""
    parse_age(text)
    return text


def _seconds(text: str) -> float:
    if not (re.fullmatch(r"\d{1,9}(\.\d{0,9})?", text, re.ASCII) and 0 < float(text) <= MOST_SECONDS):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of seconds above 0")
    return float(text)


def main() -> int:
    arguments = parse_arguments()
    recording.record_to(arguments.record)
    set_up_logging(logging.WARNING)
    settings = config.load(demo=arguments.demo)
    if arguments.check:
        from launch.check import check  # imported here because it loads yfinance and pandas, which only --check needs in this process

        return check(settings, arguments.market)
    remove_old_logs(settings.log_dir)
    plan = Plan.of(chosen_bands(arguments, settings, regions), regions)
    return Orchestrator(arguments, settings, plan, regions).main()


if __name__ == "__main__":
    run_script(main)
