"""Serves a recording (pipeline/yahoo/recording.py) in place of made-up companies: each request gets what it got then."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from aiohttp import web

from local.market.crumbs import COOKIE_SECONDS
from pipeline.yahoo.recording import key

_CRUMB = "replayed"


class Replay:
    """The exchanges of a folder, in the order of their time; the last answer to a request is repeated."""

    def __init__(self, folder: Path) -> None:
        """Raises ValueError for a folder without a recording."""
        self._answers: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        paths = sorted(folder.glob("*.json"))
        for path in paths:
            exchange = json.loads(path.read_text(encoding="ascii"))
            self._answers[key(exchange)].append(exchange)
        if not paths:
            raise ValueError(f"{folder} holds no recording: expected files that --record has written")
        self.count = len(paths)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.serve)
        return app

    async def serve(self, request: web.Request) -> web.Response:
        if request.path == "/v1/test/getcrumb":
            return web.Response(text=_CRUMB)
        sent = await request.text() if request.can_read_body else None
        asked = key({"method": request.method, "url": request.path_qs, "sent": sent})
        answers = self._answers.get(asked)
        if not answers:
            response = web.json_response({"error": f"not in the recording: {request.method} {request.path}"}, status=404)
        else:
            found = answers.pop(0) if len(answers) > 1 else answers[0]
            content_type = found["content_type"].partition(";")[0] or "application/octet-stream"
            response = web.Response(body=found["body"].encode(), status=found["status"], content_type=content_type, charset="utf-8")
        domain = ".yahoo.com" if request.host.endswith("yahoo.com") else None
        # yfinance compares the day on which the cookie expires, and fails for one that has none.
        response.set_cookie("A3", _CRUMB, path="/", domain=domain, max_age=COOKIE_SECONDS)
        return response
