"""Writes stocks and their ratios as CSV or JSON lines, for scripts and spreadsheets.

    python export_ratios.py --format csv --region fr --output france.csv
    python export_ratios.py --format jsonl --where "price_to_earnings < 15 and return_on_equity > 15%"
    python export_ratios.py --format csv --where "sector = 'Energy' and dividend_yield is not null" --sort dividend_yield --descending
    python export_ratios.py --format csv --period annual --demo

A row is a stock with its trailing twelve months or, if it has none, its newest fiscal year. `--period ttm` prints
trailing rows only, `--period annual` every fiscal year. Fractions (0.15), not percentages; amounts in the row's currency.
A value that can't be computed is empty. JSON lines have its reason in null_reasons.

Exit codes: 0 done; 2 bad arguments or a bad condition; 3 the database can't be reached.
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import contextlib
import sys
from collections.abc import Iterator
from typing import IO

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2")

import psycopg2
import psycopg2.errors

import config
from config import Settings, SettingsError
from pipeline.errors import ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import Parser
from pipeline.process.script import run_script, writing_to_stdout
from pipeline.stocks import conditions, export, query
from pipeline.stocks.query import Screen
from pipeline.storage import database
from pipeline.wire.regions import REGIONS


def main() -> int:
    arguments = parse_arguments()
    screen = Screen(
        regions=tuple(filter(None, (code.strip().lower() for code in ",".join(arguments.region).split(",")))),
        where=arguments.where,
        period=arguments.period,
        sort=arguments.sort,
        descending=arguments.descending,
    )
    if unknown := [code for code in screen.regions if code not in REGIONS]:
        raise SettingsError(f"--region {', '.join(unknown)!r} is unknown: expected codes from {', '.join(REGIONS)}")
    if screen.sort not in query.FIELDS:
        raise SettingsError(f"--sort {arguments.sort!r}: expected a column, such as price_to_earnings")
    try:
        screen.condition()
    except conditions.ConditionError as error:
        raise SettingsError(f"--where can't be read\n{error.shown(screen.where)}") from None
    connection = database.connect(_database(config.load(demo=arguments.demo)))
    connection.set_session(readonly=True)
    try:
        found = export.rows(connection, screen, more="r.null_reasons" if arguments.format == "jsonl" else "")
        texts = (export.csv_texts if arguments.format == "csv" else export.json_texts)(
            found, for_terminal=arguments.output == "-" and sys.stdout.isatty()
        )
        # Read the first rows before opening the file, so that a failed query does not destroy an older file.
        with database.telling_of_locks(connection):
            first = next(texts, "")
        with _output(arguments.output) as output:
            output.write(first)
            for text in texts:
                output.write(text)
    except psycopg2.errors.UndefinedTable:
        raise ServiceError("the database has no tables yet: run the pipeline first (python run_pipeline.py --demo)") from None
    except ValueError as error:  # a day beyond Python's calendar
        raise ServiceError(f"a row of the database can't be read: {error}") from error
    except psycopg2.Error as error:
        if connection.closed:
            raise ServiceError(f"the connection to the database was lost: {' '.join(str(error).split())}") from error
        raise database.unreadable(error) from error
    finally:
        connection.close()
    return config.EXIT_DONE


def _database(settings: Settings) -> config.Database:
    """The database's settings. If it is embedded and not running, raises ServiceError with the command that starts it."""
    if settings.database.name:
        return settings.database
    flag = " --demo" if settings.demo else ""
    if settings.demo or settings.state_dir.exists():
        raise ServiceError(f"the database is not running. Start it in another terminal: python run_pipeline.py{flag} --services")
    return discovery.find_database(settings)


@contextlib.contextmanager
def _output(path: str) -> Iterator[IO[str]]:
    if path == "-":
        # CSV has its own line ends, and names of companies need all of Unicode.
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr]
        with writing_to_stdout():
            yield sys.stdout
            sys.stdout.flush()
        return
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise SettingsError(f"--output {path!r} can't be written: {error.strerror}") from None


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("--format", choices=("csv", "jsonl"), default="csv", help="default csv")
    parser.add_argument("--region", action="append", default=[], metavar="CODE", help="such as fr, or fr,de; may be repeated")
    parser.add_argument("--period", choices=query.PERIODS, default="latest", help="the period of each row (default latest)")
    parser.add_argument("--where", default="", metavar="CONDITION", help="columns with < <= > >= = != `is null`; and, or, not, parentheses")
    parser.add_argument("--sort", default="symbol", metavar="COLUMN", help="default symbol; rows without a value are last")
    parser.add_argument("--descending", action="store_true", help="largest values first")
    parser.add_argument("--output", default="-", metavar="FILE", help="default: standard output")
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
