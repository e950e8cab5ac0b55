"""Imported before all else by every script: Ctrl+C while the rest is being imported ends it at once, without a traceback.

Clients, browser driver and pandas take up to some seconds to import, and until then nobody could catch what Ctrl+C raises.
"""

from __future__ import annotations

import _signal  # the part of `signal` that is there already: the rest takes longer to import than all else here
import os

#: The exit code of a script that Ctrl+C has ended (config.EXIT_INTERRUPTED, which is not imported yet).
INTERRUPTED = 130


def _end(number: int, frame: object) -> None:
    os._exit(INTERRUPTED)


def over() -> None:
    """From now on Ctrl+C raises KeyboardInterrupt, as usual. Where it was ignored (a job in the background), it still is."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _end)
