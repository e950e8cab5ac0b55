"""Stored exchange rates, on a real PostgreSQL."""

from __future__ import annotations

from datetime import date

import psycopg2
import pytest

from pipeline.storage import database, fx_rates, schema
from pipeline.wire.currencies import DayRate

TODAY = date(2026, 6, 30)


@pytest.fixture
def connection(tables):
    opened = database.connect(tables)
    schema.create_tables(opened)
    yield opened
    opened.close()


def test_the_newest_rate_of_each_pair_is_found_if_it_is_recent_enough(connection):
    fx_rates.store(connection, {"USDJPY": DayRate(date(2026, 6, 22), 140.0), "USDKRW": DayRate(date(2026, 6, 22), 1400.0)})
    fx_rates.store(connection, {"USDJPY": DayRate(date(2026, 6, 23), 149.0)})
    fx_rates.store(connection, {"USDJPY": DayRate(date(2026, 6, 23), 149.2)})
    fx_rates.store(connection, {"USDJPY": DayRate(date(2026, 7, 1), 1.0)})
    assert fx_rates.newest(connection, TODAY, 7) == {"USDJPY": DayRate(date(2026, 6, 23), 149.2)}
    assert fx_rates.newest(connection, TODAY, 6) == {}
    fx_rates.store(connection, {})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_rate_is_never_stored(connection, rate):
    with pytest.raises(psycopg2.IntegrityError):
        fx_rates.store(connection, {"USDJPY": DayRate(TODAY, rate)})
