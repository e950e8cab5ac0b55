"""How many requests the site answers in how long, and what it has answered and refused."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

#: The largest number of requests, and of seconds, that is accepted.
_MOST = 10_000_000


@dataclass(frozen=True)
class Limit:
    """At most `requests` answered in any `seconds`."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds}"


def parse(text: str) -> Limit:
    """A limit from "600/60". Raises ValueError that says what is expected."""
    match = re.fullmatch(r"(\d{1,8})/(\d{1,8})", text, re.ASCII)
    limit = Limit(int(match[1]), int(match[2])) if match else Limit(0, 0)
    if not (0 < limit.requests <= _MOST and 0 < limit.seconds <= _MOST):
        raise ValueError(f"{text!r}: expected requests/seconds, such as 600/60")
    return limit


class Allowance:
    """Sliding windows over the answered requests of the whole site; a refused request takes no place in them."""

    def __init__(self, limits: Iterable[Limit] = ()) -> None:
        self._answered: deque[float] = deque()
        self.replace(limits)

    def replace(self, limits: Iterable[Limit]) -> None:
        """Use these limits instead. Earlier answers still count, as far back as the previous limits reached."""
        self.limits = tuple(limits)

    def admits(self, now: float) -> bool:
        """Whether a request at `now` (monotonic seconds, never before an earlier one) is answered; if so it takes its place."""
        longest = max((limit.seconds for limit in self.limits), default=0)
        while self._answered and self._answered[0] <= now - longest:
            self._answered.popleft()
        for limit in self.limits:
            # The answer that must be out of the window: as many as are allowed have come since.
            if len(self._answered) >= limit.requests and self._answered[-limit.requests] > now - limit.seconds:
                return False
        if self.limits:
            self._answered.append(now)
        return True


@dataclass
class Stats:
    """Requests to the site, `refused` the ones that a 429 answered; `/market/…` is not counted."""

    answered: int = 0
    refused: int = 0
    by_kind: Counter[str] = field(default_factory=Counter)

    def count(self, kind: str, status: int) -> None:
        """Note a request; `status` 0 if its connection ended without an answer."""
        self.by_kind[kind] += 1
        if status == 429:
            self.refused += 1
        else:
            self.answered += 1

    def fields(self) -> dict[str, object]:
        """As `GET /market/stats` gives them: `answered` and `refused` add up to the sum of `by_kind`."""
        return {"answered": self.answered, "refused": self.refused, "by_kind": dict(self.by_kind)}
