"""Counts the requests to the site that each task takes. The task's result reports the number.

`note` is called in the thread that makes the request. A request outside of any task (such as a cookie before the first one) is
added to the next task that ends in this process, so that the sum over all results includes all requests.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_local = threading.local()
_lock = threading.Lock()
_unclaimed = 0


class Counted:
    """The number of requests of one attempt at a task. Complete after the `with` block."""

    requests = 0


def note(requests: int = 1) -> None:
    """Count requests that were sent to the site, whatever the answer."""
    global _unclaimed
    counted = getattr(_local, "counted", None)
    if counted is not None:
        counted.requests += requests
        return
    with _lock:
        _unclaimed += requests


@contextlib.contextmanager
def counting(counted: Counted) -> Iterator[None]:
    """Count the requests of this thread within the block, and add those that belong to no task."""
    global _unclaimed
    _local.counted = counted
    try:
        yield
    finally:
        _local.counted = None
        with _lock:
            counted.requests += _unclaimed
            _unclaimed = 0


def unclaimed() -> int:
    """Take the requests that belong to no task so far. For processes without tasks."""
    global _unclaimed
    with _lock:
        taken, _unclaimed = _unclaimed, 0
    return taken
