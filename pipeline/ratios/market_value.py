"""A company's market value, today's and at a past period's end, in the statement's currency: only with evidence. Pure.

What is checked, and what happens then: docs/ratios.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import log
from typing import Any

from pipeline.ratios.figure import Figure, Rank
from pipeline.ratios.fundamentals import Fundamentals, Points, major, unit_value
from pipeline.ratios.periods import Period
from pipeline.ratios.quoted_cap import (
    NO_SHARE,
    OTHER_CURRENCY,
    QUOTE_AND_CLOSE,
    REFUSED,
    ROUNDING,
    SHARE_UNIT,
    UNIT_STEP,
    UNIT_UNCLEAR,
    quoted_market_cap,
    shares_behind_earnings,
    within,
)
from pipeline.ratios.rates import rate
from pipeline.ratios.share_counts import SHARES, ShareCounts, is_real_split, product

#: A close up to this many days before the period's end still counts as the period's.
CLOSE_DAYS = 10
#: A quote whose last trade is more than this many days old is not today's price. The longest holidays close an exchange for nine.
QUOTE_DAYS = 10

#: Upwards, fewer times than UNIT_STEP are enough: a share can lose nearly all its value in a day, but it does not become eight times as
#: dear.
STEP_UP = 8.0
#: Closes between a step by so many times and one back are mistakes.
THERE_AND_BACK = 3.0
#: A step back undoes the other within this.
_SAME_STEP = log(1.3)
#: Splits from this factor on are noticed by a close that moves by it exactly, on the very day.
EXACT_SPLIT = 1.1
_EXACTLY = log(1.02)
#: From this factor on, closes show whether a split was left out of them or applied twice.
LEAST_SPLIT = 1.5
#: A step counts as a split's within so many days of it.
SPLIT_DAYS = 14
#: A step by exactly a split's factor, from this on, is the split's also long before it, or up to so many days after.
FAR_SPLIT, LATE_DAYS = 2.0, 60
#: When prices in an old currency became prices in euros, and how much of the old one a euro is.
EURO_DAYS = {date(2023, 1, 1): 7.5345, date(2026, 1, 1): 1.95583}
#: A quoted price this many times off a close of the same days is none.
PRICE_OFF, SAME_DAYS = 5.0, 3
#: Days from a split on a holiday's eve to the next close.
_WEEKEND = 4


@dataclass(frozen=True)
class Value:
    """A market value, the same in dollars, what they were made from, and what each check found."""

    figure: Figure
    in_dollars: Figure
    inputs: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Market:
    """What a company's market values need besides the period. Amounts are in currencies, never in trading units."""

    fundamentals: Fundamentals
    annual_counts: ShareCounts
    quarterly_counts: ShareCounts
    #: Price of one share as quoted; None without one above zero.
    price: float | None
    #: The newest ordinary shares, restated for every split; None if there are none, or if a split makes them unclear.
    shares: float | None
    split_unclear: bool
    #: What each witness says the market cap is: price × ordinary shares, price × earnings ÷ earnings per share.
    witnesses: Mapping[str, float]
    #: The quoted market cap in the currency, also if it was quoted in pence; None without one.
    market_cap: float | None
    #: The witness that confirmed it, or "no witness", or why it is refused (quoted_cap.REFUSED).
    market_cap_check: str

    @property
    def chart_currency(self) -> str:
        return self.fundamentals.chart_currency or self.fundamentals.currency or ""

    def factor_of_quarter(self, day: date) -> float | None:
        """How many of today's shares one share of a quarterly balance sheet, or of an annual one in its place, has become by splits."""
        return (self.quarterly_counts if day in self.quarterly_counts else self.annual_counts).factor(day)


