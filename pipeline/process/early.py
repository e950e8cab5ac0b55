"""Every script imports this first, so that Ctrl+C during the other imports ends it at once, without a traceback.

Kafka clients, browser driver and pandas take up to some seconds to import. Until then no code can catch KeyboardInterrupt.
"""

from __future__ import annotations

import _signal  # already loaded; `signal` itself takes longer to import than all else here
import os
import sys

#: Exit code of a script ended by Ctrl+C: config.EXIT_INTERRUPTED, which is not imported yet.
INTERRUPTED = 130


#: Whether Ctrl+C has come since `over`. The KeyboardInterrupt that it raises is lost in a callback or a library's bare `except`.
interrupted = False


def _end(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: object) -> None:
    global interrupted
    interrupted = True
    raise KeyboardInterrupt


def over() -> None:
    """From now on Ctrl+C raises KeyboardInterrupt, as usual. If it was ignored (in a background job), it still is."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _interrupt)


if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _end)

# What a script starts as `python -m …` is found in this folder, even if PYTHONSAFEPATH is set.
os.environ.pop("PYTHONSAFEPATH", None)

if not os.path.isabs(os.path.expanduser("~")):
    # HOME is not set, and the user id has no name. As containers do in that case; nothing is kept there, but yfinance and others look.
    os.environ["HOME"] = "/"

if any(option.startswith("error") for option in sys.warnoptions):
    import warnings

    # PYTHONWARNINGS=error and -W error are for a program's own tests. Here a warning of a library, such as kafka-python's at its
    # import, would end the program. It is printed.
    warnings.simplefilter("default")
