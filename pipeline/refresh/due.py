"""Decides whether a stock's statements have to be fetched, or its rows can be computed from what is stored. Pure.

The evidence is today's quote from the listing, compared with the quote at the last fetch. A missing field is no evidence: neither
that something changed nor that nothing did.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from math import log
from typing import Any, NamedTuple

from pipeline.wire.quotes import plain_number, plain_time

# Reasons, as completions and the summary name them ------------------------------------------------------------------

FIRST = "first_fetch"
ALL = "refresh_all"
NO_QUOTE = "no_quote"
APPEARED = "figures_appeared"
EARNINGS = "earnings_time"
EPS = "eps_changed"
BOOK_VALUE = "book_value_changed"
SHARES = "shares_changed"
CURRENCY = "currency_changed"
SPLIT = "price_step"
AWAITED = "report_awaited"
AGE = "age"
#: The only reason not to fetch.
UNCHANGED = "unchanged"

#: After a fetch for one of these reasons the statements should have a new period.
BRINGS_PERIOD = frozenset({EARNINGS, EPS, AWAITED})
#: Periods of one company end at least so many days apart, and at most.
SHORTEST_STEP, LONGEST_STEP = 80, 380

# Limits -------------------------------------------------------------------------------------------------------------

#: The three fields in which the site may give the last report's time, or the next one's.
EARNINGS_FIELDS = ("earningsTimestamp", "earningsTimestampStart", "earningsTimestampEnd")
#: The fields that are compared, or that rows are computed from later. They are stored with each fetch.
KEPT_FIELDS = (
    *("regularMarketPrice", "marketCap", "sharesOutstanding", "epsTrailingTwelveMonths", "bookValue"),
    *("currency", "financialCurrency", *EARNINGS_FIELDS),
)
#: If one of these is new in the quote of a stock that the site had no statements of, it may have some now.
_FIGURES = ("regularMarketPrice", "epsTrailingTwelveMonths", "bookValue")
#: Buybacks change a share count a little each week. A change that needs new statements is larger (fraction).
SHARES_TOLERANCE = 0.001
#: If statements and quote are in different currencies, earnings per share follow the exchange rate (fraction).
FOREIGN_EPS_TOLERANCE = 0.03
#: A change of market cap ÷ price by this factor is a split.
SPLIT_STEP = 1.4
#: A price that moved by one of these factors, or its inverse, within SPLIT_NEARNESS: a split that the market cap may not show yet.
SPLIT_FACTORS = (1.5, 2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 40, 50, 100)
SPLIT_NEARNESS = 0.06
#: The part of the longest age after which a symbol's first statements may come due, and its later ones: not all in one night.
FIRST_SPREAD, LATER_SPREAD = 1 / 3, 0.8
#: The next report is put off by fewer days than this; if its time moves by more, the report has been, and this is the one after it.
PUT_OFF_DAYS = 28
#: How often a report that was announced, but is not in the statements yet, is asked for again: after 1, 2, 4, … days.
MOST_ASKED = 5
#: Days until a symbol that had no statements, or was unknown to the site, is asked for again; doubled each time.
NOTHING_DAYS = 4


class Verdict(NamedTuple):
    """Whether to fetch, and for what reason."""

    due: bool
    why: str


@dataclass(frozen=True)
class Evidence:
    """What is stored about the last fetch, besides the statements."""

    fetched_at: datetime
    quote: Mapping[str, Any] = field(default_factory=dict)
    #: End of the newest period that the statements had; None without any.
    newest_period: date | None = None
    #: How often a report was asked for in vain, and the day on which it is asked for again.
    asked: int = 0
    ask_on: date | None = None
    #: Whether it was this symbol's first fetch.
    first: bool = True
    #: Day of the newest profile (sector, industry, the site's own ratios).
    profiled_on: date | None = None


def verdict(
    quote: Mapping[str, Any], last: Evidence | None, now: datetime, max_age_days: float, refresh_all: bool = False, symbol: str = ""
) -> Verdict:
    """Due or not, and why. `quote` has the site's own field names (pipeline/wire/quotes.py); the reasons are asked in this order."""
    if last is None:
        return Verdict(True, FIRST)
    if refresh_all:
        return Verdict(True, ALL)
    waits = last.newest_period is None and last.ask_on is not None and now.date() < last.ask_on
    before = last.quote
    # A stock that had no price at the last fetch either, such as a suspended one, is not fetched each night for that.
    had_price = _above_zero(before.get("regularMarketPrice"))
    if had_price and not _above_zero(quote.get("regularMarketPrice")) and not waits:
        return Verdict(True, NO_QUOTE)
    reasons = (
        (APPEARED, (last.newest_period is None or last.asked > 0) and _has_appeared(quote, before)),
        (EARNINGS, _reported(quote, before, last.fetched_at, now)),
        (CURRENCY, any(_differ(quote, before, name) for name in ("currency", "financialCurrency"))),
        (SHARES, _moved(quote, before, "sharesOutstanding", SHARES_TOLERANCE)),
        (EPS, _eps_moved(quote, before)),
        (BOOK_VALUE, _moved(quote, before, "bookValue", 0.0)),
        (SPLIT, _looks_like_a_split(quote, before)),
        (AWAITED, last.ask_on is not None and now.date() >= last.ask_on),
        # A fetch in the future means that a clock was or is wrong. If it is far ahead, it must not keep the stock from being fetched.
        (AGE, abs((now.date() - last.fetched_at.date()).days) >= _longest_age(symbol, last.first, max_age_days)),
    )
    return next((Verdict(True, why) for why, holds in reasons if holds), Verdict(False, UNCHANGED))


