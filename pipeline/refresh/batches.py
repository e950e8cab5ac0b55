"""Answers many threads that each ask for one thing together: by one query, or by one request for a hundred symbols."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class Batched(Generic[T]):
    """`get(key)` returns the key's answer. One call of `ask` serves all keys that were asked for within `linger_seconds`."""

    def __init__(self, ask: Callable[[Sequence[str]], Mapping[str, T]], most: int, linger_seconds: float, name: str) -> None:
        """ask: returns key → answer, without the keys that have none. What it raises is raised in every thread that waits for it."""
        self._ask = ask
        self._most = most
        self._linger_seconds = linger_seconds
        self._queue: queue.SimpleQueue[tuple[str, Future[T | None]]] = queue.SimpleQueue()
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def begin(self, key: str) -> Future[T | None]:
        """Ask for `key` without waiting: its answer to come, which is None if there is none, or what `ask` raised."""
        mine: Future[T | None] = Future()
        self._queue.put((key, mine))
        return mine

    def get(self, key: str) -> T | None:
        """The answer for `key`, or None if there is none. Raises what `ask` raised."""
        return self.begin(key).result()

    def _loop(self) -> None:
        while True:
            waiting = [self._queue.get()]
            until = time.monotonic() + self._linger_seconds
            while len({key for key, _ in waiting}) < self._most:
                try:
                    waiting.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
                except queue.Empty:
                    break
            try:
                found = self._ask(list(dict.fromkeys(key for key, _ in waiting)))
            except BaseException as error:
                for _, future in waiting:
                    future.set_exception(error)
            else:
                for key, future in waiting:
                    future.set_result(found.get(key))
