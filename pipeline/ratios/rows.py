"""The rows of one company: every ratio or the reason why it is NULL, and what it was computed from. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from math import isfinite
from typing import Any

from pipeline.ratios.figures import Figures
from pipeline.ratios.formulas import COMPUTED, FORMULAS, PIOTROSKI, PIOTROSKI_LEAST_TESTS, is_financial, not_applicable
from pipeline.ratios.fundamentals import BALANCE_KEYS, FLOW_KEYS, Fundamentals
from pipeline.ratios.market_value import Market, market_now, market_of, market_then, newest_quarter
from pipeline.ratios.periods import Period, periods, usable

_FLOWS = frozenset(FLOW_KEYS)
_BALANCES = frozenset(BALANCE_KEYS)


@dataclass(frozen=True)
class RatioRow:
    """One row of financial_ratios. `values` has every name of RATIOS, `null_reasons` exactly those whose value is None.

    `inputs` is JSON-able, of finite numbers and text: `lines` (key → asOfDate → figure, of the period and of those it is
    compared with), `market` (price or close, shares, rate and their days), `piotroski` (test → 1 or 0) and, of `ttm`,
    `site_ratios` (the site's own) and `newest_quarter`. `quality` says what was checked and found: check → a few words.
    """

    symbol: str
    period_type: str
    period_end: date
    currency: str
    values: dict[str, float | None]
    null_reasons: dict[str, str]
    inputs: dict[str, Any]
    quality: dict[str, str] = field(default_factory=dict)
    #: The day that ages were counted from.
    as_of: date | None = None


def ratio_rows(fundamentals: Fundamentals) -> list[RatioRow]:
    """All ratios for up to four fiscal years, newest first, and for the trailing twelve months. Never raises.

    All that the rows depend on is in `fundamentals`: the same again gives the same rows.
    """
    fundamentals = usable(fundamentals)
    return rows_of(fundamentals, periods(fundamentals))


def rows_of(fundamentals: Fundamentals, chosen: list[Period]) -> list[RatioRow]:
    """The same, of fundamentals as `usable` gives them, if their periods are at hand."""
    market = market_of(fundamentals, chosen)
    financial = is_financial(fundamentals)
    return [_row(period, market, financial) for period in chosen]


def _row(period: Period, market: Market, financial: bool) -> RatioRow:
    fundamentals, ttm = market.fundamentals, period.period_type == "ttm"
    value = (market_now if ttm else market_then)(market, period)
    # On a fiscal year's last day, trailing figures can stand beside annual counts.
    split_factor = market.factor_of_quarter if ttm else market.annual_counts.factor
    y = Figures(period, value.figure, value.in_dollars, split_factor, fundamentals.splits, COMPUTED)
    without = not_applicable(period, financial)
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    for name in FORMULAS:
        figure = y[name]
        values[name] = None if name in without else figure.value
        if values[name] is None:
            reasons[name] = "not_applicable" if name in without else figure.reason
    tests = {name: passed for name, test in PIOTROSKI.items() if (passed := test(y)) is not None}
    values["piotroski_f"] = float(sum(tests.values()))
    values["piotroski_tested"] = float(len(tests))
    if "piotroski_f" in without or len(tests) < PIOTROSKI_LEAST_TESTS:
        values["piotroski_f"] = None
        reasons["piotroski_f"] = "not_applicable" if "piotroski_f" in without else "not_enough_tests"
    inputs: dict[str, Any] = {
        "lines": _lines_used(period),
        "market": _plain(value.inputs),
        "piotroski": {name: int(passed) for name, passed in tests.items()},
    }
    if ttm and fundamentals.site_ratios:
        inputs["site_ratios"] = _plain(fundamentals.site_ratios)
        inputs["newest_quarter"] = newest_quarter(fundamentals.statements.quarterly, ("OperatingIncome", "TotalRevenue"))
    quality = {**value.checks, **({"amounts": "another unit than the other periods'"} if period.flows.unit else {})}
    return RatioRow(
        fundamentals.symbol, period.period_type, period.end, period.currency, values, reasons, inputs, quality, fundamentals.as_of
    )


def _lines_used(period: Period) -> dict[str, dict[str, float]]:
    """key → asOfDate → figure at the period's end, one year earlier and, of the revenue, three."""
    lines: dict[str, dict[str, float]] = {}
    texts: dict[date, str] = {}
    three = period.three_years_earlier
    if three and "TotalRevenue" in three.lines:
        day, value = three.lines["TotalRevenue"]
        lines["TotalRevenue"] = {day.isoformat(): value}
    for statement, keys in (
        (period.earlier_flows, _FLOWS),
        (period.earlier_balance, _BALANCES),
        (period.balance, None),
        (period.flows, None),
    ):
        for key, (day, value) in statement.lines.items() if statement else ():
            if keys is None or key in keys:
                text = texts.get(day) or texts.setdefault(day, day.isoformat())
                lines.setdefault(key, {})[text] = value
    return lines


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON can hold it, without what is missing."""
    kept = {key: value.isoformat() if isinstance(value, date) else value for key, value in inputs.items()}
    return {key: value for key, value in kept.items() if value is not None and (not isinstance(value, float) or isfinite(value))}
