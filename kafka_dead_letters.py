"""Lists the dead letters: which tasks failed for good, and why. Puts them back to be tried again.

python kafka_dead_letters.py list                                   all that were not replayed
python kafka_dead_letters.py list --stage processing --region fr --error-type PermanentError --newer-than 2h
python kafka_dead_letters.py show processing/1/17                   all fields of one
python kafka_dead_letters.py replay --run 20261124T071326Z-1f3a --dry-run
python kafka_dead_letters.py replay --symbol MC.PA                  send it to its task topic again, with a fresh attempt count
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import json
import logging

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka")

import config
from pipeline.broker.sender import Sender
from pipeline.errors import NotNow, ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import parse_age
from pipeline.process.script import run_script, set_up_logging
from pipeline.runs.text import safe
from pipeline.worker import dead_letters
from pipeline.worker.dead_letters import Letter, Wanted


def main() -> int:
    arguments = parse_arguments()
    set_up_logging(logging.WARNING)
    settings = discovery.find_broker(config.load(demo=arguments.demo))
    wanted = Wanted(
        stage=arguments.stage,
        run=arguments.run,
        region=arguments.region,
        symbol=arguments.symbol,
        error_type=arguments.error_type,
        older_than=parse_age(arguments.older_than) if arguments.older_than else None,
        newer_than=parse_age(arguments.newer_than) if arguments.newer_than else None,
        letter_id=arguments.id,
        replayed_too=arguments.all and arguments.command != "replay",
    )
    letters = dead_letters.read(settings.kafka, wanted)
    shown = letters[: arguments.limit] if arguments.limit else letters
    if arguments.command == "replay":
        shown = [letter for letter in letters if letter.task is not None]
        shown = shown[: arguments.limit] if arguments.limit else shown
        return replay(settings, shown, len(letters) - len([letter for letter in letters if letter.task is not None]), arguments)
    for letter in shown:
        if arguments.json:
            print(json.dumps(letter.fields()))
        elif arguments.command == "show":
            print("\n".join(f"{name:<19}{safe(str(value), 2000)}" for name, value in letter.fields().items()) + "\n")
        else:
            print(line(letter))
    if not arguments.json:
        rest = f", {len(letters) - len(shown)} more" if len(letters) > len(shown) else ""
        print(f"{len(shown)} dead letters{rest}")
    return config.EXIT_DONE


def replay(settings: config.Settings, letters: list[Letter], no_tasks: int, arguments: argparse.Namespace) -> int:
    """Put the tasks back. With --dry-run only say which."""
    count = len(letters)
    if arguments.dry_run:
        for letter in letters:
            print(json.dumps(letter.fields()) if arguments.json else f"would replay {line(letter)}")
    else:
        sender = Sender(settings.kafka)
        try:
            count = dead_letters.replay(sender, letters)
        except NotNow as error:
            raise ServiceError(
                f"{error}. The tasks that were put back are marked as replayed: run the same command again for the rest"
            ) from error
        finally:
            sender.close()
    if arguments.json:
        print(json.dumps({"replayed": 0 if arguments.dry_run else count, "would_replay": count, "not_a_task": no_tasks}))
    else:
        print(f"{'would replay' if arguments.dry_run else 'replayed'} {count} tasks")
        if no_tasks:
            print(
                f"{no_tasks} letters are not valid tasks and can't be replayed: python kafka_dead_letters.py show --error-type MessageError"
            )
    return config.EXIT_DONE


def line(letter: Letter) -> str:
    """One letter on one line, without control characters."""
    fields = letter.fields()
    mark = " (replayed)" if letter.replayed else ""
    what = fields["task_id"] or "not a task"
    return safe(
        f"{letter.letter_id} {fields['dead_since']} {what} attempt {fields['attempt']} {fields['error_type']}: {fields['error']}{mark}", 300
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("list", "show", "replay"))
    parser.add_argument("id", nargs="?", help="one letter, STAGE/PARTITION/OFFSET as printed by list")
    parser.add_argument("--stage", choices=("scraping", "processing"))
    parser.add_argument("--run", metavar="RUN_ID")
    parser.add_argument("--region", metavar="CODE")
    parser.add_argument("--symbol")
    parser.add_argument("--error-type", metavar="TYPE", help="such as PermanentError, LayoutChanged, MessageError")
    parser.add_argument("--older-than", metavar="AGE", help="such as 30m, 2h, 1d")
    parser.add_argument("--newer-than", metavar="AGE")
    parser.add_argument("--limit", type=int, metavar="N")
    parser.add_argument("--all", action="store_true", help="list, show: include letters that were replayed")
    parser.add_argument("--dry-run", action="store_true", help="replay: only say what would be put back")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
