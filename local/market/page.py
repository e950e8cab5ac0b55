"""The screener page and the consent page before it.

`GET /research-hub/screener/equity/?start=0&count=100`. Without the consent cookie: a redirect to `/consent`, whose form (`agree` or
`reject`) leads back. The script asks `POST /v1/finance/screener?crumb=…` for its rows, as the site's does; `page_switches.py` has
the other ways. Nothing comes from another host.

What was not known of the live page and is decided here:
- `count` in the URL sets the rows per page in menu 1 (25, 50 or 100); menu 2 ignores it and begins with 25. Both honour `start`.
- Menu 1 or 2 (`--menu`): in turn, by page load.
- Button texts and chips: `Region: United States`, `Region: 3 selected`, `Region: Any`; `Market Cap: Any`, `Market Cap: 300M - 2B`,
  `Market Cap: 2B - 10B`. They change together with the rows, not before.
- Menu 1: `button[data-ylk*="slk:Region"]` and `button[data-ylk*="slk:Market%20Cap"]`, each with a dialog after it
  (`div.dialog-container.menu-surface-dialog[aria-hidden]`).
- Menu 2: one dialog behind `[data-testid=add-filters-button]`; `filter-category-market_data` and `filter-category-profile` (empty);
  `filter-metric-region`, `filter-metric-intradaymarketcap`; `filter-apply`, `filter-cancel`. Active filters are
  `[data-testid=active-filter-region]`, `[data-testid=active-filter-intradaymarketcap]`.
- Market cap, in either menu: radios `input[name=marketcap]` with ids `any`, `mega`, `large`, `mid`, `small`, `micro`, `custom`;
  `input#custom` brings up `button[data-ylk*="slk:Greater%20Than"]` (chosen at first), `slk:Less%20Than`, `slk:Between`, and one input,
  two for Between, of placeholder `e.g. 10M`. `300M`, `2B`, `1.5T`, `500k` and plain numbers are understood. Anything else, or a first
  bound above the second, leaves Apply disabled.
- Column headers: `th[data-testid-header=<cell>][aria-sort=none|ascending|descending]` with a `button` in it; symbol, name and region
  sort ascending at the first click, numbers descending; a further click reverses the order. Each sort begins at the first page.
- Previous page: `button[data-testid="prev-page-button"]`.
- While rows are on their way: no rows, an empty total, both page buttons disabled, `aria-busy=true` on the container; up to 20 ms
  after a click the old rows still stand. The rows come in three renders, each of new elements.
- Empty: no rows, total `0-0 of 0 results`, `div[data-testid="screener-empty"]`. Rows that could not be loaded:
  `div[data-testid="screener-error"]` and no total.
- The `region` cell holds the label (`France`).
"""

from __future__ import annotations

import asyncio
import html
import json
import random
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aiohttp import web

from local.market import screening
from local.market.api import Api
from local.market.companies import Market
from local.market.consent import CONSENT_COOKIE
from local.market.crumbs import Crumbs
from local.market.faults import PAGE_FAULTS, Faults
from local.market.page_switches import Switches
from local.market.regions import REGIONS

MENUS = ("1", "2", "alternate")
_SCREENER = "/research-hub/screener/equity/"
#: Switches that the page's script heeds.
_SEEN_BY_PAGE = ("first_text", "empty", "options_after_ms", "overlay", "chips", "test_ids", "total_words")
_FOLDER = Path(__file__).parent

#: What `changed_layout` renames: nothing of the known selectors is left.
_RENAMED = (
    ("data-testid-cell", "data-qa-field"),
    ("data-testid-header", "data-qa-head"),
    ("data-testid", "data-qa"),
    ("data-table-v2-row", "grid-row"),
    ("next-page-button", "forward"),
    ('"table"', '"section"'),
    ('"tbody"', '"div"'),
    ('"thead"', '"header"'),
    ('"tr"', '"div"'),
    ('"td"', '"span"'),
    ('"th"', '"b"'),
    ("data-ylk", "data-track"),
    ("paginationContainer", "pager"),
    ("Goto next page", "Forward"),
    ('"total"', '"sum"'),
)


