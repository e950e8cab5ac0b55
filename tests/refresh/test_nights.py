"""A night on the local market: few requests, and the rows of a first run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import config
from config import Database
from local.market.companies import build_market
from pipeline.refresh.recompute import recompute
from pipeline.storage import database
from pipeline.storage.statements_store import every
from tests.refresh.nights import Night, differences, empty_database, night, rows_of

STOCKS = 100


def happened(stocks: int, first: int, last: int) -> dict[str, set[str]]:
    """symbol → what happened to it on the days from `first` to `last`."""
    market, found = build_market(stocks), {}
    for day in range(first, last + 1):
        for event in market.events(day):
            found.setdefault(event.symbol, set()).add(event.event)
    return found


def silent(stocks: int, day: int) -> set[str]:
    return {symbol for symbol, events in happened(stocks, 1, day).items() if events == {"silent_restatement"}}


def versions(base: Database) -> list[tuple[str, int]]:
    connection = database.connect(base)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol, count(*) FROM company_statements GROUP BY symbol ORDER BY symbol")
        return list(cursor.fetchall())


@pytest.fixture(scope="module")
def nights(postgres: Database, tmp_path_factory: pytest.TempPathFactory):
    """Databases after day 0 and day 1, and after a first run on day 1; with what the two nights cost."""
    folder = tmp_path_factory.mktemp("nights")
    with empty_database(postgres) as base, empty_database(postgres) as first:
        day_0 = night(base, folder, STOCKS, 0)
        day_1 = night(base, folder, STOCKS, 1)
        night(first, folder, STOCKS, 1)
        yield base, first, day_0, day_1, folder


def test_a_first_fetch_takes_two_requests_or_three_for_one_stock_in_twenty(nights: tuple[Database, Database, Night, Night, Path]) -> None:
    _, _, day_0, _, _ = nights
    assert set(day_0.why()) == {"first_fetch"}
    # A stock without statements is asked for them once more: one answer is none.
    assert day_0.requests["timeseries"] <= 1.04 * STOCKS
    assert 0 < day_0.requests["quoteSummary"] < 0.2 * STOCKS


def test_a_night_requests_only_changes_and_every_row_equals_that_of_a_first_run(
    nights: tuple[Database, Database, Night, Night, Path],
) -> None:
    base, first, _, day_1, _ = nights
    changed = happened(STOCKS, 1, 1).keys() - silent(STOCKS, 1)
    fetched = {symbol for symbol, result in day_1.results.items() if result.source == "fetched"}
    assert fetched <= changed
    assert fetched >= {symbol for symbol in changed & day_1.results.keys() if "report" in happened(STOCKS, 1, 1)[symbol]}
    assert day_1.requests.total() <= 3.2 * len(changed) + 0.05 * (STOCKS - len(changed)) + 8
    wrong = differences(base, first)
    assert {symbol for symbol, _, _ in wrong} <= silent(STOCKS, 1), wrong


def test_a_new_version_is_stored_only_if_something_changed(nights: tuple[Database, Database, Night, Night, Path]) -> None:
    base, _, _, day_1, _ = nights
    fetched = {symbol for symbol, result in day_1.results.items() if result.source == "fetched"}
    more = {symbol for symbol, count in versions(base) if count > 1}
    assert more
    assert more <= fetched


def test_recompute_writes_only_rows_that_a_changed_formula_affects(nights: tuple[Database, Database, Night, Night, Path]) -> None:
    base, first, *_ = nights
    settings = replace(config.load(demo=False, environ={}), database=base, fixed_day=build_market(STOCKS, 1, 1).today)
    given = rows_of(first)
    # A fiscal year that the site no longer gives stays as it is.
    margins = {key: row["net_margin"] for key, row in rows_of(base).items() if key in given}
    connection = database.connect(base)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE financial_ratios SET net_margin = -9 WHERE net_margin IS NOT NULL")
    done = list(recompute(settings, "a new formula", 2))
    assert sum(one.rows for one in done) == len(margins)
    rows = rows_of(base)
    assert {key: rows[key]["net_margin"] for key in margins} == margins
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM financial_ratios WHERE run_id = 'a new formula'")
        assert cursor.fetchone() == (sum(margin is not None for margin in margins.values()),)
    parts = [[one.symbol for batch in every(connection, part, 2, at_once=7) for one in batch] for part in (0, 1)]
    connection.close()
    assert parts == [sorted(part) for part in parts]
    assert sorted(parts[0] + parts[1]) == [symbol for symbol, _ in versions(base)]


def test_silent_restatements_are_found_after_45_days(nights: tuple[Database, Database, Night, Night, Path], postgres: Database) -> None:
    base, _, _, _, folder = nights
    quietly = sorted(symbol for symbol, events in happened(STOCKS, 1, 45).items() if "silent_restatement" in events)
    assert len(quietly) > 0.2 * STOCKS
    with empty_database(postgres) as first:
        for one in (base, first):
            night(one, folder, STOCKS, 46, only=quietly)
        assert differences(base, first) == {}


def test_missing_quotes_are_requested_by_the_hundred_and_refresh_all_requests_everything(nights, postgres: Database) -> None:
    *_, folder = nights
    with empty_database(postgres) as base:
        night(base, folder, 30, 0, with_quotes=False)
        found = night(base, folder, 30, 0, with_quotes=False)
        every = night(base, folder, 30, 0, refresh_all=True)
    assert set(found.why()) == {"unchanged"}
    assert 0 < found.requests["quote"] <= 30 / 4
    assert found.requests["timeseries"] == 0
    assert set(every.why()) == {"refresh_all"}
    assert min(every.requests[kind] for kind in ("timeseries", "quoteSummary")) >= 28
