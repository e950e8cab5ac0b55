"""The server as yfinance, a browser and a test meet it."""

from __future__ import annotations

import html
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from local.market.companies import BAND_HIGH, BAND_LOW, Market, build_market
from local.market.regions import MARKET_DAY, rate
from tests.conftest import until
from tests.market.conftest import PROJECT, RunningMarket, running

CHART = "/v8/finance/chart/EURUSD=X?range=1mo"
SCREENER = "/research-hub/screener/equity/?start=0&count=100"
CONSENTED = {"Cookie": "GUCS=done"}


@pytest.fixture(scope="module")
def market() -> Market:
    return build_market()


def status(server: RunningMarket, path: str, headers: dict[str, str] | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(server.base + path, headers=headers or {}), timeout=60) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def text(server: RunningMarket, path: str, headers: dict[str, str]) -> str:
    with urllib.request.urlopen(urllib.request.Request(server.base + path, headers=headers), timeout=60) as answer:
        return str(answer.read().decode())


# yfinance


@pytest.fixture(scope="module")
def probe(shared_market: RunningMarket, market: Market) -> dict[str, Any]:
    """What the real yfinance got."""
    symbols = {
        "plain": next(c.symbol for c in market.companies if not c.traits),
        "split": market.with_trait("split_restated")[0].symbol,
        "gone": market.with_trait("gone")[0].symbol,
    }
    command = [sys.executable, "-m", "tests.market.yfinance_probe", shared_market.base, json.dumps(symbols)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1])) | {"symbols": symbols}


def test_yfinance_reads_the_info_of_a_company(probe: dict[str, Any], market: Market) -> None:
    company = market.company(probe["symbols"]["plain"])
    assert company is not None
    info = probe["info"]
    assert info["symbol"] == company.symbol
    assert info["marketCap"] == company.market_cap
    assert info["industry"] == company.industry
    assert info["currency"] == company.currency
    assert "made up" in info["longBusinessSummary"]
    assert "made up" in info["fullExchangeName"]
    assert {"trailingPE", "priceToBook", "currentRatio", "profitMargins", "returnOnEquity", "debtToEquity"} <= info.keys()


def test_yfinance_reads_every_statement_at_every_frequency(probe: dict[str, Any], market: Market) -> None:
    company = market.company(probe["symbols"]["plain"])
    assert company is not None
    for name, (rows, columns) in probe["shapes"].items():
        assert columns == {"yearly": 4, "quarterly": 5, "trailing": 1}[name.split()[1]], name
        assert rows >= 7, name
    assert probe["revenue"] == {str(point.day): point.value for point in company.statements.annual["TotalRevenue"]}


def test_yfinance_reads_prices_splits_and_exchange_rates(probe: dict[str, Any], market: Market) -> None:
    company = market.company(probe["symbols"]["plain"])
    split = market.company(probe["symbols"]["split"])
    assert company is not None
    assert split is not None
    assert probe["closes"]["2026-06-30"] == pytest.approx(company.price)
    assert probe["closes"]["2023-12-29"] == pytest.approx(company.prices.close_at(date(2023, 12, 31)))
    assert probe["monthly"] in (12, 13)
    assert probe["splits"] == {str(day): factor for day, factor in split.prices.splits.items()}
    assert probe["rate"] == pytest.approx(rate("GBP", "USD", MARKET_DAY), abs=1e-5)


def test_yfinance_screens_the_band_page_by_page(probe: dict[str, Any], market: Market) -> None:
    totals, symbols = probe["screen"]
    assert symbols == [company.symbol for company in market.in_band("us", BAND_LOW, BAND_HIGH)]
    assert totals == [len(symbols)] * 3


def test_yfinance_sees_missing_data_as_on_the_site(probe: dict[str, Any]) -> None:
    assert probe["quotes"] == [probe["symbols"]["plain"]]
    assert probe["gone"] == 404
    assert probe["strategy"] == "csrf"
    assert probe["after"] == probe["symbols"]["plain"]


# JSON endpoints


def test_absolute_request_lines_work_as_with_a_proxy(market_server: RunningMarket) -> None:
    host, _, port = market_server.base.removeprefix("http://").partition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
        connection.request("GET", "http://query2.finance.yahoo.com" + CHART, headers={"Host": "query2.finance.yahoo.com"})
        assert json.load(connection.getresponse())["chart"]["error"] is None


def test_requests_that_need_a_crumb_are_refused_without_one(market_server: RunningMarket) -> None:
    for path in ("/v7/finance/quote?symbols=X", "/v10/finance/quoteSummary/X?modules=price&crumb=wrong"):
        assert status(market_server, path, {"Cookie": "A3=d=1"}) == 401
    assert status(market_server, CHART) == 200
    crumb = text(market_server, "/v1/test/getcrumb", {"Cookie": "A3=d=1"})
    assert status(market_server, f"/v7/finance/quote?symbols=X&crumb={crumb}", {"Cookie": "A3=d=1"}) == 200
    assert status(market_server, f"/v7/finance/quote?symbols=X&crumb={crumb}", {"Cookie": "A3=d=2"}) == 401


