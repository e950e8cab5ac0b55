"""Pages, consents, crumbs and answers of other makers than the local market: all is listed, or the error says what it is."""

from __future__ import annotations

import base64
import html
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from pipeline.errors import LayoutChanged, RateLimited, TransientError
from pipeline.screener.browser import Browser
from pipeline.screener.endpoint import ApiScreener
from pipeline.screener.network import NetworkLog
from pipeline.screener.page import PagedScreener
from pipeline.screener.page_driver import PageDriver
from tests.screener.conftest import BAND, listed, lists
from tests.screener.other_pages import (
    ADDRESS,
    BY_ROLES,
    DEFAULT,
    FETCH,
    LISTS,
    MAIN,
    MARKUP,
    NUMBER,
    PAGE_PATH,
    QUERY_PATH,
    REGIONS,
    Site,
    dropped,
    for_ever,
    late,
    page,
    pieces,
    quotes,
    refused,
    rendered,
    rows,
)

#: Seconds that a page gets to show a table which it does not have.
IN_VAIN_SECONDS = 2.0


ALL = (LISTS["jp"], "page-data", 0, {})

# What the page shows of its own query


def test_a_query_that_comes_after_its_address_is_waited_for(browser: Browser, site: Site) -> None:
    """Only the page's query says that it names its fields, so that sector and industry can be asked for with them."""
    fetch = FETCH.replace('"query": {', '"includeFields": ["ticker"], "query": {', 1)
    assert "includeFields" in fetch
    site.page = page(f"setTimeout(() => {{ {fetch} }}, 700);")
    assert lists(browser, site) == ALL
    assert [body["includeFields"] for body in site.asked if body["size"] == 250][:1] == [["ticker", "sector", "industry"]]


def embedded(attributes: str, text: str) -> str:
    return page(body=f"{MAIN}<script type=application/json {attributes}>{text}</script>")


def as_sveltekit_puts_it(body: str, attributes: str = "") -> str:
    url = html.escape(f"https://query1.finance.yahoo.com{ADDRESS}")
    return embedded(f'data-sveltekit-fetched data-url="{url}" {attributes}', json.dumps({"status": 200, "headers": {}, "body": body}))


