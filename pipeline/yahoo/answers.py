"""Reads the site's answers: quotes, statement points and charts. Pure. Never raises: a value that can't be read counts as missing."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from math import isclose, isfinite
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.ratios.fundamentals import KEYS, Point, Statements, currency_code

#: Days outside these years (the last one excluded) are mistakes, and close to the limits of a date.
_YEARS = (1900, 2200)

#: The one period type that counts for each prefix of the timeseries' keys.
PERIOD_TYPES = {"annual": "12M", "quarterly": "3M", "trailing": "TTM"}


def number(value: Any) -> float | None:
    """A finite float, or None for anything else: null, text, true, infinity, an integer beyond a float's range.

    `{"raw": 1.0, "fmt": "1.00"}`, which the site sends for the same figure at times, counts as its raw value.
    """
    if isinstance(value, dict):
        value = value.get("raw")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if isfinite(result) else None


class Info:
    """The modules of a quote: a field's values in all of them, in the order in which they are believed.

    One bad field costs one field: `{}`, which stands for "no value", null, texts and infinities never hide what another module says.
    """

    #: Modules that are asked first.
    ORDER = ("price", "summaryDetail", "defaultKeyStatistics", "financialData", "quoteType", "assetProfile")

    def __init__(self, modules: Mapping[str, Any]) -> None:
        names = [*(name for name in self.ORDER if name in modules), *(name for name in modules if name not in self.ORDER)]
        self.modules = modules
        self._modules = [module for name in names if isinstance(module := modules[name], dict)]

    def values(self, name: str) -> list[Any]:
        return [module[name] for module in self._modules if name in module]

    def text(self, *names: str) -> str | None:
        return next((value for name in names for value in self.values(name) if isinstance(value, str) and value.strip()), None)

    def figure(self, *names: str) -> float | None:
        """The first figure above zero, else the first at all."""
        found = [figure for name in names for value in self.values(name) if (figure := number(value)) is not None]
        return next((figure for figure in found if figure > 0), found[0] if found else None)

    def day(self, name: str) -> date | None:
        """The UTC day of epoch seconds, or milliseconds."""
        seconds = _seconds(self.figure(name))
        return _local_day(int(seconds), timezone.utc) if seconds is not None and 0 < seconds < _LAST_SECOND else None

    def other_symbol(self, symbol: str) -> str | None:
        """Another symbol that the answer says it is about."""
        return next((name for name in self.values("symbol") if not same_symbol(name, symbol)), None)


def same_symbol(named: Any, symbol: str) -> bool:
    """Whether an answer that names `named` is about `symbol`. An answer that names nothing is believed."""
    if named == symbol or not isinstance(named, str) or not named:
        return True
    if symbol.endswith("=X"):
        # The site calls USDEUR=X EUR=X.
        return named.upper().removeprefix("USD") == symbol.upper().removeprefix("USD")
    return _plain_symbol(named) == _plain_symbol(symbol)


def _plain_symbol(symbol: str) -> str:
    return re.sub(r"[-./ ]", ".", symbol).casefold()


def other_symbol(payload: Any, name: str, symbol: str) -> str | None:
    """Another symbol that a timeseries or chart answer says it is about."""
    for item in _result(payload, name):
        meta = item.get("meta")
        named = meta.get("symbol") if isinstance(meta, dict) else None
        for one in named if isinstance(named, list) else [named]:
            if not same_symbol(one, symbol):
                return str(one)
    return None


def parse_timeseries(payload: Any) -> Statements:
    """Points of a fundamentals-timeseries answer (facts: one request may mix the three prefixes).

    Only known keys, and points of the prefix's own period type, count. The same asOfDate twice: the last one wins, also
    with no figure. A value that can't be read (null, text, an invalid date) is a missing point. Never raises.
    """
    found: dict[str, dict[str, dict[date, Point]]] = {prefix: {} for prefix in PERIOD_TYPES}
    for item in _result(payload, "timeseries"):
        for name, series in item.items():
            prefix, key = _split_name(name)
            if key and isinstance(series, list):
                points = found[prefix].setdefault(key, {})
                for point in series:
                    _read_point(point, PERIOD_TYPES[prefix], points)
    return Statements(**{prefix: {key: points for key, points in keys.items() if points} for prefix, keys in found.items()})


def _result(payload: Any, name: str) -> list[dict[str, Any]]:
    """The dictionaries in `payload[name]["result"]`; none if the answer has another shape."""
    outer = payload.get(name) if isinstance(payload, dict) else None
    result = outer.get("result") if isinstance(outer, dict) else None
    return [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []


@lru_cache(maxsize=512)
def _split_name(name: str) -> tuple[str, str]:
    """("annual", "TotalRevenue") of "annualTotalRevenue"; ("", "") for a key that is not requested."""
    for prefix in PERIOD_TYPES:
        if name.startswith(prefix) and name[len(prefix) :] in KEYS:
            return prefix, name[len(prefix) :]
    return "", ""


@lru_cache(maxsize=4096)
def _parse_day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if _YEARS[0] <= day.year < _YEARS[1] else None


def _read_point(point: Any, period_type: str, points: dict[date, Point]) -> None:
    if not isinstance(point, dict) or point.get("periodType") != period_type:
        return
    text, reported, currency = point.get("asOfDate"), point.get("reportedValue"), point.get("currencyCode")
    day = _parse_day(text) if isinstance(text, str) else None
    if day is None:
        return
    value = number(reported)
    if value is None:
        points.pop(day, None)
    else:
        points[day] = Point(value, currency_code(currency) if isinstance(currency, str) else "")


@dataclass(frozen=True)
class Chart:
    """What a chart answer holds: the newest price, its currency and day, daily closes (oldest first) and splits.

    Days stay as the site's timestamps until they are asked for: of a thousand closes, four or five are needed.
    """

    price: float | None
    currency: str | None
    #: Day of the newest price.
    quoted_on: date | None
    zone: tzinfo
    timestamps: Sequence[float]
    values: Sequence[float]
    splits: Mapping[date, float]

    def closes(self) -> dict[date, float]:
        """All closes by the exchange's own calendar day."""
        return {_local_day(stamp, self.zone): value for stamp, value in zip(self.timestamps, self.values, strict=True)}

    def newest(self) -> tuple[date, float] | None:
        """Day and value of the newest close."""
        return (_local_day(self.timestamps[-1], self.zone), self.values[-1]) if self.timestamps else None

    def steps(self) -> dict[date, float]:
        """Day → close ÷ the close before, of each day on which it moved by more than two fifths and of the first from a split on."""
        values = self.values
        split_days = {bisect_left(self.timestamps, _epoch(day)) for day in self.splits}
        return {
            _local_day(self.timestamps[i], self.zone): step
            for i in range(1, len(values))
            if (not LEAST_STEP[0] < (step := values[i] / values[i - 1]) < LEAST_STEP[1] or i in split_days) and 0 < step < _LARGEST
        }

    def closes_until(self, day: date, days: int) -> dict[date, float]:
        """The closes of `day` and of `days` before it."""
        first, last = day - timedelta(days=days), day
        # Two days more at either side than needed: no zone is farther from UTC, and the day is checked below.
        low = bisect_right(self.timestamps, _epoch(first) - 172_800)
        high = bisect_right(self.timestamps, _epoch(last) + 259_200)
        found = {_local_day(self.timestamps[i], self.zone): self.values[i] for i in range(low, high)}
        return {when: value for when, value in found.items() if first <= when <= last}