def market_of(fundamentals: Fundamentals, periods: list[Period]) -> Market:
    statements = fundamentals.statements
    annual = ShareCounts(statements.annual, statements.quarterly, fundamentals)
    quarterly = ShareCounts(statements.quarterly, {}, fundamentals)
    counts = [(found[0], counts.factor(found[0]), found[1]) for counts in (annual, quarterly) if (found := counts.newest())]
    newest = max(counts, default=None, key=lambda count: count[0])
    shares = newest[2] * newest[1] if newest and newest[1] is not None else None
    unclear = newest is not None and newest[1] is None
    price = fundamentals.price * unit_value(fundamentals.currency) if fundamentals.price and fundamentals.price > 0 else None
    witnesses: dict[str, float] = {}
    for name, count in (("price_times_shares", shares), ("price_times_earnings_by_eps", shares_behind_earnings(fundamentals, periods))):
        if price and count and 0 < price * count < float("inf"):
            witnesses[name] = price * count
    market_cap, check = quoted_market_cap(fundamentals, periods, price, witnesses)
    return Market(fundamentals, annual, quarterly, price, shares, unclear, witnesses, market_cap, check)


# Today ----------------------------------------------------------------------------------------------------------------------


def market_now(market: Market, period: Period) -> Value:
    """Today's market value, as quoted."""
    fundamentals = market.fundamentals
    inputs: dict[str, Any] = {
        "quote_currency": fundamentals.currency,
        "quoted_market_cap": fundamentals.market_cap,
        "price": fundamentals.price,
        "shares_outstanding": fundamentals.shares_outstanding,
        "ordinary_shares": market.shares,
        "quoted_on": fundamentals.quoted_on,
        **market.witnesses,
    }
    age = (fundamentals.as_of - fundamentals.quoted_on).days if fundamentals.quoted_on else None
    checks = {
        "quote_age": "unknown" if age is None else f"{age} days",
        "market_cap": market.market_cap_check,
        "splits": _splits_in_words(market.quarterly_counts, market.split_unclear, fundamentals),
        **period.checks,
    }
    if market.market_cap is None or age is None or age > QUOTE_DAYS:
        return _none(Rank.NO_PRICE, "no_price", inputs, checks)
    if market.market_cap_check == UNIT_UNCLEAR:
        return _none(Rank.PRICE_UNIT, "price_unit", inputs, checks)
    if market.market_cap_check in REFUSED:
        return _none(Rank.SHARE_UNIT, "share_unit", inputs, checks)
    if market.market_cap_check != "closes_times_shares" and (times := _off_the_closes(market)) is not None:
        return _none(Rank.PRICE_UNIT, "price_unit", inputs, {**checks, "price_unit": f"the newest close is {times:.3g} times the quote"})
    if market.split_unclear:
        return _none(Rank.SPLIT_UNCLEAR, "split_unclear", inputs, checks)
    return _converted(fundamentals, market.market_cap, fundamentals.currency or "", period.currency, None, inputs, checks)


def _off_the_closes(market: Market) -> float | None:
    """How many times the quoted price the close of the same days is, if that is beyond what a price can move; None if it is not."""
    fundamentals, newest = market.fundamentals, market.fundamentals.newest_close
    code = market.chart_currency
    if newest is None or market.price is None or fundamentals.quoted_on is None or major(code) != major(fundamentals.currency):
        return None
    days = abs((fundamentals.quoted_on - newest[0]).days)
    if days > SAME_DAYS:
        return None
    # That day's close is the price of its last trade.
    least, most = (1 / PRICE_OFF, PRICE_OFF) if days else QUOTE_AND_CLOSE
    times = newest[1] * unit_value(code) / market.price
    # The two may be as before and as after a split of these days, or the chart in another unit than it says: then nobody knows which is.
    late = any(abs((day - newest[0]).days) <= SPLIT_DAYS for day in fundamentals.splits)
    return None if late or within(times, (least, most)) or not within(times, (1 / UNIT_STEP, UNIT_STEP)) else times


# At a period's end -------------------------------------------------------------------------------------------------------


