"""The screener page and the consent page before it.

`GET /research-hub/screener/equity/?start=0&count=100`. Without the consent cookie: a redirect to `/consent`, whose form (`agree` or
`reject`) leads back. The script asks `POST /research-hub/screener/rows` for its rows. Nothing comes from another host.

What was not known of the live page and is decided here:
- `count` in the URL sets the rows a page in menu 1 (25, 50 or 100); menu 2 ignores it and begins with 25. Both honour `start`.
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
  sort ascending at the first click, numbers descending; a further click turns round. Each sort begins at the first page.
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
from urllib.parse import quote, urlencode

from aiohttp import web

from local.market import screening
from local.market.companies import Market
from local.market.faults import PAGE_FAULTS, Faults
from local.market.regions import REGIONS

MENUS = ("1", "2", "alternate")
#: Set by the consent form, refused or agreed: the site shows the page after either.
_CONSENT_COOKIE = "GUCS"
_SCREENER = "/research-hub/screener/equity/"
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

    def __init__(self, market: Market, faults: Faults, latency: float, menu: str) -> None:
        self._market = market
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
            web.get("/consent", self.consent, name="consent"),
            web.post("/v2/collectConsent", self.collect_consent, name="collect_consent"),
            web.get("/quote/{symbol}/", self.company, name="company_page"),
            web.get("/favicon.ico", self.icon, name="icon"),
        ]

    async def screener(self, request: web.Request) -> web.Response:
        if _CONSENT_COOKIE not in request.cookies:
            raise web.HTTPFound("/consent?" + urlencode({"done": request.path_qs}))
        fault = next((name for name in PAGE_FAULTS if self._faults.strikes(name)), None)
        if fault == "blocked_page":
            return web.Response(status=429, text="Edge: Too Many Requests")
        menu = self._menu if self._menu != "alternate" else "12"[self._loads % 2]
        self._loads += 1
        count = _number(request, "count", 25)
        setup = {
            "menu": int(menu),
            "start": max(_number(request, "start", 0), 0),
            "count": count if menu == "1" and count in (25, 50, 100) else 25,
            "regions": sorted(REGIONS.items(), key=lambda region: region[1]),
            "fault": fault,
        }
        document = self._document.replace("/* SETUP */", json.dumps(setup))
        if fault == "changed_layout":
            for known, other in _RENAMED:
                document = document.replace(known, other)
        return _page(document)

    async def rows(self, request: web.Request) -> web.Response:
        if self._latency:
            await asyncio.sleep(self._latency)
        if self._faults.strikes("page_error"):
            return web.json_response({"error": "Something went wrong"}, status=500)
        try:
            wanted, dollars = json.loads(await request.text()), self._faults.strikes("dollar_filter")
            return web.json_response(screening.page_rows(self._market, wanted, self._moves, dollars))
        except (ValueError, TypeError, AttributeError) as invalid:
            return web.json_response({"error": str(invalid)}, status=400)

    # Consent

    async def consent(self, request: web.Request) -> web.Response:
        session = f"3_cc-session_{secrets.token_hex(8)}"
        fields = {
            "csrfToken": secrets.token_hex(4),
            "sessionId": session,
            "originalDoneUrl": request.query.get("done", "/"),
            "namespace": "yahoo",
        }
        hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
        return _page(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Before you continue (local market)</title></head><body>'
            '<div id="consent-page"><form class="consent-form" method="post" '
            f'action="/v2/collectConsent?sessionId={quote(session)}"><h1>Your privacy choices</h1>'
            f"<p>The local market stands in for the site; this page is its consent page.</p>{hidden}"
            '<button type="submit" name="agree" value="agree" class="btn accept-all">Accept all</button> '
            '<button type="submit" name="reject" value="reject" class="btn reject-all">Reject all</button></form></div></body></html>'
        )

    async def collect_consent(self, request: web.Request) -> web.Response:
        done = str((await request.post()).get("originalDoneUrl", "/"))
        # Only a path of this server: through the proxy the site's own address would lead out of it.
        back = done.startswith("/") and not done.startswith("//")
        response = web.Response(status=303, headers={"Location": done}) if back else web.Response(text="ok")
        response.set_cookie(_CONSENT_COOKIE, "done", path="/", max_age=365 * 86400)
        return response

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


def _page(document: str) -> web.Response:
    return web.Response(text=document, content_type="text/html", headers={"Cache-Control": "no-store"})


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() else default