DEFAULT_ANSWER = json.dumps(quotes(LISTS["us"][:25], 900))
WORKER = """
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "POST") return;
  const ask = (body) => fetch(event.request.url + "?crumb=Ab%2F9c.x", { method: "POST", body, credentials: "include" });
  event.respondWith(event.request.text().then(ask));
});
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
"""
WITH_WORKER = """
(async () => {
  await navigator.serviceWorker.register("/worker.js", { scope: "/" });
  while (!navigator.serviceWorker.controller) await new Promise((done) => setTimeout(done, 20));
  %s
})();
"""
CACHING_WORKER = """
const kept = {};
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "POST") return;
  const ask = async () => (await (kept[event.request.url] ??= fetch(event.request))).clone();
  event.respondWith(ask());
});
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
"""
WITHOUT_CRUMB = FETCH.replace("?crumb=Ab%2F9c.x&lang=en-US", "")
BY_XHR = f"""
const request = new XMLHttpRequest();
request.open("POST", "{ADDRESS}");
request.setRequestHeader("Content-Type", "text/plain");
request.send(JSON.stringify({json.dumps(DEFAULT)}));
"""
FUNDS = f"fetch('{ADDRESS}&second=1', {{method: 'POST', body: JSON.stringify({{...{json.dumps(DEFAULT)}, quoteType: 'MUTUALFUND'}})}});"
READY_MADE, FIELDS = "/v1/finance/screener/predefined/saved", "/v1/finance/screener/instrument/equity/fields"
PENDING = f"{MAIN}<iframe src=/never></iframe>"
PAGES: dict[str, dict[str, Any]] = {
    "XHR in place of fetch, as plain text": {"page": page(BY_XHR)},
    "the crumb is a header": {
        "page": page(WITHOUT_CRUMB.replace("'Content-Type'", "'X-Crumb': 'Ab/9c.x', 'Content-Type'")),
        "crumb_of": lambda body, request: request.headers.get("X-Crumb"),
    },
    "the crumb is in the body": {
        "page": page(WITHOUT_CRUMB.replace('{"offset"', '{"crumb": "Ab/9c.x", "offset"')),
        "crumb_of": lambda body, request: body.get("crumb"),
    },
    "the crumb stands in a script and has no address": {
        "page": page('window.app = {"user":{"crumb":"Ab\\u002F9c.x"}};'),
        "other": {"/v1/test/getcrumb": lambda _: web.Response(status=404)},
    },
    "there are no crumbs": {"page": page(), "crumb": 404, "crumb_of": None},
    "the server's answer is base64": {"page": as_sveltekit_puts_it(base64.b64encode(DEFAULT_ANSWER.encode()).decode(), "data-b64")},
    "the server's answer is a script's text within a text": {
        "page": page("window.data = " + json.dumps(json.dumps({"u": f"https://query2.finance.yahoo.com{ADDRESS}", "d": DEFAULT_ANSWER})))
    },
    "a second screener, of funds, and a ready-made list that is refused": {
        "page": page(f"{FETCH} {FUNDS} fetch('{READY_MADE}?count=5'); fetch('{FIELDS}');"),
        "other": {READY_MADE: lambda _: web.Response(status=403), FIELDS: lambda _: web.Response(status=429)},
    },
    "a beacon that names the page is refused, another hangs": {
        "page": page(
            f"{FETCH} fetch('/beacon?page=/research-hub/screener/', {{method: 'POST'}}); fetch('/ping?screener', {{method: 'POST'}});"
        ),
        "other": {"/beacon": lambda _: web.Response(status=429), "/ping": for_ever},
    },
    "fetch is gone": {"page": page(f"{FETCH} window.fetch = undefined;")},
    "a service worker adds the crumb": {
        "page": page(WITH_WORKER % WITHOUT_CRUMB),
        "other": {"/worker.js": lambda _: web.Response(text=WORKER, content_type="text/javascript")},
    },
    "it loads itself anew while it is asked": {
        "page": page(f"{FETCH} if (!sessionStorage.again) {{ sessionStorage.again = 1; setTimeout(() => location.reload(), 400); }}"),
        "answer": lambda body, request: late(0.5, quotes(*rows(body))),
    },
    "its query has another address, and a script has the crumb": {
        "page": page('window.app = {"crumb": "Ab/9c.x"};' + FETCH.replace("/v1/finance/screener", "/api/screener/equities")),
        "query_path": "/api/screener/equities",
    },
    "a part of the page never comes": {"page": page(FETCH, PENDING), "other": {"/never": for_ever}},
    "a part of the page never comes, and it asks nothing": {"page": page("", PENDING), "other": {"/never": for_ever}},
    "its query has another address": {
        "page": page(FETCH.replace("/v1/finance/screener", "/api/screener/equities")),
        "query_path": "/api/screener/equities",
    },
    "a query of the same form at another address gives pieces of HTML": {
        "page": page(FETCH.replace("/v1/finance/screener", "/screener/pieces")),
        "other": {"/screener/pieces": lambda _: "<table><tr><td>1</td></tr></table>"},
    },
    "it asks whether to leave it, and says hello": {
        "page": page(f"{FETCH} addEventListener('beforeunload', (event) => event.preventDefault()); alert('Hello');")
    },
}


@pytest.mark.parametrize("situation", PAGES)
def test_everything_is_listed_from_page_data_where(situation: str, site: Site, browser: Browser) -> None:
    vars(site).update(PAGES[situation])
    screener = PagedScreener(browser, site.url)
    for region in ("jp", "is"):
        found = screener.open(region, *BAND)
        assert (listed(found), found.source, found.missing) == (LISTS[region], "page-data", 0)