class Page:
    """Handlers of the pages that a browser visits."""

    def __init__(self, market: Market, faults: Faults, latency: float, menu: str, switches: Switches, crumbs: Crumbs, api: Api) -> None:
        self._market = market
        self._switches = switches
        self._crumbs = crumbs
        self._api = api
        self._faults = faults
        self._latency = latency
        self._menu = menu
        self._loads = 0
        self._moves = random.Random(f"{market.seed}:moves")
        # Hashed classes are others at every start, so that nobody selects on them.
        hashes = {f"yf-hash{i}": "yf-" + secrets.token_hex(3) for i in range(1, 5)}
        template = (_FOLDER / "page.html").read_text(encoding="utf-8")
        self._document = template.replace("/* SCRIPT */", (_FOLDER / "page.js").read_text(encoding="utf-8"))
        for plain, hashed in hashes.items():
            self._document = self._document.replace(plain, hashed)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(_SCREENER, self.screener, name="page"),
            web.get(_SCREENER.rstrip("/"), self.screener),
            web.post("/research-hub/screener/rows", self.rows, name="page_rows"),
            web.get("/quote/{symbol}/", self.company, name="company_page"),
            web.get("/favicon.ico", self.icon, name="icon"),
        ]

    async def screener(self, request: web.Request) -> web.Response:
        if CONSENT_COOKIE not in request.cookies:
            raise web.HTTPFound("/consent?" + urlencode({"done": request.path_qs}))
        fault = next((name for name in PAGE_FAULTS if self._faults.strikes(name)), None)
        if fault == "blocked_page":
            return web.Response(status=429, text="Edge: Too Many Requests")
        if self._switches["page_status"] != 200 or self._switches["page_words"]:
            words = self._switches["page_words"] or "This page is not for you just now."
            return web.Response(status=self._switches["page_status"], text=f"<h1>{words}</h1>", content_type="text/html")
        # A page of an unknown layout has neither the known elements nor data that could be requested.
        data = "html" if fault == "changed_layout" else self._switches["data"]
        response = _page("")
        crumb = ""
        if data == "html":
            response.del_cookie("A3", path="/")
        else:
            crumb = self._crumbs.of_page(request, response)
        document = self._document.replace("<!-- EMBEDDED -->", self._embedded(crumb) if data == "embedded" else "")
        document = document.replace("/* SETUP */", json.dumps(self._setup(request, fault, data, crumb)).replace("</", "<\\/"))
        if fault == "changed_layout":
            for known, other in _RENAMED:
                document = document.replace(known, other)
        response.text = document
        return response

    def _setup(self, request: web.Request, fault: str | None, data: str, crumb: str) -> dict[str, object]:
        menu = self._switches["menu"] or (self._menu if self._menu != "alternate" else "12"[self._loads % 2])
        self._loads += 1
        count = _number(request, "count", 25)
        return {
            "menu": 0 if menu == "none" else int(menu),
            "start": max(_number(request, "start", 0), 0),
            "count": count if menu == "1" and count in (25, 50, 100) else 25,
            "regions": sorted(REGIONS.items(), key=lambda region: region[1]),
            "fault": fault,
            "data": data,
            "query": _query_path(crumb, self._switches),
            **{name: self._switches[name] for name in _SEEN_BY_PAGE},
        }

    def _embedded(self, crumb: str) -> str:
        """The first answer, embedded in the page as the site's server does it."""
        query = {"operator": "EQ", "operands": ["region", "us"]}
        body = {"size": 25, "sortField": "intradaymarketcap", "sortType": "DESC", "query": query}
        answer = screening.screen(self._market, body, switches=self._switches, records=self._switches["shape"] == "records")
        text = json.dumps({"status": 200, "statusText": "OK", "headers": {}, "body": json.dumps(answer)}).replace("</", "<\\/")
        url = html.escape("https://query1.finance.yahoo.com" + _query_path(crumb, self._switches))
        if self._switches["embedded_as"] == "plain":
            return f'<script type="application/json" data-first data-src="{url}">{text}</script>'
        return f'<script type="application/json" data-sveltekit-fetched data-url="{url}" data-ttl="1">{text}</script>'

    async def rows(self, request: web.Request) -> web.Response:
        """The rows as pieces of HTML, for a page that has no data of its own."""
        if self._latency:
            await asyncio.sleep(self._latency)
        status = 500 if self._faults.strikes("page_error") else self._switches.status_of_rows()
        if status != 200:
            return web.Response(text="Something went wrong", status=status)
        try:
            wanted, dollars = json.loads(await request.text()), self._faults.strikes("dollar_filter")
            return _page(_rows_as_html(screening.page_rows(self._market, wanted, self._moves, dollars, self._switches)))
        except (ValueError, TypeError, AttributeError) as invalid:
            return web.json_response({"error": str(invalid)}, status=400)

    async def data(self, request: web.Request) -> web.StreamResponse:
        """The page's own query: the endpoint's answer, with the page's latency and faults."""
        if self._latency:
            await asyncio.sleep(self._latency)
        if self._faults.strikes("page_error"):
            return web.json_response({"error": "Something went wrong"}, status=500)
        return await self._api.screener(request)

    # The rest of what a browser asks for

    async def company(self, request: web.Request) -> web.Response:
        company = self._market.company(request.match_info["symbol"])
        if company is None or "gone" in company.traits:
            raise web.HTTPNotFound
        name = html.escape(company.name)
        return _page(
            f'<!doctype html><meta charset="utf-8"><title>{name}</title><h1>{name}</h1><p>{company.symbol}: a made-up company.</p>'
        )

    async def icon(self, request: web.Request) -> web.Response:
        return web.Response(status=204)


def _query_path(crumb: str, switches: Switches) -> str:
    parameters = {"crumb": crumb, "lang": "en-US", "region": "US", "formatted": "false", "corsDomain": "finance.yahoo.com"}
    if switches["shape"] == "records":
        parameters["useRecordsResponse"] = "true"
    return "/v1/finance/screener?" + urlencode(parameters)


def _rows_as_html(found: dict[str, Any]) -> str:
    """`page_rows` as a piece of HTML."""

    def cell(name: str, value: Any) -> str:
        return f'<td data-field="{name}" data-value="{html.escape(str(value))}"></td>' if value is not None else ""

    rows = "".join(
        f'<tr data-link="/quote/{quote(row["ticker"], safe="")}/">{"".join(cell(name, value) for name, value in row.items())}</tr>'
        if row["ticker"]
        else f"<tr>{''.join(cell(name, value) for name, value in row.items())}</tr>"
        for row in found["rows"]
    )
    return f'<table data-start="{found["start"]}" data-total="{found["total"]}">{rows}</table><p>{found["total"]} results</p>'


def _page(document: str) -> web.Response:
    return web.Response(text=document, content_type="text/html", headers={"Cache-Control": "no-store"})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() else default
