"""Which offset of a partition may be committed. Pure.

Tasks of one partition finish in any order; what may be committed is the offset below which everything is finished.
"""

from __future__ import annotations


class OffsetLedger:
    """Book-keeping of one assigned partition, from the offsets taken to the position that is safe to commit."""

    def __init__(self) -> None:
        self._finished: dict[int, bool] = {}  # in order of offsets, from the first one that is not finished
        self._safe: int | None = None
        self._committed: int | None = None

    def take(self, offset: int) -> bool:
        """Note that a record came in. False if it is known: in work, or finished and not yet committed.

        After a rebalance that gives a partition back to the same consumer, reading starts again at the committed offset;
        what is known then is skipped. An offset below the committed one is new work: somebody reset the group.
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
            return  # of a time before a reset
        self._finished[offset] = True
        while self._finished:
            first = next(iter(self._finished))
            if not self._finished[first]:
                break
            del self._finished[first]
            self._safe = first + 1

    def read_to(self, position: int) -> None:
        """Note that up to here nothing else stands: behind the last record a transaction's marker has an offset too."""
        if not self._finished and self._safe is not None and position > self._safe:
            self._safe = position

    def to_commit(self) -> int | None:
        """The position to commit, None where it stands already."""
        return self._safe if self._safe != self._committed else None

    def committed(self, position: int) -> None:
        self._committed = position

    @property
    def open(self) -> int:
        """How many offsets are taken and not below the safe position."""
        return len(self._finished)
