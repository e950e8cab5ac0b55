"""What the site quotes as a company's market cap, held against what else is known of it: only with evidence. Pure.

What is checked, and what happens then: docs/ratios.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import log
from statistics import median

from pipeline.ratios.fundamentals import MINOR_UNITS, Fundamentals, major, unit_value
from pipeline.ratios.periods import Period
from pipeline.ratios.rates import rate
from pipeline.ratios.share_counts import LEAST_EPS, SHARES

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
#: A market cap is of one class of shares if the shares behind the earnings are more than the statements' by so many times, alike at
#: so many periods at least.
ONE_CLASS, _ALIKE, _LEAST_PERIODS = 1.6, 1.25, 3
#: A market cap is in another currency if it is off by that currency's rate within this, and off by more than the other.
_THE_SAME, _ABOUT_THE_SAME = (1 / 1.02, 1.02), (1 / 1.05, 1.05)
#: Earnings are taken as so many times, so that they are of a market cap's size.
_USUAL_PE = 15.0
#: Prices in a trading unit that are labelled with its currency make market values of this many times a company's figures; prices in
#: the currency that are labelled with the unit, of fewer than so many units' worth.
_TOO_LARGE, _TOO_SMALL = 30.0, 5.0
#: Warrants, rights and preferred shares by their symbols (ABC-WT, ABC-PB) or names: their price is no ordinary share's.
_OTHER_SYMBOL = re.compile(r"-(?:P(?:REF|[A-Z]{0,2})|W[TS][A-Z]?|W\d|RI|RTS?)(?:\.[A-Z]{1,2})?$")
_OTHER_NAME = re.compile(r"\bwarrants?\b|- ?rights?$", re.IGNORECASE)

#: Currencies in whose hundredths, or thousandths, shares are quoted.
_WITH_A_TRADING_UNIT = frozenset(currency for currency, _ in MINOR_UNITS.values())

#: Words for what speaks against a market cap, so that nothing is made from it.
NO_SHARE, ONE_CLASS_ONLY, OTHER_CURRENCY, UNIT_UNCLEAR = "not a share", "one class", "another currency", "not of its size"
REFUSED = frozenset({"disagrees", NO_SHARE, ONE_CLASS_ONLY, OTHER_CURRENCY, UNIT_UNCLEAR})


def shares_behind_earnings(fundamentals: Fundamentals, periods: list[Period]) -> float | None:
    """Earnings ÷ earnings per share of the newest period that has both in one currency; None if a split came after it."""
    for flows in sorted((period.flows for period in periods), key=lambda flows: flows.end, reverse=True):
        eps, earnings = (flows.lines.get(key) for key in ("DilutedEPS", "NetIncomeCommonStockholders"))
        earnings = earnings or flows.lines.get("NetIncome")
        if not eps or not earnings or abs(eps[1]) < LEAST_EPS or eps[1] * earnings[1] <= 0 or flows.odd_length or flows.unit:
            continue
        if any(day > flows.end and abs(log(factor)) > 0.02 for day, factor in fundamentals.splits.items()):
            return None
        # Of foreign companies the figure per share can be in the quote's currency.
        exchange = rate(fundamentals, flows.currency, flows.codes.get("DilutedEPS", flows.currency), None).value
        return earnings[1] * exchange / eps[1] if exchange else None
    return None


def quoted_market_cap(
    fundamentals: Fundamentals, periods: list[Period], price: float | None, witnesses: Mapping[str, float]
) -> tuple[float | None, str]:
    """The quoted market cap in the currency, and what speaks for it, or against it (REFUSED)."""
    quoted, unit = fundamentals.market_cap, unit_value(fundamentals.currency)
    if _OTHER_SYMBOL.search(fundamentals.symbol) or _OTHER_NAME.search(fundamentals.name or ""):
        return quoted, NO_SHARE
    if quoted is None or quoted <= 0:
        by_shares = witnesses.get("price_times_shares")
        unclear = by_shares is not None and not _is_of_this_unit(fundamentals, periods, by_shares)
        return quoted, UNIT_UNCLEAR if unclear else "none quoted"
    candidates = {quoted: ""} if unit == 1 else {quoted: "", quoted * unit: " in the trading unit"}
    if unit != 1 and _is_disputed(fundamentals, price):
        # A price that is a hundred times off would make pence of a market cap that is right.
        candidates = {quoted: ""}
    for market_cap, how in candidates.items():
        for name, witness in witnesses.items():
            if within(market_cap / witness, SHARE_UNIT):
                against = _against(fundamentals, periods, price, market_cap, how, witnesses)
                return (quoted, against) if against else (market_cap, name + how)
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


def _against(
    fundamentals: Fundamentals, periods: list[Period], price: float | None, market_cap: float, how: str, witnesses: Mapping[str, float]
) -> str:
    """What speaks against a market cap that a witness confirms; "" if nothing does."""
    if _are_other_shares(fundamentals, price, market_cap, witnesses):
        return "disagrees"
    by_earnings, by_shares = witnesses.get("price_times_earnings_by_eps", 0.0), witnesses.get("price_times_shares", market_cap)
    if by_earnings >= ONE_CLASS * market_cap and _is_one_class(fundamentals, periods):
        return ONE_CLASS_ONLY
    if not within(market_cap / by_shares, _ABOUT_THE_SAME) and _is_in_another_currency(fundamentals, periods, price, market_cap, by_shares):
        return OTHER_CURRENCY
    is_shown = unit_value(fundamentals.currency) != 1 and not how
    return "" if is_shown or _is_of_this_unit(fundamentals, periods, market_cap) else UNIT_UNCLEAR


def _is_one_class(fundamentals: Fundamentals, periods: list[Period]) -> bool:
    """Whether earnings ÷ earnings per share say, of every period, that the company has far more shares than its balance sheets count, or
    its amounts are in another currency than they say. Only if all is in one currency, and no split could be the reason."""
    if fundamentals.splits:
        return False
    times = []
    for period in periods:
        flows = period.flows.lines
        eps, earned = flows.get("DilutedEPS"), flows.get("NetIncomeCommonStockholders") or flows.get("NetIncome")
        count = (period.balance or period.flows).lines.get(SHARES)
        codes = {period.currency, period.flows.codes.get("DilutedEPS", period.currency), major(fundamentals.currency)}
        if eps and earned and count and abs(eps[1]) >= LEAST_EPS and count[1] > 0 and len(codes) == 1 and not period.flows.unit:
            times.append(earned[1] / eps[1] / count[1])
    return len(times) >= _LEAST_PERIODS and min(times) >= ONE_CLASS and max(times) <= _ALIKE * min(times)


def _is_in_another_currency(
    fundamentals: Fundamentals, periods: list[Period], price: float | None, market_cap: float, by_shares: float
) -> bool:
    """Whether a market cap is off by the rate to dollars, or to the statements' currency, from what both counts of shares say."""
    outstanding = fundamentals.shares_outstanding
    if not price or not outstanding or not within(price * outstanding / by_shares, _THE_SAME):
        return False
    rates = (rate(fundamentals, fundamentals.currency or "", target, None).value for target in {"USD", *(one.currency for one in periods)})
    return any(one and not within(one, _ABOUT_THE_SAME) and within(market_cap / by_shares / one, _THE_SAME) for one in rates)


def _is_of_this_unit(fundamentals: Fundamentals, periods: list[Period], market_cap: float) -> bool:
    """Whether a market value is of the size of the company's figures, if they are in the quote's currency and that has a trading unit.

    Price and market cap in pounds that are both labelled pence look as if the market cap were in pence; both in pence and labelled pounds
    look right. Only the company's own figures tell.
    """
    currency, unit = major(fundamentals.currency), unit_value(fundamentals.currency)
    newest = max(periods, key=lambda period: period.end, default=None)
    if currency not in _WITH_A_TRADING_UNIT or newest is None or newest.currency != currency or newest.flows.unit:
        return True
    flows, balance = newest.flows.lines, newest.balance.lines if newest.balance else {}
    figures = [(balance.get("StockholdersEquity"), 1.0), (flows.get("TotalRevenue"), 1.0), (flows.get("NetIncome"), _USUAL_PE)]
    sizes = [market_cap / (line[1] * times) for line, times in figures if line and line[1] > 0]
    return len(sizes) < 2 or (median(sizes) >= _TOO_SMALL * unit if unit != 1 else median(sizes) <= _TOO_LARGE)


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