def market_then(market: Market, period: Period) -> Value:
    """The market value at the period's end: never today's against an old statement."""
    fundamentals = market.fundamentals
    days = (period.end - timedelta(days=back) for back in range(CLOSE_DAYS + 1))
    day = next((day for day in days if day in fundamentals.closes), None)
    inputs: dict[str, Any] = {"quote_currency": market.chart_currency or None}
    if day is None:
        return _none(Rank.NO_PRICE, "no_price", inputs, {"price_unit": "no close", **period.checks})
    close = fundamentals.closes[day]
    inputs |= {"close": close, "close_date": day}
    unit_check, unit_holds = _price_unit(market, day)
    share_check, share_holds = _share_unit(market)
    line = period.flows.lines.get(SHARES)
    factor = market.annual_counts.factor(line[0]) if line else 1.0
    gone = _spun_off(market, day)
    unclear = factor is None or gone is None
    checks = {
        "price_unit": unit_check,
        "share_unit": share_check,
        "splits": _splits_in_words(market.annual_counts, unclear, fundamentals),
        "close_age": f"{(period.end - day).days} days",
        **period.checks,
    }
    if not unit_holds:
        return _none(Rank.PRICE_UNIT, "price_unit", inputs, checks)
    if not share_holds:
        return _none(Rank.SHARE_UNIT, "share_unit", inputs, checks)
    if unclear:
        return _none(Rank.SPLIT_UNCLEAR, "split_unclear", inputs, checks)
    inputs |= {"split_factor": factor, **({"spun_off": gone} if gone != 1 else {})}
    value = close * unit_value(market.chart_currency) * (line[1] if line else 0.0) * (factor or 1.0) * (gone or 1.0)
    found = _converted(fundamentals, value, market.chart_currency, period.currency, day, inputs, checks)
    if line is None:
        missing = ((Rank.MISSING, f"missing:{SHARES}"),)
        without, in_dollars = (Figure(None, one.problems + missing) for one in (found.figure, found.in_dollars))
        return Value(without, in_dollars, found.inputs, found.checks)
    found.inputs["shares"] = line[1]
    return found


def _price_unit(market: Market, day: date) -> tuple[str, bool]:
    """Whether the close of `day` is in the unit of today's price: what was found, and whether it holds."""
    fundamentals = market.fundamentals
    if market.market_cap_check == UNIT_UNCLEAR:
        return "the company's figures speak against price and market cap", False
    for when, step in sorted(fundamentals.steps.items()):
        if when > day and not 1 / UNIT_STEP < step < STEP_UP:
            return f"closes change by {step:.3g} times on {when}", False
        if when > day and _is_of_the_euro(when, step):
            return f"closes change to euros on {when}", False
        if when > day and _is_a_splits(when, step, fundamentals.splits):
            return f"closes change by {step:.3g} times beside a split on {when}", False
    if _is_there_and_back(day, fundamentals.steps):
        return "the close is several times off those before and after it", False
    newest = fundamentals.newest_close
    if newest and any(when > newest[0] and abs(log(factor)) >= log(LEAST_SPLIT) for when, factor in fundamentals.splits.items()):
        return "no close since the newest split shows whether they are as after it", False
    if newest is None or market.price is None:
        return "no quote to hold the closes against", True
    exchange = rate(fundamentals, market.chart_currency, fundamentals.currency or "", None).value
    if exchange is None or not fundamentals.currency:
        return f"the chart is in {market.chart_currency}, the quote in {fundamentals.currency}", False
    # `rate` gives units of the quote.
    times = newest[1] * unit_value(market.chart_currency) * exchange * unit_value(fundamentals.currency) / market.price
    near = fundamentals.quoted_on is not None and abs((fundamentals.quoted_on - newest[0]).days) <= QUOTE_DAYS
    if not within(times, QUOTE_AND_CLOSE if near else (1 / UNIT_STEP, UNIT_STEP)):
        return f"the newest close is {times:.3g} times the quote", False
    return "one unit", True


def _is_there_and_back(day: date, steps: Mapping[date, float]) -> bool:
    """Whether the close of `day` lies between a step and one that undoes it: a mistake of one day or of some weeks."""
    large = [(when, log(step)) for when, step in steps.items() if abs(log(step)) >= log(THERE_AND_BACK)]
    return any(abs(there + back) <= _SAME_STEP for one, there in large if one <= day for other, back in large if other > day)


def _is_of_the_euro(when: date, step: float) -> bool:
    return any(abs((when - day).days) <= SPLIT_DAYS and abs(log(step * per_euro)) <= _EXACTLY for day, per_euro in EURO_DAYS.items())


