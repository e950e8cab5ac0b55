"""How many requests the site answered, and when: exact for the last seconds, coarser for earlier times. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate

#: Recent answers within this many seconds share a bin.
FINEST_SECONDS = 0.1
#: A bin may be as wide as this fraction of its age, so that a day takes about a thousand bins.
COARSENESS = 0.01
#: The longest window that a limit can have, in seconds. Older answers are forgotten.
LONGEST_SECONDS = 86_400.0
#: How many additions come before the bins are joined again.
_TIDY_EVERY = 200


class History:
    """Answered requests by time, in seconds of any one clock. Answers may be noted somewhat out of order."""

    def __init__(self, bins: Iterable[tuple[float, float, int]] = ()) -> None:
        """bins: (time of the first answer, of the last one, how many), as `bins` gives them."""
        ordered = sorted((first, last, count) for first, last, count in bins if count > 0 and first <= last)
        self._firsts = [first for first, _, _ in ordered]
        self._lasts = [last for _, last, _ in ordered]
        self._counts = [count for _, _, count in ordered]
        self._sums: list[int] | None = None
        self._untidy = 0

    @property
    def bins(self) -> list[tuple[float, float, int]]:
        return list(zip(self._firsts, self._lasts, self._counts, strict=True))

    def add(self, at: float, count: int = 1) -> None:
        """Note `count` answers at one moment."""
        self._sums = None
        index = bisect_right(self._firsts, at)
        if index and (at <= self._lasts[index - 1] or at - self._firsts[index - 1] < FINEST_SECONDS):
            self._lasts[index - 1] = max(self._lasts[index - 1], at)
            self._counts[index - 1] += count
        else:
            self._firsts.insert(index, at)
            self._lasts.insert(index, at)
            self._counts.insert(index, count)
        self._untidy += 1
        if self._untidy >= _TIDY_EVERY:
            self.tidy(max(at, self._lasts[-1]))

    def count(self, since: float) -> int:
        """Answers after `since`. A bin that reaches past it counts as a whole, so the result is never too small."""
        if self._sums is None:
            self._sums = [0, *accumulate(self._counts)]
        return self._sums[-1] - self._sums[bisect_right(self._lasts, since)]

    def first_after(self, since: float) -> float | None:
        """When the oldest bin that `count(since)` counts falls out of it: the time of its last answer."""
        index = bisect_right(self._lasts, since)
        return self._lasts[index] if index < len(self._lasts) else None

    def when_below(self, count: int) -> float | None:
        """The latest moment since which there are fewer than `count` answers left; None if there are fewer in all."""
        if self._sums is None:
            self._sums = [0, *accumulate(self._counts)]
        # Answers up to and with this bin have to fall out.
        index = bisect_left(self._sums, self._sums[-1] - count + 1)
        return self._lasts[index - 1] if 0 < index <= len(self._lasts) else None

    def tidy(self, now: float) -> None:
        """Join old neighbouring bins, and drop those that are too old to matter."""
        firsts: list[float] = []
        lasts: list[float] = []
        counts: list[int] = []
        for first, last, count in zip(self._firsts, self._lasts, self._counts, strict=True):
            if last < now - LONGEST_SECONDS:
                continue
            if firsts and last - firsts[-1] <= COARSENESS * (now - last):
                lasts[-1] = max(lasts[-1], last)
                counts[-1] += count
            else:
                firsts.append(first)
                lasts.append(last)
                counts.append(count)
        self._firsts, self._lasts, self._counts = firsts, lasts, counts
        self._sums = None
        self._untidy = 0