def after_fetch(
    quote: Mapping[str, Any],
    last: Evidence | None,
    why: str,
    newest_period: date | None,
    now: datetime,
    profiled: bool,
    step_days: int | None = None,
) -> Evidence:
    """The evidence to store after a fetch that was made for the reason `why`. step_days: see `step_of`."""
    asked, ask_on = 0, None
    if newest_period is None:
        # No statements at all. Other evidence may make it due earlier.
        asked = last.asked + 1 if last and last.newest_period is None else 1
        ask_on = now.date() + timedelta(days=NOTHING_DAYS * 2 ** min(asked - 1, 6))
    elif _lacks_a_period(quote, last, why, newest_period, now, step_days):
        asked = last.asked + 1 if last else 1
        ask_on = now.date() + timedelta(days=2 ** (asked - 1)) if asked <= MOST_ASKED else None
    kept = {**_still_said(quote, last), **{name: quote[name] for name in KEPT_FIELDS if quote.get(name) is not None}}
    profiled_on = now.date() if profiled else last.profiled_on if last else None
    return Evidence(now, kept, newest_period, asked, ask_on, last is None, profiled_on)


def _lacks_a_period(
    quote: Mapping[str, Any], last: Evidence | None, why: str, newest_period: date, now: datetime, step_days: int | None
) -> bool:
    """Whether something was published that is not in the statements yet, whatever else the fetch was made for."""
    if last is None:
        return step_days is not None and _is_a_report_behind(quote, newest_period, now, step_days)
    if last.newest_period is None or newest_period > last.newest_period:
        return False
    published = why in BRINGS_PERIOD or last.ask_on is not None
    return published or _reported(quote, last.quote, last.fetched_at, now) or _eps_moved(quote, last.quote)


def _is_a_report_behind(quote: Mapping[str, Any], newest: date, now: datetime, step_days: int) -> bool:
    """Whether the times that a first quote gives are of the report after the next one, seen from the newest period.

    The last report came after the following period's end, or the next one will come after the end of the one after that.
    """
    for time in (time for name in EARNINGS_FIELDS if (time := plain_time(quote.get(name))) is not None):
        passed = (time - datetime.combine(newest, datetime.min.time(), timezone.utc).timestamp()) / 86_400
        steps = 1 if time <= now.timestamp() else 2
        # Statements that are further behind are not late, but missing.
        if steps * step_days < passed < (steps + 1) * step_days:
            return True
    return False


