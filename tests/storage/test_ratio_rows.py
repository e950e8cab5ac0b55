"""Which rows stay and which are replaced when new rows are written, on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from pipeline.ratios.fundamentals import CASH_FLOW_KEYS, Statements
from pipeline.ratios.rows import ratio_rows
from pipeline.storage import database
from pipeline.storage.rows import Profile, Write, write
from tests.ratios.companies import (
    BEFORE,
    EARLIER,
    LINES,
    NOW,
    QUARTER,
    TODAY,
    annual,
    changed,
    flows_of,
    plain,
    points,
    trailing,
)

RUN, LATER_RUN = "20261124T071326Z-1f3a", "20261125T071326Z-1f3a"
JUNE = date(2024, 6, 30)


@pytest.fixture
def connection(tables):
    opened = database.connect(tables)
    yield opened
    opened.close()


def company(until=QUARTER, years=None, **changes):
    """A company with trailing figures until that day, if any."""
    fiscal_years = annual(LINES, EARLIER).annual if years is None else points(years)
    statements = trailing({until: LINES} if until else {}, fiscal_years)
    return plain(statements=statements, **{"as_of": date(2024, 7, 20), "quoted_on": date(2024, 7, 19), **changes})


def store(connection, found, run=RUN, sector="Industrials"):
    profile = Profile(found.symbol, "Plain", "us", "NYQ", sector, "", found.currency or "", "USD")
    rows = [(run, row) for row in ratio_rows(found)]
    write(connection, [Write(countries={"us": "United States"}, profiles=[profile], ratios=rows)])


def stored(connection, kind, columns="period_end"):
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM financial_ratios WHERE period_type = %s ORDER BY period_end DESC", [kind])
        return cursor.fetchall()


def test_a_newer_trailing_row_replaces_the_older_one_and_an_older_answer_changes_nothing(connection):
    store(connection, company(QUARTER))
    store(connection, company(JUNE))
    assert stored(connection, "ttm") == [(JUNE,)]
    store(connection, company(QUARTER), LATER_RUN)
    assert stored(connection, "ttm", "period_end, run_id") == [(JUNE, RUN)]
    assert len(stored(connection, "annual")) == 2


def test_a_quote_older_than_the_stored_one_changes_nothing(connection):
    store(connection, company(market_cap=3000.0))
    store(connection, company(market_cap=2700.0, quoted_on=date(2024, 7, 15)), LATER_RUN)
    assert stored(connection, "ttm", "run_id, market_cap") == [(RUN, 3000.0)]
    store(connection, company(market_cap=2800.0), LATER_RUN)
    assert stored(connection, "ttm", "run_id, market_cap") == [(LATER_RUN, 2800.0)]


def test_an_answer_without_trailing_figures_keeps_the_row_until_a_later_fiscal_year(connection):
    store(connection, company(QUARTER))
    store(connection, company(None))
    assert stored(connection, "ttm") == [(QUARTER,)]
    store(connection, company(None, {NOW: EARLIER, JUNE + timedelta(days=184): LINES}, as_of=date(2025, 2, 1)))
    assert stored(connection, "ttm") == []


@pytest.mark.parametrize(("days", "rows"), [(19, 2), (20, 3), (-14, 2)])
def test_a_fiscal_year_with_a_new_date_replaces_its_row(connection, days, rows):
    store(connection, company(None, {BEFORE: EARLIER, NOW: LINES}))
    store(connection, company(None, {BEFORE: EARLIER, NOW + timedelta(days=days): LINES}))
    assert len(stored(connection, "annual")) == rows


def test_an_answer_without_prices_keeps_the_stored_market_values_and_says_so(connection):
    store(connection, company())
    store(connection, company(closes={}, newest_close=None, market_cap=None, price=None, quoted_on=None), LATER_RUN)
    columns = (
        "market_cap, price_to_sales, market_cap_usd, null_reasons->>'market_cap', inputs->'market'->>'close', quality->>'kept', run_id"
    )
    (newest, _), ((cap, sales, *_, kept, run),) = stored(connection, "annual", columns), stored(connection, "ttm", columns)
    assert newest[:5] == (2500, 2.5, 2500, None, "25.0")
    assert RUN in newest[5]
    assert newest[6] == LATER_RUN
    assert (cap, sales, run) == (3000, 3, LATER_RUN)
    assert RUN in kept


def test_a_quote_that_has_become_too_old_is_not_kept(connection):
    store(connection, company())
    store(connection, company(market_cap=None, as_of=TODAY + timedelta(days=90)))
    assert stored(connection, "ttm", "market_cap, null_reasons->>'market_cap'") == [(None, "no_price")]


def test_values_that_are_no_longer_credible_are_not_kept(connection):
    store(connection, company())
    store(connection, company(steps={date(2024, 3, 1): 100.0}))
    assert stored(connection, "annual", "market_cap, null_reasons->>'market_cap'") == [(None, "price_unit")] * 2


def test_an_answer_without_a_statement_keeps_its_figures_but_a_missing_line_is_missing(connection):
    store(connection, company())
    sheetless = {BEFORE: EARLIER, NOW: {**flows_of(LINES), "TotalAssets": 2000}}
    store(connection, company(years=sheetless), LATER_RUN)
    assert stored(connection, "annual", "current_ratio")[0] == (None,), "one line of the balance sheet is there"
    store(connection, company())
    store(connection, replace(company(), statements=Statements(annual=points({NOW: changed(LINES, Inventory=None), BEFORE: EARLIER}))))
    assert stored(connection, "annual", "days_inventory")[0] == (None,)
    kept = changed(LINES, **dict.fromkeys(CASH_FLOW_KEYS))
    store(connection, company())
    store(connection, company(None, {NOW: kept, BEFORE: EARLIER}), LATER_RUN)
    assert stored(connection, "annual", "cash_conversion, free_cash_flow_margin, piotroski_tested")[0] == (1.5, 0.1, 9)


def test_an_answer_without_a_profile_keeps_the_stored_profile(connection):
    store(connection, company())
    store(connection, company(), sector="")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT sector, exchange FROM stock")
        assert cursor.fetchall() == [("Industrials", "NYQ")]