@pytest.mark.parametrize("is_mended", [True, False], ids=["by the page's worker", "by whatever"])
def test_an_answer_to_another_regions_query_is_never_used(is_mended: bool, site: Site, browser: Browser) -> None:
    """Something in between goes by the address alone, which is the same for all regions."""
    if is_mended:
        site.page = page(WITH_WORKER % FETCH)
        site.other["/worker.js"] = lambda _: web.Response(text=CACHING_WORKER, content_type="text/javascript")
    else:
        site.answer = lambda body, request: quotes(LISTS["us"][:25], 900)
    screener = PagedScreener(browser, site.url)
    if is_mended:
        for region in ("is", "us", "jp"):
            assert listed(screener.open(region, *BAND)) == LISTS[region]
    else:
        with pytest.raises(TransientError, match="the same stocks for different queries"):
            listed(screener.open("jp", *BAND))


# How the data answers


def capped(most: int) -> Any:
    return lambda body, request: quotes(*rows(body, most))


def told_as(read: Callable[[Any], Any], name: str = "quotes") -> Any:
    """Every value in another form."""

    def answer(body: dict[str, Any], request: web.Request) -> Any:
        found = quotes(*rows(body), name)
        result = found["finance"]["result"][0]
        result["total"] = read(result["total"])
        key = "ticker" if name == "records" else "symbol"
        result[name] = [{key: row.pop("symbol"), **row, "marketCap": read(5_000_000)} for row in result[name]]
        return found

    return answer


def total_in_motion(body: dict[str, Any], request: web.Request) -> Any:
    symbols, total = rows(body, 25)
    return quotes(symbols, total + 2 if body["offset"] == 50 else 0 if body["offset"] == 75 else total)


def one_comes_again(body: dict[str, Any], request: web.Request) -> Any:
    """The first of each answer is the last of the one before, and the total counts both."""
    if '"us"' in json.dumps(body):
        return quotes(*rows(body))
    every = [symbol for number, symbol in enumerate(LISTS["jp"]) for symbol in [symbol] * (1 + (number in (24, 48)))]
    return quotes(every[body["offset"] :][:25], len(every))


def on_call(number: int, answer: Any) -> Any:
    """As usual, 50 rows at once, but for the query of this number."""

    def some(body: dict[str, Any], request: web.Request) -> Any:
        if body[NUMBER] == number:
            return answer(request) if callable(answer) else answer
        return capped(50)(body, request)

    return some


def without_total(body: dict[str, Any], request: web.Request) -> Any:
    found = capped(25)(body, request)
    del found["finance"]["result"][0]["total"]
    return found


def only_yfinance_s_form(body: dict[str, Any], request: web.Request) -> Any:
    return capped(250)(body, request) if "userIdType" in body else refused("Bad Request", "Unsupported field topOperator")


ANSWERS: dict[str, Any] = {
    "25 rows at once at most": capped(25),
    "7 rows at once at most": capped(7),
    "records, raw and fmt": told_as(lambda value: {"raw": value, "fmt": f"{value:,}"}, "records"),
    "numbers as texts": told_as(lambda value: f"{value:,}"),
    "numbers as fmt alone": told_as(lambda value: {"fmt": f"{value:,}", "longFmt": f"{value:,}"}, "records"),
    "a total that is another on each page": total_in_motion,
    "no total": without_total,
    "the total is the number of rows that came": lambda body, request: quotes(rows(body, 25)[0], 25),
    "a total of half the rows": lambda body, request: quotes(rows(body, 25)[0], 53),
    "nothing at first": on_call(2, quotes([], 0)),
    "an answer that is cut off": on_call(2, dropped),
    "the consent page in mid-way": on_call(2, lambda _: web.Response(status=302, headers={"Location": "/consent"})),
    "another host in mid-way": on_call(2, lambda _: web.Response(status=302, headers={"Location": "http://localhost:9/"})),
    "a crumb that is refused under 200": on_call(2, refused("Unauthorized", "Invalid Crumb")),
    "its own form is refused under 200": only_yfinance_s_form,
    "its own form is refused by 400": lambda body, request: (
        capped(250)(body, request) if "userIdType" in body else web.json_response(refused("Bad Request"), status=400)
    ),
}


