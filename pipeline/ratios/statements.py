"""Statement lines of one company as the site sends them, and the fiscal periods they make up.

Pure: no network, no database. Rules of the periods: docs/ratios.md. Amounts are in the statement's currency and in
single units, shares in single shares, dates are the site's `asOfDate` (the month's end, whatever the company's own day).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from operator import itemgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

INCOME_KEYS = (
    "TotalRevenue",
    "CostOfRevenue",
    "GrossProfit",
    "OperatingIncome",
    "EBIT",
    "EBITDA",
    "InterestExpense",
    "PretaxIncome",
    "TaxProvision",
    "TaxRateForCalcs",
    "NetIncome",
    "NetIncomeCommonStockholders",
    "DilutedEPS",
)
BALANCE_KEYS = (
    "TotalAssets",
    "TotalLiabilitiesNetMinorityInterest",
    "StockholdersEquity",
    "CommonStockEquity",
    "MinorityInterest",
    "PreferredStockEquity",
    "PreferredStock",
    "TangibleBookValue",
    "TotalDebt",
    "LongTermDebt",
    "CurrentAssets",
    "CurrentLiabilities",
    "Inventory",
    "AccountsReceivable",
    "AccountsPayable",
    "CashCashEquivalentsAndShortTermInvestments",
    "CashAndCashEquivalents",
    "RetainedEarnings",
    "OrdinarySharesNumber",
)
CASH_FLOW_KEYS = (
    "OperatingCashFlow",
    "CapitalExpenditure",
    "FreeCashFlow",
    "CommonStockDividendPaid",
    "CashDividendsPaid",
    "PreferredStockDividendPaid",
    "NetCommonStockIssuance",
)
FLOW_KEYS = INCOME_KEYS + CASH_FLOW_KEYS
KEYS = frozenset(FLOW_KEYS + BALANCE_KEYS)

#: Keys whose figures are in no currency, so a currency code of their own means nothing.
_WITHOUT_CURRENCY = frozenset({"OrdinarySharesNumber", "TaxRateForCalcs"})
#: Keys that say a period's income statement is there.
_DATING_KEYS = ("TotalRevenue", "NetIncome")
#: Rates and per-share figures of four quarters don't add up to a year's.
_NOT_SUMMED = frozenset({"TaxRateForCalcs", "DilutedEPS"})

#: Days outside these years (the last one not included) are mistakes, and near the ends of what a date can hold.
_YEARS = (1900, 2200)

#: The one period type that counts for each prefix of the timeseries' keys.
PERIOD_TYPES = {"annual": "12M", "quarterly": "3M", "trailing": "TTM"}

#: Ends this many days apart or fewer are one period.
SAME_PERIOD_DAYS = 7
#: A period that ends this many days before another is the one a year earlier.
YEAR_DAYS = (350, 380)
QUARTER_DAYS = (80, 100)

#: Trading units that are a hundredth of a currency: unit → currency.
MINOR_UNITS = {"GBp": "GBP", "ZAc": "ZAR", "ILA": "ILS"}


class Point(NamedTuple):
    """One reported figure, finite, and the ISO code of its currency ("" where the site names none)."""

    value: float
    currency: str


#: key without prefix → asOfDate → figure
Points = Mapping[str, Mapping[date, Point]]


@dataclass(frozen=True)
class Statements:
    """All points of one company by frequency."""

    annual: Points = field(default_factory=dict)
    quarterly: Points = field(default_factory=dict)
    trailing: Points = field(default_factory=dict)


@dataclass(frozen=True)
class Rates:
    """What one unit of the first currency of a pair costs in the second: today, and at the close of past days."""

    today: float | None = None
    by_day: Mapping[date, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fundamentals:
    """All that is known of one stock before anything is computed.

    `price` and `closes` are in `currency`, the quote's own, which can be a trading unit such as GBp (pence); `closes`
    are restated for later splits and not adjusted for dividends. `splits` is the day → new shares for one old share.
    `rates` has pairs named like "GBPUSD", of currencies, never of trading units. `site_ratios` are the site's own figures.
    """

    symbol: str
    name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    currency: str | None = None
    financial_currency: str | None = None
    price: float | None = None
    market_cap: float | None = None
    shares_outstanding: float | None = None
    quoted_on: date | None = None
    statements: Statements = field(default_factory=Statements)
    closes: Mapping[date, float] = field(default_factory=dict)
    splits: Mapping[date, float] = field(default_factory=dict)
    rates: Mapping[str, Rates] = field(default_factory=dict)
    site_ratios: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """Lines of one period in one currency: key → (asOfDate, value). A line in another currency is left out."""

    end: date
    currency: str
    lines: Mapping[str, tuple[date, float]]


@dataclass(frozen=True)
class Period:
    """A fiscal year ("annual") or the trailing twelve months ("ttm"), with what it is compared with.

    `balance` is None where there is no balance sheet of that day. The earlier ones are None where no period ends
    350 to 380 days before (three years: 1,050 to 1,140).
    """

    period_type: str
    flows: Statement
    balance: Statement | None
    earlier_flows: Statement | None
    earlier_balance: Statement | None
    three_years_earlier: Statement | None

    @property
    def end(self) -> date:
        return self.flows.end

    @property
    def currency(self) -> str:
        return self.flows.currency


# Reading what the site sends -------------------------------------------------------------------------------------


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


def parse_timeseries(payload: Any) -> Statements:
    """Points of a fundamentals-timeseries answer (facts: one request may mix the three prefixes).

    Only known keys, and points of the prefix's own period type, count. The same asOfDate twice: the last one wins, also
    with no figure. What can't be read (null, text, a date that is none) is a missing point. Never raises.
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
    """The dictionaries in `payload[name]["result"]`; nothing where the answer has another shape."""
    outer = payload.get(name) if isinstance(payload, dict) else None
    result = outer.get("result") if isinstance(outer, dict) else None
    return [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []


@lru_cache(maxsize=512)
def _split_name(name: str) -> tuple[str, str]:
    """("annual", "TotalRevenue") of "annualTotalRevenue"; ("", "") of a name that isn't asked for."""
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
        points[day] = Point(value, currency if isinstance(currency, str) else "")


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
    timestamps: Sequence[int]
    values: Sequence[float]
    splits: Mapping[date, float]

    def closes(self) -> dict[date, float]:
        """All closes by the exchange's own calendar day."""
        return {_local_day(stamp, self.zone): value for stamp, value in zip(self.timestamps, self.values, strict=True)}

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
    currency, quoted = meta.get("currency"), number(meta.get("regularMarketTime"))
    return Chart(
        price=number(meta.get("regularMarketPrice")),
        currency=currency if isinstance(currency, str) and currency else None,
        quoted_on=_local_day(int(quoted), zone) if quoted is not None and _FIRST_SECOND < quoted < _LAST_SECOND else None,
        zone=zone,
        timestamps=[stamp for stamp, _ in pairs],
        values=[value for _, value in pairs],
        splits=_splits(result, zone),
    )


_NUMBERS = (float, int)
#: No price, share count or amount of the real world is above it.
_LARGEST = 1e300
#: Epoch seconds within _YEARS.
_FIRST_SECOND, _LAST_SECOND = -2_208_988_800, 7_258_118_400


def _closes(result: dict[str, Any]) -> list[tuple[int, float]]:
    """(timestamp, close) pairs, oldest first; `quote.close`, never `adjclose`, which is adjusted for dividends."""
    try:
        closes = result["indicators"]["quote"][0]["close"]
        stamps = result["timestamp"]
    except (KeyError, IndexError, TypeError):
        return []
    if not isinstance(closes, list) or not isinstance(stamps, list):
        return []
    pairs = [
        (stamp, float(close))
        for stamp, close in zip(stamps, closes, strict=False)
        # NaN fails the comparison; what is no plain number is no close.
        if type(close) in _NUMBERS and 0 < close < _LARGEST and type(stamp) is int and _FIRST_SECOND < stamp < _LAST_SECOND
    ]
    # Equal stamps keep their order, so the last of two closes of one day wins.
    pairs.sort(key=itemgetter(0))
    return pairs


def _splits(result: dict[str, Any], zone: tzinfo) -> dict[date, float]:
    events = result.get("events")
    splits = events.get("splits") if isinstance(events, dict) else None
    found: dict[date, float] = {}
    for event in splits.values() if isinstance(splits, dict) else ():
        if not isinstance(event, dict):
            continue
        stamp, new, old = number(event.get("date")), number(event.get("numerator")), number(event.get("denominator"))
        if stamp is not None and _FIRST_SECOND < stamp < _LAST_SECOND and new and old and 0 < new / old < _LARGEST:
            found[_local_day(int(stamp), zone)] = new / old
    return found


def _zone(meta: dict[str, Any]) -> tzinfo:
    """The exchange's time zone: a bar's time is the opening, so its UTC day can be the day before."""
    name, offset = meta.get("exchangeTimezoneName"), number(meta.get("gmtoffset"))
    if isinstance(name, str) and name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    return timezone(timedelta(seconds=offset)) if offset is not None and abs(offset) < 86_400 else timezone.utc


def _local_day(stamp: int, zone: tzinfo) -> date:
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=stamp)).astimezone(zone).date()


