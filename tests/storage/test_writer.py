"""The thread that writes, on a real PostgreSQL: what one batch holds, what is written again, what is refused."""

from __future__ import annotations

import queue
from datetime import date

import pytest

from pipeline.errors import PermanentError
from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.storage import database, schema
from pipeline.storage.rows import ListedStock, Profile, Write
from pipeline.storage.run_table import Run
from pipeline.storage.writer import Writer

RUN_ID = "20261124T071326Z-1f3a"


@pytest.fixture
def writer(tables):
    running = Writer(tables)
    yield running
    running.close()


def task(symbol, inputs=None, value=1.5):
    values = {name: value if name == RATIOS[0] else None for name in RATIOS}
    reasons = {name: "missing" for name in RATIOS if values[name] is None}
    row = RatioRow(symbol, "annual", date(2025, 12, 31), "USD", values, reasons, inputs or {})
    profile = Profile(symbol, "A Company", "us", "", "", "", "USD", "USD")
    return Write(countries={"us": "United States"}, profiles=[profile], ratios=[(RUN_ID, row)], runs=[Run(RUN_ID, ("us",))])


@pytest.mark.parametrize("value", [0.1, -1e-300, 5e-324, 1.7976931348623157e308, 123456789.123456789, 3])
def test_figures_read_back_unchanged(writer, query, value):
    writer.write(task("A", value=value))
    assert query(f"SELECT {RATIOS[0]}, {RATIOS[1]} FROM financial_ratios") == [(value, None)]


@pytest.mark.parametrize("text", ['O\'Neill \\ "x" %s %% {}', "株式会社 ☃ 😀", "tab\tline\nend", "</script>"])
def test_texts_in_the_inputs_read_back_unchanged(writer, query, text):
    writer.write(task("A", {"texts": {text: [1.0, None, text]}}))
    assert query("SELECT inputs FROM financial_ratios") == [({"texts": {text: [1.0, None, text]}},)]


@pytest.mark.parametrize("inputs", [{"text": "a\x00b"}, {"text": "\ud800"}, {"figure": float("nan")}, {"figure": float("inf")}])
def test_unstorable_rows_fail_only_their_own_task(writer, query, inputs):
    answers = queue.SimpleQueue()
    for symbol, found in (("A", {}), ("B", inputs), ("C", {})):
        writer.submit(task(symbol, found), lambda error, symbol=symbol: answers.put((symbol, type(error))))
    assert dict(answers.get(timeout=60) for _ in range(3)) == {"A": type(None), "B": PermanentError, "C": type(None)}
    assert query("SELECT symbol FROM financial_ratios ORDER BY 1") == [("A",), ("C",)]


def test_run_and_country_are_not_rewritten_for_each_task(writer, query):
    writer.write(task("A"))
    before = query("SELECT xmin::text FROM pipeline_run UNION ALL SELECT xmin::text FROM country")
    writer.write(task("B"))
    assert query("SELECT xmin::text FROM pipeline_run UNION ALL SELECT xmin::text FROM country") == before


def test_a_run_that_gains_a_region_is_written_again(writer, query):
    writer.write(task("A"))
    writer.write(Write(runs=[Run(RUN_ID, ("fr",), 3e8, 2e9)]))
    assert query("SELECT regions, market_cap_max FROM pipeline_run") == [(["fr", "us"], 2e9)]


def test_emptied_tables_are_filled_again(writer, query):
    writer.write(task("A"))
    query("TRUNCATE country, stock, financial_ratios, pipeline_run")
    writer.write(task("B"))
    assert query("SELECT symbol FROM stock") == [("B",)]
    assert query("SELECT run_id FROM pipeline_run") == [(RUN_ID,)]


def test_a_listing_of_an_unknown_country_is_refused_but_the_next_one_is_not(writer, query):
    with pytest.raises(PermanentError, match="the database refuses the rows"):
        writer.write(Write(listings=[ListedStock("A", "A Company", "xx")]))
    writer.write(task("B"))
    assert query("SELECT symbol FROM stock") == [("B",)]


def test_a_process_that_starts_during_a_transaction_does_not_wait_for_it(tables):
    writing, starting = database.connect(tables), database.connect(tables)
    try:
        with writing.cursor() as cursor, starting.cursor() as other:
            for table in ("country", "stock", "financial_ratios", "pipeline_run"):
                cursor.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
            other.execute("SET lock_timeout = '300ms'")
            starting.commit()
            schema.create_tables(starting)
    finally:
        writing.close()
        starting.close()


@pytest.mark.parametrize(
    "removed",
    ["ALTER TABLE pipeline_run DROP COLUMN tasks", f"ALTER TABLE financial_ratios DROP COLUMN {RATIOS[-1]}", "DROP INDEX stock_country"],
)
def test_missing_columns_and_indexes_are_added(tables, query, removed):
    query(removed)
    connection = database.connect(tables)
    schema.create_tables(connection)
    connection.close()
    assert query("SELECT tasks FROM pipeline_run") == []
    assert query(f"SELECT {RATIOS[-1]} FROM financial_ratios") == []
    assert query("SELECT count(*) FROM pg_indexes WHERE indexname = 'stock_country'") == [(1,)]