@pytest.mark.parametrize("situation", ANSWERS)
def test_everything_is_listed_whatever_the_answers_look_like(situation: str, site: Site, browser: Browser) -> None:
    site.answer = ANSWERS[situation]
    if "crumb" in situation:
        renewed = itertools.count()
        site.other["/v1/test/getcrumb"] = lambda _: web.Response(text=(next(renewed) and "late") or "Cd.1")
        site.crumb_of = lambda body, request: site.crumb
    site.other["/consent"] = lambda _: "<html><body><form><button>Accept all</button></form></body></html>"
    symbols, source, missing, skipped = lists(browser, site)
    assert (symbols, source, skipped) == (LISTS["jp"], "page-data", {})
    assert missing == (2 if "another on each page" in situation else 0), "what the site has promised once"


def test_an_answer_may_take_longer_than_a_script_in_the_page(site: Site) -> None:
    site.answer = lambda body, request: late(2.5, quotes(*rows(body)))
    with Browser(script_timeout_seconds=1.0) as own:
        assert lists(own, site) == ALL


def test_repeated_stocks_are_listed_once(site: Site, browser: Browser) -> None:
    site.answer = one_comes_again
    assert lists(browser, site) == (LISTS["jp"], "page-data", 0, {"doubled": 2})


def test_rows_that_are_repeated_beside_the_count_cost_no_stock(site: Site, browser: Browser) -> None:
    site.answer = lambda body, request: quotes((shown := rows(body, 25)[0]) + shown[:3], 106)
    symbols, _, missing, skipped = lists(browser, site)
    assert (symbols, missing) == (LISTS["jp"], 0)
    assert skipped["doubled"] > 0


def test_a_crumb_that_expires_every_other_answer_costs_no_stock(site: Site, browser: Browser) -> None:
    answered = itertools.count()

    def answer(body: dict[str, Any], request: web.Request) -> Any:
        if next(answered) % 2:
            site.crumb = f"crumb{len(site.asked)}"
        return quotes(*rows(body, 100))

    site.answer = answer
    assert lists(browser, site, "us") == (LISTS["us"], "page-data", 0, {})


def test_a_thousand_stocks_need_one_page_and_five_answers(site: Site, browser: Browser) -> None:
    assert lists(browser, site, "us") == (LISTS["us"], "page-data", 0, {})
    assert len(LISTS["us"]) == 1000
    assert site.requests[PAGE_PATH] == 1
    assert len(site.asked) <= 5, "the page's own included"
    assert set(site.requests) <= {PAGE_PATH, QUERY_PATH, "/favicon.ico"}


@pytest.mark.parametrize("situation", ANSWERS)
def test_the_endpoint_lists_the_same_or_says_what_is_wrong(situation: str, running: Site, yfinance_on: Callable[[str], None]) -> None:
    running.reset()
    running.answer = ANSWERS[situation]
    yfinance_on(running.url)
    if situation == "a crumb that is refused under 200":
        # yfinance renews one for a status only: an error, and another attempt.
        with pytest.raises(TransientError, match="Invalid Crumb"):
            listed(ApiScreener().open("jp", *BAND))
    else:
        assert listed(ApiScreener().open("jp", *BAND)) == LISTS["jp"]


