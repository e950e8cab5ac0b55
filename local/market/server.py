"""The server: routes, latency, faults, counts, and what tests and demos steer it with under /market/."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from local.market import allowance as allowances
from local.market import payloads
from local.market.allowance import Allowance, Limit, Stats
from local.market.api import Api, error
from local.market.companies import Market
from local.market.consent import CONSENT_COOKIE, Consent
from local.market.crumbs import Crumbs
from local.market.faults import HANG_SECONDS, Faults, check
from local.market.page import Page
from local.market.page_switches import Switches
from local.market.regions import LAST_DAY

HOST = "127.0.0.1"

#: Endpoints that yfinance talks to: these have `latency_ms` and the faults of JSON requests.
_JSON_ENDPOINTS = frozenset({"crumb", "quoteSummary", "quote", "timeseries", "chart", "screener"})

_TOO_MANY = "Too Many Requests\r\n"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One market behind HTTP, in origin form for a browser and in absolute form as a forward proxy for yfinance."""

    def __init__(
        self,
        market: Market,
        faults: Faults,
        latency_ms: float = 0,
        page_latency_ms: float = 0,
        menu: str = "alternate",
        allowance: Iterable[Limit] = (),
        switches: Mapping[str, Any] | None = None,
    ) -> None:
        self._market = market
        self._faults = faults
        self._latency = latency_ms / 1000
        self._allowance = Allowance(allowance)
        self._stats = Stats()
        self._switches = Switches(switches)
        self._crumbs = Crumbs(market.seed, self._switches)
        self._api = Api(market, faults, self._switches, self._crumbs)
        self._page = Page(market, faults, page_latency_ms / 1000, menu, self._switches, self._crumbs, self._api)
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._serve])
        app.add_routes(self._api.routes())
        app.add_routes(self._page.routes())
        app.add_routes(Consent(self._switches).routes())
        app.add_routes(
            [
                web.get("/market/faults", self._get_faults),
                web.post("/market/faults", self._set_faults),
                web.get("/market/page", self._get_page),
                web.post("/market/page", self._set_page),
                web.post("/market/restart", self._restart),
                web.get("/market/counts", self._get_counts),
                web.get("/market/stats", self._get_stats),
                web.get("/market/allowance", self._get_allowance),
                web.post("/market/allowance", self._set_allowance),
                web.get("/market/companies", self._get_companies),
                web.get("/market/events", self._get_events),
                web.get("/", self._home, name="home"),
            ]
        )
        return app

    async def start(self, port: int) -> int:
        """Listen on loopback; return the port. Raises OSError if it is taken."""
        # A handler ends with its client: a hang must not outlive the one who waits for it.
        self._runner = web.AppRunner(self.app(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, port, backlog=1024).start()
        except OSError:
            await self._runner.cleanup()
            raise
        taken: int = self._runner.addresses[0][1]
        return taken

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    # Every request

    @web.middleware
    async def _serve(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.host == "fc.yahoo.com":
            endpoint, handler = "cookie", self._api.cookie
        else:
            endpoint = request.match_info.route.name or "other"
            if endpoint in ("screener", "crumb") and CONSENT_COOKIE in request.cookies:
                # The browser's own, not yfinance's: with the latency and the faults of the page.
                endpoint, handler = f"page_{endpoint}", self._page.data if endpoint == "screener" else handler
        if request.path.startswith("/market/"):
            refusal = foreign(request)
            return web.Response(status=403, text=f"{refusal}\n") if refusal else await handler(request)
        status = 0
        try:
            if self._allowance.admits(time.monotonic()):
                response = await self._answer(endpoint, request, handler)
            else:
                response = _refusal(endpoint)
            status = response.status
            return response
        except web.HTTPException as answer:  # redirects and 404s are raised
            status = answer.status
            raise
        finally:
            self._stats.count(endpoint, status)

    async def _answer(self, endpoint: str, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if endpoint not in _JSON_ENDPOINTS:
            return await handler(request)
        if self._latency:
            await asyncio.sleep(self._latency)
        return await self._faulty(request, handler) if self._faults.rates else await handler(request)

    async def _faulty(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        faults = self._faults
        if faults.rate_limited(time.monotonic()):
            headers = {"Retry-After": "1"} if faults.coin("rate_limit") else {}
            return web.Response(status=429, text=_TOO_MANY, headers=headers)
        if faults.strikes("http500"):
            return error("finance", 500, "Internal Server Error", "Something went wrong")
        if faults.strikes("hang"):
            await asyncio.sleep(HANG_SECONDS)
        if faults.strikes("drop"):
            return await self._drop(request, None if faults.coin("drop") else await handler(request))
        response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes) and _is_data(response) and faults.strikes("bad_json"):
            return web.Response(body=response.body[: len(response.body) * 2 // 3], content_type="application/json")
        return response

    @staticmethod
    async def _drop(request: web.Request, answer: web.StreamResponse | None) -> web.StreamResponse:
        """Close the connection: at once, or after half of `answer`."""
        broken = web.StreamResponse()
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            broken.content_length = len(answer.body)
            broken.content_type = "application/json"
            with contextlib.suppress(ConnectionError):
                await broken.prepare(request)
                await broken.write(answer.body[: len(answer.body) // 2])
        if request.transport:
            request.transport.close()
        return broken

    # Steering

    async def _get_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._faults.rates)

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            rates = json.loads(await request.text() or "{}")
            if not isinstance(rates, dict):
                raise ValueError("expected an object of fault names and rates")
            self._faults.replace(check(rates))
        except ValueError as invalid:
            return web.json_response({"error": str(invalid)}, status=400)
        return web.json_response(self._faults.rates)

    async def _get_page(self, request: web.Request) -> web.Response:
        return web.json_response(self._switches.values())

    async def _set_page(self, request: web.Request) -> web.Response:
        try:
            values = json.loads(await request.text() or "{}")
            if not isinstance(values, dict):
                raise ValueError("expected an object of switches and their values")
            self._switches.replace(values)
        except ValueError as invalid:
            return web.json_response({"error": str(invalid)}, status=400)
        return web.json_response(self._switches.changed())

    async def _restart(self, request: web.Request) -> web.Response:
        """As if the site had been replaced: cookies and crumbs of pages that are open are refused."""
        self._crumbs.forget()
        return web.json_response({})

    async def _get_counts(self, request: web.Request) -> web.Response:
        return web.json_response({"requests": dict(self._stats.by_kind), "faults": dict(self._faults.injected)})

    async def _get_stats(self, request: web.Request) -> web.Response:
        return web.json_response(self._stats.fields())

    async def _get_allowance(self, request: web.Request) -> web.Response:
        return web.json_response([str(limit) for limit in self._allowance.limits])

    async def _set_allowance(self, request: web.Request) -> web.Response:
        try:
            limits = json.loads(await request.text() or "[]")
            if not isinstance(limits, list):
                raise ValueError('expected a list of limits, such as ["600/60"]')
            self._allowance.replace([allowances.parse(str(limit)) for limit in limits])
        except ValueError as invalid:
            return web.json_response({"error": str(invalid)}, status=400)
        return await self._get_allowance(request)

    async def _get_companies(self, request: web.Request) -> web.Response:
        rows = [
            {"symbol": c.symbol, "name": c.name, "region": c.region, "market_cap": c.market_cap}
            | {"currency": c.currency, "market_cap_usd": round(c.market_cap_usd, 4), "traits": sorted(c.traits)}
            for c in self._market.companies
        ]
        return web.Response(body=payloads.encode(rows), content_type="application/json")

    async def _get_events(self, request: web.Request) -> web.Response:
        day = request.query.get("day", str(self._market.day))
        if not (day.isascii() and day.isdecimal() and int(day) <= LAST_DAY):
            return web.json_response({"error": f"day is {day[:20]!r}: expected a whole number from 0 to {LAST_DAY}"}, status=400)
        return web.json_response([event._asdict() for event in self._market.events(int(day))])

    async def _home(self, request: web.Request) -> web.Response:
        return web.Response(text="The local market: a stand-in for Yahoo Finance. Every company here is made up.\n")


def _refusal(endpoint: str) -> web.Response:
    """As the site refuses: without a Retry-After, a page in its own words."""
    return web.Response(status=429, text=_TOO_MANY if endpoint in _JSON_ENDPOINTS else "Edge: Too Many Requests")


def foreign(request: web.Request) -> str:
    """Why a request that steers the market is refused, or "".

    It listens on loopback, but so does everything in the user's browser: another site's page could send the POST, or have
    its own name lead here. Browsers say where a POST comes from; who sends neither Origin nor Sec-Fetch-Site is none.
    """
    transport = request.transport
    port = transport.get_extra_info("sockname")[1] if transport is not None else 0
    own = [f"{name}:{port}" for name in ("localhost", HOST)] + (["localhost", HOST] if port == 80 else [])
    if request.headers.get("Host", "").lower() not in own:
        return f"the market is steered at http://{HOST}:{port} only"
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if (origin is not None and origin.lower() not in {f"http://{host}" for host in own}) or site not in (None, "same-origin", "none"):
        return "the market is not steered by other sites' pages"
    return ""


def _is_data(response: web.Response) -> bool:
    return response.status == 200 and response.content_type == "application/json"
