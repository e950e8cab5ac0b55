"""The JSON endpoints as yfinance 1.7.0 asks for them, with the cookie, the crumb and the consent that it fetches first."""

from __future__ import annotations

import json
import random
from typing import Any

from aiohttp import web

from local.market import charts, payloads, screening
from local.market.companies import Company, Market
from local.market.crumbs import Crumbs
from local.market.faults import Faults
from local.market.page_switches import Switches


def _json(body: object, status: int = 200) -> web.Response:
    data = body if isinstance(body, bytes) else payloads.encode(body)
    return web.Response(body=data, status=status, content_type="application/json")


def error(container: str, status: int, code: str, description: str) -> web.Response:
    return _json({container: {"result": None, "error": {"code": code, "description": description}}}, status)


class Api:
    """Handlers of the JSON endpoints."""

    def __init__(self, market: Market, faults: Faults, switches: Switches, crumbs: Crumbs) -> None:
        self._market = market
        self._faults = faults
        self._switches = switches
        self._crumbs = crumbs
        self._moves = random.Random(f"{market.seed}:moves of answers")

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/test/getcrumb", self.crumb, name="crumb"),
            web.get("/copyConsent", self.copy_consent, name="copy_consent"),
            web.get("/v10/finance/quoteSummary/{symbol}", self.quote_summary, name="quoteSummary"),
            web.get("/v7/finance/quote", self.quote, name="quote"),
            web.get("/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}", self.timeseries, name="timeseries"),
            web.get("/v8/finance/chart/{symbol}", self.chart, name="chart"),
            web.post("/v1/finance/screener", self.screener, name="screener"),
        ]

    # Cookie and crumb

    async def cookie(self, request: web.Request) -> web.Response:
        """fc.yahoo.com: an error page whose cookie is all that matters."""
        response = web.Response(status=404, text="Not Found")
        self._crumbs.grant(response)
        return response

    async def copy_consent(self, request: web.Request) -> web.Response:
        response = web.Response(text="ok")
        self._crumbs.grant(response)
        return response

    async def crumb(self, request: web.Request) -> web.Response:
        crumb = self._crumbs.of(request)
        return error("finance", 401, "Unauthorized", "Invalid Cookie") if crumb is None else web.Response(text=crumb)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        return None if self._crumbs.accepts(request) else error("finance", 401, "Unauthorized", "Invalid Crumb")

    # Data

    def _find(self, symbol: str, endpoint: str, repeated: bool) -> Company | None:
        """The company, unless it is gone or hidden for this once. `repeated`: the answer is a 404, after which yfinance asks again."""
        company = self._market.company(symbol)
        if company is None or "gone" in company.traits or self._faults.hides(company.symbol, endpoint, 2 if repeated else 1):
            return None
        return company

    async def quote_summary(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        symbol = request.match_info["symbol"]
        company = self._find(symbol, "quoteSummary", True)
        if company is None:
            return error("quoteSummary", 404, "Not Found", f"Quote not found for symbol: {symbol}")
        return _json(payloads.quote_summary(company, request.query.get("modules", "").split(",")))

    async def quote(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        symbols = [symbol for symbol in request.query.get("symbols", "").split(",") if symbol]
        if len(symbols) > 100:
            return error("quoteResponse", 400, "Bad Request", "Number of symbols must not exceed 100")
        found: list[dict[str, Any]] = []
        rates = not self._faults.strikes("no_rates")
        for symbol in symbols:
            if symbol.endswith("=X"):
                pair = payloads.currency_quote(symbol, self._market.today) if rates else None
                found += [pair] if pair else []
            elif company := self._find(symbol, "quote", False):
                found.append(payloads.quote(company))
        return _json({"quoteResponse": {"result": found, "error": None}})

    async def timeseries(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        start, end = _whole(request, "period1", 0), _whole(request, "period2", 2**40)
        types = [name for name in request.query.get("type", "").split(",") if name]
        if start is None or end is None or not types:
            return error("timeseries", 400, "Bad Request", "type, period1 or period2 is missing or invalid")
        return _json(payloads.timeseries(self._find(symbol, "timeseries", False), symbol, types, start, end))

    async def chart(self, request: web.Request) -> web.Response:
        symbol = request.match_info["symbol"]
        span, interval = request.query.get("range", "1mo"), request.query.get("interval", "1d")
        # Both absent means by range; one absent means open on that side.
        start, end = _whole(request, "period1", None), _whole(request, "period2", None)
        if span not in charts.RANGES:
            return error("chart", 422, "Unprocessable Entity", f"range must be one of {', '.join(charts.RANGES)}")
        if interval not in charts.INTERVALS:
            return error("chart", 422, "Unprocessable Entity", f"interval must be one of {', '.join(charts.INTERVALS)}")
        if symbol.endswith("=X"):
            body = charts.currency_chart(symbol, start, end, span, interval, self._market.today)
        else:
            company = self._find(symbol, "chart", True)
            body = charts.chart(company, start, end, span, interval) if company else None
        if body is None:
            return error("chart", 404, "Not Found", "No data found, symbol may be delisted")
        return _json(body)

    async def screener(self, request: web.Request) -> web.Response:
        status = self._switches.status_of_rows()
        if status != 200:
            return error("finance", status, "Refused", "Not now, please")
        if refused := self._unauthorized(request):
            return refused
        records = request.query.get("useRecordsResponse") == "true" or self._switches["shape"] == "records"
        try:
            body = json.loads(await request.text())
            dollars = self._faults.strikes("dollar_filter")
            return _json(screening.screen(self._market, body, dollars, self._switches, self._moves, records))
        except ValueError as invalid:
            return error("finance", 400, "Bad Request", str(invalid))


def _whole(request: web.Request, name: str, default: int | None) -> int | None:
    text = request.query.get(name)
    try:
        return default if text is None else int(float(text))
    except ValueError:
        return None
