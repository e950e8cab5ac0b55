"""Answers of the chart endpoint: daily bars and events of a company, and exchange rates.

A chart has thousands of figures and each company's is asked for once, so a cache would not help: every close is turned into text once
and the bars are joined from these texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, time, timedelta
from functools import lru_cache
from typing import Any

from local.market import prices
from local.market.companies import Company
from local.market.payloads import currency_pair, encode, quote

#: Range → days before today.
RANGES = {"1d": 1, "5d": 7, "1mo": 31, "3mo": 92, "6mo": 183, "1y": 366, "2y": 731, "5y": 1827, "10y": 3653, "ytd": 180, "max": 10_000}
INTERVALS = ("1d", "5d", "1wk", "1mo", "3mo")


def chart(company: Company, start: int | None, end: int | None, span: str, interval: str) -> bytes:
    """Prices between epoch seconds `start` (included) and `end` (not), or the last `span` ("1y") before today."""
    stamps = prices.timestamps(company.exchange.timezone, company.exchange.opens, company.today)
    low, high = _window(stamps, start, end, span, company.today)
    listed = quote(company)
    meta = {key: listed[key] for key in ("symbol", "currency", "longName", "shortName", "fullExchangeName", "regularMarketPrice")}
    meta |= {"exchangeName": company.exchange.code, "instrumentType": "EQUITY", "regularMarketTime": listed["regularMarketTime"]}

    def within(events: dict[date, Any]) -> list[tuple[int, Any]]:
        found = ((bisect_left(company.prices.days, day), value) for day, value in events.items())
        return [(stamps[i], value) for i, value in found if low <= i < high]

    dividends = {str(stamp): {"amount": amount, "date": stamp} for stamp, amount in within(company.prices.dividends)}
    splits = {
        str(stamp): {"date": stamp, "numerator": new, "denominator": old, "splitRatio": f"{new}:{old}"}
        for stamp, factor in within(company.prices.splits)
        for new, old in [(round(factor), 1) if factor > 1 else (1, round(1 / factor))]
    }
    events = {name: found for name, found in (("dividends", dividends), ("splits", splits)) if found}
    closes = company.prices.closes
    adjusted = company.prices.adjusted() if company.prices.dividends else closes
    return _body(
        meta, stamps, closes, adjusted, _bars(low, high, interval, company.today), company.exchange.timezone, span, interval, events
    )


def currency_chart(symbol: str, start: int | None, end: int | None, span: str, interval: str, today: date) -> bytes | None:
    """As `chart`, of an exchange rate; None if it is not a pair of known currencies."""
    pair = currency_pair(symbol)
    if pair is None:
        return None
    stamps, rates = prices.timestamps("Europe/London", time(0), today), prices.exchange_rates(*pair, today)
    bars = _bars(*_window(stamps, start, end, span, today), interval, today)
    meta = {"symbol": symbol, "currency": pair[1], "exchangeName": "CCY", "instrumentType": "CURRENCY", "regularMarketPrice": rates[-1]}
    return _body(meta | {"regularMarketTime": stamps[-1]}, stamps, rates, rates, bars, "Europe/London", span, interval, {})


def _window(stamps: list[int], start: int | None, end: int | None, span: str, today: date) -> tuple[int, int]:
    """Indexes of the trading days that a request covers: from the first to before the second."""
    if start is not None or end is not None:
        return bisect_left(stamps, start or 0), len(stamps) if end is None else bisect_left(stamps, end)
    if span == "1d":
        return len(stamps) - 1, len(stamps)
    return bisect_left(prices.trading_days(today), today - timedelta(days=RANGES[span])), len(stamps)


@lru_cache(maxsize=1024)
def _bars(low: int, high: int, interval: str, today: date) -> Sequence[tuple[int, int]]:
    """First and last index of each bar."""
    if interval == "1d":
        return [(i, i) for i in range(low, high)]
    bars: list[tuple[int, int]] = []
    label: tuple[int, int] | None = None
    for i in range(low, high):
        day = prices.trading_days(today)[i]
        weekly = interval in ("5d", "1wk")
        this = day.isocalendar()[:2] if weekly else (day.year, day.month if interval == "1mo" else (day.month - 1) // 3)
        if this == label:
            bars[-1] = (bars[-1][0], i)
        else:
            bars.append((i, i))
            label = this
    return bars


def _body(
    meta: dict[str, Any],
    stamps: list[int],
    closes: list[float],
    adjusted: list[float],
    bars: Sequence[tuple[int, int]],
    zone: str,
    span: str,
    interval: str,
    events: dict[str, Any],
) -> bytes:
    before = max(bars[0][0] - 1, 0) if bars else 0
    meta |= {
        "exchangeTimezoneName": zone,
        "timezone": zone,
        "gmtoffset": 0,
        "firstTradeDate": stamps[0],
        "dataGranularity": interval,
        "range": span,
        "validRanges": list(RANGES),
        "priceHint": 2,
        "chartPreviousClose": closes[before],
    }
    head = b'{"chart":{"error":null,"result":[{"meta":' + encode(meta)
    if events:
        head += b',"events":' + encode(events)
    if not bars:
        return head + b',"indicators":{"quote":[{}],"adjclose":[{}]}}]}}'
    # A made-up day opens at the close before and moves straight to its own.
    opens = [max(first - 1, 0) for first, _ in bars]
    ends = [last for _, last in bars]
    texts = {i: repr(closes[i]) for i in {*opens, *ends}}
    days = {
        "open": opens,
        "high": [a if closes[a] > closes[b] else b for a, b in zip(opens, ends, strict=True)],
        "low": [a if closes[a] < closes[b] else b for a, b in zip(opens, ends, strict=True)],
        "close": ends,
    }
    columns = {name: ",".join([texts[i] for i in chosen]) for name, chosen in days.items()}
    columns["volume"] = _joined(tuple([10_000 + 37 * i for i in ends]))
    quotes = ",".join(f'"{name}":[{values}]' for name, values in columns.items())
    close = ",".join([repr(adjusted[i]) for i in ends]) if adjusted is not closes else columns["close"]
    stamped = _joined(tuple([stamps[first] for first, _ in bars]))
    tail = f',"timestamp":[{stamped}],"indicators":{{"quote":[{{{quotes}}}],"adjclose":[{{"adjclose":[{close}]}}]}}}}]}}}}'
    return head + tail.encode()


@lru_cache(maxsize=256)
def _joined(numbers: tuple[int, ...]) -> str:
    """Of what all companies of an exchange have in common."""
    return ",".join(map(str, numbers))