def parse_chart(payload: Any) -> Chart:
    """Read a chart answer. Closes that are null, not finite or not above zero are left out. Never raises."""
    results = _result(payload, "chart")
    result = results[0] if results else {}
    meta = result.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    zone = _zone(meta)
    pairs = _closes(result)
    currency, quoted = meta.get("currency"), _seconds(number(meta.get("regularMarketTime")))
    return Chart(
        price=number(meta.get("regularMarketPrice")),
        currency=currency if isinstance(currency, str) and currency else None,
        quoted_on=_local_day(int(quoted), zone) if quoted is not None and _FIRST_SECOND < quoted < _LAST_SECOND else None,
        zone=zone,
        timestamps=[stamp for stamp, _ in pairs],
        values=[value for _, value in pairs],
        splits=_splits(result, zone),
    )


#: Moves of a close that are kept.
LEAST_STEP = (1 / 1.4, 1.4)
_NUMBERS = (float, int)
#: No real price, share count or amount is larger.
_LARGEST = 1e300
#: A time so large is in milliseconds.
_MILLISECONDS = 1e11
#: Epoch seconds within _YEARS.
_FIRST_SECOND, _LAST_SECOND = -2_208_988_800, 7_258_118_400


def _seconds(stamp: float | None) -> float | None:
    """A time in seconds, which can come in milliseconds."""
    return stamp / 1000 if stamp is not None and stamp >= _MILLISECONDS else stamp


