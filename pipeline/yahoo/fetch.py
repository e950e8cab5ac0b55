"""Fetches all that the ratios need of one stock: three requests, and one a day for each pair of currencies.

Safe in many threads. `yahoo.setup` comes first. Rules of the figures: docs/ratios.md.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import yfinance
from yfinance import exceptions

from pipeline.errors import NoData, PermanentError, TransientError
from pipeline.ratios.fundamentals import (
    BALANCE_KEYS,
    CASH_FLOW_KEYS,
    FLOW_KEYS,
    INCOME_KEYS,
    MINOR_UNITS,
    Fundamentals,
    Point,
    Rates,
    Statements,
)
from pipeline.ratios.periods import periods
from pipeline.yahoo import session
from pipeline.yahoo.answers import Chart, number, parse_chart, parse_timeseries

_QUERY2 = "https://query2.finance.yahoo.com"
_MODULES = "assetProfile,price,summaryDetail,defaultKeyStatistics,quoteType,financialData"
#: All keys in one request. The site has no trailing balances.
_TYPES = ",".join(
    [prefix + key for prefix in ("annual", "quarterly") for key in FLOW_KEYS + BALANCE_KEYS] + ["trailing" + key for key in FLOW_KEYS]
)
#: Before the oldest figure that the site gives.
_FIRST_DAY = date(2016, 12, 31)
#: How old a period's close may be (ratios.CLOSE_DAYS), and some more, so that it surely is in the answer.
_CLOSE_DAYS = 10
_SPARE_DAYS = 4

#: The site's own ratios, as they come: for a cross-check, never for computing.
SITE_RATIOS = (
    *("trailingPE", "priceToBook", "priceToSalesTrailing12Months", "enterpriseToRevenue", "enterpriseToEbitda"),
    *("dividendYield", "payoutRatio", "profitMargins", "grossMargins", "operatingMargins", "ebitdaMargins"),
    *("returnOnEquity", "returnOnAssets", "currentRatio", "quickRatio", "debtToEquity"),
)


def fetch(symbol: str, source: str = "timeseries") -> Fundamentals:
    """Everything about one stock. `source` is "timeseries" (three requests) or "public" (yfinance's public calls, many).

    Raises NoData("gone") for a symbol that the site doesn't know, NoData("no_statements") where no period can be made of
    what it has, RateLimited, TransientError, PermanentError.
    """
    if source == "public":
        return fetch_public(symbol)
    if source != "timeseries":
        raise ValueError(f"source is {source!r}: expected timeseries or public")
    path = path_segment(symbol)
    info = _info(session.get_json(f"{_QUERY2}/v10/finance/quoteSummary/{path}", {"modules": _MODULES, "formatted": "false"}))
    return _assemble(symbol, info, _timeseries(symbol, path), lambda since: _chart(path, since))


def path_segment(symbol: str) -> str:
    """The symbol as one segment of a URL's path, which can't lead to another endpoint.

    Raises PermanentError for what can't be one: nothing, or dots alone, which mean a folder above however they are written.
    """
    if not symbol.strip(". \t\r\n") or len(symbol) > 100:
        raise PermanentError(f"{symbol[:100]!r} is no symbol")
    try:
        return quote(symbol, safe="")
    except UnicodeEncodeError:
        raise PermanentError(f"{symbol!r} is no symbol") from None


def _assemble(symbol: str, info: Mapping[str, Any], statements: Statements, get_chart: Callable[[date], Chart]) -> Fundamentals:
    """Put the answers together; ask for prices only from the oldest period on, and for the exchange rates that are needed."""
    found = Fundamentals(
        symbol=symbol,
        name=_text(info, "longName", "shortName"),
        exchange=_text(info, "exchange"),
        sector=_text(info, "sector"),
        industry=_text(info, "industry"),
        currency=_text(info, "currency"),
        financial_currency=_text(info, "financialCurrency"),
        price=_figure(info, "regularMarketPrice", "currentPrice"),
        market_cap=_figure(info, "marketCap"),
        shares_outstanding=_figure(info, "sharesOutstanding"),
        statements=statements,
        site_ratios={name: value for name in SITE_RATIOS if (value := number(info.get(name))) is not None},
    )
    chosen = periods(found)
    if not chosen:
        raise NoData("no_statements", f"{symbol}: no fiscal year and no trailing twelve months in its statements")
    compared = [one for period in chosen for one in (period.flows, period.earlier_flows, period.earlier_balance) if one]
    chart = get_chart(min(one.end for one in compared) - timedelta(days=_CLOSE_DAYS + _SPARE_DAYS))
    ends = [period.end for period in chosen if period.period_type == "annual"]
    currency = found.currency or chart.currency
    return replace(
        found,
        currency=currency,
        price=found.price if found.price is not None else chart.price,
        quoted_on=_day(info.get("regularMarketTime")) or chart.quoted_on or session.today(),
        closes={day: close for end in ends for day, close in chart.closes_until(end, _CLOSE_DAYS).items()},
        splits=chart.splits,
        rates=_rates(currency, {period.currency for period in chosen}),
    )


def _info(payload: Any) -> dict[str, Any]:
    """The modules of a quoteSummary answer in one dictionary, what is null left out."""
    outer = payload.get("quoteSummary") if isinstance(payload, dict) else None
    if not isinstance(outer, dict):
        raise TransientError("quoteSummary: an answer of another shape")
    result, error = outer.get("result"), outer.get("error")
    if not (isinstance(result, list) and result and isinstance(result[0], dict)):
        if isinstance(error, dict) and error.get("code") == "Not Found":
            raise NoData("gone", str(error.get("description"))[:500])
        raise TransientError(f"quoteSummary: an empty answer, {error!r}"[:500])
    modules = [module for module in result[0].values() if isinstance(module, dict)]
    return {name: value for module in modules for name, value in module.items() if value is not None}


def _text(info: Mapping[str, Any], *names: str) -> str | None:
    return next((value for name in names if isinstance(value := info.get(name), str) and value), None)


def _figure(info: Mapping[str, Any], *names: str) -> float | None:
    return next((value for name in names if (value := number(info.get(name))) is not None), None)


def _day(stamp: Any) -> date | None:
    seconds = number(stamp)
    return datetime.fromtimestamp(seconds, timezone.utc).date() if seconds is not None and 0 < seconds < 10**10 else None


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())


def _timeseries(symbol: str, path: str) -> Statements:
    """All statement points. None at all is `no_statements`, also by a 404: the quote was there a moment ago."""
    url = f"{_QUERY2}/ws/fundamentals-timeseries/v1/finance/timeseries/{path}"
    params = {"symbol": symbol, "type": _TYPES, "period1": _epoch(_FIRST_DAY), "period2": _epoch(session.today()) + 86_400}
    try:
        payload = session.get_json(url, params)
    except NoData as missing:
        raise NoData("no_statements", f"{symbol}: {missing}") from missing
    outer = payload.get("timeseries") if isinstance(payload, dict) else None
    if not isinstance(outer, dict) or not outer.get("result"):
        raise TransientError("timeseries: an empty answer or one of another shape")
    return parse_timeseries(payload)


def _chart(path: str, since: date) -> Chart:
    """Daily closes and splits since a day; an empty chart where the site has none."""
    params = {"period1": _epoch(since), "period2": _epoch(session.today()) + 86_400, "interval": "1d", "events": "splits"}
    try:
        payload = session.get_json(f"{_QUERY2}/v8/finance/chart/{path}", params)
    except NoData:
        payload = None
    else:
        if not isinstance(payload, dict) or not isinstance(payload.get("chart"), dict):
            raise TransientError("chart: an answer of another shape")
    return parse_chart(payload)


# Exchange rates --------------------------------------------------------------------------------------------------


def _rates(currency: str | None, targets: set[str]) -> dict[str, Rates]:
    """Rates from the quote's currency to each of the statements', by pair."""
    source = MINOR_UNITS.get(currency or "", currency or "")
    pairs = {source + MINOR_UNITS.get(target, target) for target in targets if MINOR_UNITS.get(target, target) != source}
    return {pair: exchange_rates.get(pair) for pair in pairs if re.fullmatch("[A-Z]{6}", pair)}


class RateCache:
    """Exchange rates of a day: one request for a pair, however many threads ask for it at the same time."""

    def __init__(self, fetch_rates: Callable[[str], Rates], today: Callable[[], date] = session.today) -> None:
        self._fetch = fetch_rates
        self._today = today
        self._lock = threading.Lock()
        self._day: date | None = None
        self._futures: dict[str, Future[Rates]] = {}

    def get(self, pair: str) -> Rates:
        """Rates of a pair such as "GBPUSD"; empty ones where the site has no such pair.

        Raises as yahoo.get_json does; the threads that waited for the same answer get the same error, the next one asks again.
        """
        with self._lock:
            day = self._today()
            if day != self._day:
                self._day, self._futures = day, {}
            futures = self._futures
            waiting = futures.get(pair)
            mine: Future[Rates] = Future()
            if waiting is None:
                futures[pair] = mine
        if waiting is not None:
            return waiting.result()
        try:
            rates = self._fetch(pair)
        except BaseException as error:
            with self._lock:
                futures.pop(pair, None)
            mine.set_exception(error)
            raise
        mine.set_result(rates)
        return rates

    def clear(self) -> None:
        """Forget all: for a process that turns to another site."""
        with self._lock:
            self._day = None


def _fetch_rates(pair: str) -> Rates:
    chart = _chart(f"{pair}=X", _FIRST_DAY)
    closes = chart.closes()
    return Rates(chart.price if chart.price is not None else (chart.values[-1] if chart.values else None), closes)


#: Shared by all threads of the process.
exchange_rates = RateCache(_fetch_rates)


# The slow way ----------------------------------------------------------------------------------------------------


def fetch_public(symbol: str) -> Fundamentals:
    """As `fetch`, through yfinance's public calls: a dozen requests and its tables, should the short way stop working.

    yfinance drops the points' currency, so all are taken to be in financialCurrency: a change of currency goes unseen.
    """
    # It puts symbols into URLs as they are.
    if not re.fullmatch(r"[A-Za-z0-9^=&_-][A-Za-z0-9.^=&_-]*", symbol):
        raise PermanentError(f"{symbol[:100]!r} is no symbol that yfinance can ask for")
    ticker = yfinance.Ticker(symbol)
    try:
        info = dict(ticker.info)
        statements = _public_statements(ticker, _text(info, "financialCurrency") or "")
        return _assemble(symbol, info, statements, lambda since: _public_chart(ticker, since))
    except Exception as error:
        raise session.classify(error) from error


def _public_statements(ticker: Any, currency: str) -> Statements:
    frequencies = (("annual", "yearly"), ("quarterly", "quarterly"), ("trailing", "trailing"))
    found: dict[str, dict[str, dict[date, Point]]] = {}
    for prefix, freq in frequencies:
        tables = [(ticker.get_income_stmt, INCOME_KEYS), (ticker.get_cash_flow, CASH_FLOW_KEYS)]
        tables += [] if freq == "trailing" else [(ticker.get_balance_sheet, BALANCE_KEYS)]
        found[prefix] = {key: points for get, keys in tables for key, points in _public_points(get, freq, keys, currency).items()}
    return Statements(**found)


def _public_points(get: Callable[..., Any], freq: str, keys: tuple[str, ...], currency: str) -> dict[str, dict[date, Point]]:
    try:
        table = get(freq=freq)
    except IndexError:
        return {}  # yfinance's trailing table of a company that has none
    found: dict[str, dict[date, Point]] = {}
    for key in keys:
        if key in table.index:
            row = {day.date(): number(float(value)) for day, value in table.loc[key].items()}
            points = {day: Point(value, currency) for day, value in row.items() if value is not None}
            if points:
                found[key] = points
    return found


def _public_chart(ticker: Any, since: date) -> Chart:
    try:
        table = ticker.history(start=since, interval="1d", auto_adjust=False, actions=True)
    except exceptions.YFPricesMissingError:
        return parse_chart(None)
    bars = [(int(day.timestamp()), float(close)) for day, close in table["Close"].items() if close > 0]
    splits = {day.date(): float(factor) for day, factor in table["Stock Splits"].items() if factor > 0}
    zone = table.index.tz or timezone.utc
    return Chart(None, None, None, zone, [stamp for stamp, _ in bars], [close for _, close in bars], splits)
