"""A site as somebody else might have built it: what its page holds and how its data answers is each test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from pipeline.screener import query

CRUMB = "Ab/9c.x"
LISTS = {
    "jp": [f"{1000 + number}.T" for number in range(106)],
    "fr": [f"F{number}.PA" for number in range(80)],
    "us": [f"US{number:04}" for number in range(1000)],
    "is": [],
}
QUERY_PATH = "/v1/finance/screener"
PAGE_PATH = "/research-hub/screener/equity/"
#: Under this name a query's body has its number.
NUMBER = "number of this query"

#: The page's own first query: the site's default list, of the United States.
DEFAULT = {
    "offset": 0,
    "size": 25,
    "sortField": "intradaymarketcap",
    "sortType": "DESC",
    "quoteType": "EQUITY",
    "query": {"operator": "AND", "operands": [{"operator": "or", "operands": [{"operator": "EQ", "operands": ["region", "us"]}]}]},
}
ADDRESS = f"{QUERY_PATH}?crumb=Ab%2F9c.x&lang=en-US"
FETCH = (
    f"fetch('{ADDRESS}', {{method: 'POST', headers: {{'Content-Type': 'application/json'}}, body: JSON.stringify({json.dumps(DEFAULT)})}});"
)


MAIN = "<main>Screener <button>Filters</button></main>"


def page(script: str = "", body: str = MAIN) -> str:
    return (
        f"<!doctype html><html><head><meta charset=utf-8><title>Screener</title></head><body>{body}<script>{script}</script></body></html>"
    )


def rows(body: dict[str, Any], most: int = 250) -> tuple[list[str], int]:
    """The symbols that a query's body asks for, `most` at once, and how many there are."""
    asked = query.asked(json.dumps(body))
    assert asked is not None
    found = [symbol for region in sorted(asked.regions) for symbol in LISTS.get(region, [])]
    return found[body["offset"] : body["offset"] + min(most, body["size"])], len(found)


def quotes(symbols: list[str], total: Any, name: str = "quotes") -> dict[str, Any]:
    listed = [{"symbol": symbol, "longName": f"Company {symbol}", "quoteType": "EQUITY"} for symbol in symbols]
    return {"finance": {"result": [{"total": total, name: listed}], "error": None}}


def refused(code: str, description: str = "") -> dict[str, Any]:
    return {"finance": {"result": None, "error": {"code": code, "description": description}}}


#: An answer's JSON, or a whole response.
Answering = Callable[[dict[str, Any], web.Request], Any]


class Site:
    """One server on loopback. `reset` makes it an ordinary site again."""

    def __init__(self) -> None:
        self.url = ""
        self.reset()

    def reset(self) -> None:
        self.page: str | Callable[[web.Request], Any] = page(FETCH)
        self.answer: Answering = lambda body, request: quotes(*rows(body))
        #: Where a query's crumb has to be; None is nowhere.
        self.crumb_of: Callable[[dict[str, Any], web.Request], Any] | None = lambda body, request: request.query.get("crumb")
        self.crumb: str | int = CRUMB
        self.query_path = QUERY_PATH
        self.other: dict[str, Callable[[web.Request], Any]] = {}
        #: How often each path was asked for.
        self.requests: Counter[str] = Counter()
        #: The bodies of all queries.
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests[request.path] += 1
        found = self._find(request, await request.text())
        if asyncio.iscoroutine(found):
            found = await found
        if isinstance(found, web.StreamResponse):
            return found
        if isinstance(found, str):
            return web.Response(text=found, content_type="text/html")
        return web.json_response(found)

    def _find(self, request: web.Request, text: str) -> Any:
        if request.host == "fc.yahoo.com":
            return self._cookie()
        if request.path in self.other:
            return self.other[request.path](request)
        if request.path == PAGE_PATH:
            return self.page(request) if callable(self.page) else self.page
        if request.path == query.CRUMB_PATH:
            return web.Response(text=self.crumb) if isinstance(self.crumb, str) else web.Response(status=self.crumb)
        if request.path == self.query_path and request.method == "POST":
            body = json.loads(text)
            if self.crumb_of is not None and self.crumb_of(body, request) != self.crumb:
                return web.json_response(refused("Unauthorized", "Invalid Crumb"), status=401)
            self.asked.append({**body})
            body[NUMBER] = len(self.asked)
            return self.answer(body, request)
        return web.Response(status=404, text="Not Found")

    @staticmethod
    def _cookie() -> web.Response:
        """What yfinance fetches first: an error page with a cookie."""
        response = web.Response(status=404)
        response.set_cookie("A3", "d=1", domain=".yahoo.com", path="/", max_age=86_400)
        return response