def _epoch(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400


# Choosing periods ------------------------------------------------------------------------------------------------


def periods(fundamentals: Fundamentals) -> list[Period]:
    """Up to four fiscal years, newest first, then the trailing twelve months where they are not older than those."""
    years = fiscal_years(fundamentals)
    chosen = []
    for year in years[:4]:
        earlier = _ending_before(years, year.end)
        chosen.append(Period("annual", year, year, earlier, earlier, _ending_before(years, year.end, 3)))
    trailing = trailing_year(fundamentals)
    if trailing and (not years or (years[0].end - trailing.end).days <= SAME_PERIOD_DAYS):
        chosen.append(trailing)
    return chosen


def fiscal_years(fundamentals: Fundamentals) -> list[Statement]:
    """Every fiscal year with TotalAssets and (TotalRevenue or NetIncome), newest first: the fifth year that the site
    can send has two or three keys and is none."""
    annual = fundamentals.statements.annual
    default = _default_currency(fundamentals)
    years = [_statement(annual, FLOW_KEYS + BALANCE_KEYS, end, default) for end in _ends(annual, _DATING_KEYS)]
    return [year for year in years if "TotalAssets" in year.lines and any(key in year.lines for key in _DATING_KEYS)]


def trailing_year(fundamentals: Fundamentals) -> Period | None:
    """The trailing twelve months: of the site's own trailing points, else of four quarters; the balance is a quarter's."""
    trailing, quarterly = fundamentals.statements.trailing, fundamentals.statements.quarterly
    default = _default_currency(fundamentals)
    ends = _ends(trailing, _DATING_KEYS)
    if ends:
        points = [_statement(trailing, FLOW_KEYS, end, default) for end in ends]
        flows, earlier_flows = points[0], _ending_before(points, ends[0])
    else:
        summed = _four_quarters(quarterly, default)
        if summed is None:
            return None
        flows, earlier_flows = summed, None
    balances = [_statement(quarterly, BALANCE_KEYS, end, default, flows.currency) for end in _ends(quarterly, BALANCE_KEYS)]
    near = [balance for balance in balances if abs((balance.end - flows.end).days) <= SAME_PERIOD_DAYS]
    balance = min(near, key=lambda one: abs((one.end - flows.end).days)) if near else None
    return Period("ttm", flows, balance, earlier_flows, _earlier_balance(quarterly, flows.end, default), None)


def _earlier_balance(quarterly: Points, end: date, default: str) -> Statement | None:
    # In a currency of its own: whether that is the later one's is what the comparison asks.
    return _ending_before([_statement(quarterly, BALANCE_KEYS, day, default) for day in _ends(quarterly, BALANCE_KEYS)], end)


def _default_currency(fundamentals: Fundamentals) -> str:
    """Currency of points that name none."""
    quoted = fundamentals.currency or ""
    return fundamentals.financial_currency or MINOR_UNITS.get(quoted, quoted)


def _ends(points: Points, keys: tuple[str, ...]) -> list[date]:
    """The period ends that `keys` have, newest first; ends within a week of a newer one are the newer one."""
    ends: list[date] = []
    for day in sorted({day for key in keys for day in points.get(key, ())}, reverse=True):
        if not ends or (ends[-1] - day).days > SAME_PERIOD_DAYS:
            ends.append(day)
    return ends


def _statement(points: Points, keys: tuple[str, ...], end: date, default: str, currency: str | None = None) -> Statement:
    """The lines that end within a week of `end`, each with the asOfDate it has, all in one currency."""
    found: dict[str, tuple[date, Point]] = {}
    for key in keys:
        by_day = points.get(key)
        if not by_day:
            continue
        day = end if end in by_day else min(by_day, key=lambda other: (abs((other - end).days), end > other))
        if abs((day - end).days) <= SAME_PERIOD_DAYS:
            found[key] = (day, by_day[day])
    if currency is None:
        # The income statement's, else the first line's that has one.
        lines = [key for key in found if key not in _WITHOUT_CURRENCY]
        dated = [key for key in _DATING_KEYS if key in found] or lines
        currency = (found[dated[0]][1].currency if dated else "") or default
    kept = {
        key: (day, point.value)
        for key, (day, point) in found.items()
        if key in _WITHOUT_CURRENCY or (point.currency or default) == currency
    }
    return Statement(end, currency, kept)


def _ending_before(statements: list[Statement], end: date, years: int = 1) -> Statement | None:
    """The statement that ends `years` years before `end`, the nearest to 365 days each."""
    low, high = (days * years for days in YEAR_DAYS)
    fitting = [one for one in statements if low <= (end - one.end).days <= high]
    return min(fitting, key=lambda one: abs((end - one.end).days - 365 * years)) if fitting else None


def _four_quarters(quarterly: Points, default: str) -> Statement | None:
    """The sum of the newest four quarters, where they follow one another and are in one currency."""
    ends = _ends(quarterly, _DATING_KEYS)[:4]
    gaps = [(later - earlier).days for later, earlier in pairwise(ends)]
    if len(ends) < 4 or not all(QUARTER_DAYS[0] <= gap <= QUARTER_DAYS[1] for gap in gaps):
        return None
    quarters = [_statement(quarterly, FLOW_KEYS, end, default) for end in ends]
    if len({quarter.currency for quarter in quarters}) > 1:
        return None
    sums = {
        key: (ends[0], sum(quarter.lines[key][1] for quarter in quarters))
        for key in FLOW_KEYS
        if key not in _NOT_SUMMED and all(key in quarter.lines for quarter in quarters)
    }
    return Statement(ends[0], quarters[0].currency, {key: line for key, line in sums.items() if isfinite(line[1])})
