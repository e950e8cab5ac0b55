"""What the site quotes as a company's market cap, held against what else is known of it: only with evidence. Pure.

What is checked, and what happens then: docs/ratios.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log

from pipeline.ratios.fundamentals import Fundamentals, major, unit_value
from pipeline.ratios.periods import Period
from pipeline.ratios.rates import rate

#: Two market values whose quotient is within these are of the same shares; it is not 1, since prices and counts are of different days.
SHARE_UNIT = (0.67, 1.5)
#: How many times a market cap in a trading unit may be off the unit's own factor.
UNIT_BAND = 2.0
#: Relative tolerance of all bounds.
ROUNDING = 1e-9
#: A quote and a close of the same days are within this of each other.
QUOTE_AND_CLOSE = (0.5, 2.0)
#: No price moves down by so many times from one close to the next: that is a change of the unit (a hundredth, a thousandth).
UNIT_STEP = 50.0


def shares_behind_earnings(fundamentals: Fundamentals, periods: list[Period]) -> float | None:
    """Earnings ÷ earnings per share of the newest period that has both in one currency; None if a split came after it."""
    for flows in sorted((period.flows for period in periods), key=lambda flows: flows.end, reverse=True):
        eps, earnings = (flows.lines.get(key) for key in ("DilutedEPS", "NetIncomeCommonStockholders"))
        earnings = earnings or flows.lines.get("NetIncome")
        if not eps or not earnings or abs(eps[1]) < 0.02 or eps[1] * earnings[1] <= 0 or flows.odd_length or flows.unit:
            continue
        if any(day > flows.end and abs(log(factor)) > 0.02 for day, factor in fundamentals.splits.items()):
            return None
        # Of foreign companies the figure per share can be in the quote's currency.
        exchange = rate(fundamentals, flows.currency, flows.codes.get("DilutedEPS", flows.currency), None).value
        return earnings[1] * exchange / eps[1] if exchange else None
    return None


def quoted_market_cap(fundamentals: Fundamentals, price: float | None, witnesses: Mapping[str, float]) -> tuple[float | None, str]:
    """The quoted market cap in the currency, and what speaks for it."""
    quoted, unit = fundamentals.market_cap, unit_value(fundamentals.currency)
    if quoted is None or quoted <= 0:
        return quoted, "none quoted"
    candidates = {quoted: ""} if unit == 1 else {quoted: "", quoted * unit: " in the trading unit"}
    if unit != 1 and _is_disputed(fundamentals, price):
        # A price that is a hundred times off would make pence of a market cap that is right.
        candidates = {quoted: ""}
    for market_cap, how in candidates.items():
        for name, witness in witnesses.items():
            if within(market_cap / witness, SHARE_UNIT):
                return (quoted, "disagrees") if _are_other_shares(fundamentals, price, market_cap, witnesses) else (market_cap, name + how)
    if unit != 1 and _is_in_the_major_unit(fundamentals, quoted, witnesses):
        return quoted, "closes_times_shares"
    if witnesses:
        return quoted, "disagrees"
    if unit != 1 and price and fundamentals.shares_outstanding and fundamentals.shares_outstanding > 0:
        times = quoted / (price * fundamentals.shares_outstanding) * unit
        if within(times, (1 / UNIT_BAND, UNIT_BAND)):
            # Either it is in pence, or the count is of one listing, a hundredth of the company.
            return quoted, "disagrees"
    return quoted, "no witness"


def _are_other_shares(fundamentals: Fundamentals, price: float | None, market_cap: float, witnesses: Mapping[str, float]) -> bool:
    """Whether the market cap is a depositary receipt's price times the ordinary shares: earnings per share and the quote's count, which
    are of the receipts, agree against it."""
    by_earnings, outstanding = witnesses.get("price_times_earnings_by_eps"), fundamentals.shares_outstanding
    if not by_earnings or not outstanding or outstanding <= 0 or not price:
        return False
    return within(price * outstanding / by_earnings, SHARE_UNIT) and not within(market_cap / by_earnings, (0.5, 2.0))


def _is_in_the_major_unit(fundamentals: Fundamentals, quoted: float, witnesses: Mapping[str, float]) -> bool:
    """Whether a price that is labelled with a trading unit is in the currency: closes and market cap say so, each for itself."""
    newest, code, unit = fundamentals.newest_close, fundamentals.chart_currency, unit_value(fundamentals.currency)
    if not newest or not code or major(code) != major(fundamentals.currency) or not fundamentals.price:
        return False
    agrees = within(newest[1] * unit_value(code) / fundamentals.price, QUOTE_AND_CLOSE)
    return agrees and any(within(quoted * unit / witness, SHARE_UNIT) for witness in witnesses.values())


def _is_disputed(fundamentals: Fundamentals, price: float | None) -> bool:
    """Whether the newest close, in the same currency, is in another unit than the quoted price."""
    newest, code = fundamentals.newest_close, fundamentals.chart_currency
    if newest is None or price is None or (code and major(code) != major(fundamentals.currency)):
        return False
    return not within(newest[1] * unit_value(code or fundamentals.currency) / price, (1 / UNIT_STEP, UNIT_STEP))


def within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] * (1 - ROUNDING) <= value <= bounds[1] * (1 + ROUNDING)
