"""Broken companies: the kinds of faults composed at random over a healthy one. No stored market value is far from the truth, and
what no fault touches is there.

`python -m tests.cases.test_broken_companies 10000` tries so many and prints how many values were a little wrong.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import TaskError
from pipeline.ratios.rows import RatioRow
from tests.cases import direct
from tests.cases.stand_in import BASE, MONTHS, TODAY, UNITS, Case

YEARS = ("2022-12-31", "2023-12-31", "2024-12-31", "2025-12-31")
#: What a fault can touch, and so make NULL: today's and past market values, comparisons of counts, of earnings per share, of flows,
#: dividends, the flows of a year (by its day), everything.
NOW, THEN, COUNTS, EPS, GROWTH, DIVIDENDS, TRAILING, ALL = "now", "then", "counts", "eps", "growth", "dividends", "trailing", "all"
OFF = 1.5


class Company:
    """A case, what is true of it, and what its faults touch."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        shares = random.choice((2e6, 1e8, 3.7e9))
        price = round(random.uniform(2, 400), 2)
        revenue = shares * price * random.uniform(0.2, 3)
        tables = {name: {day: round(revenue * value / 1.15e9) for day, value in BASE[name].items()} for name in MONTHS}
        self.case: Case = {
            "symbol": "BROKEN",
            "shares": shares,
            "price": price,
            "times": {},
            "lines": {},
            "labels": {},
            "quote": {},
            "chart": {"splits": []},
            **tables,
        }
        self.touched: set[str] = set()
        #: Price at the end of each year in units of today's share, and shares as after every split.
        self.prices = dict.fromkeys(YEARS, price)
        self.counts = dict.fromkeys(YEARS, shares)
        #: From the quote's currency to the statement's.
        self.rate = 1.0
        self._walk()

    def _walk(self) -> None:
        """A price that moves from year to year, in steps that are no faults."""
        price = self.case["price"]
        levels: list[list[Any]] = []
        for year in reversed(YEARS):
            day = date.fromisoformat(year) + timedelta(days=40)
            levels.append([day.isoformat(), price])
            price *= self.random.uniform(0.75, 1.3)
            self.prices[year] = price
        levels.append(["2016-12-30", price])
        self.case["chart"]["levels"] = levels

    def in_minor_unit(self, code: str, currency: str) -> None:
        factor = 1 / UNITS[code]
        self.case |= {"currency": code, "financial_currency": currency, "price": self.case["price"] * factor}
        self.case["market_cap"] = self.case["price"] / factor * self.case["shares"]
        self.scale_closes(lambda _: factor)

    def worth(self) -> float:
        """Price × shares, in the quote's currency."""
        price: float = self.case["price"] * UNITS.get(self.case.get("currency", ""), 1)
        return price * float(self.case["shares"])

    def scale_closes(self, factor: Callable[[str], float]) -> None:
        chart = self.case["chart"]
        chart["levels"] = [[when, value * factor(when)] for when, value in chart["levels"]]

    def insert_level(self, day: str) -> None:
        """A level of its own from that day on, at the price of the time."""
        levels = self.case["chart"]["levels"]
        if all(when != day for when, _ in levels):
            levels.append([day, max((level for level in levels if level[0] <= day), key=lambda level: level[0])[1]])


Fault = Callable[[Company], None]


def pence(company: Company) -> None:
    if "currency" not in company.case:
        company.in_minor_unit(*company.random.choice((("GBp", "GBP"), ("ILA", "ILS"), ("KWF", "KWD"), ("ZAC", "ZAR"))))


def other_currency(company: Company) -> None:
    """No fault: a quote in crowns, statements in dollars."""
    if "currency" not in company.case:
        rate = round(company.random.uniform(0.05, 3), 4)
        company.case |= {"currency": "SEK", "fx": {"SEKUSD": {"price": rate}}}
        company.rate = rate


