"""The fiscal periods that a company's statement lines make up. Pure. The rules: docs/ratios.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from math import isfinite

from pipeline.ratios.amounts import UNIT_STEP, odd_amounts, without_odd_parts
from pipeline.ratios.count_checks import believed_counts
from pipeline.ratios.fundamentals import BALANCE_KEYS, CASH_FLOW_KEYS, FLOW_KEYS, Fundamentals, Point, Points, Statements, major

#: Keys whose figures are in no currency, so a currency code of their own means nothing.
_WITHOUT_CURRENCY = frozenset({"OrdinarySharesNumber", "TaxRateForCalcs"})
#: Keys that may carry the quote's currency code beside statements in another: kept, with the code they carry.
_OF_A_SHARE = frozenset({"DilutedEPS"})
_NOT_IN_ONE_CURRENCY = _WITHOUT_CURRENCY | _OF_A_SHARE
#: Keys that show that a period's income statement is there.
_DATING_KEYS = ("TotalRevenue", "NetIncome")
#: Rates and per-share figures of four quarters don't add up to a year's.
_NOT_SUMMED = frozenset({"TaxRateForCalcs", "DilutedEPS"})
DIVIDEND_KEYS = ("CommonStockDividendPaid", "CashDividendsPaid", "PreferredStockDividendPaid")

#: Ends at most this many days apart are of one period.
SAME_PERIOD_DAYS = 7
#: A fiscal year that is dated anew moves by fewer days than this.
REDATED_DAYS = 20
#: A period that ends this many days before another is the one a year earlier.
YEAR_DAYS = (350, 380)
QUARTER_DAYS = (80, 100)
#: New shares for one old share; outside these it is not a split.
SPLIT_FACTORS = (1e-6, 1e6)
#: Four quarters of a fiscal year sum to its figure within this; the source rounds, and restates one and not the other.
SUM_TOLERANCE = 0.02
#: Trailing figures are a year's if they are within this of a fiscal year, or of four quarters, that ends with them.
TRAILING_TO_SUM = (0.8, 1.25)
#: Trailing figures that are the newest quarter's own, within this, are three months'.
SAME_FIGURE = 1e-3
#: One quarter of a fiscal year is this much of it; six months, or a year to date, are more.
QUARTER_SHARE = (0.1, 0.4)


@dataclass(frozen=True)
class Statement:
    """Lines of one period in one currency: key → (asOfDate, value). A line in another currency is left out."""

    end: date
    currency: str
    lines: Mapping[str, tuple[date, float]]
    #: Currency code of the lines that may have one of their own.
    codes: Mapping[str, str] = field(default_factory=dict)
    #: Whether it covers something else than a year, by the end of the fiscal year before: its flows cannot be compared with a year's.
    odd_length: bool = False
    #: 0 if the amounts are in the company's usual unit. Statements with different numbers are in different units.
    unit: int = 0


@dataclass(frozen=True)
class Period:
    """A fiscal year ("annual") or the trailing twelve months ("ttm"), with what it is compared with.

    `balance` is None if there is no balance sheet of that day. The earlier ones are None if no period ends
    350 to 380 days before (three years: 1,050 to 1,140).
    """

    period_type: str
    flows: Statement
    balance: Statement | None
    earlier_flows: Statement | None
    earlier_balance: Statement | None
    three_years_earlier: Statement | None
    #: Whether any date of its year has a line about dividends.
    dividends_seen: bool = False
    #: What was checked of its length: check → what it said.
    checks: Mapping[str, str] = field(default_factory=dict)

    @property
    def end(self) -> date:
        return self.flows.end

    @property
    def currency(self) -> str:
        return self.flows.currency


def usable(fundamentals: Fundamentals) -> Fundamentals:
    """The same without periods that have not ended, share counts that cannot be believed, and impossible splits."""

    def ended(points: Points) -> Points:
        kept = {key: {day: point for day, point in by_day.items() if day <= fundamentals.as_of} for key, by_day in points.items()}
        return {key: by_day for key, by_day in kept.items() if by_day}

    found = fundamentals.statements
    past = Statements(ended(found.annual), ended(found.quarterly), ended(found.trailing))
    low, high = SPLIT_FACTORS
    splits = {day: factor for day, factor in fundamentals.splits.items() if low < factor < high and day <= fundamentals.as_of}
    fundamentals = replace(fundamentals, splits=splits)
    return replace(fundamentals, statements=believed_counts(past, fundamentals))


def periods(fundamentals: Fundamentals) -> list[Period]:
    """Up to four fiscal years, newest first, then the trailing twelve months if they are not older than those.

    Of fundamentals as `usable` gives them.
    """
    years = fiscal_years(fundamentals)
    trailing = _trailing_year(fundamentals, years)
    if trailing and trailing.balance and trailing.balance.currency == trailing.currency:
        newest, *years = without_odd_parts([replace(trailing.flows, lines={**trailing.balance.lines, **trailing.flows.lines}), *years])
        kept = {key: line for key, line in trailing.balance.lines.items() if key in newest.lines}
        trailing = replace(trailing, balance=replace(trailing.balance, lines=kept))
    else:
        years = without_odd_parts(years)
    first = [trailing.flows] if trailing else []
    units = odd_amounts([*first, *years], trailing.balance if trailing else None)
    years = [replace(year, unit=unit) for year, unit in zip(years, units[len(first) :], strict=True)]
    chosen = []
    for number, year in enumerate(years[:4]):
        earlier = _ending_before(years, year.end)
        checks = {"length": "odd" if year.odd_length else "a year" if number + 1 < len(years) else "not shown"}
        three = _ending_before(years, year.end, 3)
        chosen.append(Period("annual", year, year, earlier, earlier, three, _dividends_seen(fundamentals, year.end), checks))
    if trailing and (not years or (years[0].end - trailing.end).days <= SAME_PERIOD_DAYS):
        chosen.append(replace(trailing, flows=replace(trailing.flows, unit=units[0])))
    return chosen


def fiscal_years(fundamentals: Fundamentals) -> list[Statement]:
    """Every fiscal year with TotalAssets and (TotalRevenue or NetIncome), newest first: the fifth year that the site
    can send has two or three keys and is none, but it ends somewhere."""
    annual = fundamentals.statements.annual
    default = _default_currency(fundamentals)
    ends = _ends(annual, tuple(annual))
    years = [_statement(annual, FLOW_KEYS + BALANCE_KEYS, end, default) for end in _ends(annual, _DATING_KEYS)]
    complete = [year for year in years if "TotalAssets" in year.lines and any(key in year.lines for key in _DATING_KEYS)]
    return [replace(year, odd_length=_odd_length(year.end, ends)) for year in _of_one_date(complete)]


def _of_one_date(years: list[Statement]) -> list[Statement]:
    """Without years that stand in the answer twice, since they were dated anew: that date stays which is whole years before the newest."""
    found: list[Statement] = []
    for year in years:
        if found and (found[-1].end - year.end).days < REDATED_DAYS:
            if len(found) > 1:
                found[-1] = min(found[-1], year, key=lambda one: _days_off_whole_years(found[0].end, one.end))
        else:
            found.append(year)
    return found


def _days_off_whole_years(end: date, other: date) -> float:
    days = (end - other).days
    return abs(days - 365.25 * round(days / 365.25))


def _odd_length(end: date, ends: Sequence[date]) -> bool:
    """Whether the fiscal year before ended neither a year before nor a whole number of years."""
    before = [(end - other).days for other in ends if (end - other).days >= REDATED_DAYS]
    if not before:
        return False
    years = max(1, round(min(before) / 365.25))
    return not YEAR_DAYS[0] * years <= min(before) <= YEAR_DAYS[1] * years


def _dividends_seen(fundamentals: Fundamentals, end: date) -> bool:
    first, last = end - timedelta(days=YEAR_DAYS[0]), end + timedelta(days=SAME_PERIOD_DAYS)
    statements = fundamentals.statements
    tables = (statements.annual, statements.quarterly, statements.trailing)
    return any(first < day <= last for table in tables for key in DIVIDEND_KEYS for day in table.get(key, ()))


def _trailing_year(fundamentals: Fundamentals, years: list[Statement]) -> Period | None:
    """The trailing twelve months: of the site's own trailing points, else of four quarters that agree with the fiscal year among them."""
    trailing, quarterly = fundamentals.statements.trailing, fundamentals.statements.quarterly
    default = _default_currency(fundamentals)
    points = [_statement(trailing, FLOW_KEYS, end, default) for end in _ends(trailing, _DATING_KEYS)]
    lengths = [_is_a_year(one, quarterly, default, years) for one in points]
    if lengths and lengths[0] is not False:
        flows = points[0]
        earlier_flows = _ending_before([one for one, length in zip(points, lengths, strict=True) if length is not False], flows.end)
        checks = {"length": "trailing figures of the site"}
    else:
        summed = _four_quarters(quarterly, default, years)
        if summed is None:
            return None
        flows, earlier_flows = summed, None
        checks = {"length": "four quarters that agree with the fiscal year"}
    balances = [_statement(quarterly, BALANCE_KEYS, end, default) for end in _ends(quarterly, BALANCE_KEYS)]
    balance = _of_the_day(balances, flows.end, years)
    if balance and balance.currency != flows.currency:
        # In another currency than the flows, so it cannot be set against them.
        balance = _statement(quarterly, BALANCE_KEYS, balance.end, default, flows.currency)
    earlier = _ending_before(balances, flows.end)
    if (earlier is None or "TotalAssets" not in earlier.lines) and any(_same(year.end, flows.end) for year in years):
        earlier = _ending_before(years, flows.end) or earlier
    return Period("ttm", flows, balance, earlier_flows, earlier, None, _dividends_seen(fundamentals, flows.end), checks)


