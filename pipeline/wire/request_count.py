"""How many requests to the site each task cost: counted as they are made, told in the task's result.

`note` is called in the thread that makes the request. One outside of any task (a cookie before the first one, say) goes to
the account of the next task that ends in this process, so that the sum over all results is that of all requests.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

_local = threading.local()
_lock = threading.Lock()
_unclaimed = 0


class Counted:
    """The requests of one attempt at a task; complete after the `with` block."""

    requests = 0


def note(requests: int = 1) -> None:
    """Count requests that were sent to the site, whatever was answered."""
    global _unclaimed
    counted = getattr(_local, "counted", None)
    if counted is not None:
        counted.requests += requests
        return
    with _lock:
        _unclaimed += requests


@contextlib.contextmanager
def counting(counted: Counted) -> Iterator[None]:
    """Count the requests of this thread within the block, and those that nobody has claimed yet."""
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
    """Take the requests that belong to no task so far: for a process that has no tasks."""
    global _unclaimed
    with _lock:
        taken, _unclaimed = _unclaimed, 0
    return taken
