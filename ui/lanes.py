"""Views that share something scarce (connections to PostgreSQL, clients of Kafka) go through a lane: so many at once.

So many more may wait; whoever comes then is told at once that it is busy (503). A view that nobody reads holds up its own
lane for a while, and no other one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

#: Seconds after which a client that was refused may try again.
RETRY_SECONDS = 2

View = Callable[[Request], Response]


def busy(reason: str) -> HTTPException:
    """The refusal of what would be too much at once."""
    return HTTPException(503, reason, headers={"retry-after": str(RETRY_SECONDS)})


class Lane:
    """`at_once` views run in threads, `waiting` more wait."""

    def __init__(self, what: str, at_once: int, waiting: int) -> None:
        self._what = what
        self._waiting = waiting
        self._limiter = anyio.CapacityLimiter(at_once)

    def __call__(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """The view, as one of this lane."""

        async def in_lane(request: Request) -> Response:
            return await self.run(view, request)

        return in_lane

    async def run(self, work: Callable[..., Response], *values: object) -> Response:
        """Raises HTTPException if too many wait already."""
        if self._limiter.statistics().tasks_waiting >= self._waiting:
            raise busy(f"too many ask for {self._what} at once: try again in a moment")
        return await anyio.to_thread.run_sync(work, *values, limiter=self._limiter)
