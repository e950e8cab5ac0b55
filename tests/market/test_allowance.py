"""How much the local market answers, and what it says of that."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from local.market.allowance import Allowance, Limit, parse
from tests.market.conftest import RunningMarket, running

CHART = "/v8/finance/chart/EURUSD=X?range=1mo"
SCREENER = "/research-hub/screener/equity/?start=0&count=100"


def admitted(allowance: Allowance, *moments: float) -> list[bool]:
    return [allowance.admits(moment) for moment in moments]


def test_a_window_slides_and_refused_requests_do_not_count() -> None:
    allowance = Allowance([Limit(2, 10)])
    assert admitted(allowance, 0, 1, 2, 9.9, 10, 10.5, 11, 12) == [True, True, False, False, True, False, True, False]


def test_the_tightest_of_several_windows_decides() -> None:
    allowance = Allowance([Limit(2, 1), Limit(3, 10)])
    assert admitted(allowance, 0, 0.1, 0.2, 1.0, 1.1, 9.9, 10, 10.2) == [True, True, False, True, False, False, True, True]


def test_a_new_allowance_counts_earlier_answers() -> None:
    allowance = Allowance([Limit(3, 10)])
    assert admitted(allowance, 0, 1, 2) == [True] * 3
    allowance.replace([Limit(1, 10)])
    assert admitted(allowance, 3, 11.9, 12) == [False, False, True]


@pytest.mark.parametrize("text", ["", "600", "600/", "/60", "0/60", "600/0", "-1/60", "6.5/60", "600/60/1", "٦/٦", "99999999/1"])
def test_an_invalid_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected requests/seconds, such as 600/60"):
        parse(text)


def answer(server: RunningMarket, path: str) -> tuple[int, str | None]:
    """Status and Retry-After."""
    try:
        with urllib.request.urlopen(server.base + path, timeout=60) as found:
            return int(found.status), None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Retry-After")


def test_beyond_the_allowance_pages_and_requests_both_get_a_429_without_retry_after() -> None:
    with running("--allowance", "5/600", "--allowance", "4/60") as market:
        # The page leads to that of the consent: two requests.
        assert answer(market, SCREENER)[0] == 200
        assert [answer(market, CHART)[0] for _ in range(2)] == [200, 200]
        assert answer(market, CHART) == (429, None)
        assert answer(market, SCREENER) == (429, None)
        assert market.get("/market/stats") == {"answered": 4, "refused": 2, "by_kind": {"page": 2, "consent": 1, "chart": 3}}
        assert market.post("/market/allowance", ["6/600"]) == ["6/600"]
        assert [answer(market, CHART)[0] for _ in range(3)] == [200, 200, 429]
        assert market.get("/market/allowance") == ["6/600"]


def test_an_invalid_allowance_is_refused(market_server: RunningMarket) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        market_server.post("/market/allowance", ["6"])
    with refused.value as error:
        assert error.code == 400
