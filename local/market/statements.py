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
from local.market.quarters import AMOUNTS, BALANCE_KEYS, CASH_KEYS, INCOME_KEYS, Quarter, build_quarters, further_quarters
from local.market.regions import day_of, rate

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
        """The newest trailing figure, of balance keys the newest quarterly one; annual if there is neither."""
        for series in (self.trailing, self.quarterly if key in BALANCE_KEYS else {}, self.annual):
            if series.get(key):
                return series[key][-1].value
        return None


#: What the site forgets to renew beside the other trailing figures.
_STALE = ("DilutedEPS", "BasicEPS", "DilutedAverageShares")


def month_end(year: int, month: int) -> date:
    return date(year, month, calendar.monthrange(year, month)[1])


def months_before(day: date, months: int) -> date:
    """The month's end so many months before that of `day`."""
    index = day.year * 12 + day.month - 1 - months
    return month_end(index // 12, index % 12 + 1)


def build(company: Company, announced: bool = False) -> Statements:
    """All series of a company; empty ones for those that have none or are gone. `announced`: what the statements do not have yet too."""
    if company.traits & {"no_statements", "gone"}:
        return Statements({}, {}, {})
    return _day_0(company) if company.start is None else _later(company, announced)


def report_months(company: Company) -> int:
    """Months from one report to the next."""
    return 6 if "half_yearly" in company.traits else 3


def last_report(company: Company) -> date:
    """End of the newest period that is reported on day 0."""
    return _last_month_end(company.fiscal_month, report_months(company))


def _day_0(company: Company) -> Statements:
    rng = random.Random(f"{company.seed}:statements")
    year_end = _last_month_end(company.fiscal_month, 12)
    last = last_report(company)
    ends = [months_before(last, 3 * (QUARTERS - 1 - i)) for i in range(QUARTERS)]
    quarters = build_quarters(company, ends, rng)
    index = {quarter.end: i for i, quarter in enumerate(quarters)}

    def window(end: date, count: int) -> list[Quarter]:
        return quarters[index[end] - count + 1 : index[end] + 1]

    years = [months_before(year_end, 12 * i) for i in reversed(range(ANNUAL_PERIODS))]
    if "missing_year" in company.traits:
        years.pop(rng.choice((1, 2)))
    step = report_months(company) // 3
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


def _later(company: Company, announced: bool) -> Statements:
    """The series of day 0 with the periods that were reported since, a restatement and a split."""
    origin = company.origin
    ends = company.schedule.ends(company.day, announced)
    restated = 0 < company.schedule.restated <= company.day
    if not ends and not restated and company.schedule.factor(company.day) == 1.0:
        return origin.statements
    annual, quarterly, trailing = (
        {key: list(points) for key, points in series.items()}
        for series in (origin.statements.annual, origin.statements.quarterly, origin.statements.trailing)
    )
    if restated:
        _restate(annual, quarterly, trailing)
    months = report_months(company)
    last = last_report(company)
    quarters = build_quarters(
        origin, [months_before(last, 3 * (QUARTERS - 1 - i)) for i in range(QUARTERS)], random.Random(f"{origin.seed}:statements")
    )
    further = [months_before(last, -3 * i) for i in range(1, len(ends) * months // 3 + 1)]
    quarters += further_quarters(origin, quarters[-1], further)
    index = {quarter.end: i for i, quarter in enumerate(quarters)}
    for end in ends:
        window = quarters[index[end] - 3 : index[end] + 1]
        fiscal_year = (end.month - origin.fiscal_month) % 12 == 0
        _append(quarterly, _summed(origin, quarters[index[end] - months // 3 + 1 : index[end] + 1]), origin, end, QUARTERLY_PERIODS)
        if fiscal_year:
            _append(annual, _summed(origin, window), origin, end, ANNUAL_PERIODS)
        for key, points in trailing.items():
            if "stale_trailing" in origin.traits and key in _STALE:
                continue
            # The last fiscal year's before it, and the newest release's.
            before = points[-1] if (points[-1].day.month - origin.fiscal_month) % 12 == 0 else points[0]
            value = _summed(origin, window).get(key)
            if value is not None:
                points[:] = [before, Point(end, value, origin.financial_currency)]
    for series in (annual, quarterly, trailing):
        _split(series, company)
    return Statements(annual, quarterly, trailing)


def _append(series: dict[str, list[Point]], lines: dict[str, float], company: Company, end: date, most: int) -> None:
    """Add a period to the lines that the company has, and let go of what the site no longer gives."""
    for key, points in series.items():
        if key in lines:
            points.append(Point(end, lines[key], company.financial_currency))
        first = months_before(end, 12 * (most - 1) if most == ANNUAL_PERIODS else report_months(company) * (most - 1))
        points[:] = [point for point in points if point.day >= first]


#: What a restatement changes, by how much. Nothing that a quote shows.
_RESTATED = {"TotalDebt": 1.08, "LongTermDebt": 1.1, "OperatingIncome": 0.95, "RetainedEarnings": 0.97}


def _restate(*frequencies: dict[str, list[Point]]) -> None:
    """Lines of the newest fiscal year, wherever they stand."""
    annual = frequencies[0]
    newest = max((points[-1].day for points in annual.values() if points), default=None)
    for series in frequencies:
        for key, factor in _RESTATED.items():
            series[key] = [
                point._replace(value=round(point.value * factor)) if point.day == newest else point for point in series.get(key, [])
            ]
            if not series[key]:
                del series[key]


def _split(series: dict[str, list[Point]], company: Company) -> None:
    """Counts and figures a share as after the split: of periods that end after it, and of earlier ones if they are restated."""
    happened = company.schedule.split
    if happened is None or company.day < happened.day:
        return
    day, factor = day_of(happened.day), happened.factor
    for key in ("OrdinarySharesNumber", "DilutedAverageShares", "DilutedEPS", "BasicEPS"):
        for i, point in enumerate(series.get(key, ())):
            if happened.restated or point.day >= day:
                value = round(point.value / factor, 2) if key.endswith("EPS") else round(point.value * factor)
                series[key][i] = point._replace(value=value)


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
    # The source puts in a round default if a rate makes no sense.
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
        for key in _STALE:
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
