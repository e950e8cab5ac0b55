"""Lanes limit how many requests for a scarce resource (connections to PostgreSQL, clients of Kafka) run at once.

A limited number of further requests wait. All others are refused at once (503). A client that does not read its answer holds up only
its own lane.
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
    """The answer to a request that is refused because there are too many."""
    return HTTPException(503, reason, headers={"retry-after": str(RETRY_SECONDS)})


class Lane:
    """Up to `at_once` views run in threads, and up to `waiting` more wait."""

    def __init__(self, what: str, at_once: int, waiting: int) -> None:
        self._what = what
        self._waiting = waiting
        self._limiter = anyio.CapacityLimiter(at_once)

    def __call__(self, view: View) -> Callable[[Request], Awaitable[Response]]:
        """The view, so that it runs in this lane."""

        async def in_lane(request: Request) -> Response:
            return await self.run(view, request)

        return in_lane

    async def run(self, work: Callable[..., Response], *values: object) -> Response:
        """Run `work` in this lane. Raises HTTPException if too many wait already."""
        if self._limiter.statistics().tasks_waiting >= self._waiting:
            raise busy(f"too many requests for {self._what} at once: try again in a moment")
        return await anyio.to_thread.run_sync(work, *values, limiter=self._limiter)