def stale_rate(company: Company) -> None:
    other_currency(company)
    if "fx" in company.case:
        company.case["fx"]["SEKUSD"]["end"] = f"today-{company.random.randint(9, 900)}d"
        company.touched |= {NOW, THEN}


def rate_history_off(company: Company) -> None:
    other_currency(company)
    # Of a series that ends before it is right, nothing tells that it is wrong.
    if "fx" in company.case and "end" not in company.case["fx"]["SEKUSD"]:
        spec, since = company.case["fx"]["SEKUSD"], company.random.choice(("2023-05-02", "2025-06-02", "2026-10-01"))
        spec["levels"] = [["2016-12-30", spec["price"] * company.random.choice((0.01, 100, 1000))], [since, spec["price"]]]
        company.touched |= {NOW, THEN}


def closes_in_another_unit_for_a_while(company: Company) -> None:
    since = date(2022, 1, 3) + timedelta(days=company.random.randint(0, 1700))
    until = since + timedelta(days=company.random.choice((1, 5, 40, 400, 3000)))
    days = (since.isoformat(), until.isoformat())
    if until < TODAY:
        company.insert_level(days[1])
    company.insert_level(days[0])
    factor = company.random.choice((0.01, 100, 0.001, 1000))
    company.scale_closes(lambda when: factor if days[0] <= when < days[1] else 1.0)
    company.touched |= {THEN, NOW}


def chart_in_its_own_unit(company: Company) -> None:
    """No fault: the chart says so itself."""
    if company.case.get("currency") == "GBp":
        company.case["chart"]["currency"] = "GBP"
        company.case["chart"]["price"] = company.case["price"] / 100
        company.scale_closes(lambda _: 0.01)


def split(company: Company) -> None:
    """Counts restated or not, closes restated, not at all, or twice."""
    new, old = company.random.choice(((2, 1), (3, 2), (10, 1), (1, 10), (1, 20), (4, 1), (21, 20), (11, 10)))
    day = company.random.choice(("2023-06-12", "2024-03-11", "2025-08-11", "2026-05-11", "2026-10-19", "today-40d", "today-4d"))
    chart = company.case["chart"]
    if chart["splits"]:
        return
    chart["splits"].append([day, new, old])
    factor = new / old
    when = (TODAY - timedelta(days=int(day[6:-1]))).isoformat() if day.startswith("today") else day
    counts, closes = company.random.choice(("restated", "reported", "some")), company.random.choice(("right", "right", "missed", "twice"))
    for table in ("annual", "quarterly"):
        before = [one for one in company.case[table] if one < when]
        chosen = before if counts == "reported" else [one for one in before if company.random.random() < 0.4] if counts == "some" else []
        points = company.case["lines"].setdefault(f"{table}.OrdinarySharesNumber", {})
        for one in chosen:
            points[one] = company.counts.get(one, company.case["shares"]) / factor
    if closes != "right":
        company.insert_level(when)
        company.scale_closes(lambda at: 1.0 if at >= when else factor if closes == "missed" else 1 / factor)
    company.touched |= {THEN, COUNTS, EPS, NOW}


def dilution(company: Company) -> None:
    """No fault: the count grows, in fact."""
    if company.case["chart"]["splits"] or company.case["lines"]:
        return
    count = company.case["shares"]
    points = company.case["lines"].setdefault("annual.OrdinarySharesNumber", {})
    for year in reversed(YEARS[:-1]):
        count /= company.random.uniform(0.9, 1.4)
        points[year] = company.counts[year] = round(count)
    company.touched |= {COUNTS, EPS}


def spin_off(company: Company) -> None:
    chart = company.case["chart"]
    if not chart["splits"]:
        chart["splits"].append(["2025-04-02", 1281, 1000])
        for year in YEARS[:-1]:
            company.prices[year] *= 1.281
        company.touched |= {THEN, COUNTS, EPS}


