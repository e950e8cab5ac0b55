"""What every process of the pipeline does around its work: logging, signals, the pipe to its orchestrator, exit codes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable

import config
from config import SettingsError
from pipeline.broker import clients
from pipeline.errors import ServiceError

log = logging.getLogger(__name__)

#: Set by the orchestrator for its children: standard input is a pipe from it, and its end is the child's end.
PARENT_PIPE = "PIPELINE_PARENT_PIPE"


def set_up_logging(level: int = logging.INFO) -> None:
    """Log to standard error, one line a record, times in UTC."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    logging.Formatter.converter = time.gmtime
    clients.quiet()


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask this process to stop. Not SIGHUP where it is ignored: what nohup has started outlives its terminal."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def on_stop(stop: Callable[[], None]) -> None:
    """Call `stop` at the first of the stop signals; the second one ends the process at once."""
    numbers = stop_signals()

    def handle(number: int, frame: object) -> None:
        for other in numbers:
            signal.signal(other, signal.SIG_DFL)
        log.info("stopping (%s); once more ends it at once", signal.Signals(number).name)
        stop()

    for number in numbers:
        signal.signal(number, handle)


def end_with_orchestrator(last: Callable[[], None] = lambda: None) -> None:
    """End this process when its orchestrator is gone, however that ended. `last` is called first, and must be quick.

    There is nothing to drain to then: the embedded broker and database end at the same moment.
    """
    if not os.environ.get(PARENT_PIPE):
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        try:
            last()
        finally:
            os._exit(1)

    threading.Thread(target=watch, name="orchestrator-watch", daemon=True).start()


def run_script(main: Callable[[], int]) -> None:
    """Run a script's `main` and exit with its code; what is wrong is one line on standard error, never a traceback."""
    try:
        code = main()
    except SettingsError as error:
        code = _say(error, config.EXIT_SETTINGS)
    except ServiceError as error:
        code = _say(error, config.EXIT_SERVICE)
    except KeyboardInterrupt:
        code = config.EXIT_INTERRUPTED
    except Exception:
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that hang in a dead browser or socket must not keep the process.
    os._exit(code)


def _say(error: Exception, code: int) -> int:
    print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
    return code