Failing = tuple[Any, type[Exception], str]
FAILURES: dict[str, Failing] = {
    "the same rows at every offset": (
        lambda body, request: quotes(LISTS["jp"][:50], 106),
        TransientError,
        "the same stocks for different queries",
    ),
    "all regions come, whatever is asked for": (
        lambda body, request: quotes([*LISTS["jp"], *LISTS["us"]][body["offset"] :][: body["size"]], 1106),
        TransientError,
        "the same stocks",
    ),
    "United States come, whatever is asked for": (
        lambda body, request: quotes(LISTS["us"][-40:] if body["size"] == 250 else LISTS["us"][:25], 40),
        TransientError,
        "the same stocks",
    ),
    "a total and never a row": (lambda body, request: quotes([], 106), TransientError, "0 of 106"),
    "a total of 4 and never a row": (lambda body, request: quotes([], 4), TransientError, "0 of 4"),
    "an error beside a total of 0": (
        lambda body, request: {"finance": {"result": [{"total": 0, "quotes": []}], "error": {"code": "Internal", "description": "Shards"}}},
        TransientError,
        "Internal: Shards",
    ),
    "half an answer": (
        lambda body, request: web.Response(text='{"finance": {"result": [{"total": 0, "quo'),
        TransientError,
        "something else",
    ),
    "nothing": (lambda body, request: web.Response(text=""), TransientError, "something else"),
    "a challenge": (lambda body, request: web.Response(status=202), TransientError, "answers 202"),
    "no connection, again and again": (lambda body, request: dropped(request), TransientError, "gives no answer"),
    "429 with its own word on when": (
        lambda body, request: web.Response(status=429, headers={"Retry-After": "7"}),
        RateLimited,
        "answers 429",
    ),
    "words under 200": (lambda body, request: {"message": "You sent too many requests"}, RateLimited, "too many requests"),
    "words as an error under 200": (lambda body, request: refused("Too Many Requests"), RateLimited, "Too Many Requests"),
    "a wall under 200": (
        lambda body, request: "<html><body><h1>Hold on</h1><p>We have had too many requests from you</p></body></html>",
        RateLimited,
        "too many requests",
    ),
    "crumbs that are never good": (
        lambda body, request: web.json_response(refused("Unauthorized", "Invalid Crumb"), status=401),
        TransientError,
        "crumb",
    ),
    "an empty list of results": (lambda body, request: {"finance": {"result": [], "error": None}}, LayoutChanged, "missing table"),
    "another shape": (lambda body, request: {"stocks": {"a": 1}}, LayoutChanged, "missing table"),
    "rows without a symbol each": (
        lambda body, request: {"finance": {"result": [{"total": 9, "quotes": [{"code": str(number)} for number in range(9)]}]}},
        LayoutChanged,
        "missing table",
    ),
}


@pytest.mark.parametrize("situation", FAILURES)
def test_an_invalid_answer_is_an_error_that_says_so(situation: str, site: Site, browser: Browser) -> None:
    site.answer, expected, text = FAILURES[situation]
    with pytest.raises((TransientError, LayoutChanged), match=text) as error:
        lists(browser, site, seconds=IN_VAIN_SECONDS)
    assert type(error.value) is expected
    if "when" in situation:
        assert getattr(error.value, "retry_after_seconds", None) == 7


@pytest.mark.parametrize("situation", FAILURES)
def test_an_invalid_answer_of_the_endpoint_is_an_error(situation: str, running: Site, yfinance_on: Callable[[str], None]) -> None:
    running.reset()
    running.answer, expected, _ = FAILURES[situation]
    yfinance_on(running.url)
    with pytest.raises((TransientError, LayoutChanged)) as error:
        listed(ApiScreener().open("jp", *BAND))
    assert type(error.value) is expected


@pytest.mark.parametrize("attempts", [1, 2])
def test_a_brief_outage_of_the_site_is_not_a_changed_layout(attempts: int, site: Site, browser: Browser) -> None:
    """On a page that asks nothing and has no table, the crumb's address is all there is."""
    failures = itertools.count()
    site.page = page()
    site.other["/v1/test/getcrumb"] = lambda request: (
        web.Response(status=503) if next(failures) < attempts else web.Response(text=site.crumb)
    )
    for _ in range(attempts):
        with pytest.raises(TransientError, match="answers 503"):
            lists(browser, site, seconds=IN_VAIN_SECONDS)
    assert lists(browser, site) == ALL


# What stands before the page


