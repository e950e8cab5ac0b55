"""Which task runs next: in order per key, and retries when they are due. Without threads, clock or Kafka."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Generic

from pipeline.worker.delivery import Delivery, T


class TaskQueue(Generic[T]):
    """Tasks between poll and result. A thread has the first task of each key; the others of that key wait behind it."""

    def __init__(self) -> None:
        #: Tasks that a thread has, and those behind them.
        self.in_work = 0
        self._by_key: dict[str, deque[Delivery[T]]] = {}
        self._later: list[tuple[float, int, Delivery[T]]] = []  # heap: (due, number, task)
        self._numbers = itertools.count()

    @property
    def waiting(self) -> int:
        """Retries that are not due yet."""
        return len(self._later)

    def add(self, delivery: Delivery[T]) -> Delivery[T] | None:
        """The task to hand to a thread now: this one, or None if an earlier one of its key comes first."""
        self.in_work += 1
        tasks = self._by_key.setdefault(delivery.task.key, deque())
        tasks.append(delivery)
        return delivery if len(tasks) == 1 else None

    def add_later(self, delivery: Delivery[T], due: float) -> None:
        heapq.heappush(self._later, (due, next(self._numbers), delivery))

    def take_due(self, now: float) -> Delivery[T] | None:
        """A retry whose time has come, to be added; None if there is none."""
        return heapq.heappop(self._later)[2] if self._later and self._later[0][0] <= now else None

    def finish(self, delivery: Delivery[T]) -> Delivery[T] | None:
        """The first task of its key has a result. Returns the next one of that key, to hand to a thread."""
        self.in_work -= 1
        tasks = self._by_key[delivery.task.key]
        tasks.popleft()
        if tasks:
            return tasks[0]
        del self._by_key[delivery.task.key]
        return None

    def drop_waiting(self, unwanted: Callable[[Delivery[T]], bool] = lambda delivery: True) -> list[Delivery[T]]:
        """Forget tasks that no thread has yet. Returns them."""
        dropped = [delivery for _, _, delivery in self._later if unwanted(delivery)]
        self._later = [entry for entry in self._later if not unwanted(entry[2])]
        heapq.heapify(self._later)
        for key, tasks in list(self._by_key.items()):
            # By place, not by `remove`: a task that was delivered twice equals the one that its thread has.
            behind = list(itertools.islice(tasks, 1, None))
            self._by_key[key] = deque([tasks[0], *(one for one in behind if not unwanted(one))])
            self.in_work -= len(tasks) - len(self._by_key[key])
            dropped += filter(unwanted, behind)
        return dropped
