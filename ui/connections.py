"""Limits the number of connections, and closes those whose client is too slow.

uvicorn waits for ever for a request that never ends, and for a client that never reads. It has no setting for either, so this
subclass watches its protocol from outside. How it speaks HTTP stays unchanged.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
#: Most connections. A further one takes the place of the one that has been idle for longest. Half of the files that the process may
#: have open are left for others: the topics' readers, the database.
MOST_CONNECTIONS = min(400, _FILES // 2) if _FILES > 0 else 400
#: Seconds within which the headers and the body of a request must each have arrived.
REQUEST_SECONDS = 15.0
#: Seconds for which a client may read nothing of an answer.
STALLED_SECONDS = 20.0
#: Seconds between two checks of a connection.
LOOK_SECONDS = 1.0


class WatchedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, with time limits for requests and for reading answers."""

    _look: asyncio.TimerHandle | None = None
    #: Since when no whole request has arrived, and since when nothing of the answer has been read (times of the loop).
    waits_since: float = 0.0
    stalled_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        if len(self.connections) > MOST_CONNECTIONS:
            self._make_room()
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_at_it)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = None

    def on_response_complete(self) -> None:
        self.waits_since = self.loop.time()
        super().on_response_complete()

    @property
    def waits(self) -> bool:
        """Whether a request, or the rest of one, is still to come."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _look_at_it(self) -> None:
        now = self.loop.time()
        late = self.waits and now - self.waits_since > REQUEST_SECONDS
        stalled = self.stalled_since is not None and now - self.stalled_since > STALLED_SECONDS
        if late or stalled:
            self.transport.abort()
            return
        self._look = self.loop.call_later(LOOK_SECONDS, self._look_at_it)

    def _make_room(self) -> None:
        """Close the connection that has waited or stalled for longest, or this one if all others are being answered."""
        idle: list[tuple[float, WatchedProtocol]] = []
        for one in self.connections:
            if isinstance(one, WatchedProtocol) and one is not self and not one.transport.is_closing():
                since = one.waits_since if one.waits else one.stalled_since
                if since is not None:
                    idle.append((since, one))
        oldest = min(idle, key=lambda found: found[0])[1] if idle else self
        oldest.transport.abort()
