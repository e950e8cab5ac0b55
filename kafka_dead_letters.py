"""Lists the dead letters: which tasks failed for good, and why. Puts them back to be tried again.

python kafka_dead_letters.py list                                   all that were not replayed yet
python kafka_dead_letters.py list --stage processing --region fr --error-type PermanentError --newer-than 2h
python kafka_dead_letters.py show processing/1/17                   all fields of one
python kafka_dead_letters.py replay --run 20261124T071326Z-1f3a --dry-run
python kafka_dead_letters.py replay --symbol MC.PA                  send it to its task topic again, with a fresh attempt count

Exit codes: 0 done; 1 the letter that was named is not there; 2 bad arguments; 3 Kafka can't be reached.
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
import re
import sys

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka")

import config
from config import Settings
from pipeline.broker.sender import Sender
from pipeline.errors import NotNow, ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import Parser, parse_age, whole
from pipeline.process.script import run_script, set_up_logging
from pipeline.runs.text import safe
from pipeline.worker import dead_letters
from pipeline.worker.dead_letters import Letter, LetterFilter

#: The letter that was named is not there.
EXIT_NOT_FOUND = 1


def main() -> int:
    arguments = parse_arguments()
    set_up_logging(logging.WARNING)
    settings = discovery.find_broker(config.load(demo=arguments.demo))
    everything = dead_letters.read(settings.kafka, LetterFilter(replayed_too=True))
    letters = list(filter(wanted(arguments), everything))
    if arguments.id and not letters:
        return say_why_not(everything, arguments)
    code = replay(settings, letters, arguments) if arguments.command == "replay" else show(letters, arguments)
    if everything and not letters:
        print(others(everything), file=sys.stderr)
    return code


def others(letters: list[Letter]) -> str:
    """What is there, if the flags match none of it."""
    replayed = sum(letter.replayed for letter in letters)
    parts = [f"{len(letters) - replayed} not replayed"] if len(letters) > replayed else []
    parts += [f"{replayed} replayed already (list --all shows them)"] if replayed else []
    return f"no dead letter matches; others: {', '.join(parts)}"


def wanted(arguments: argparse.Namespace) -> LetterFilter:
    """Which letters the flags mean. Raises SettingsError for an invalid age."""
    return LetterFilter(
        stage=arguments.stage,
        run=arguments.run,
        region=arguments.region,
        symbol=arguments.symbol,
        error_type=arguments.error_type,
        older_than=arguments.older_than,
        newer_than=arguments.newer_than,
        letter_id=arguments.id,
        replayed_too=arguments.all and arguments.command != "replay",
    )


def say_why_not(everything: list[Letter], arguments: argparse.Namespace) -> int:
    """Say why the letter that was named can't be had. Returns the exit code."""
    named = [letter for letter in everything if letter.letter_id == arguments.id]
    if any(not letter.replayed for letter in named):
        reason = "does not match the other flags"
    elif named:
        reason = "was replayed already" + (", show it with --all" if arguments.command != "replay" else "")
    else:
        demo = " --demo" if arguments.demo else ""
        reason = f"is not in the topics: python kafka_dead_letters.py{demo} list names those that are"
    print(f"dead letter {arguments.id} {reason}", file=sys.stderr)
    return EXIT_NOT_FOUND


def show(letters: list[Letter], arguments: argparse.Namespace) -> int:
    """Print the letters: one line each, all fields of each, or one JSON object each."""
    shown = letters[: arguments.limit]
    for letter in shown:
        if arguments.json:
            print(json.dumps(letter.fields()))
        elif arguments.command == "show":
            print("\n".join(f"{name:<19}{safe(str(value), 2000)}" for name, value in letter.fields().items()) + "\n")
        else:
            print(line(letter))
    if not arguments.json:
        rest = f", {len(letters) - len(shown)} more" if len(letters) > len(shown) else ""
        print(f"{_counted(len(shown), 'dead letter')}{rest}")
    return config.EXIT_DONE


def replay(settings: Settings, letters: list[Letter], arguments: argparse.Namespace) -> int:
    """Put the tasks back. With --dry-run only say which."""
    tasks = [letter for letter in letters if letter.task is not None]
    not_tasks = len(letters) - len(tasks)
    tasks = tasks[: arguments.limit]
    if arguments.dry_run:
        for letter in tasks:
            print(json.dumps(letter.fields()) if arguments.json else f"would replay {line(letter)}")
    count = len(tasks) if arguments.dry_run else put_back(settings, tasks)
    if arguments.json:
        print(json.dumps({"replayed": 0 if arguments.dry_run else count, "would_replay": count, "not_a_task": not_tasks}))
        return config.EXIT_DONE
    print(f"{'would replay' if arguments.dry_run else 'replayed'} {_counted(count, 'task')}")
    if not_tasks:
        what = _counted(not_tasks, "letter")
        print(f"not valid tasks, so they can't be replayed: {what} (python kafka_dead_letters.py show --error-type MessageError)")
    return config.EXIT_DONE


def put_back(settings: Settings, letters: list[Letter]) -> int:
    """Send the tasks to their topics again; how many. Raises ServiceError if the broker stops acknowledging."""
    sender = Sender(settings.kafka)
    try:
        return dead_letters.replay(sender, letters)
    except NotNow as error:
        raise ServiceError(
            f"{error}. The tasks that were put back are marked as replayed: run the same command again for the rest"
        ) from error
    finally:
        sender.close()


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def line(letter: Letter) -> str:
    """One letter on one line, without control characters."""
    fields = letter.fields()
    mark = " (replayed)" if letter.replayed else ""
    what = fields["task_id"] or "not a task"
    return safe(
        f"{letter.letter_id} {fields['dead_since']} {what} attempt {fields['attempt']} {fields['error_type']}: {fields['error']}{mark}", 300
    )


def parse_arguments() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument("command", choices=("list", "show", "replay"), help="print a line per letter, print all fields, or put back")
    parser.add_argument("id", nargs="?", type=_letter_id, help="one letter, STAGE/PARTITION/OFFSET as printed by list (default: all)")
    parser.add_argument("--stage", choices=("scraping", "processing"), help="only letters of this stage")
    parser.add_argument("--run", metavar="RUN_ID", help="only letters of this run")
    parser.add_argument("--region", metavar="CODE", help="only letters of this region, such as fr")
    parser.add_argument("--symbol", help="only letters of this stock, such as MC.PA")
    parser.add_argument("--error-type", metavar="TYPE", help="such as PermanentError, LayoutChanged, MessageError")
    parser.add_argument("--older-than", type=parse_age, metavar="AGE", help="such as 30m, 2h, 1d")
    parser.add_argument("--newer-than", type=parse_age, metavar="AGE", help="such as 30m, 2h, 1d")
    parser.add_argument("--limit", type=whole(1, 10**9), metavar="N", help="only the oldest N")
    parser.add_argument("--all", action="store_true", help="list, show: include letters that were replayed")
    parser.add_argument("--dry-run", action="store_true", help="replay: only say what would be put back")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    return parser.parse_args()


def _letter_id(text: str) -> str:
    if not re.fullmatch(r"(scraping|processing)/[0-9]{1,9}/[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected STAGE/PARTITION/OFFSET, such as processing/1/17")
    return text


if __name__ == "__main__":
    run_script(main)
