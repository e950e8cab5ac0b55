"""The pipeline view: a run's progress, also as server-sent events. Many viewers at once cost little."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pipeline.errors import MessageError
from pipeline.runs.group_watch import GroupWatch
from ui.lanes import busy
from ui.live import Followers, RunFollower, TooManyRuns, Unfollowed
from ui.run_view import Consumers, Snapshot

#: Seconds between two checks for changes, and between two signs of life while nothing changes.
LOOK_SECONDS = 0.25
ALIVE_SECONDS = 10.0
#: Live views at once.
LIVE_VIEWS = 60

Render = Callable[..., Response]


class LiveStream(StreamingResponse):
    """Events. Calls `ended` however they end, even if none was sent."""

    def __init__(self, content: AsyncIterator[str], ended: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream")
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


class PipelineView:
    """`render` makes HTML from a template, `draw` only its live part. `stopping` ends all live views."""

    def __init__(
        self, followers: Followers, watch: GroupWatch, render: Render, draw: Callable[..., str], stopping: threading.Event
    ) -> None:
        self._followers = followers
        self._watch = watch
        self._render = render
        self._draw = draw
        self._stopping = stopping
        self._live_views = 0
        #: run → what its last event shows, and the event's text. It is drawn once for all viewers of the run.
        self._drawn: dict[str | None, tuple[object, str]] = {}

    def page(self, request: Request) -> Response:
        run, follower = self._asked(request)
        view = follower.snapshot
        unknown = isinstance(follower, Unfollowed) and view.state == "waiting"
        status = 404 if unknown else 200
        return self._render(request, "pipeline.html", status, view=view, consumers=Consumers.of(self._watch.seen, view), run=run)

    async def events(self, request: Request) -> Response:
        """The live part of the view as server-sent events: its HTML, whenever it changes."""
        run, _ = self._asked(request)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._live_views >= LIVE_VIEWS:
            raise busy(f"{LIVE_VIEWS} live views are open, and no more are possible at once: close some of the tabs")
        self._live_views += 1
        return LiveStream(self._stream(run), self._one_ended)

    def _one_ended(self) -> None:
        self._live_views -= 1

    def _asked(self, request: Request) -> tuple[str | None, RunFollower | Unfollowed]:
        run = request.query_params.get("run") or None
        try:
            return run, self._followers.of(run)
        except MessageError as error:
            raise HTTPException(400, str(error)) from None
        except TooManyRuns as error:
            raise busy(str(error)) from None

    async def _stream(self, run: str | None) -> AsyncIterator[str]:
        shown: Any = None
        quiet = 0.0
        while not self._stopping.is_set():
            try:
                follower = self._followers.of(run)
            except TooManyRuns as error:  # the run became known, but too many others are followed
                follower = Unfollowed(Snapshot(state="away", problem=str(error), run_id=run or ""))
            consumers = Consumers.of(self._watch.seen, follower.snapshot)
            now = (follower, follower.version, consumers)
            if now != shown:
                shown, quiet = now, 0.0
                yield f"data: {self._text(run, now, follower, consumers)}\n\n"
            elif quiet >= ALIVE_SECONDS:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(LOOK_SECONDS)
            quiet += LOOK_SECONDS

    def _text(self, run: str | None, now: object, follower: RunFollower | Unfollowed, consumers: Consumers) -> str:
        drawn = self._drawn.get(run)
        if drawn is not None and drawn[0] == now:
            return drawn[1]
        text = json.dumps(self._draw(view=follower.snapshot, consumers=consumers, up="", run=run))
        if len(self._drawn) >= 8:
            self._drawn.clear()
        self._drawn[run] = (now, text)
        return text