@pytest.mark.parametrize("status", [403, 429, 999])
def test_the_retry_after_of_the_page_is_honoured(status: int, site: Site, browser: Browser) -> None:
    site.page = lambda request: web.Response(status=status, text="Not now", headers={"Retry-After": "9"})
    with pytest.raises(RateLimited, match=f"answers {status}") as error:
        lists(browser, site)
    assert error.value.retry_after_seconds == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Too many requests. <form><button>Accept all</button></form>", RateLimited),
        ("Pardon our interruption. Something about your browser made us think you might be a bot", RateLimited),
        ("Checking your browser before accessing the site", RateLimited),
        ("Слишком много запросов", RateLimited),
        ("Çok fazla istek gönderildi", RateLimited),
        ("Příliš mnoho požadavků", RateLimited),
        ("We will be back in a moment", TransientError),
        ("Please hold the line", TransientError),
        ("Sign in <form><input><input type=password><button>Next</button></form>", TransientError),
    ],
)
def test_a_page_of_other_words_is_not_a_changed_layout(text: str, expected: type[Exception], site: Site, browser: Browser) -> None:
    site.page = f"<html><body><h1>Hello</h1><p>{text}</p></body></html>"
    site.crumb = 404
    site.query_path = "/nowhere"
    with pytest.raises((TransientError, LayoutChanged)) as error:
        lists(browser, site, seconds=IN_VAIN_SECONDS)
    assert type(error.value) is expected


GIVES = "document.cookie = 'seen=1; path=/'; location.href = '/research-hub/screener/equity/?start=0&amp;count=100'"
SETS = "parent.document.cookie = 'seen=1; path=/'; parent.location.reload()"


def button(text: str, attributes: str = "") -> str:
    return f'<button type=button onclick="{GIVES}" {attributes}>{text}</button> '


def link(text: str) -> str:
    return f'<a href="#" onclick="{GIVES}">{text}</a> '


IN_SHADOW = f"""<div id=host></div><template id=inner><p>Cookies</p>{button("Přijmout vše")}{button("Odmítnout vše")}</template><script>
document.getElementById("host").attachShadow({{ mode: "open" }}).append(document.getElementById("inner").content);
</script>"""
IN_FRAME = f"<button>Aceptar todo</button> <button onclick=&quot;{SETS}&quot;>Rechazar todo</button>"
UNKNOWN = f'<form id="consent-page" onsubmit="{GIVES}; return false"><button type=button>Zzz</button><button>Xyz</button></form>'
TICKED = '<label><input type=checkbox required onchange="go.disabled = !this.checked">I have read it</label>'
TALL_BOX = '<div style="height: 200px; overflow: auto" onscroll="go.disabled = false"><p style="height: 3000px">…</p></div>'
CONSENTS = {
    "Czech, and no form": f"<p>Cookies</p>{button('Přijmout vše')}{button('Odmítnout vše')}",
    "Hungarian, as links": f"<div id=consent-page>{link('Összes elutasítása')}{link('OK')}</div>",
    "Russian": f"<form class=consent-form>{button('Отклонить все')}</form>",
    "a language nobody knows": UNKNOWN,
    "in a frame": f'<p>Cookies</p><iframe style="width: 90%; height: 300px" srcdoc="{IN_FRAME}"></iframe>',
    "in a shadow tree": IN_SHADOW,
    "a box to tick, then the button": f"<form class=consent-form>{TICKED}{button('I agree', 'id=go disabled')}</form>",
    "buttons that wait for the end of a box": f"<form class=consent-form>{TALL_BOX}{button('Tout accepter', 'id=go disabled')}</form>",
}


@pytest.mark.parametrize("consent", CONSENTS)
def test_consent_is_given(consent: str, site: Site, browser: Browser) -> None:
    site.page = lambda request: page(FETCH) if "seen" in request.cookies else f"<html><body>{CONSENTS[consent]}</body></html>"
    started = time.monotonic()
    assert lists(browser, site, seconds=90.0) == ALL
    assert time.monotonic() - started < 90, "without waiting for a deadline"


# What is left if there is no data to ask for


@pytest.mark.parametrize("region", ["jp", "is"])
def test_menus_and_table_of_other_markup_work(region: str, site: Site, browser: Browser) -> None:
    site.page = page(f"const NAMES = {json.dumps(REGIONS)}; {BY_ROLES} show();", MARKUP)
    site.crumb, site.query_path = 401, "/nowhere"
    site.other["/pieces"] = pieces
    assert lists(browser, site, region) == (LISTS[region], "table", 0, {})


