"""Fetches all that the ratios need of one stock: three requests, and one a day for each pair of currencies.

Safe in many threads. `session.setup` comes first. Rules of the figures: docs/ratios.md.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timezone
from typing import Any
from urllib.parse import quote

from pipeline.errors import NoData, PermanentError, TransientError
from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, Fundamentals, Rates, Statements, major, unit_value
from pipeline.ratios.rates import steady
from pipeline.yahoo import session
from pipeline.yahoo.answers import Chart, Info, other_symbol, parse_chart, parse_timeseries
from pipeline.yahoo.assemble import assemble
from pipeline.yahoo.exchange_rates import RateCache
from pipeline.yahoo.fetch_public import public_parts

_QUERY2 = "https://query2.finance.yahoo.com"
_MODULES = "assetProfile,price,summaryDetail,defaultKeyStatistics,quoteType,financialData"
#: All keys in one request. The site has no trailing balances.
_TYPES = ",".join(
    [prefix + key for prefix in ("annual", "quarterly") for key in FLOW_KEYS + BALANCE_KEYS] + ["trailing" + key for key in FLOW_KEYS]
)
#: Before the oldest figure that the site gives.
_FIRST_DAY = date(2016, 12, 31)

GetJson = Callable[[str, dict[str, Any]], Any]


def fetch(symbol: str, source: str = "timeseries") -> Fundamentals:
    """Everything about one stock. `source` is "timeseries" (three requests) or "public" (yfinance's public calls, many).

    Raises NoData("gone") for a symbol that the site doesn't know, NoData("no_statements") if no period can be made of
    what it has, RateLimited, TransientError, PermanentError.
    """
    if source == "public":
        try:
            return assemble(symbol, session.today(), *public_parts(symbol), exchange_rates.get)
        except Exception as error:
            raise session.classify(error) from error
    if source != "timeseries":
        raise ValueError(f"source is {source!r}: expected timeseries or public")
    return fetch_by(session.get_json, symbol, session.today(), exchange_rates.get)


def fetch_by(get_json: GetJson, symbol: str, as_of: date, get_rates: Callable[[str], Rates]) -> Fundamentals:
    """As `fetch`, by whatever gives the JSON of a URL and the rates of a pair."""
    info = fetch_info(get_json, symbol)
    statements = fetch_statements(get_json, symbol, as_of)
    return assemble(symbol, as_of, info, statements, lambda since: fetch_chart(get_json, symbol, since, as_of), get_rates)


def fetch_info(get_json: GetJson, symbol: str) -> Info:
    """What the site's page of the stock says: quote, profile, the site's own ratios."""
    path = path_segment(symbol)
    return _info(get_json(f"{_QUERY2}/v10/finance/quoteSummary/{path}", {"modules": _MODULES, "formatted": "false"}), symbol)


def path_segment(symbol: str, safe: str = "") -> str:
    """The symbol as one segment of a URL's path, encoded so that it can't lead to another endpoint.

    Raises PermanentError if it is empty, too long or only dots, which would mean the folder above.
    """
    if not symbol.strip(". \t\r\n") or len(symbol) > 100:
        raise PermanentError(f"{symbol[:100]!r} is not a valid symbol")
    try:
        return quote(symbol, safe=safe)
    except UnicodeEncodeError:
        raise PermanentError(f"{symbol!r} is not a valid symbol") from None


def _info(payload: Any, symbol: str) -> Info:
    """The modules of a quoteSummary answer."""
    outer = payload.get("quoteSummary") if isinstance(payload, dict) else None
    if not isinstance(outer, dict):
        raise TransientError("quoteSummary: an answer of another shape")
    result, error = outer.get("result"), outer.get("error")
    if not (isinstance(result, list) and result and isinstance(result[0], dict)):
        if isinstance(error, dict) and error.get("code") == "Not Found":
            raise NoData("gone", str(error.get("description"))[:500])
        raise TransientError(f"quoteSummary: an empty answer, {error!r}"[:500])
    info = Info(result[0])
    _refuse_another(info.other_symbol(symbol), "quoteSummary", symbol)
    return info


def _refuse_another(other: str | None, name: str, symbol: str) -> None:
    """After a mix-up on the way the answer is about another company."""
    if other is not None:
        raise TransientError(f"{name}: an answer about {other[:100]!r} to a request for {symbol!r}")


def _epoch(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=timezone.utc).timestamp())


def fetch_statements(get_json: GetJson, symbol: str, as_of: date) -> Statements:
    """All statement points. None at all is `no_statements`, also by a 404: the quote was there a moment ago."""
    url = f"{_QUERY2}/ws/fundamentals-timeseries/v1/finance/timeseries/{path_segment(symbol)}"
    params = {"symbol": symbol, "type": _TYPES, "period1": _epoch(_FIRST_DAY), "period2": _epoch(as_of) + 86_400}
    try:
        payload = get_json(url, params)
    except NoData as missing:
        raise NoData("no_statements", f"{symbol}: {missing}") from missing
    outer = payload.get("timeseries") if isinstance(payload, dict) else None
    if not isinstance(outer, dict) or not outer.get("result"):
        raise TransientError("timeseries: an empty answer or one of another shape")
    _refuse_another(other_symbol(payload, "timeseries", symbol), "timeseries", symbol)
    return parse_timeseries(payload)


def fetch_chart(get_json: GetJson, symbol: str, since: date, as_of: date) -> Chart:
    """Daily closes and splits since a day; an empty chart if the site has none."""
    params = {"period1": _epoch(since), "period2": _epoch(as_of) + 86_400, "interval": "1d", "events": "splits"}
    try:
        # The `=` of a pair is not encoded: the site knows EURUSD=X only by it.
        payload = get_json(f"{_QUERY2}/v8/finance/chart/{path_segment(symbol, safe='=' if symbol.endswith('=X') else '')}", params)
    except NoData:
        payload = None
    else:
        if not isinstance(payload, dict) or not isinstance(payload.get("chart"), dict):
            raise TransientError("chart: an answer of another shape")
        _refuse_another(other_symbol(payload, "chart", symbol), "chart", symbol)
    return parse_chart(payload)


def rates_by(get_json: GetJson, pair: str, as_of: date) -> Rates:
    """Rates of a pair such as "GBPUSD": what the site says, without what is out of line with the series."""
    symbol = f"{pair}=X"
    chart = fetch_chart(get_json, symbol, _FIRST_DAY, as_of)
    if chart.currency is not None and major(chart.currency) != pair[3:]:
        return Rates()
    unit, newest = unit_value(chart.currency), chart.newest()
    closes = {day: close * unit for day, close in chart.closes().items()}
    if chart.price is not None and chart.quoted_on is not None:
        return steady(closes, chart.price * unit, chart.quoted_on)
    return steady(closes, newest[1] * unit if newest else None, newest[0] if newest else None)


def fetch_rates(pair: str) -> Rates:
    """Rates of a pair from the site."""
    return rates_by(session.get_json, pair, session.today())


#: Shared by all threads of the process.
exchange_rates = RateCache(fetch_rates, session.today)