def _is_a_year(trailing: Statement, quarterly: Points, default: str, years: list[Statement]) -> bool | None:
    """Whether trailing figures are twelve months', by the fiscal year or the quarters that end with them; None if nothing tells."""
    revenue = _revenue(trailing)
    year = next((year for year in years if _same(year.end, trailing.end) and year.currency == trailing.currency), None)
    if revenue is None:
        return None
    if year is not None and not year.odd_length and (whole := _revenue(year)) is not None:
        # Hundreds of times off is another unit (amounts.py), no other length.
        off = revenue / whole
        return None if not 1 / UNIT_STEP < off < UNIT_STEP else _within(off, TRAILING_TO_SUM)
    quarters = [_statement(quarterly, FLOW_KEYS, end, default) for end in _quarters_until(trailing.end, _ends(quarterly, _DATING_KEYS))]
    parts = [_revenue(quarter) for quarter in quarters[:4]]
    if len(parts) == 4 and None not in parts and quarters[0].currency == trailing.currency and _agree(quarters, years):
        return _within(revenue / sum(part or 0.0 for part in parts), TRAILING_TO_SUM)
    newest = parts[0] if _same(quarters[0].end, trailing.end) else None
    return False if newest is not None and abs(newest - revenue) <= SAME_FIGURE * revenue else None