@contextlib.contextmanager
def serving(site: Site) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    runner: list[web.AppRunner] = []
    started = threading.Event()

    async def start() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", site.handle)
        runner.append(web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1))
        await runner[0].setup()
        await web.TCPSite(runner[0], "127.0.0.1", 0).start()
        site.url = f"http://127.0.0.1:{runner[0].addresses[0][1]}"
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner[0].cleanup())
        loop.close()

    thread = threading.Thread(target=run, name="other pages", daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


async def dropped(request: web.Request) -> web.StreamResponse:
    """The connection is cut in mid-way."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def late(seconds: float, answer: Any) -> Any:
    await asyncio.sleep(seconds)
    return answer


async def for_ever(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(600)
    return web.Response()


#: A page of pieces of HTML, in markup of its own: options by role, two inputs without a choice before them, no test ids.
REGIONS = ("Austria", "Canada", "France", "Germany", "Iceland", "Italy", "Japan", "United States")
MARKUP = """
<style>[role=dialog] { position: fixed; top: 40px; left: 40px; background: white } [hidden] { display: none }</style>
<header><h1>Equity screener</h1>
<button aria-haspopup="dialog" id="b1">Country</button> <button aria-haspopup="dialog" id="b2">Market cap</button></header>
<div role="dialog" id="d1" hidden><ul role="listbox"></ul><button class="done">Apply</button></div>
<div role="dialog" id="d2" hidden>
<input type="number" aria-label="Minimum"><input type="number" aria-label="Maximum"><button class="done">Apply</button></div>
<main><table><thead><tr><th>Symbol</th><th>Company</th></tr></thead><tbody></tbody></table><footer class="pagination">
<span></span> <button aria-label="Previous page">‹</button> <button aria-label="Next page">›</button></footer></main>"""
BY_ROLES = """
const chosen = new Set(["United States"]);
let start = 0;
const [b1, b2, d1, d2] = ["b1", "b2", "d1", "d2"].map((id) => document.getElementById(id));
const [before, after] = document.querySelectorAll("footer button");
const [low, high] = d2.querySelectorAll("input");
for (const region of NAMES) {
  const option = document.createElement("li");
  option.setAttribute("role", "option");
  option.setAttribute("aria-selected", chosen.has(region));
  option.textContent = `${region} (${region.length})`;
  option.onclick = () => {
    chosen[chosen.has(region) ? "delete" : "add"](region);
    option.setAttribute("aria-selected", chosen.has(region));
  };
  d1.querySelector("ul").append(option);
}
let show = async () => {
  const query = new URLSearchParams({ c: [...chosen].join(), min: low.value, max: high.value, start });
  const piece = document.createElement("template");
  piece.innerHTML = await (await fetch("/pieces?" + query)).text();
  const { total, rows } = piece.content.firstChild.dataset;
  document.querySelector("tbody").replaceChildren(...piece.content.querySelectorAll("tr"));
  document.querySelector("footer span").textContent = `${Number(rows) ? start + 1 : 0}–${start + Number(rows)} of ${total}`;
  b1.textContent = `Country: ${[...chosen].join(", ")}`;
  before.disabled = !start;
  after.disabled = start + Number(rows) >= Number(total);
};
for (const [button, dialog] of [[b1, d1], [b2, d2]]) {
  button.onclick = () => (dialog.hidden = !dialog.hidden);
  dialog.querySelector(".done").onclick = () => { dialog.hidden = true; start = 0; show(); };
}
after.onclick = () => { start += 40; show(); };
before.onclick = () => { start -= 40; show(); };
"""
#: Behind it: the page goes on in a way of its own (WAY), and says where the list stands or not (SAYS).
ONWARD = """
const footer = document.querySelector("footer"), body = document.querySelector("tbody");
const ADDS = ["more", "scrolling"].includes(WAY);
let shown = [], isLast = false, busy = false;
show = async () => {
  const query = new URLSearchParams({ c: [...chosen].join(), min: low.value, max: high.value, start });
  const piece = document.createElement("template");
  piece.innerHTML = await (await fetch("/pieces?" + query)).text();
  const total = Number(piece.content.firstChild.dataset.total), rows = [...piece.content.querySelectorAll("tr")];
  shown = ADDS && start ? [...shown, ...rows] : rows;
  isLast = start + rows.length >= total;
  b1.textContent = `Country: ${[...chosen].join(", ")}`;
  const range = `${ADDS ? 1 : start + 1}–${start + rows.length} of ${total}`;
  footer.innerHTML = `<p>${SAYS ? range : ""}</p>${onward(total)}`;
  draw();
};
const on = () => { start += 40; return show(); };
let draw = () => body.replaceChildren(...shown);
const mark = (n) => (n === start / 40 ? "aria-current=page" : "");
const link = (n) => `<a role=button ${mark(n)} onclick="start = ${40 * n}; show()">${n + 1}</a>`;
const onward = {
  more: () => (isLast ? "" : "<button onclick='on()'>Load more</button>"),
  scrolling: () => "",
  numbers: (total) => `<nav>${Array.from({ length: Math.ceil(total / 40) }, (_, n) => link(n)).join("")}</nav>`,
  title: () => `<a role=button title=Next class="${isLast ? "disabled" : ""}" onclick="on()"><svg width=9 height=9></svg></a>`,
  relation: () => `<a ${isLast ? "" : "rel=next"} href="#" onclick="on(); return false">+40</a>`,
  places: () => `<button aria-label="Next page" ${isLast ? "disabled" : ""} onclick="on()">›</button>`,
}[WAY];
if (WAY === "scrolling") {
  addEventListener("scroll", async () => {
    if (busy || isLast || innerHeight + scrollY < document.documentElement.scrollHeight - 50) return;
    busy = true;
    await on();
    busy = false;
  });
}
if (WAY === "places") {
  // Ten rows of thirty pixels are made, and empty ones keep the places of the others.
  const box = document.querySelector("main");
  box.style = "height: 240px; overflow: auto";
  const style = "<style>table { border-collapse: collapse } td { height: 28px; padding: 0 }</style>";
  document.head.insertAdjacentHTML("beforeend", style);
  const place = (count) => Object.assign(document.createElement("tr"), { style: `height: ${30 * count}px` });
  draw = () => {
    const from = Math.max(0, Math.floor(box.scrollTop / 30) - 1), to = Math.min(shown.length, from + 12);
    body.replaceChildren(place(from), ...shown.slice(from, to), place(shown.length - to));
  };
  box.onscroll = () => requestAnimationFrame(draw);
}
"""


def pieces(request: web.Request) -> str:
    """Forty rows of the regions that are asked for, as HTML."""
    codes = {"Japan": "jp", "France": "fr", "United States": "us", "Iceland": "is"}
    symbols = [symbol for name in request.query["c"].split(",") for symbol in LISTS.get(codes.get(name, ""), [])]
    start = int(request.query["start"])
    shown = symbols[start : start + 40]
    listed = "".join(f'<tr><td><a href="/quote/{symbol}">{symbol}</a></td><td>Company {symbol}</td></tr>' for symbol in shown)
    return f'<table data-total="{len(symbols)}" data-rows="{len(shown)}"><tbody>{listed}</tbody></table><i>{len(symbols)} results</i>'


#: A page that the server renders for its address: forms in place of scripts, links to the next page, no JSON and no crumb.
RENDERED = """<!doctype html><html><head><meta charset=utf-8><title>Stocks</title>
<style>[hidden] {{ display: none }} [role=dialog] {{ position: fixed; top: 40px; background: white }}</style></head><body>
<nav><a href="/quote/NVDA">Trending: NVDA</a> <button aria-haspopup=menu aria-expanded=false>Region and language</button></nav>{filters}
<table style="position: sticky; top: 0"><thead>{heads}</thead></table>
<table><thead>{heads}</thead><tbody>{rows}</tbody></table><p>{says}</p><nav>{following}</nav></body></html>"""
PAID_ROW = '<tr class="row promoted"><td><a href="/quote/PAID?ncid=ad">PAID</a></td><td>Paid Inc.</td></tr>'
CODES = {"Japan": "jp", "United States": "us", "Iceland": "is", "France": "fr", "Germany": "de", "Canada": "ca", "Italy": "it"}


def rendered(
    says: Callable[[int, int, int], str],
    by_select: bool = False,
    ignores_region: bool = False,
    goes_round: bool = False,
    small_letters: bool = False,
    unmade: bool = False,
) -> Callable[[web.Request], str]:
    """The page, 60 rows at once. says: its words for the first row, the last row and the total.

    goes_round: the control for the next page leads from the last page to the first one.  small_letters: of the addresses of stocks.
    unmade: only twenty of the rows are made, and an empty one keeps the place of the others, as long as nobody scrolls there.
    """

    def answer(request: web.Request) -> str:
        asked = request.query
        chosen = asked.get("region", "us")
        start = int(asked.get("start", 0))
        every = sorted(LISTS.get("us" if ignores_region else chosen, []))
        shown = every[start : start + 60]
        paths = [one.lower() if small_letters else one for one in shown]
        listed = [
            f'<tr><td>{n}</td><td><a href="/quote/{path}?p={path}">{one}</a></td></tr>'
            for n, (path, one) in enumerate(zip(paths, shown, strict=True), start + 1)
        ]
        if unmade:
            listed[20:] = ['<tr style="height: 1500px"></tr>']
        onward = "&amp;".join(f"{name}={asked[name]}" for name in ("region", "min", "max") if name in asked)
        is_last = not every[start + 60 :]
        onward = f"{onward}&amp;start={0 if is_last else start + 60}"
        return RENDERED.format(
            filters=(_select if by_select else _dialogs)(chosen, asked),
            heads="<tr><th>#</th><th>Symbol</th></tr>",
            rows=PAID_ROW + "".join(listed + listed[-1:]),
            says=says(start + bool(shown), start + len(shown), len(every)),
            following=f'<a rel=next href="?{onward}">Next ›</a>' if goes_round or not is_last else "<span aria-disabled=true>Next ›</span>",
        )

    return answer


def _select(chosen: str, asked: Any) -> str:
    options = "".join(f"<option value={code} {'selected' * (code == chosen)}>{name}</option>" for name, code in CODES.items())
    bounds = "".join(f'<label>{name} <input name={name} value="{asked.get(name, "")}"></label>' for name in ("min", "max"))
    return f"<form><label>Country <select name=region>{options}</select></label>{bounds}<button>Search</button></form>"


def _dialogs(chosen: str, asked: Any) -> str:
    kept = "".join(f'<input type=hidden name={name} value="{asked[name]}">' for name in ("min", "max") if asked.get(name))
    label = next(name for name, code in CODES.items() if code == chosen)
    ticks = "".join(
        f"<label><input type=radio name=region value={code} {'checked' * (code == chosen)}> {name}</label>" for name, code in CODES.items()
    )
    bounds = '<input name=min aria-label="Minimum"><input name=max aria-label="Maximum">'
    return f"""<button aria-haspopup=dialog onclick="d1.hidden = false">Region: {label}</button>
<button aria-haspopup=dialog onclick="d2.hidden = false">Market cap</button>
<div role=dialog id=d1 hidden><form>{kept}{ticks}<button>Apply</button></form></div>
<div role=dialog id=d2 hidden><form><input type=hidden name=region value={chosen}>{bounds}<button>Apply</button></form></div>"""