def market_cap_off(company: Company) -> None:
    company.case["market_cap"] = company.worth() * company.random.choice((0.001, 0.01, 0.2, 0.5, 2, 20, 83, 100, 850))
    company.touched |= {NOW, THEN}


def market_cap_gone(company: Company) -> None:
    company.case["quote"]["*.marketCap"] = company.random.choice((None, {}, "Infinity", 0))
    company.touched |= {NOW}


def price_gone(company: Company) -> None:
    nothing = company.random.choice((0, {}, "NaN"))
    company.case["quote"] |= {"price.regularMarketPrice": nothing, "financialData.currentPrice": nothing}


def one_listing(company: Company) -> None:
    company.case["shares_outstanding"] = company.case["shares"] * company.random.choice((0.01, 0.012, 0.3, 3))
    # Without a market cap, a price or a split that is decided it is all there is.
    company.touched |= {THEN, NOW} if company.touched or company.case["quote"] else set()


def depositary_receipts(company: Company) -> None:
    """The quote is of units of several ordinary shares; earnings are given for either."""
    case = company.case
    # A market cap that is wrong by just the ratio agrees with price × ordinary shares: nothing could tell.
    if case["chart"]["splits"] or case["lines"] or case["times"] or NOW in company.touched:
        return
    ratio, units = company.random.choice((2, 4, 10, 0.1)), case["shares"]
    company.case |= {"market_cap": company.worth(), "shares": units * ratio, "shares_outstanding": units}
    if company.random.random() < 0.5:
        company.case["times"]["*.DilutedEPS"] = ratio
    company.touched |= {NOW, THEN}


def no_trade_for_long(company: Company) -> None:
    company.case["quoted"] = f"today-{company.random.randint(12, 900)}d"
    company.touched |= {NOW, THEN}


def filler_count(company: Company) -> None:
    points = company.case["lines"].setdefault("annual.OrdinarySharesNumber", {})
    points[company.random.choice(YEARS)] = company.random.choice((1, 100, 1000))
    company.touched |= {THEN, COUNTS, NOW}


def year_in_thousands(company: Company) -> None:
    company.case["times"]["annual.*"] = {company.random.choice(YEARS): company.random.choice((1e-3, 1e-6))}
    company.touched |= {GROWTH, "unit", EPS, NOW}


def future_year(company: Company) -> None:
    company.case["annual"]["today+120d"] = company.case["annual"][YEARS[-1]]


def half_year(company: Company) -> None:
    company.case["annual"]["2024-06-30"] = [round(company.case["annual"]["2024-12-31"] * 0.48), 6]
    company.touched |= {GROWTH, EPS, COUNTS, "length", THEN}


def quarters_of_six_months(company: Company) -> None:
    company.case["trailing"] = {}
    quarterly = company.case["quarterly"]
    half_years, so_far = {"2026-06-30": 6, "2025-12-31": 6}, {"2025-09-30": 9, "2025-12-31": 12, "2026-06-30": 6, "2026-09-30": 9}
    for when, months in company.random.choice((half_years, so_far)).items():
        quarterly[when] = [round(quarterly[when] * months / 3), months]
    company.touched |= {TRAILING, DIVIDENDS, GROWTH}


def dividends_in_places(company: Company) -> None:
    company.case["lines"]["*.CommonStockDividendPaid"] = None
    for table in ("annual", "quarterly", "trailing"):
        company.case["lines"][f"{table}.CashDividendsPaid"] = {day: None for day in company.case[table] if company.random.random() < 0.5}
    company.touched |= {DIVIDENDS}


def earnings_in_another_code(company: Company) -> None:
    company.case["labels"]["*.DilutedEPS"] = "EUR"
    company.touched |= {NOW}


FAULTS: tuple[Fault, ...] = (
    pence,
    other_currency,
    stale_rate,
    rate_history_off,
    closes_in_another_unit_for_a_while,
    chart_in_its_own_unit,
    split,
    dilution,
    spin_off,
    market_cap_off,
    market_cap_gone,
    price_gone,
    one_listing,
    depositary_receipts,
    no_trade_for_long,
    filler_count,
    year_in_thousands,
    future_year,
    half_year,
    quarters_of_six_months,
    dividends_in_places,
    earnings_in_another_code,
)