RENDERED: dict[str, tuple[str, Callable[[web.Request], str]]] = {
    "the total comes first": ("jp", rendered(lambda first, last, total: f"{total:,} results, showing {first} to {last}")),
    "no total, and a select": ("jp", rendered(lambda first, last, total: "", by_select=True)),
    "addresses in small letters": ("jp", rendered(lambda first, last, total: f"{first}-{last} of {total}", small_letters=True)),
    "only a total": ("jp", rendered(lambda first, last, total: f"{total} resultados")),
    "empty": ("is", rendered(lambda first, last, total: f"{first}–{last} / {total}")),
}


@pytest.mark.parametrize("words", RENDERED)
def test_a_page_that_the_server_renders_is_read_to_its_end(words: str, site: Site, browser: Browser) -> None:
    region, site.page = RENDERED[words]
    site.crumb, site.query_path = 404, "/nowhere"
    # The last row of each of its two pages is there twice.
    assert lists(browser, site, region) == (LISTS[region], "table", 0, {"doubled": 2} if LISTS[region] else {})


def test_rows_that_stay_the_same_whatever_is_chosen_are_not_the_region_s(site: Site, browser: Browser) -> None:
    site.page = rendered(lambda first, last, total: f"{first}-{last} of {total}", ignores_region=True)
    site.crumb, site.query_path = 404, "/nowhere"
    with pytest.raises(TransientError, match="the same stocks as before Japan was chosen"):
        lists(browser, site)


def test_a_list_that_begins_again_after_its_last_page_is_an_error(site: Site, browser: Browser) -> None:
    site.page = rendered(lambda first, last, total: "", by_select=True, goes_round=True)
    site.crumb, site.query_path = 404, "/nowhere"
    with pytest.raises(TransientError, match="the next page shows stocks of earlier pages alone"):
        lists(browser, site)


def test_rows_that_are_made_only_when_scrolled_to_never_pass_for_all(site: Site, browser: Browser) -> None:
    site.page = rendered(lambda first, last, total: "", by_select=True, unmade=True)
    site.crumb, site.query_path = 404, "/nowhere"
    with pytest.raises(TransientError, match="makes some of its rows neither at once nor when they are scrolled to"):
        lists(browser, site, seconds=4.0)


def test_dialogs_at_every_page_do_not_cost_the_browser(site: Site, browser: Browser) -> None:
    dialogs = "setTimeout(() => { alert('Rows are here'); confirm('Really?'); prompt('Your name?'); }, 100)"
    shown = rendered(lambda first, last, total: f"{first}-{last} of {total}")
    site.page = lambda request: f"{shown(request)}<script>{dialogs}</script>"
    site.crumb, site.query_path = 404, "/nowhere"
    assert lists(browser, site) == (LISTS["jp"], "table", 0, {"doubled": 2})


def test_where_a_list_stands_is_read_in_many_words(browser: Browser) -> None:
    driver = PageDriver(browser, NetworkLog(browser), "about:blank", 1.0)
    browser.load("about:blank")
    for text, numbers in {
        "1-2 of 131 results": (1, 2, 131),
        "1–2 / 131": (1, 2, 131),
        "Showing 1 to 2 of about 1,131 stocks": (1, 2, 1131),
        "131 Treffer (1 bis 2)": (1, 2, 131),
        "1.131 resultados": (None, None, 1131),
        "1-2 of 200+": None,
        "1 to 2 of over 200": None,
        "more than 1,000 stocks": None,
        "Page 1 of 66": None,
        "5-9 days of 2026": None,
        "1-2 of 131<a>1</a><a>2</a>": (1, 2, 131),
        "1-2 of 1 131": (1, 2, 1131),
        "Showing 2 of 131": (None, None, 131),
        "1.2K results": None,
    }.items():
        rows = '<tr><td><a href="/quote/A">A</a></td></tr><tr><td><a href="/quote/ADS">ADS</a></td></tr>'
        browser.execute("document.body.innerHTML = arguments[0]", f"<main><table><tbody>{rows}</tbody></table><p>{text}</p></main>")
        found = driver.page("state")["range"]
        assert (found and (found["first"], found["last"], found["total"])) == numbers, text
