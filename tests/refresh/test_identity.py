"""A symbol that another company has taken over is told from a company that restates."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from config import Database
from local.market.companies import build_market
from pipeline.ratios.fundamentals import Point, Points, Statements
from pipeline.refresh.identity import is_another_company
from pipeline.storage import database
from tests.refresh.nights import differences, empty_database, listed, night

KEYS = ("TotalRevenue", "NetIncome", "TotalAssets", "TotalDebt")


def years(factor: float = 1.0, month: int = 12, currency: str = "USD", first: int = 2021, odd: float = 1.0) -> Statements:
    """Four fiscal years of four lines; `odd` is what the newest year is multiplied by besides."""
    annual: Points = {
        key: {
            date(year, month, 28): Point((7.0 + row) * 1.1 ** (year * row % 5) * factor * (odd if year == first + 3 else 1), currency)
            for year in range(first, first + 4)
        }
        for row, key in enumerate(KEYS)
    }
    return Statements(annual=annual)


def others() -> Statements:
    annual = {
        key: {day: Point(point.value ** (1.2 + row / 7), "USD") for day, point in by_day.items()}
        for row, (key, by_day) in enumerate(years().annual.items())
    }
    return Statements(annual=annual)


@pytest.mark.parametrize(
    "now",
    [
        years(),
        years(odd=1.4),
        years(factor=0.001),
        years(currency="EUR", factor=0.9),
        years(first=2022),
        years(first=2029),
        years(first=2029, month=6),
        Statements(),
    ],
    ids=["the same", "a restatement", "another unit", "another currency", "a year more", "years later", "years later, redated", "nothing"],
)
def test_a_company_that_reports_or_restates_is_still_the_same(now: Statements) -> None:
    assert not is_another_company(years(), now)


def test_other_figures_or_year_ends_for_the_same_years_mean_another_company() -> None:
    assert is_another_company(years(), others())
    assert is_another_company(years(), years(month=3))


def test_no_row_of_the_symbols_former_company_is_left(postgres: Database, tmp_path: Path) -> None:
    one, other = [company.symbol for company in listed(build_market(60)) if not company.traits][:2]
    with empty_database(postgres) as base, empty_database(postgres) as first:
        night(base, tmp_path, 60, 0, only=(one, other))
        connection = database.connect(base)
        with connection, connection.cursor() as cursor:
            # As if `one` had been the other company until now.
            cursor.execute(
                "UPDATE company_statements s SET payload = o.payload, content_hash = o.content_hash,"
                " evidence = jsonb_set(s.evidence, '{quote,epsTrailingTwelveMonths}', '999')"
                " FROM company_statements o WHERE s.symbol = %s AND o.symbol = %s",
                (one, other),
            )
            cursor.execute(
                "UPDATE financial_ratios SET period_end = '2019-12-31' WHERE symbol = %s AND period_end ="
                " (SELECT min(period_end) FROM financial_ratios WHERE symbol = %s)",
                (one, one),
            )
        found = night(base, tmp_path, 60, 0, only=(one,))
        assert found.why() == {"eps_changed": 1}
        night(first, tmp_path, 60, 0, only=(one,))
        assert differences(base, first) == {}
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM financial_ratios WHERE symbol = %s AND period_end < '2020-01-01'", (one,))
            assert cursor.fetchone() == (0,)
        connection.close()
