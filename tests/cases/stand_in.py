"""A made-up company whose source has one fault, as the site would answer about it. Pure: `answer` has the status and the body.

`base.json` is the company behind all cases: statements as shares of a revenue (`flows` of the period's, `balance` of a full year's), its
revenues by period end, price and share count. A case holds what differs; README.md has the fields. Days are dates or relative to TODAY:
`today`, `today-5d`.
"""

from __future__ import annotations

import calendar
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

HERE = Path(__file__).resolve().parent
#: The day that everything here is asked on, so that no case grows old.
TODAY = date(2026, 11, 28)
BASE: dict[str, Any] = json.loads((HERE / "given" / "base.json").read_text())
PERIOD_TYPES = {"annual": "12M", "quarterly": "3M", "trailing": "TTM"}
MONTHS = {"annual": 12, "quarterly": 3, "trailing": 12}
NO_AMOUNTS = ("OrdinarySharesNumber", "TaxRateForCalcs", "DilutedEPS")
UNITS = {"GBp": 0.01, "GBX": 0.01, "ZAc": 0.01, "ZAC": 0.01, "ILA": 0.01, "KWF": 0.001}
CRUMB = "crumb"

Case = dict[str, Any]
Tables = dict[str, dict[str, dict[date, Any]]]
Answer = tuple[int, Any]


def load(folder: Path) -> list[Case]:
    paths = sorted(path for path in folder.glob("*.json") if path.name != "base.json")
    return [{"file": path.stem, **json.loads(path.read_text())} for path in paths]


def day(text: str) -> date:
    relative = re.fullmatch(r"today(?:([+-]\d+)d)?", text)
    return TODAY + timedelta(int(relative[1] or 0)) if relative else date.fromisoformat(text)


def trading(when: date) -> date:
    """That day, or the Friday before."""
    return when - timedelta(max(0, when.weekday() - 4))


def stamp(when: date, seconds: int = 0) -> int:
    return calendar.timegm(when.timetuple()) + seconds


# Statements


def _places(tables: Tables, where: str) -> Iterator[dict[date, Any]]:
    """The points that an address means: "annual.EBIT", "*.EBIT" (every table), "annual.*" (every line that is an amount)."""
    table, key = where.split(".")
    for name in tables if table == "*" else [table]:
        for one in [line for line in tables[name] if line not in NO_AMOUNTS] if key == "*" else [key]:
            yield tables[name].setdefault(one, {})


def statements(case: Case) -> Tables:
    """table → line → day → {"value", "currency"}"""
    tables: Tables = {table: {} for table in MONTHS}
    for table in MONTHS:
        for when, spec in case[table].items():
            _add(tables[table], case, table, day(when), spec)
    for what in ("lines", "times", "labels"):
        for where, by in case.get(what, {}).items():
            for points in _places(tables, where):
                changes = {day(when): value for when, value in by.items()} if isinstance(by, dict) else dict.fromkeys(points, by)
                for when, value in changes.items():
                    _change(points, when, what, value, case["financial_currency"])
    return {
        table: {key: {when: point for when, point in sorted(points.items()) if point} for key, points in keys.items()}
        for table, keys in tables.items()
    }


def _add(lines: dict[str, dict[date, Any]], case: Case, table: str, when: date, spec: Any) -> None:
    revenue, months, only = (*spec, *(MONTHS[table], None)[len(spec) - 1 :]) if isinstance(spec, list) else (spec, MONTHS[table], None)
    values: dict[str, float] = {key: round(revenue * share) for key, share in case["flows"].items()}
    values |= {"TaxRateForCalcs": 0.25, "DilutedEPS": values["NetIncome"] / case["shares"]}
    if table != "trailing":
        values |= {key: round(revenue * 12 / months * share) for key, share in case["balance"].items()}
        values["OrdinarySharesNumber"] = case["shares"]
    for key, value in values.items():
        if only is None or key in only:
            lines.setdefault(key, {})[when] = {"value": value, "currency": case["financial_currency"]}


def _change(points: dict[date, Any], when: date, what: str, value: Any, currency: str) -> None:
    if what == "times":
        if points[when]:
            points[when]["value"] *= value
    elif what == "labels":
        points[when]["currency"] = value
    else:
        known = points.get(when)
        points[when] = None if value is None else {"value": value, "currency": known["currency"] if known else currency}


def timeseries(case: Case, symbol: str, types: str) -> Any:
    tables, result = statements(case), []
    for name in types.split(","):
        table = next((one for one in MONTHS if name.startswith(one)), "")
        points = tables[table].get(name[len(table) :], {}) if table else {}
        item: dict[str, Any] = {"meta": {"symbol": [case.get("answers_as", {}).get("statements", symbol)], "type": [name]}}
        if points:
            item["timestamp"] = [stamp(when) for when in points]
            item[name] = [
                {
                    "asOfDate": str(when),
                    "periodType": PERIOD_TYPES[table],
                    "currencyCode": point["currency"],
                    "reportedValue": {"raw": point["value"], "fmt": str(point["value"])},
                }
                for when, point in points.items()
            ]
        result.append(item)
    return {"timeseries": {"result": result, "error": None}}


# Quote and chart


def last_trade(case: Case) -> date:
    return trading(day(case.get("quoted", "today-1d")))


