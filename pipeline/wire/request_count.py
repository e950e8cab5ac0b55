"""Counts the requests to the site that each task takes. The task's result reports the number."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class TaskRequests:
    """The number of requests of one attempt at a task. Complete after the `with` block of `RequestCount.of_task`."""

    number = 0


class RequestCount:
    """The requests of a process, by task. Safe in many threads.

    A request outside of any task (such as a cookie before the first one) is added to the next task that ends, so that the sum over
    all results includes all requests.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._outside = 0

    def note(self) -> None:
        """Count a request of this thread that was sent to the site, whatever the answer."""
        task: TaskRequests | None = getattr(self._local, "task", None)
        if task is not None:
            task.number += 1
            return
        with self._lock:
            self._outside += 1

    @contextlib.contextmanager
    def of_task(self, task: TaskRequests) -> Iterator[None]:
        """Count the requests of this thread within the block, and add those outside of any task."""
        self._local.task = task
        try:
            yield
        finally:
            self._local.task = None
            task.number += self.take_outside()

    def take_outside(self) -> int:
        """The requests outside of any task so far. They are reported by the caller, and not again."""
        with self._lock:
            taken, self._outside = self._outside, 0
        return taken
