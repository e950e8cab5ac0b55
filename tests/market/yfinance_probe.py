"""Run by the tests in a process of its own: the real yfinance against a local market. Prints one JSON object.

yfinance's session, cookie and caches are global to a process, so this one is thrown away afterwards.
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import yfinance
import yfinance._http
from curl_cffi import requests
from yfinance import EquityQuery
from yfinance.data import YfData


def main(base: str, symbols: dict[str, str]) -> dict[str, Any]:
    class Session(requests.Session):
        """Sends every request through the local market as a plain proxy."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, trust_env=False, **options)
            self.proxies = {"http": base, "https": base}

        def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
            return super().request(method, url.replace("https://", "http://", 1), *args, **options)

    class Backend:
        def __getattr__(self, name: str) -> Any:
            return Session if name == "Session" else getattr(requests, name)

    yfinance._http._backend = Backend()
    yfinance.config.debug.hide_exceptions = False
    data = YfData(session=Session(impersonate="chrome"))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        yfinance.set_tz_cache_location(folder)
        ticker = yfinance.Ticker(symbols["plain"])
        found["info"] = ticker.info
        found["shapes"] = {
            f"{what} {frequency}": list(getattr(ticker, f"get_{what}")(freq=frequency).shape)
            for what in ("income_stmt", "balance_sheet", "cash_flow")
            for frequency in ("yearly", "quarterly", "trailing")
            if (what, frequency) != ("balance_sheet", "trailing")
        }
        found["revenue"] = {str(day.date()): value for day, value in ticker.get_income_stmt().loc["TotalRevenue"].items()}
        found["closes"] = {str(day.date()): close for day, close in ticker.history(start="2022-01-01", auto_adjust=False)["Close"].items()}
        found["monthly"] = len(ticker.history(period="1y", interval="1mo"))
        split = yfinance.Ticker(symbols["split"])
        split.history(period="max")
        found["splits"] = {str(day.date()): factor for day, factor in split.splits.items()}
        found["rate"] = float(yfinance.Ticker("GBPUSD=X").history(period="5d")["Close"].iloc[-1])
        query = EquityQuery(
            "and", [EquityQuery("eq", ["region", "us"]), EquityQuery("btwn", ["intradaymarketcap", 300_000_000, 2_000_000_000])]
        )
        pages = [yfinance.screen(query, offset=offset, size=50, sortField="ticker", sortAsc=True) for offset in (0, 50, 100)]
        found["screen"] = [page["total"] for page in pages], [quote["symbol"] for page in pages for quote in page["quotes"]]
        quotes = data.get_raw_json("https://query1.finance.yahoo.com/v7/finance/quote", params={"symbols": f"{symbols['plain']},NOPE"})
        found["quotes"] = [quote["symbol"] for quote in quotes["quoteResponse"]["result"]]
        # A 404 makes yfinance change to its other cookie strategy, through the consent form, and ask again.
        try:
            yfinance.Ticker(symbols["gone"]).get_info()
        except requests.exceptions.HTTPError as error:
            found["gone"] = error.response.status_code
        found["strategy"] = data._cookie_strategy
        found["after"] = yfinance.Ticker(symbols["plain"]).info["symbol"]
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