def _closes(result: dict[str, Any]) -> list[tuple[float, float]]:
    """(timestamp, close) pairs, oldest first; `quote.close`, never `adjclose`, which is adjusted for dividends."""
    try:
        closes = result["indicators"]["quote"][0]["close"]
        stamps = result["timestamp"]
    except (KeyError, IndexError, TypeError):
        return []
    if not isinstance(closes, list) or not isinstance(stamps, list):
        return []
    if stamps and type(stamps[0]) in _NUMBERS and stamps[0] >= _MILLISECONDS:
        stamps = [stamp // 1000 if type(stamp) in _NUMBERS else stamp for stamp in stamps]
    pairs = [
        (stamp, float(close))
        for stamp, close in zip(stamps, closes, strict=False)
        # NaN fails the comparison. Anything but a plain number is not a close.
        if type(close) in _NUMBERS and 0 < close < _LARGEST and type(stamp) in _NUMBERS and _FIRST_SECOND < stamp < _LAST_SECOND
    ]
    # Equal stamps keep their order, so the last of two closes of one day wins.
    pairs.sort(key=itemgetter(0))
    return pairs


def _splits(result: dict[str, Any], zone: tzinfo) -> dict[date, float]:
    """Day → new shares for one old. A split that is lost makes a value wrong, so texts and lists are read as well.

    Two of one day are made one after the other (1:500 and 500:1, to pay off small holders), if it is not one that is there twice.
    """
    events = result.get("events")
    splits = events.get("splits") if isinstance(events, dict) else None
    found: dict[date, float] = {}
    # The site names each by its time, which stands in it as well.
    events = splits.items() if isinstance(splits, dict) else ((None, one) for one in splits) if isinstance(splits, list) else ()
    for name, event in events:
        if not isinstance(event, dict):
            continue
        stamp, factor = _seconds(_figure(event.get("date", name))), _split_factor(event)
        if stamp is not None and factor is not None and _FIRST_SECOND < stamp < _LAST_SECOND:
            day = _local_day(int(stamp), zone)
            known = found.get(day)
            found[day] = factor if known is None or isclose(known, factor, rel_tol=0.01) else known * factor
    return found


def _split_factor(event: dict[str, Any]) -> float | None:
    new, old = _figure(event.get("numerator")), _figure(event.get("denominator"))
    if new is None or old is None:
        # "4:1", which stands beside the two.
        ratio = event.get("splitRatio")
        parts = ratio.split(":") if isinstance(ratio, str) else []
        new, old = (_figure(parts[0]), _figure(parts[1])) if len(parts) == 2 else (None, None)
    return new / old if new and old and 0 < new / old < _LARGEST else None


def _figure(value: Any) -> float | None:
    """As `number`, also of a text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return number(value)


def _zone(meta: dict[str, Any]) -> tzinfo:
    """The exchange's time zone: a bar's time is the opening, so its UTC day can be the day before."""
    name, offset = meta.get("exchangeTimezoneName"), number(meta.get("gmtoffset"))
    if isinstance(name, str) and name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    return timezone(timedelta(seconds=offset)) if offset is not None and abs(offset) < 86_400 else timezone.utc


def _local_day(stamp: float, zone: tzinfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=stamp)).astimezone(zone).date()


def _epoch(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400
