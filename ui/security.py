"""Protects the page from other sites' pages. It listens on loopback only, but everything in the user's browser can reach that.

- Host must be this server's own name. Otherwise a site could make its name point here (DNS rebinding) and read everything.
- Images, frames and scripts for another site's page are refused, because they could keep this server busy.
- A request that changes something must come from this page. Otherwise any site could post a form here.
- The policy allows the browser to load nothing from elsewhere, and to run only this program's scripts.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("localhost", "127.0.0.1")
_SAFE_METHODS = ("GET", "HEAD")
_HEADERS = {
    # Plotly styles its drawings by attributes.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no-referrer, the browser would name "null" as the origin of this page's own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class OwnPagesOnly:
    """Refuses foreign hosts and origins, and adds security headers to all answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = refused(scope["method"], Headers(scope=scope), (scope.get("server") or ("", None))[1])

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        app: ASGIApp = self._app if refusal is None else PlainTextResponse(refusal + "\n", 403)
        await app(scope, receive, with_headers)


def refused(method: str, headers: Headers, port: int | None) -> str | None:
    """Why a request is refused, or None. `port` is the one that the server listens on."""
    hosts = headers.getlist("host")
    own = [f"{host}:{port}" for host in HOSTS] + ([*HOSTS] if port == 80 else [])
    if len(hosts) != 1 or hosts[0].lower() not in own:
        return f"this page answers at http://localhost:{port} only"
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if method in _SAFE_METHODS:
        # Any page may link here. Images, frames and scripts for another site's page are refused.
        link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") in (None, "document")
        if site in ("cross-site", "same-site") and not link:
            return "this page is not for other sites' pages: only a link may lead here"
        return None
    if origin is None and site is None:
        return "a request that changes something must come from this page: its Origin is missing"
    if origin is not None and (urlsplit(origin).scheme != "http" or origin.lower() != f"http://{hosts[0].lower()}"):
        return "a request that changes something must come from this page: its Origin is a different one"
    if site is not None and site != "same-origin":
        return "a request that changes something must come from this page: its Sec-Fetch-Site is a different one"
    return None