def _revenue(statement: Statement) -> float | None:
    """Revenue above zero."""
    line = statement.lines.get("TotalRevenue")
    return line[1] if line and line[1] > 0 else None


def _within(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= value <= bounds[1]


def _of_the_day(balances: list[Statement], end: date, years: list[Statement]) -> Statement | None:
    """The quarterly balance sheet of that day; on a fiscal year's last day, the annual one if the quarterly one is missing."""
    near = min((one for one in balances if _same(one.end, end)), key=lambda one: abs((one.end - end).days), default=None)
    year = next((year for year in years if _same(year.end, end)), None)
    if near is None or (year is not None and "TotalAssets" not in near.lines):
        return year or near
    return near


def _same(one: date, other: date) -> bool:
    return abs((one - other).days) <= SAME_PERIOD_DAYS


def _default_currency(fundamentals: Fundamentals) -> str:
    """Currency of points that name none."""
    return fundamentals.financial_currency or major(fundamentals.currency)


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
        if end in by_day:
            found[key] = (end, by_day[end])
        elif near := [day for day in by_day if _same(day, end)]:
            day = min(near, key=lambda other: (abs((other - end).days), end > other))
            found[key] = (day, by_day[day])
    if currency is None:
        # The income statement's, else the first line's that has one.
        lines = [key for key in found if key not in _NOT_IN_ONE_CURRENCY]
        dated = [key for key in _DATING_KEYS if key in found] or lines
        currency = (found[dated[0]][1].currency if dated else "") or default
    kept = {
        key: (day, point.value)
        for key, (day, point) in found.items()
        if (point.currency or default) == currency or key in _NOT_IN_ONE_CURRENCY
    }
    codes = {key: found[key][1].currency or default for key in _OF_A_SHARE if key in found}
    return Statement(end, currency, kept, codes)


def _ending_before(statements: list[Statement], end: date, years: int = 1) -> Statement | None:
    """The statement that ends `years` years before `end`, the nearest to 365 days each."""
    low, high = (days * years for days in YEAR_DAYS)
    fitting = [one for one in statements if low <= (end - one.end).days <= high]
    return min(fitting, key=lambda one: abs((end - one.end).days - 365 * years)) if fitting else None


def _four_quarters(quarterly: Points, default: str, years: list[Statement]) -> Statement | None:
    """The sum of the newest four quarters that follow one another, in one currency, if they agree with a fiscal year.

    A stray quarter among them, or after them, is left out.
    """
    ends = _ends(quarterly, _DATING_KEYS)
    for newest in ends:
        if (ends[0] - newest).days > QUARTER_DAYS[1]:
            break
        chain = _quarters_until(newest, ends)
        quarters = [_statement(quarterly, FLOW_KEYS, end, default) for end in chain]
        if len(quarters) >= 4 and _agree(quarters, years):
            return _sum(quarters[:4])
    return None


def _quarters_until(newest: date, ends: Sequence[date]) -> list[date]:
    """Ends from `newest` back, each a quarter before the one before it."""
    chain = [newest]
    while True:
        low, high = QUARTER_DAYS
        before = [end for end in ends if low <= (chain[-1] - end).days <= high]
        if not before:
            return chain
        chain.append(min(before, key=lambda end: abs((chain[-1] - end).days - 91)))


def _agree(quarters: list[Statement], years: list[Statement]) -> bool:
    """Whether they are three months each, by the fiscal year whose end lies among the newest four."""
    among = [(number, year) for number, quarter in enumerate(quarters[:4]) for year in years if _same(quarter.end, year.end)]
    if not among or len({quarter.currency for quarter in quarters[:4]}) > 1:
        return False
    number, year = among[0]
    for key in _DATING_KEYS:
        whole, parts = year.lines.get(key), [quarter.lines.get(key) for quarter in quarters[number : number + 4]]
        if whole is None or year.currency != quarters[0].currency or year.odd_length:
            continue
        values = [part[1] for part in parts if part is not None]
        if len(values) == 4:
            return abs(sum(values) - whole[1]) <= SUM_TOLERANCE * abs(whole[1])
        if parts[0] is not None and whole[1] and key == "TotalRevenue":
            return QUARTER_SHARE[0] <= parts[0][1] / whole[1] <= QUARTER_SHARE[1]
    return False


def _sum(quarters: list[Statement]) -> Statement:
    end = quarters[0].end
    sums = {
        key: (end, sum(quarter.lines[key][1] for quarter in quarters))
        for key in FLOW_KEYS
        if key not in _NOT_SUMMED and all(key in quarter.lines for quarter in quarters)
    }
    return Statement(end, quarters[0].currency, {key: line for key, line in sums.items() if isfinite(line[1])})


def has_cash_flow_statement(statement: Statement) -> bool:
    """Whether the period's cash-flow statement is there: any of its lines but those about dividends."""
    return any(key in statement.lines for key in CASH_FLOW_KEYS if key not in DIVIDEND_KEYS)
