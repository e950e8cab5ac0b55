"""Which tasks are not done on purpose: those of a run that was given up, and stocks whose ratios are young."""

from __future__ import annotations

from pipeline.storage.polled import FreshStocks, Polled
from pipeline.wire.messages import ProcessingTask, Task
from pipeline.wire.results import Untouched


class LeftAlone:
    """The worker asks it for each task, before the handler. Many threads call it at once."""

    def __init__(self, abandoned: Polled[frozenset[str]], is_fresh: FreshStocks | None = None) -> None:
        self._abandoned = abandoned
        self._is_fresh = is_fresh

    def __call__(self, task: Task) -> Untouched | None:
        if task.run_id in self._abandoned.value:
            return Untouched("abandoned")
        if self._is_fresh is not None and isinstance(task, ProcessingTask) and self._is_fresh(task.symbol, task.run_id):
            return Untouched("fresh")
        return None