def test_one_timeseries_request_may_mix_frequencies(market_server: RunningMarket, market: Market) -> None:
    company = next(c for c in market.companies if not c.traits)
    types = "annualTotalRevenue,quarterlyTotalAssets,trailingTotalRevenue,annualNoSuchKey"
    path = f"/ws/fundamentals-timeseries/v1/finance/timeseries/{company.symbol}?type={types}"
    result = {
        entry["meta"]["type"][0]: entry for entry in market_server.get(path + "&period1=0&period2=1800000000")["timeseries"]["result"]
    }
    assert [point["periodType"] for point in result["annualTotalRevenue"]["annualTotalRevenue"]] == ["12M"] * 4
    assert [point["periodType"] for point in result["trailingTotalRevenue"]["trailingTotalRevenue"]] == ["TTM"] * 2
    assert result["quarterlyTotalAssets"]["quarterlyTotalAssets"][0]["currencyCode"] == company.financial_currency
    assert result["annualNoSuchKey"].keys() == {"meta"}
    narrow = market_server.get(path + "&period1=1735600000&period2=1800000000")["timeseries"]["result"][0]
    assert [point["asOfDate"][:4] for point in narrow["annualTotalRevenue"]] in (["2025"], ["2026"], ["2025", "2026"], ["2024", "2025"])


def test_price_to_book_of_a_london_stock_is_a_hundred_times_off(market_server: RunningMarket, market: Market) -> None:
    company = next(c for c in market.with_trait("pence") if c.financial_currency == "GBP" and not c.traits & {"gone", "no_statements"})
    crumb = text(market_server, "/v1/test/getcrumb", {"Cookie": "A3=d=1"})
    path = f"{market_server.base}/v7/finance/quote?symbols={company.symbol}&crumb={crumb}"
    with urllib.request.urlopen(urllib.request.Request(path, headers={"Cookie": "A3=d=1"}), timeout=60) as answer:
        quote = json.load(answer)["quoteResponse"]["result"][0]
    book = company.statements.latest("CommonStockEquity")
    assert book
    assert quote["currency"] == "GBp"
    assert quote["priceToBook"] == pytest.approx(100 * company.market_cap / book, rel=0.01)


def test_a_wrong_chart_request_gets_an_error(market_server: RunningMarket) -> None:
    assert status(market_server, "/v8/finance/chart/NOPE?range=1mo") == 404
    assert status(market_server, "/v8/finance/chart/EURXXX=X?range=1mo") == 404
    assert status(market_server, "/v8/finance/chart/EURUSD=X?range=7w") == 422


# Page