def _is_a_splits(when: date, step: float, splits: Mapping[date, float]) -> bool:
    """Whether a step of the closes is what a split would leave that was not undone, or twice, or only in some of them."""
    moved = abs(log(step))
    near = [abs(log(factor)) for day, factor in splits.items() if abs((day - when).days) <= SPLIT_DAYS]
    on_the_day = [abs(log(factor)) for day, factor in splits.items() if 0 <= (when - day).days <= _WEEKEND and is_real_split(factor)]
    if any(factor >= log(EXACT_SPLIT) - ROUNDING and abs(moved - factor) <= _EXACTLY for factor in on_the_day):
        return True
    far = [abs(log(factor)) for day, factor in splits.items() if (when - day).days <= LATE_DAYS and is_real_split(factor)]
    if any(factor >= log(FAR_SPLIT) - ROUNDING and abs(moved - factor) <= _EXACTLY for factor in far):
        return True
    near = [factor for factor in near if factor >= log(LEAST_SPLIT) - ROUNDING]
    return any(moved >= factor - max(log(1.2), factor / 4) for factor in near)


def _share_unit(market: Market) -> tuple[str, bool]:
    """Whether one share of the quote is one ordinary share: by what it was shown, and whether it was."""
    fundamentals, shares = market.fundamentals, market.shares
    if market.split_unclear or shares is None:
        # This has a reason of its own: without a count nothing is computed anyway.
        return "not shown", True
    if market.market_cap_check == NO_SHARE:
        return "a warrant, a right or a preferred share", False
    if market.market_cap_check == OTHER_CURRENCY:
        return "shares outstanding", True
    if market.market_cap_check in REFUSED:
        return "market cap is of other shares", False
    if market.market_cap and market.price:
        agrees = within(market.market_cap / (market.price * shares), SHARE_UNIT)
        return ("market cap" if agrees else "market cap is of other shares"), agrees
    outstanding = fundamentals.shares_outstanding
    if outstanding and outstanding > 0:
        agrees = within(outstanding / shares, SHARE_UNIT)
        return ("shares outstanding" if agrees else "shares outstanding are other shares"), agrees
    return "not shown", False


def _spun_off(market: Market, day: date) -> float | None:
    """The factor that undoes, in the close of `day`, spin-offs that came as splits; None unless closes surely were divided by them."""
    fundamentals, factors = market.fundamentals, []
    for when in market.annual_counts.spin_offs:
        if when > day:
            factor, step = fundamentals.splits[when], fundamentals.steps.get(when)
            if step is None or abs(log(step)) * 2 > abs(log(step * factor)):
                return None
            factors.append(factor)
    return product(factors)


def _splits_in_words(counts: ShareCounts, unclear: bool, fundamentals: Fundamentals) -> str:
    if not fundamentals.splits:
        return "none"
    return "unclear" if unclear else "spin-off" if counts.spin_offs else "decided"


# Results -----------------------------------------------------------------------------------------------------------------


def _none(rank: Rank, reason: str, inputs: dict[str, Any], checks: dict[str, str]) -> Value:
    figure = Figure(None, ((rank, reason),))
    return Value(figure, figure, inputs, checks)


def _converted(
    fundamentals: Fundamentals, amount: float, source: str, target: str, day: date | None, inputs: dict[str, Any], checks: dict[str, str]
) -> Value:
    """An amount in the currency of `source` as one of the statement's and one of dollars."""
    found, dollars = rate(fundamentals, source, target, day), rate(fundamentals, source, "USD", day)
    checks = {
        **checks,
        "rate": "none" if found.value is None else f"{found.age_days} days" if "rate_pair" in found.inputs else "one currency",
    }
    inputs = {**inputs, **found.inputs, "rate_to_usd": dollars.value}
    no_rate = Figure(None, ((Rank.FX_UNAVAILABLE, "fx_unavailable"),))
    return Value(
        no_rate if found.value is None else Figure(amount * found.value),
        no_rate if dollars.value is None else Figure(amount * dollars.value),
        inputs,
        checks,
    )


def newest_quarter(points: Points, keys: tuple[str, ...]) -> dict[str, float]:
    """The newest figure of each key, if all are of one day: to compare with what the site computes for a quarter."""
    days = [max(points[key]) for key in keys if points.get(key)]
    return {key: points[key][days[0]].value for key in keys} if len(days) == len(keys) and len(set(days)) == 1 else {}