def broken(seed: int, faults: list[Fault]) -> Company:
    company = Company(random.Random(seed))
    for fault in sorted(faults, key=FAULTS.index):
        fault(company)
    return company


def rows_of(company: Company) -> list[RatioRow]:
    """By the real code, from the site's answers on."""
    try:
        return direct.rows_of(company.case)
    except TaskError as error:
        raise AssertionError(f"no rows: {error}") from error


def held_against_the_truth(company: Company, rows: list[RatioRow]) -> list[float]:
    """How many times off the truth each stored market value is, at least 1."""
    off = []
    for row in rows:
        stored = row.values["market_cap"]
        if stored is None:
            continue
        units = company.case.get("shares_outstanding", 0) if company.case["shares"] != company.counts[YEARS[-1]] else company.case["shares"]
        price = company.case["price"] * UNITS.get(company.case.get("currency", ""), 1)
        year = row.period_end.isoformat()
        if row.period_type == "ttm":
            truth = price * units * company.rate
        elif year in company.prices:
            truth = company.prices[year] * company.counts[year] * company.rate
        else:
            continue  # the half year between two
        off.append(max(stored / truth, truth / stored))
        usd = row.values["market_cap_usd"]
        if row.currency == "USD":
            assert usd == stored
    return off


def check_what_is_untouched(company: Company, rows: list[RatioRow]) -> None:
    touched = company.touched
    annual = [row for row in rows if row.period_type == "annual"]
    assert len(annual) == 4
    if "length" not in touched:
        assert all(row.values["net_margin"] is not None and row.values["current_ratio"] is not None for row in annual)
    if THEN not in touched:
        assert [row.null_reasons.get("market_cap") for row in annual] == [None] * 4
    newest = annual[0]
    columns = {COUNTS: "share_count_change", EPS: "diluted_eps_growth", GROWTH: "revenue_growth", DIVIDENDS: "payout_ratio"}
    for token, name in columns.items():
        if token not in touched:
            assert newest.values[name] is not None, (name, newest.null_reasons[name])
    if TRAILING not in touched:
        trailing = rows[-1]
        assert trailing.period_type == "ttm"
        assert trailing.values["net_margin"] is not None
        assert NOW in touched or trailing.values["market_cap"] is not None, trailing.null_reasons.get("market_cap")


@settings(max_examples=500, deadline=None)
@example(71, [other_currency, market_cap_gone, split, one_listing])
@given(st.integers(0, 2**32), st.lists(st.sampled_from(FAULTS), max_size=4, unique=True))
def test_market_values_are_close_to_the_truth_and_untouched_figures_are_present(seed: int, faults: list[Fault]) -> None:
    company = broken(seed, faults)
    rows = rows_of(company)
    assert max(held_against_the_truth(company, rows), default=1) <= OFF
    check_what_is_untouched(company, rows)


def main(count: int) -> None:
    tally: Counter[str] = Counter()
    for seed in range(count):
        chooser = random.Random(seed)
        faults = chooser.sample(FAULTS, chooser.randint(0, 4))
        company = broken(seed, faults)
        rows = rows_of(company)
        off = held_against_the_truth(company, rows)
        for times in off:
            tally["right" if times < 1.05 else "off by 5 to 50 %" if times <= OFF else "far off"] += 1
        try:
            check_what_is_untouched(company, rows)
        except AssertionError as error:
            tally["lost"] += 1
            print(seed, [fault.__name__ for fault in faults], "lost", str(error)[:300])
        if max(off, default=1) > (OFF if count > 2000 else 1.05):
            print(seed, [fault.__name__ for fault in faults], off)
    print(dict(tally))


if __name__ == "__main__":
    main(int(sys.argv[1]))