def rows(server: RunningMarket, **wanted: object) -> dict[str, Any]:
    """What a page without data of its own gets: rows as a piece of HTML, read back here."""
    request = urllib.request.Request(server.base + "/research-hub/screener/rows", json.dumps(wanted).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        piece = answer.read().decode()
    found = re.findall(r'data-field="ticker" data-value="([^"]*)".*?data-field="intradaymarketcap" data-value="(\d+)"', piece)
    total = re.search(r'data-total="(\d+)"', piece)
    assert total is not None
    return {"total": int(total[1]), "rows": [{"ticker": html.unescape(symbol), "intradaymarketcap": int(cap)} for symbol, cap in found]}


def test_the_consent_page_is_first_and_leads_back(market_server: RunningMarket) -> None:
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(market_server.base + SCREENER, timeout=60) as answer:
        page = answer.read().decode()
        assert "/consent" in answer.url
    assert 'id="consent-page"' in page
    form = b"originalDoneUrl=%2Fresearch-hub%2Fscreener%2Fequity%2F&reject=reject"
    with opener.open(market_server.base + "/v2/collectConsent?sessionId=1", form, timeout=60) as answer:
        assert answer.url.endswith("/research-hub/screener/equity/")
        assert "screener-table" in answer.read().decode()


def test_the_two_menus_alternate(market_server: RunningMarket) -> None:
    menus = {'"menu": 1' in text(market_server, SCREENER, CONSENTED) for _ in range(2)}
    assert menus == {True, False}


def test_pages_sorted_by_symbol_add_up_to_the_band(market_server: RunningMarket, market: Market) -> None:
    wanted = {"regions": ["us"], "low": BAND_LOW, "high": BAND_HIGH, "count": 50, "sortField": "ticker", "sortAsc": True}
    pages = [rows(market_server, start=start, **wanted) for start in (0, 50, 100)]
    assert [row["ticker"] for page in pages for row in page["rows"]] == [c.symbol for c in market.in_band("us", BAND_LOW, BAND_HIGH)]
    assert all(BAND_LOW <= row["intradaymarketcap"] <= BAND_HIGH for page in pages for row in page["rows"])


def test_rows_sorted_by_market_cap_move_between_requests(market_server: RunningMarket) -> None:
    looks = [[row["ticker"] for row in rows(market_server, regions=["us"], count=100)["rows"]] for _ in range(3)]
    assert len({tuple(look) for look in looks}) > 1


def test_an_empty_region_has_a_total_of_0(market_server: RunningMarket) -> None:
    assert rows(market_server, regions=["is"]) == {"total": 0, "rows": []}


def test_nothing_on_the_page_comes_from_another_host(market_server: RunningMarket) -> None:
    page = text(market_server, SCREENER, CONSENTED)
    assert "http://" not in page
    assert "https://" not in page


# Faults


def outcome(server: RunningMarket, path: str) -> object:
    """A status, or the name of what broke."""
    try:
        with urllib.request.urlopen(server.base + path, timeout=60) as answer:
            json.load(answer)
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (http.client.HTTPException, ConnectionError, json.JSONDecodeError) as error:
        return type(error).__name__


def test_faults_strike_and_are_counted(market_server: RunningMarket) -> None:
    before = market_server.get("/market/counts")
    expected: dict[str, set[object]] = {"http500": {500}, "bad_json": {"JSONDecodeError"}, "drop": {"RemoteDisconnected", "IncompleteRead"}}
    for fault, outcomes in expected.items():
        market_server.faults(**{fault: 1})
        assert {outcome(market_server, CHART) for _ in range(12)} == outcomes, fault
    after = market_server.get("/market/counts")
    for fault in expected:
        assert after["faults"][fault] - before["faults"].get(fault, 0) == 12
    assert after["requests"]["chart"] - before["requests"].get("chart", 0) == 36


def test_rate_limits_come_in_bursts(market_server: RunningMarket) -> None:
    market_server.faults(rate_limit=0.05)
    until(lambda: outcome(market_server, CHART) == 429)
    assert [outcome(market_server, CHART) for _ in range(5)] == [429] * 5
    until(lambda: outcome(market_server, CHART) == 200)


def test_the_same_fault_rates_draw_the_same_faults(market_server: RunningMarket) -> None:
    draws = []
    for _ in range(2):
        market_server.faults(http500=0.3)
        draws.append([outcome(market_server, CHART) for _ in range(20)])
    assert draws[0] == draws[1]
    assert set(draws[0]) == {200, 500}


def test_a_symbol_that_is_missing_once_is_back_after_yfinance_asks_twice(market_server: RunningMarket, market: Market) -> None:
    market_server.faults(gone_once=1)
    path = f"/v8/finance/chart/{market.companies[0].symbol}?range=5d"
    assert [outcome(market_server, path) for _ in range(4)] == [404, 404, 200, 200]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("blocked_page", lambda server: status(server, SCREENER, CONSENTED) == 429),
        ("changed_layout", lambda server: "data-testid" not in text(server, SCREENER, CONSENTED)),
        ("page_never_settles", lambda server: '"fault": "page_never_settles"' in text(server, SCREENER, CONSENTED)),
        ("endless_script", lambda server: '"fault": "endless_script"' in text(server, SCREENER, CONSENTED)),
    ],
)
def test_the_page_has_its_own_faults(market_server: RunningMarket, fault: str, seen: Callable[[RunningMarket], bool]) -> None:
    assert not seen(market_server)
    market_server.faults(**{fault: 1})
    assert seen(market_server)
    assert outcome(market_server, CHART) == 200


def test_a_hanging_answer_ends_with_its_client_and_does_not_delay_stopping() -> None:
    with running("--faults", "hang=1") as server:
        host, _, port = server.base.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as waiting:
            waiting.sendall(f"GET {CHART} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            until(lambda: server.get("/market/counts")["faults"].get("hang") == 1)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(60) == 0


# The command


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "local.market", *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=60)


def test_a_taken_port_is_one_line_and_exit_code_3(market_server: RunningMarket) -> None:
    done = run("--port", market_server.base.rpartition(":")[2])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
    assert "choose another --port" in done.stderr


def test_bad_arguments_are_exit_code_2_with_what_is_expected() -> None:
    done = run("--faults", "no_such=0.1")
    assert done.returncode == 2
    assert "rate_limit" in done.stderr


def test_help_lists_the_faults() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "page_never_settles" in done.stdout


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
    ],
)
@pytest.mark.parametrize("path", ["/market/faults", "/market/allowance"])
def test_a_page_of_another_site_cannot_control_the_market(shared_market: RunningMarket, path: str, headers: dict[str, str]) -> None:
    port = shared_market.base.rpartition(":")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
    with closing(connection):
        connection.request("POST", path, '{"http500": 1.0}', {name: text.format(port=port) for name, text in headers.items()})
        assert connection.getresponse().status == 403
    assert shared_market.get("/market/faults") == {}
