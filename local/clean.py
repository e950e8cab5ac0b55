"""Removes what demos leave behind: `make clean`. A live run's database stays, unless --live is given.

Exit code 3 if services are running in a folder that would be removed.
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import shutil

import config
from local.postgres_place import remove_data
from local.state import State, data_dir
from pipeline.process.arguments import Parser
from pipeline.process.script import run_script


def main() -> int:
    parser = Parser(__doc__, prog="python -m local.clean", allow_abbrev=False)
    parser.add_argument("--live", action="store_true", help="remove the live runs' state and database too")
    for is_demo in (True, False) if parser.parse_args().live else (True,):
        folder = config.state_dir(is_demo)
        if not folder.exists():
            continue
        state = State.acquire(folder)
        remove_data(data_dir(folder))
        shutil.rmtree(folder)
        state.release()
    left = config.state_dir(False)
    if left.exists():
        print(f"kept: {left}, the live runs' state and database (make clean ARGS=--live removes it too)")
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
