"""Fundamentals of one made-up company: quarters first, everything else summed from them, so that the lines add up.

Balance: TotalAssets = TotalLiabilitiesNetMinorityInterest + StockholdersEquity + MinorityInterest; equity moves from quarter to
quarter by net income, dividends and buybacks. Income: GrossProfit = TotalRevenue − CostOfRevenue, EBIT = PretaxIncome +
InterestExpense. Cash: FreeCashFlow = OperatingCashFlow + CapitalExpenditure. A year, and a trailing figure, is the sum of four quarters.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from local.market import shareholders
from local.market.quarters import AMOUNTS, BALANCE_KEYS, CASH_KEYS, INCOME_KEYS, Quarter, build_quarters
from local.market.regions import rate

if TYPE_CHECKING:
    from local.market.companies import Company

#: Nothing is reported later than this: two months before the market's day.
LAST_REPORT = date(2026, 4, 30)
ANNUAL_PERIODS = 4
QUARTERLY_PERIODS = 5
#: Quarters that are generated: six years, so that the fifth fiscal year and its trailing figures are covered.
QUARTERS = 24


class Point(NamedTuple):
    day: date
    value: float
    currency: str


@dataclass(frozen=True)
class Statements:
    """Key (without prefix) → points, oldest first, for each frequency."""

    annual: dict[str, list[Point]]
    quarterly: dict[str, list[Point]]
    trailing: dict[str, list[Point]]

    def latest(self, key: str) -> float | None:
        """The newest trailing figure, of balance keys the newest quarterly one; annual where there is neither."""
        for series in (self.trailing, self.quarterly if key in BALANCE_KEYS else {}, self.annual):
            if series.get(key):
                return series[key][-1].value
        return None


def month_end(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


def months_before(day: date, months: int) -> date:
    """The month's end so many months before that of `day`."""
    index = day.year * 12 + day.month - 1 - months
    return month_end(index // 12, index % 12 + 1)


def build(company: Company) -> Statements:
    """All series of a company; empty ones for those that have none or are gone."""
    if company.traits & {"no_statements", "gone"}:
        return Statements({}, {}, {})
    rng = random.Random(f"{company.seed}:statements")
    year_end = _last_month_end(company.fiscal_month, 12)
    last = _last_month_end(company.fiscal_month, 6 if "half_yearly" in company.traits else 3)
    ends = [months_before(last, 3 * (QUARTERS - 1 - i)) for i in range(QUARTERS)]
    quarters = build_quarters(company, ends, rng)
    index = {quarter.end: i for i, quarter in enumerate(quarters)}

    def window(end: date, count: int) -> list[Quarter]:
        return quarters[index[end] - count + 1 : index[end] + 1]

    years = [months_before(year_end, 12 * i) for i in reversed(range(ANNUAL_PERIODS))]
    if "missing_year" in company.traits:
        years.pop(rng.choice((1, 2)))
    step = 2 if "half_yearly" in company.traits else 1
    reports = [months_before(last, 3 * step * i) for i in reversed(range(QUARTERLY_PERIODS))]
    # Two trailing points: at the last annual and at the last quarterly release. Where both fall on one day, the year before it too.
    trailing_ends = [year_end, last] if last != year_end else [months_before(year_end, 12), year_end]
    annual = _series([(end, _summed(company, window(end, 4))) for end in years], company)
    quarterly = _series([(end, _summed(company, window(end, step))) for end in reports], company)
    flows = {*INCOME_KEYS, *CASH_KEYS}
    trailing = {
        key: points
        for key, points in _series([(end, _summed(company, window(end, 4))) for end in trailing_ends], company).items()
        if key in flows
    }
    result = Statements(annual, quarterly, trailing)
    _make_awkward(result, company, window(months_before(year_end, 48), 4), rng)
    return result


def _last_month_end(fiscal_month: int, step: int) -> date:
    """The last month's end by LAST_REPORT that lies a multiple of `step` months from the fiscal year's end."""
    day = LAST_REPORT
    while (day.month - fiscal_month) % step:
        day = months_before(day, 1)
    return day


def _summed(company: Company, quarters: list[Quarter]) -> dict[str, float]:
    """The lines of a period: flows added up, balances and share counts of its end."""
    end = quarters[-1]
    lines: dict[str, float] = {}
    for key in AMOUNTS:
        if key in end.lines:
            lines[key] = end.lines[key] if key in BALANCE_KEYS else sum(quarter.lines[key] for quarter in quarters)
    if "NetIncomeCommonStockholders" in lines:
        lines |= shareholders.per_share(company, end.end, end.shares, lines["NetIncomeCommonStockholders"])
    lines["OrdinarySharesNumber"] = shareholders.count_as_reported(company, end.end, end.shares)
    pretax = lines.get("PretaxIncome", 0)
    # The source puts in a round default where a rate makes no sense.
    lines["TaxRateForCalcs"] = round(lines["TaxProvision"] / pretax, 3) if pretax > 0 else 0.21
    return lines


def _series(periods: Iterable[tuple[date, dict[str, float]]], company: Company) -> dict[str, list[Point]]:
    series: dict[str, list[Point]] = {}
    for end, lines in periods:
        for key, value in lines.items():
            series.setdefault(key, []).append(Point(end, value, company.financial_currency))
    return series


def _make_awkward(result: Statements, company: Company, fifth_year: list[Quarter], rng: random.Random) -> None:
    """Apply the traits that take something away from consistent series, or add the odd thing that the site adds."""
    traits = company.traits
    if "no_trailing" in traits:
        result.trailing.clear()
    if "stale_trailing" in traits:
        for key in ("DilutedEPS", "BasicEPS", "DilutedAverageShares"):
            if key in result.trailing:
                result.trailing[key] = [point._replace(day=months_before(point.day, 12)) for point in result.trailing[key][:1]]
    if "missing_point" in traits:
        key = rng.choice(("Inventory", "AccountsReceivable", "InterestExpense", "OperatingIncome", "RetainedEarnings"))
        if len(result.annual.get(key, ())) > 1:
            result.annual[key].pop(rng.randrange(len(result.annual[key])))
    if "sparse_fifth_year" in traits:
        lines = _summed(company, fifth_year)
        for key in rng.sample(("TaxRateForCalcs", "TotalDebt", "OrdinarySharesNumber", "DilutedEPS"), rng.choice((2, 3))):
            if key in lines and key in result.annual:
                result.annual[key].insert(0, Point(fifth_year[-1].end, lines[key], company.financial_currency))
    if "currency_changed" in traits:
        for key, points in result.annual.items():
            if key in ("OrdinarySharesNumber", "DilutedAverageShares"):
                continue  # counts, not amounts
            points[:] = [_in_old_currency(point) if point.day.year <= 2023 else point for point in points]
    if "missing_statement" in traits:
        gone = rng.choice((INCOME_KEYS, BALANCE_KEYS, CASH_KEYS))
        for series in (result.annual, result.quarterly, result.trailing):
            for key in gone & series.keys():
                del series[key]


def _in_old_currency(point: Point) -> Point:
    """The figure as it was reported in dollars, before the company changed its reporting currency."""
    return Point(point.day, round(point.value * rate(point.currency, "USD", point.day)), "USD") if abs(point.value) > 1000 else point