def quote(case: Case, symbol: str) -> Any:
    market_cap = case.get("market_cap", case["price"] * UNITS.get(case["currency"], 1) * case["shares"])
    count = case.get("shares_outstanding", case["shares"])
    named = case.get("answers_as", {}).get("quote", symbol)
    info: dict[str, Any] = {
        "assetProfile": {"sector": case["sector"], "industry": case["industry"], "country": "Nowhere"},
        "quoteType": {"symbol": named, "quoteType": "EQUITY"},
        "price": {
            "symbol": named,
            "longName": f"Case {symbol}",
            "regularMarketPrice": case["price"],
            "marketCap": market_cap,
            "currency": case["currency"],
            "exchange": "XXX",
            "regularMarketTime": stamp(last_trade(case), 72_000),
        },
        "summaryDetail": {"marketCap": market_cap, "currency": case["currency"]},
        "defaultKeyStatistics": {"sharesOutstanding": count, "impliedSharesOutstanding": count},
        "financialData": {"currentPrice": case["price"], "financialCurrency": case["financial_currency"]},
    }
    for where, value in case.get("quote", {}).items():
        module, _, name = where.partition(".")
        for one in [module for module in info if name in info[module]] if module == "*" else [module]:
            at, key = (info[one], name) if name else (info, one)
            if value is None:
                at.pop(key, None)
            else:
                at[key] = value
    return {"quoteSummary": {"result": [info], "error": None}}


def chart(spec: Mapping[str, Any], symbol: str, currency: str, price: float | None, since: date, end: date) -> Any:
    levels = sorted((day(when), value) for when, value in spec.get("levels", [["2016-12-30", price]]))
    end = day(spec["end"]) if "end" in spec else end
    first = max(since, levels[0][0])
    days = [one for one in (first + timedelta(i) for i in range((end - first).days + 1)) if one.weekday() < 5]
    closes, at = [], 0
    for one in days:
        while at + 1 < len(levels) and levels[at + 1][0] <= one:
            at += 1
        closes.append(levels[at][1])
    meta = {
        "currency": spec.get("currency", currency),
        "symbol": symbol,
        "exchangeTimezoneName": "America/New_York",
        "regularMarketTime": stamp(trading(end), 72_000),
        "regularMarketPrice": spec.get("price", price),
    }
    indicators = {"quote": [{"close": closes}], "adjclose": [{"adjclose": closes}]}
    result: dict[str, Any] = {"meta": meta, "timestamp": [stamp(one, 52_200) for one in days], "indicators": indicators}
    splits = [(stamp(trading(day(when)), 52_200), new, old) for when, new, old in spec.get("splits", [])]
    if splits:
        result["events"] = {"splits": {str(when): {"date": when, "numerator": new, "denominator": old} for when, new, old in splits}}
    return {"chart": {"result": [result], "error": None}}


def _not_found(outer: str, text: str) -> Answer:
    return 404, {outer: {"result": None, "error": {"code": "Not Found", "description": text}}}


class Cases:
    """All cases at once, by symbol."""

    def __init__(self, cases: list[Case]) -> None:
        self.cases = {case["symbol"]: case for case in cases}
        #: "2" turns the cases that have `then` to their second state.
        self.round = "1"
        self._rates = {pair: case for case in cases for pair in case.get("fx", {})}
        assert len(self._rates) == sum(len(case.get("fx", {})) for case in cases), "two cases have one pair of currencies"
        self._asked: Counter[tuple[str, str, int]] = Counter()

    def state(self, case: Case) -> Case:
        return {**BASE, **case, **(case["then"] if self.round == "2" and "then" in case else {})}

    def _own(self, case: Case, what: str) -> Answer | None:
        """The case's own answer to a request of this sort, while its "times" last."""
        for number, rule in enumerate(case.get("answers", [])):
            if rule["for"] == what:
                key = (case["symbol"], self.round, number)
                self._asked[key] += 1
                if self._asked[key] <= rule.get("times", self._asked[key]):
                    return rule["status"], rule["body"]
        return None

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """Status and body (text, or what JSON is made of) of a request to one of the data hosts."""
        symbol = unquote(path.rsplit("/", 1)[-1])
        if path.startswith("/v8/finance/chart/") and symbol.endswith("=X"):
            return self._rate(symbol, query)
        case = self.cases.get(symbol)
        state = self.state(case) if case else None
        if path.startswith("/v10/finance/quoteSummary/"):
            if state is None:
                return _not_found("quoteSummary", "Quote not found for symbol: " + symbol)
            return self._own(state, "quote") or (200, quote(state, symbol))
        if path.startswith("/ws/fundamentals-timeseries/"):
            if state is None:
                return 200, {"timeseries": {"result": [], "error": None}}
            return self._own(state, "statements") or (200, timeseries(state, symbol, query.get("type", "")))
        if path.startswith("/v8/finance/chart/"):
            spec = state.get("chart", {}) if state else None
            if state is None or spec is None:
                return _not_found("chart", "No data found, symbol may be delisted")
            named = state.get("answers_as", {}).get("chart", symbol)
            return self._own(state, "chart") or (
                200,
                chart(spec, named, state["currency"], state["price"], _since(query), last_trade(state)),
            )
        return 404, "no such path"

    def _rate(self, symbol: str, query: Mapping[str, str]) -> Answer:
        pair = symbol.removesuffix("=X")
        case = self._rates.get(pair)
        if case is None:
            return _not_found("chart", "No data found, symbol may be delisted")
        spec = self.state(case)["fx"][pair]
        end = trading(TODAY - timedelta(days=1))
        return self._own(case, "rate") or (200, chart(spec, symbol, pair[3:], spec.get("price"), _since(query), end))


def _since(query: Mapping[str, str]) -> date:
    return date(1970, 1, 1) + timedelta(days=int(query.get("period1", 0)) // 86_400)
