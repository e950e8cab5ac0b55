"""Fetching one stock from a scripted site: what is asked for, what is read, what can go wrong."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest

from pipeline.errors import NoData, PermanentError, RateLimited, TransientError
from pipeline.ratios.fundamentals import Rates
from pipeline.ratios.rows import ratio_rows
from pipeline.yahoo import fetch, partly
from pipeline.yahoo.exchange_rates import RateCache
from tests.yahoo.site import NO_CHART, TODAY, Site, chart, plain_answers, summary, timeseries


def test_a_stock_takes_three_requests(site: Site) -> None:
    plain_answers(site)
    found = fetch.fetch("PLAIN")
    assert [target.split("?")[0].removeprefix("http://query2.finance.yahoo.com") for target in site.requests] == [
        "/v10/finance/quoteSummary/PLAIN",
        "/ws/fundamentals-timeseries/v1/finance/timeseries/PLAIN",
        "/v8/finance/chart/PLAIN",
    ]
    assert (found.symbol, found.name, found.exchange, found.sector) == ("PLAIN", "Plain (made up)", "NYQ", "Industrials")
    assert (found.industry, found.currency, found.financial_currency) == ("Trucking", "USD", "USD")
    assert (found.price, found.market_cap, found.shares_outstanding) == (30.0, 3000.0, 100.0)
    assert found.site_ratios == {"currentRatio": 2.0}
    # The close as it was, not the one adjusted for dividends beside it.
    assert found.closes == {date(2023, 12, 29): 25.0}
    newest = ratio_rows(found)[0]
    assert newest.values["market_cap"] == 2500
    assert newest.values["revenue_growth"] == pytest.approx(0.25)


def test_prices_are_requested_only_from_the_oldest_year(site: Site) -> None:
    plain_answers(site)
    fetch.fetch("PLAIN")
    # 2022-12-31 less 14 days.
    assert "period1=1671235200" in site.requests[2]
    assert "interval=1d" in site.requests[2]


@pytest.mark.parametrize(
    "symbol", ["A'; DROP TABLE stock;--", "../../x", "../v1/test/getcrumb", "A/B", "A?B=C#D", "%2e%2e", "名", "A&B", "A B", "^X", "X=Y"]
)
def test_a_symbol_is_always_one_path_segment(site: Site, symbol: str) -> None:
    with pytest.raises(NoData) as gone:
        fetch.fetch(symbol)
    assert gone.value.reason == "gone"
    for target in site.requests:
        path = target.removeprefix("http://query2.finance.yahoo.com").split("?")[0]
        assert path.startswith("/v10/finance/quoteSummary/")
        assert path.count("/") == 4


@pytest.mark.parametrize("symbol", ["", ".", "..", " ", "...", "x" * 101, "\ud800"])
def test_symbols_that_cannot_be_a_path_segment_are_never_requested(site: Site, symbol: str) -> None:
    with pytest.raises(PermanentError, match="not a valid symbol"):
        fetch.fetch(symbol)
    assert site.requests == []


def test_an_unknown_source_is_a_programming_error(site: Site) -> None:
    with pytest.raises(ValueError, match="expected timeseries or public"):
        fetch.fetch("X", source="other")


def reason(symbol: str = "PLAIN") -> str:
    with pytest.raises(NoData) as found:
        fetch.fetch(symbol)
    return found.value.reason


def test_a_symbol_that_the_site_does_not_know_is_gone(site: Site) -> None:
    assert reason() == "gone"
    not_found = {"quoteSummary": {"result": None, "error": {"code": "Not Found", "description": "Quote not found"}}}
    for answer in ((404, not_found), (200, not_found)):
        site.answers["quoteSummary"] = answer
        assert reason() == "gone"


@pytest.mark.parametrize(
    "answer",
    [
        timeseries(),  # every key without data
        (404, {"timeseries": {"result": None, "error": {"code": "Not Found"}}}),
        timeseries(annualTotalDebt=[("2023-12-31", 5)]),
        timeseries(annualTotalRevenue=[("2023-12-31", 5)]),
        timeseries(annualTotalAssets=[("2023-12-31", 5)]),
    ],
)
def test_a_quote_without_usable_statements_gives_no_statements(site: Site, answer: Any) -> None:
    plain_answers(site)
    site.answers["timeseries"] = answer
    assert reason() == "no_statements"


def test_one_empty_answer_costs_a_listed_stock_nothing(site: Site) -> None:
    """A first fetch asks for statements before anything else: one wrong answer would pass for a company that has none."""
    plain_answers(site)
    wrong = (404, {"timeseries": {"result": None, "error": {"code": "Not Found"}}})
    # yfinance repeats a refused request by itself.
    site.answers["timeseries"] = [wrong, wrong, site.answers["timeseries"]]
    listed = {"regularMarketPrice": 20.0, "marketCap": 2e9, "sharesOutstanding": 1e8, "currency": "USD", "financialCurrency": "USD"}
    assert ratio_rows(partly.fetch_needed("PLAIN", listed, None))


@pytest.mark.parametrize("part", ["quoteSummary", "timeseries", "chart"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((500, {}), TransientError),
        ((401, {"finance": {"error": {"code": "Unauthorized"}}}), TransientError),
        ((429, b"Too Many Requests"), RateLimited),
        ((200, b"<html>"), TransientError),
        ((200, {"finance": {"result": None, "error": {"code": "Internal Server Error"}}}), TransientError),
        ((200, []), TransientError),
        ((200, None), TransientError),
        ((422, {}), PermanentError),
    ],
)
def test_a_failed_answer_is_not_an_empty_stock(site: Site, part: str, answer: Any, error: type[Exception]) -> None:
    plain_answers(site)
    site.answers[part] = answer
    with pytest.raises(error) as found:
        fetch.fetch("PLAIN")
    assert type(found.value) is error


@pytest.mark.parametrize("result", [None, []])
def test_an_empty_answer_is_transient(site: Site, result: Any) -> None:
    plain_answers(site)
    for part in ("quoteSummary", "timeseries"):
        plain_answers(site)
        site.answers[part] = {part: {"result": result, "error": None}}
        with pytest.raises(TransientError, match="empty"):
            fetch.fetch("PLAIN")


NO_DAYS = {"chart": {"result": None, "error": {"code": "Unprocessable Entity", "description": "Data doesn't exist for startDate = 1"}}}


@pytest.mark.parametrize("answer", [(404, NO_CHART), (400, NO_DAYS), (422, NO_DAYS)], ids=["404", "400", "422"])
def test_a_stock_without_prices_keeps_ratios_that_need_none(site: Site, answer: Any) -> None:
    plain_answers(site)
    site.answers["chart"] = answer
    found = ratio_rows(fetch.fetch("PLAIN"))[0]
    assert found.null_reasons["market_cap"] == "no_price"
    assert found.values["revenue_growth"] == pytest.approx(0.25)


def test_price_and_currency_come_from_the_chart_if_the_quote_has_none(site: Site) -> None:
    plain_answers(site)
    site.answers["quoteSummary"] = summary(price={"marketCap": None}, quoteType={"shortName": "Short"})
    site.answers["chart"] = chart([1703860200], [25.0], currency="USD", regularMarketPrice=31.0, regularMarketTime=1715803200)
    found = fetch.fetch("PLAIN")
    assert (found.name, found.currency, found.price, found.market_cap) == ("Short", "USD", 31.0, None)
    assert found.quoted_on == date(2024, 5, 15)


def test_junk_in_the_quote_is_not_a_figure(site: Site) -> None:
    plain_answers(site)
    site.answers["quoteSummary"] = summary(
        price={"marketCap": "big", "regularMarketPrice": {"raw": 30.0, "fmt": "30.00"}, "currency": 5, "longName": ["x"]},
        summaryDetail={"trailingPE": "Infinity", "currency": "USD"},
    )
    found = fetch.fetch("PLAIN")
    assert (found.market_cap, found.price, found.currency, found.name, found.site_ratios) == (None, 30.0, "USD", None, {})


# Exchange rates


def euros(site: Site) -> None:
    plain_answers(site)
    site.answers["quoteSummary"]["quoteSummary"]["result"][0]["price"]["currency"] = "EUR"
    site.answers["chart"]["chart"]["result"][0]["meta"]["currency"] = "EUR"
    site.answers = {
        "EURUSD": chart([1703808000], [1.1], exchangeTimezoneName="Europe/London", regularMarketPrice=1.2, regularMarketTime=1715803200),
        **site.answers,
    }


def asked_for_rates(site: Site) -> int:
    return sum("EURUSD" in target for target in site.requests)


def test_rates_are_fetched_if_quote_and_statements_differ_in_currency(site: Site) -> None:
    euros(site)
    found = fetch.fetch("PLAIN")
    assert found.rates["EURUSD"] == Rates(1.2, {date(2023, 12, 29): 1.1}, date(2024, 5, 15))
    assert ratio_rows(found)[0].values["market_cap"] == pytest.approx(2750)
    assert "http://query2.finance.yahoo.com/v8/finance/chart/EURUSD=X?" in site.requests[-1]


def test_a_pair_is_fetched_once_a_day_by_all_threads_together(site: Site) -> None:
    euros(site)
    site.delay_seconds = 0.05
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(fetch.fetch, ["PLAIN"] * 32))
    assert asked_for_rates(site) == 1
    assert all(one.rates["EURUSD"].today == 1.2 for one in found)


def test_a_pair_that_the_site_lacks_is_requested_only_once(site: Site) -> None:
    euros(site)
    site.answers["EURUSD"] = (404, NO_CHART)
    for _ in range(2):
        assert ratio_rows(fetch.fetch("PLAIN"))[0].null_reasons["market_cap"] == "fx_unavailable"
    # Two requests: a 404 is believed after the second. (The other way round as many.)
    assert asked_for_rates(site) == 2


def test_failed_rates_fail_the_task_and_are_requested_again(site: Site) -> None:
    euros(site)
    rates = site.answers["EURUSD"]
    site.answers["EURUSD"] = [(500, {}), rates]
    with pytest.raises(TransientError):
        fetch.fetch("PLAIN")
    assert fetch.fetch("PLAIN").rates["EURUSD"].today == 1.2


def test_an_invalid_currency_code_is_not_requested(site: Site) -> None:
    euros(site)
    site.answers["quoteSummary"]["quoteSummary"]["result"][0]["price"]["currency"] = "../../v1"
    # Nothing tells whether such a quote and the chart are in one unit.
    assert ratio_rows(fetch.fetch("PLAIN"))[0].null_reasons["market_cap"] == "price_unit"
    assert not any("v1" in target.split("?")[0].split("finance/")[1] for target in site.requests)


class Clock:
    def __init__(self) -> None:
        self.day = date(2024, 1, 1)

    def today(self) -> date:
        return self.day


def test_yesterdays_rates_are_forgotten() -> None:
    clock, calls = Clock(), []
    cache = RateCache(lambda pair: calls.append(pair) or Rates(float(len(calls))), clock.today)  # type: ignore[func-returns-value]
    assert [cache.get("EURUSD").today for _ in range(2)] == [1.0, 1.0]
    clock.day = date(2024, 1, 2)
    assert cache.get("EURUSD").today == 2.0
    cache.clear()
    assert cache.get("EURUSD").today == 3.0


def test_threads_waiting_for_a_rate_share_its_failure() -> None:
    entered, release = threading.Event(), threading.Event()
    calls: list[str] = []

    def fail(pair: str) -> Rates:
        calls.append(pair)
        entered.set()
        release.wait(60)
        raise TransientError("no rate")

    cache = RateCache(fail, lambda: TODAY)

    def outcome(_: int) -> str:
        try:
            cache.get("EURUSD")
        except TransientError as error:
            return str(error)
        return "none"

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(outcome, 0)
        assert entered.wait(60)
        others = [pool.submit(outcome, number) for number in range(1, 8)]
        # All that began by now wait for the first; any that begins later asks by itself and fails alike.
        release.set()
        assert {future.result(10) for future in [first, *others]} == {"no rate"}
    assert 1 <= len(calls) <= 8