def _has_appeared(quote: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether the quote has a figure that an earlier quote lacked; no quote at all says nothing of what there was."""
    return bool(before) and any(_number(quote.get(name)) and not _number(before.get(name)) for name in _FIGURES)


def _still_said(quote: Mapping[str, Any], last: Evidence | None) -> dict[str, Any]:
    """What was known before and is missing now: that it is missing says nothing. A price is of its day alone."""
    without = {"regularMarketPrice", "marketCap"}
    if any(quote.get(name) is not None for name in EARNINGS_FIELDS):
        without.update(EARNINGS_FIELDS)
    return {name: value for name, value in last.quote.items() if name in KEPT_FIELDS and name not in without} if last else {}


def _reported(quote: Mapping[str, Any], before: Mapping[str, Any], fetched_at: datetime, now: datetime) -> bool:
    """Whether a report came between the last fetch and now, by the times that the site gives today and those that it gave then."""
    told, then = ([time for name in EARNINGS_FIELDS if (time := plain_time(one.get(name))) is not None] for one in (quote, before))
    since, until = fetched_at.timestamp(), now.timestamp()
    if any(since < time <= until for time in told):
        return True
    expected = min((time for time in then if time > since), default=None)
    following = min((time for time in told if time > until), default=None)
    if expected is None or following is None:
        return expected is not None and expected <= until
    return following - expected > PUT_OFF_DAYS * 86_400


def _differ(quote: Mapping[str, Any], before: Mapping[str, Any], name: str) -> bool:
    return bool(quote.get(name) and before.get(name) and quote[name] != before[name])


def _foreign(quote: Mapping[str, Any]) -> bool:
    """Whether quote and statements are in two currencies. Pence and pounds count as two, which only widens a tolerance."""
    return bool(quote.get("currency") and quote.get("financialCurrency") and quote["currency"] != quote["financialCurrency"])


def _moved(quote: Mapping[str, Any], before: Mapping[str, Any], name: str, tolerance: float) -> bool:
    """Whether a figure changed by more than its rounding and the tolerance, a fraction."""
    now, then = _number(quote.get(name)), _number(before.get(name))
    if now is None or then is None or (name == "sharesOutstanding" and (now <= 0 or then <= 0)):
        return False
    rounding = 1.01 * 10.0 ** -min(_decimals(now), _decimals(then))
    return abs(now - then) > max(rounding, tolerance * max(abs(now), abs(then)))


def _eps_moved(quote: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return _moved(quote, before, "epsTrailingTwelveMonths", FOREIGN_EPS_TOLERANCE if _foreign(quote) else 0.0)


def _decimals(value: float) -> int:
    """Digits after the point, as the value is written; a whole number may have lost its zeros, so two at least."""
    text = repr(float(value))
    return max(2, len(text.partition(".")[2])) if "e" not in text else 9


def may_have_split(quote: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether older closes may have been restated since the last fetch, so that they have to be fetched again."""
    return (
        _looks_like_a_split(quote, before)
        or _differ(quote, before, "currency")
        or _moved(quote, before, "sharesOutstanding", SPLIT_STEP - 1)
    )


def _looks_like_a_split(quote: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    now, then = _number(quote.get("regularMarketPrice")), _number(before.get("regularMarketPrice"))
    if not now or not then or now <= 0 or then <= 0:
        return False
    caps = [_number(one.get("marketCap")) for one in (quote, before)]
    if caps[0] and caps[1] and caps[0] > 0 and caps[1] > 0:
        # Logarithms, since a quotient of the two may be beyond a double.
        shares = (log(caps[0]) - log(now)) - (log(caps[1]) - log(then))
        if abs(shares) >= log(SPLIT_STEP):
            return True
    factor = max(now / then, then / now)
    return any(abs(factor / known - 1) <= SPLIT_NEARNESS for known in SPLIT_FACTORS)


def _longest_age(symbol: str, first: bool, max_age_days: float) -> float:
    """Days after which this symbol's statements are fetched again whatever the quote says; `max_age_days` at most."""
    least = FIRST_SPREAD if first else LATER_SPREAD
    return max_age_days * (least + (1 - least) * share(symbol))


def share(symbol: str, salt: str = "") -> float:
    """A number from 0 to 1 that depends on the symbol alone, on every machine."""
    return int.from_bytes(hashlib.sha256(f"{salt}{symbol}".encode("utf-8", "surrogatepass")).digest()[:6], "big") / (2**48 - 1)


def newest_period(ends: Iterable[date]) -> date | None:
    return max(ends, default=None)


def step_of(ends: Iterable[date]) -> int | None:
    """Days between the ends of the newest two periods; None if there is only one, or they are more than a year apart."""
    newest_first = sorted(set(ends), reverse=True)
    steps = ((newest_first[0] - one).days for one in newest_first[1:])
    step = next((step for step in steps if step >= SHORTEST_STEP), None)
    return step if step is not None and step <= LONGEST_STEP else None


def _number(value: Any) -> float | None:
    number = plain_number(value)
    return None if number is None else float(number)


def _above_zero(value: Any) -> bool:
    return (_number(value) or 0.0) > 0


# As it is kept ------------------------------------------------------------------------------------------------------


def to_json(evidence: Evidence) -> dict[str, Any]:
    """As JSON for the database, without the usual values."""
    fields: dict[str, Any] = {"quote": dict(evidence.quote), "first": evidence.first}
    fields |= {"newest_period": _day_text(evidence.newest_period), "profiled_on": _day_text(evidence.profiled_on)}
    if evidence.asked:
        fields |= {"asked": evidence.asked, "ask_on": _day_text(evidence.ask_on)}
    return {name: value for name, value in fields.items() if value is not None}


def from_json(fields: Mapping[str, Any], fetched_at: datetime) -> Evidence:
    quote = fields.get("quote")
    return Evidence(
        fetched_at.astimezone(timezone.utc),
        quote if isinstance(quote, dict) else {},
        _day(fields.get("newest_period")),
        int(fields.get("asked", 0)),
        _day(fields.get("ask_on")),
        bool(fields.get("first")),
        _day(fields.get("profiled_on")),
    )


def _day_text(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _day(text: Any) -> date | None:
    return date.fromisoformat(text) if isinstance(text, str) else None
