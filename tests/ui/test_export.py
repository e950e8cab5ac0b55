"""export_ratios.py and the page's CSV, against SQL."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Kafka
from pipeline.ratios.formulas import RATIOS
from pipeline.stocks import export
from pipeline.storage import database
from tests.conftest import PROJECT
from tests.ui.conftest import FORMULA, STOCKS, environment

WHERE = "price_to_earnings < 25 and (return_on_equity > 5% or net_margin is null)"
SQL = (
    "SELECT s.symbol FROM stock s JOIN financial_ratios r USING (symbol) WHERE r.period_type = 'ttm' "
    "AND price_to_earnings < 25 AND (return_on_equity > 0.05 OR net_margin IS NULL)"
)
#: The export needs no broker.
NOBODY = Kafka(bootstrap_servers="127.0.0.1:1")


@pytest.fixture(scope="module")
def run(stocks, tmp_path_factory):
    home = tmp_path_factory.mktemp("export")

    def start(*arguments, **environ):
        found = {**os.environ, "PIPELINE_HOME": str(home), **environment(NOBODY, stocks), **environ}
        return subprocess.run(
            [sys.executable, "export_ratios.py", *arguments], cwd=PROJECT, env=found, capture_output=True, timeout=60, check=False
        )

    return start


@pytest.fixture
def query(stocks):
    connection = database.connect(stocks)

    def rows(sql, *values):
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()

    yield rows
    connection.close()


def table(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_the_same_rows_as_sql_with_every_digit(run, query):
    done = run("--format", "csv", "--where", WHERE, "--period", "ttm", "--sort", "price_to_earnings", "--descending")
    assert done.returncode == 0, done.stderr
    found = table(done.stdout.decode())
    assert [row["symbol"] for row in found] == [symbol for (symbol,) in query(SQL + " ORDER BY price_to_earnings DESC, s.symbol")]
    assert found
    for row in found:
        ((*values,),) = query(f"SELECT {', '.join(RATIOS)} FROM financial_ratios WHERE symbol = %s AND period_type = 'ttm'", row["symbol"])
        assert [float(row[name]) if row[name] else None for name in RATIOS] == values


def test_json_lines_say_why_a_value_is_null(run):
    done = run("--format", "jsonl", "--region", "fr")
    rows = {row["symbol"]: row for row in map(json.loads, done.stdout.decode().splitlines())}
    assert set(rows) == {"AAA.PA", "BBB.PA", "CCC.PA", "DDD.PA"}
    assert (rows["AAA.PA"]["period_type"], rows["AAA.PA"]["period_end"]) == ("annual", "2025-12-31")
    assert (rows["BBB.PA"]["period_type"], rows["BBB.PA"]["period_end"]) == ("ttm", "2026-03-31")
    assert rows["DDD.PA"]["period_type"] is None
    assert rows["AAA.PA"]["null_reasons"] == dict.fromkeys(
        (name for name, value in rows["AAA.PA"].items() if value is None and name in RATIOS), "missing:TotalDebt"
    )
    assert rows["CCC.PA"]["name"] == FORMULA


def test_annual_exports_have_one_row_per_fiscal_year(run, query):
    found = table(run("--period", "annual").stdout.decode())
    assert len(found) == query("SELECT count(*) FROM financial_ratios WHERE period_type = 'annual'")[0][0]


def test_names_that_a_spreadsheet_would_run_are_exported_as_text(run):
    found = {row["symbol"]: row for row in table(run("--region", "fr").stdout.decode())}
    assert found["CCC.PA"]["name"] == f"'{FORMULA}"
    # Negative numbers stay numbers.
    assert float(found["BBB.PA"]["net_margin"]) < 0


#: Texts made of the characters of formulas and separators, and any others.
TELLING = st.text(st.sampled_from("=+-@＝;,|\t\r\n \"'aB1"), max_size=12) | st.text(max_size=20)


@given(TELLING)
def test_no_text_cell_starts_like_a_formula_whatever_the_delimiter(text):
    cell = export.cell(text)
    for separator in (";", ",", "|", "\t", "\n"):
        for part in cell.split(separator):
            assert not part.lstrip(' "').startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), (separator, cell)
    assert cell.replace("'", "") == text.replace("'", "")


@pytest.mark.parametrize("name", ["Berkshire-Hathaway", "A - B", "AT&T @ home", "1+1 plc", "Foo, Bar; Baz", "O'Neill", "Ends with ;"])
def test_names_of_companies_are_not_changed(name):
    assert export.cell(name) == name


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_exported_text_cannot_control_a_terminal(stocks, query, tmp_path, form):
    connection = database.connect(stocks)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE stock SET exchange = %s WHERE symbol = 'AAA.PA'", ("X\x1b[2J\x9b31m\u202e\u2028\rY",))
    script = f"{sys.executable} export_ratios.py --format {form} --region fr"
    environ = {**os.environ, "PIPELINE_HOME": str(tmp_path), **environment(NOBODY, stocks)}
    try:
        done = subprocess.run(
            ["script", "-qec", script, "/dev/null"], cwd=PROJECT, env=environ, capture_output=True, timeout=60, check=True
        )
    finally:
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE stock SET exchange = 'X' WHERE symbol = 'AAA.PA'")
        connection.close()
    lines = done.stdout.decode().replace("\r", "").removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines), lines
    assert any("X\ufffd[2J" in line or "X\\u001b[2J" in line for line in lines)


def test_a_bad_condition_is_refused_with_its_position(run):
    done = run("--where", "price_to_earnings < 15 and retrun_on_equity > 1")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().splitlines()[2] == " " * 27 + "^ 'retrun_on_equity' is not a column; did you mean return_on_equity?"


@pytest.mark.parametrize(
    "arguments", [("--sort", "nonsense"), ("--output", "/no/such/folder/file.csv"), ("--format", "xml"), ("--period", "daily")]
)
def test_bad_arguments_end_with_exit_code_2(run, arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_without_a_database_it_ends_with_exit_code_3_and_says_how_to_start_one(run, tmp_path):
    away = run("--format", "csv", DB_PORT="1")
    assert (away.returncode, away.stdout) == (3, b"")
    demo = run("--demo", PIPELINE_HOME=str(tmp_path))
    assert demo.returncode == 3
    assert b"python run_pipeline.py --demo --services" in demo.stderr


def test_tables_of_an_older_version_are_said_by_the_export_and_the_page(run, page, stocks):
    connection = database.connect(stocks)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE quote RENAME COLUMN price TO moved")
        try:
            done = run()
            answers = [page.ask(address) for address in ("/stocks", "/stocks.csv")]
        finally:
            cursor.execute("ALTER TABLE quote RENAME COLUMN moved TO price")
    connection.close()
    assert done.returncode == 3
    assert done.stderr.decode().count("\n") == 1
    assert b"q.price does not exist: run the pipeline once, which brings the tables up to date" in done.stderr
    for answer in answers:
        assert answer.status == 503
        assert "can&#39;t be read" in answer.text


def test_a_file_is_written_but_left_alone_if_nothing_can_be_read(run, tmp_path):
    file = tmp_path / "out.csv"
    assert run("--output", str(file)).returncode == 0
    assert len(table(file.read_text())) == len(STOCKS)
    before = file.read_bytes()
    assert run("--output", str(file), DB_PORT="1").returncode == 3
    assert file.read_bytes() == before


def test_a_reader_that_stops_early_is_not_an_error(run, stocks, tmp_path):
    script = f"{sys.executable} export_ratios.py --period annual | head -1; exit ${{PIPESTATUS[0]}}"
    environ = {**os.environ, "PIPELINE_HOME": str(tmp_path), **environment(NOBODY, stocks)}
    done = subprocess.run(["bash", "-c", script], cwd=PROJECT, env=environ, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"symbol,name,")


def test_the_pages_csv_is_exactly_the_filtered_table(page, query):
    view = "region=us&range=price_to_earnings:5:25&where=return_on_equity+%3E+5%25&sort=-net_margin"
    answer = page.ask(f"/stocks.csv?{view}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"].startswith('attachment; filename="stocks-')
    expected = query(
        "SELECT s.symbol FROM stock s JOIN financial_ratios r USING (symbol) WHERE r.period_type = 'ttm' AND country_code = 'us' "
        "AND price_to_earnings BETWEEN 5 AND 25 AND return_on_equity > 0.05 ORDER BY net_margin DESC NULLS LAST, s.symbol"
    )
    assert expected
    assert [row["symbol"] for row in table(answer.text)] == [symbol for (symbol,) in expected]
    assert page.ask("/stocks.csv?where=nonsense").status == 400


def test_the_export_command_on_the_page_gives_the_same_rows(page, run):
    text = page.ask("/stocks?region=us&sector=Energy&range=price_to_sales:5:25&where=net_margin+%3C+0&sort=-net_margin").text
    command = html.unescape(re.search(r"<pre><code>(.*?)</code>", text)[1])
    words = shlex.split(command)
    assert words[:2] == ["python", "export_ratios.py"]
    shown = re.findall(r'data-symbol="([^"]*)"', text)
    assert shown
    assert [row["symbol"] for row in table(run(*words[2:]).stdout.decode())] == shown
