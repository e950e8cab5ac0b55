"""Which offset of a partition may be committed. Pure.

The tasks of a partition finish in any order. The offset to commit is the one below which everything is finished.
"""

from __future__ import annotations


class OffsetLedger:
    """Keeps account of one assigned partition: which offsets were taken, and which position is safe to commit."""

    def __init__(self) -> None:
        self._finished: dict[int, bool] = {}  # in order of offsets, from the first one that is not finished
        self._safe: int | None = None
        self._committed: int | None = None

    def take(self, offset: int) -> bool:
        """Note that a record came in. False if it is known: in progress, or finished and not yet committed.

        After a rebalance that gives a partition back to the same consumer, reading starts again at the committed offset; known records
        are skipped then. An offset below the committed one is new work: somebody has reset the group.
        """
        if offset in self._finished:
            return False
        if self._safe is not None and offset < self._safe:
            if self._committed is None or offset >= self._committed:
                return False
            self._finished.clear()
            self._safe = self._committed = None
        self._finished[offset] = False
        return True

    def finish(self, offset: int) -> None:
        """Note that all outputs of a record are safe."""
        if offset not in self._finished:
            return  # taken before a reset
        self._finished[offset] = True
        while self._finished:
            first = next(iter(self._finished))
            if not self._finished[first]:
                break
            del self._finished[first]
            self._safe = first + 1

    def read_to(self, position: int) -> None:
        """Note that there are no further records up to here: a transaction's marker behind the last record has an offset too."""
        if not self._finished and self._safe is not None and position > self._safe:
            self._safe = position

    def to_commit(self) -> int | None:
        """The position to commit; None if it is committed already."""
        return self._safe if self._safe != self._committed else None

    def committed(self, position: int) -> None:
        self._committed = position

    def unfinished(self) -> list[int]:
        """The offsets whose tasks are still in hand."""
        return [offset for offset, finished in self._finished.items() if not finished]

    @property
    def open(self) -> int:
        """How many offsets were taken and are not below the safe position."""
        return len(self._finished)
