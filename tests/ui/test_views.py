"""The page without a browser: what it refuses, escapes and finds."""

from __future__ import annotations

import contextlib
import html
import json
import re
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from pipeline.broker import clients, positions
from pipeline.ratios.figure import Figure
from pipeline.ratios.figures import NAMES, Figures
from pipeline.ratios.formulas import _SPECIAL, FORMULAS, RATIOS
from pipeline.ratios.fundamentals import KEYS
from pipeline.stocks import catalog, query
from pipeline.storage import database
from pipeline.wire import messages, topics
from tests.broker.batches import put, with_header_name
from tests.conftest import PROJECT, until
from tests.ui.conftest import FORMULA, LATEST, MARKUP, STOCKS, Producer, environment, page_process
from ui import forms, show

VIEWS = (
    "/",
    "/kafka",
    "/kafka/topics/stock-processing-tasks",
    "/dead-letters",
    "/stocks",
    "/stocks/M001",
    "/scatter",
    "/distribution",
    "/stocks.csv",
    "/nothing",
)


@pytest.mark.parametrize("view", VIEWS)
def test_every_answer_has_the_security_headers(page, view):
    headers = page.ask(view).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


@pytest.mark.parametrize("view", VIEWS)
def test_pages_name_no_other_host_and_have_no_inline_script(page, view):
    text = page.ask(view).text
    if not text.lstrip().startswith("<!doctype html>"):
        return
    assert not re.findall(r"""(?:src|href|action)=["'](?:https?:)?//""", text)
    assert not re.findall(r"<script(?![^>]*(?:src=|type=\"application/json\"))", text)
    assert not re.findall(r"<[^>]* on\w+=", text)
    # Links are relative, so that the page also works below a path.
    assert not re.findall(r"""(?:src|href|action)=["']/""", text)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "localhost", "localhost:1", "localhost.evil.example:{port}", "127.0.0.1.nip.io:{port}", ""],
)
def test_a_request_for_another_host_is_refused(page, host):
    answer = page.ask("/stocks", Host=host.format(port=page.port))
    assert answer.status == 403
    assert "Made-up" not in answer.text


def test_requests_for_its_own_names_are_accepted(page):
    for host in ("localhost", "LOCALHOST", "127.0.0.1"):
        assert page.ask("/", Host=f"{host}:{page.port}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://localhost:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
        {"Origin": "http://localhost:{port}", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://localhost:{port}", "Host": "evil.example"},
    ],
)
def test_a_change_from_another_site_is_refused(page, headers):
    sent = {name: value.format(port=page.port) for name, value in headers.items()}
    assert page.ask("/dead-letters/replay", "POST", "stage=processing", **sent).status == 403


def test_a_link_cannot_change_anything(page):
    assert page.ask("/dead-letters/replay").status == 405


def test_it_listens_on_this_machine_only(page):
    with socket.socket() as client:
        client.settimeout(1)
        address = next(
            (info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET) if not info[4][0].startswith("127.")),
            None,
        )
        if address is None:
            pytest.skip("this machine has no address but loopback")
        assert client.connect_ex((address, page.port)) != 0


def test_names_are_escaped(page):
    for view in ("/stocks?region=fr", "/stocks/BBB.PA", "/scatter?region=fr", "/stocks?q=" + quote(MARKUP)):
        text = page.ask(view).text
        assert "<img src=x" not in text
        assert "<b>Söhne" not in text
    assert html.escape(MARKUP, quote=False).split(" onerror")[0] in page.ask("/stocks?region=fr").text


@pytest.mark.parametrize("symbol", ["../../x", "A/B?c#d%"])
def test_odd_symbols_have_their_own_pages(page, symbol):
    answer = page.ask("/stocks/" + quote(symbol, safe=""))
    assert answer.status == 200
    assert STOCKS[symbol][0] in answer.text
    assert f'href="stocks/{quote(symbol, safe="")}"' in page.ask("/stocks?region=us&q=" + quote(symbol)).text
    # From there every link still leads to the root, whatever the address looks like.
    assert 'href="../static/page.css"' in answer.text


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/stocks/NONE", 404),
        ("/stocks/%00", 404),
        ("/stocks/%ED%A0%80", 404),
        ("/stocks?where=price", 400),
        ("/stocks?sort=password", 400),
        ("/stocks?sort=price_to_earnings;drop", 400),
        ("/stocks?range=nothing:1:2", 400),
        ("/stocks?range=price_to_earnings:a:b", 400),
        ("/stocks?range=price_to_earnings:nan:", 400),
        ("/stocks?page=0", 400),
        ("/stocks?page=99", 200),
        ("/stocks?period=daily", 400),
        ("/stocks?q=%25_%5C'%22%00", 200),
        ("/stocks?region=%00&sector=';--", 400),
        ("/stocks?column=nothing", 400),
        ("/scatter?x=nothing", 400),
        ("/scatter?x=price_to_earnings&y=price_to_earnings", 200),
        ("/distribution?by=password", 400),
        ("/distribution?ratio=nothing", 400),
        ("/kafka/topics/other", 404),
        ("/kafka/topics/stock-processing-tasks?partition=x", 400),
        ("/kafka/topics/stock-processing-tasks?partition=99", 400),
        ("/kafka/topics/stock-processing-tasks?partition=0&offset=999999", 200),
        ("/kafka/topics/stock-processing-tasks?before=0:a", 400),
        ("/?run=nothing", 400),
        ("/events?run=nothing", 400),
        ("/static/../kafka_ui.py", 404),
        ("/static/%2e%2e/app.py", 404),
    ],
)
def test_odd_addresses_are_answered_without_a_500(page, address, status):
    assert page.ask(address).status == status


def test_the_form_gives_a_clean_address(page):
    sent = "q=&region=fr&ratio=price_to_earnings&min=&max=15&ratio=return_on_equity&min=15%25&max=&ratio=&min=&max=&where=&period=latest"
    sent += "".join(f"&column={name}" for name in forms.DEFAULT_TICKED)
    answer = page.ask(f"/stocks?{sent}")
    assert answer.status == 303
    assert answer.headers["location"] == "stocks?region=fr&period=latest&range=price_to_earnings%3A%3A15&range=return_on_equity%3A0.15%3A"


@pytest.mark.parametrize(
    ("address", "sql"),
    [
        ("region=fr&sort=price_to_earnings", "country_code = 'fr' ORDER BY price_to_earnings NULLS LAST, symbol"),
        (
            "region=us&sector=Energy&sort=-return_on_equity",
            "country_code = 'us' AND sector = 'Energy' ORDER BY return_on_equity DESC NULLS LAST, symbol",
        ),
        ("range=price_to_book:2.5:5&sort=-price_to_book", "price_to_book BETWEEN 2.5 AND 5 ORDER BY price_to_book DESC, symbol"),
        ("q=made-UP+7", "name ILIKE '%made-up 7%' ORDER BY symbol"),
        ("q=%25", "name LIKE '%\\%%' OR symbol LIKE '%\\%%' ORDER BY symbol"),
        ("where=price_to_earnings+is+null&sort=-name", "price_to_earnings IS NULL ORDER BY name DESC, symbol"),
        ("page=3", "true ORDER BY symbol OFFSET 100"),
    ],
)
def test_the_table_has_the_same_rows_as_sql(page, stocks, address, sql):
    connection = database.connect(stocks)
    with connection, connection.cursor() as cursor:
        cursor.execute(LATEST + f"SELECT symbol FROM stock LEFT JOIN latest USING (symbol) WHERE {sql}")
        expected = [symbol for (symbol,) in cursor.fetchall()]
    connection.close()
    assert expected
    text = page.ask(f"/stocks?{address}").text
    assert [html.unescape(symbol) for symbol in re.findall(r'data-symbol="([^"]*)"', text)] == expected[:50]


def test_messages_are_found_by_key_partition_and_offset(page):
    run_id = messages.new_run_id()
    with Producer(page.kafka, run_id) as producer:
        tasks = producer.processing([f"FIND{number}" for number in range(150)], "us")
        producer.send(topics.PROCESSING_TASKS, "FIND7", b"\xff\x00 <script>alert(1)</script>", {"note": "<b>bold</b>"})
    address = f"/kafka/topics/{topics.PROCESSING_TASKS}"
    found = page.ask(f"{address}?key=FIND7").text
    assert found.count(html.escape(tasks[7].task_id)) == 2  # once as a preview, once laid out
    assert "&lt;script&gt;alert(1)" in found
    assert "<script>alert" not in found
    assert "&lt;b&gt;bold" in found
    place = re.search(r"partition=(\d+)&amp;offset=(\d+)", found)
    one = page.ask(f"{address}?partition={place[1]}&offset={place[2]}").text
    assert re.findall(r'class="number">(\d+)</td>', one)[0] == place[1]
    assert re.search(r"offset=(\d+)", one)[1] == place[2]
    assert "No message with this key" in page.ask(f"{address}?key=FIND").text


def test_paging_through_a_topic_shows_every_message_once(page):
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.processing([f"PAGE{number}" for number in range(130)], "us")
    address, seen = f"/kafka/topics/{topics.PROCESSING_TASKS}", []
    total = int(re.search(r"([\d,]+) messages", page.ask(address).text)[1].replace(",", ""))
    next_page = address
    while next_page:
        text = page.ask(next_page).text
        seen += re.findall(r"\?partition=(\d+)&amp;offset=(\d+)\"", text)
        link = re.search(r'rel="next" href="\.\./\.\./([^"]*)"', text)
        next_page = "/" + html.unescape(link[1]) if link else ""
    assert len(seen) == len(set(seen)) == total


def test_topics_and_groups_are_listed_with_their_counts(page):
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.send(topics.SCRAPING_ERRORS, "x", b"{}")
        before = page.ask("/kafka").text
    assert all(f">{name}</a>" in before for name in topics.ALL)
    assert re.search(r"scraping-errors</a></th>\s*<td class=\"number\">3</td><td class=\"number\">[1-9]", before)
    assert "stock-scrapers" in before
    assert "stock-processors" in before


def test_a_group_is_shown_with_its_members_and_lag(page):
    group = topics.PROCESSING.group
    with Producer(page.kafka, messages.new_run_id()) as producer:
        producer.processing([f"LAG{number}" for number in range(20)], "us")
    consumer = clients.group_consumer(page.kafka, group, 7)
    try:
        consumer.subscribe([topics.PROCESSING_TASKS])
        taken = until(lambda: consumer.poll(200), 40, "the first records")
        consumer.commit({where: positions.position(records[-1].offset + 1) for where, records in taken.items()})
        done = sum(records[-1].offset + 1 for records in taken.values())
        ends = positions.high_watermarks(page.kafka, [topics.PROCESSING_TASKS, topics.PROCESSING_RETRIES])

        def shown():
            cells = r"</th>\s*<td>(\w*)</td>\s*<td class=\"number\">(\d+)</td>\s*<td class=\"number\">([\d,]+)</td>"
            found = re.search(group + cells, page.ask("/kafka").text)
            return found and found.groups()

        until(lambda: shown() == ("Stable", "1", f"{sum(ends.values()) - done:,}"), 20, "the group")
    finally:
        consumer.close()


def test_a_taken_port_is_reported_and_the_next_one_used(page, stocks, tmp_path):
    environ = environment(page.kafka, stocks)
    with page_process(tmp_path, environ, "--port", str(page.port)) as other:
        assert other.port > page.port
        assert other.ask("/").status == 200
        said = other.errors.read_text()
        assert f"port {page.port} is taken by another page of this pipeline (http://localhost:{page.port}), so this page uses" in said


def test_a_port_of_another_program_is_not_called_a_page(page, stocks, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with page_process(tmp_path, environment(page.kafka, stocks), "--port", str(port)) as other:
            assert f"port {port} is taken, so this page uses port {other.port}" in other.errors.read_text()


def test_a_bad_setting_ends_it_with_exit_code_2(tmp_path):
    environ = {"PIPELINE_HOME": str(tmp_path), "KAFKA_BOOTSTRAP_SERVERS": "nonsense", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "kafka_ui.py"], cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr


def test_it_ends_at_once_even_with_an_open_live_view(page, stocks, tmp_path):
    with page_process(tmp_path, environment(page.kafka, stocks)) as other, socket.create_connection(("127.0.0.1", other.port)) as client:
        client.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{other.port}\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(60) == 0


class Watching(Figures):
    """Figures that are all 1, and that note the name of each line that a formula reads."""

    lines = dict.fromkeys(KEYS, (None, 1.0))

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.period = SimpleNamespace(dividends_seen=False, flows=SimpleNamespace(odd_length=False, lines={"OperatingCashFlow": 1.0}))

    def __getitem__(self, wanted):
        if wanted == "market_value":
            wanted = "market_cap"
        if wanted in FORMULAS and wanted != "market_cap":
            return FORMULAS[wanted](self)
        if wanted in _SPECIAL:
            return _SPECIAL[wanted](self)
        return self.line(wanted)

    def line(self, wanted):
        self.seen.add(wanted)
        return Figure(1.0)

    def value(self, wanted):
        return self.line(wanted).value

    def pair(self, wanted):
        return self.line(wanted), Figure(1.0)

    def avg(self, wanted):
        return self.line(wanted)

    def compare_three_years(self, wanted):
        return self.pair(wanted)

    def shares(self):
        return self.pair("OrdinarySharesNumber")

    def per_share(self, wanted):
        return self.pair(wanted)


#: Lines that a description names and a formula reads in some cases only.
IN_SOME_CASES = {
    "CapitalExpenditure",
    "OperatingCashFlow",
    "TaxRateForCalcs",
    "CashDividendsPaid",
    "PreferredStockDividendPaid",
    "TotalDebt",
}


def test_every_ratio_is_described():
    assert set(catalog.CATALOG) == set(RATIOS)


@pytest.mark.parametrize("name", [name for name in FORMULAS if not name.startswith("market_cap")])
def test_the_described_inputs_are_those_that_the_formula_reads(name):
    figures = Watching()
    FORMULAS[name](figures)
    used = catalog.uses(name)
    read = {key for one in figures.seen for key in (re.findall(r"[A-Za-z]{3,}", " ".join(NAMES[one])) if one in NAMES else [one])}
    assert used.market == ("market_cap" in read)
    assert read - {"market_cap"} <= set(used.keys)
    assert set(used.keys) - read <= IN_SOME_CASES


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("market_cap", 1_234_567_890.0, "1.23B EUR"),
        ("market_cap", 999_999_999.0, "1.00B EUR"),
        ("market_cap", -1_200_000.0, "−1.20M EUR"),
        ("market_cap", 0.0, "0 EUR"),
        ("market_cap", 512.0, "512 EUR"),
        ("market_cap_usd", 1_999_400_391.33, "1,999M"),
        ("market_cap_usd", 9_990_000.0, "9.99M"),
        ("return_on_equity", 0.1234, "12.3 %"),
        ("return_on_equity", -0.0001, "0.0 %"),
        ("return_on_equity", 12.3456, "1,235 %"),
        ("price_to_earnings", 12.3456, "12.35×"),
        ("days_sales", 44.6, "45 d"),
        ("piotroski_f", 7.0, "7"),
        ("altman_z", 2.345, "2.35"),
        ("altman_z", None, "—"),
    ],
)
def test_figures_are_shown_with_their_units(name, value, text):
    assert show.figure(name, value, "EUR") == text


def test_addresses_read_back_as_the_same_view():
    pairs = [
        ("q", "a b"),
        ("region", "fr"),
        ("range", "price_to_earnings:0.5:15"),
        ("where", "net_margin > 0"),
        ("period", "ttm"),
        ("sort", "-name"),
        ("page", "3"),
    ]
    view = forms.read(pairs)
    assert forms.read(view.pairs()) == view
    assert dict(view.problems) == {}


def test_a_name_that_looks_like_a_formula_is_shown_unchanged(page):
    assert FORMULA.replace('"', "&#34;") in page.ask("/stocks?region=fr").text


def test_a_stocks_page_says_what_was_checked(page):
    text = page.ask("/stocks/M001").text
    table = text.split('data-testid="checks"')[1].split("</table>")[0]
    assert "taken as quoted: there is nothing to compare it with" in table
    assert "a year, by the fiscal year before it" in table
    assert "Age of the quote" not in table, "what was not checked has no line"
    assert "<div><dt>quality" not in text


def test_companies_are_sorted_by_size_in_dollars():
    sql, _ = query.select(query.Screen(sort="market_cap", descending=True), ("symbol", "market_cap"))
    assert "THEN r.market_cap END) AS market_cap" in sql
    assert "THEN r.market_cap_usd END) DESC" in sql


@contextlib.contextmanager
def changed(settings, *statements):
    """Statements before the test, each with the one that undoes it."""
    connection = database.connect(settings)
    try:
        with connection, connection.cursor() as cursor:
            for statement, _ in statements:
                cursor.execute(statement)
        yield
    finally:
        with connection, connection.cursor() as cursor:
            for _, undo in reversed(statements):
                cursor.execute(undo)
        connection.close()


def data_of(text):
    """The charts' data, as strict JSON."""
    found = text.split('id="drawing">')[1].split("</script>")[0]
    return json.loads(found, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_figures_that_are_no_numbers_are_left_out_everywhere(page, stocks):
    columns = "return_on_equity = %s, price_to_book = %s, net_margin = %s, market_cap_usd = %s"
    row = "UPDATE financial_ratios SET {} WHERE symbol = 'M00{}'"
    odd = [columns.replace("%s", value) for value in ("'NaN'", "'Infinity'", "'-Infinity'")]
    before = columns.replace("%s", "1")
    with changed(stocks, *((row.format(one, number), row.format(before, number)) for number, one in enumerate(odd, 1))):
        for number in (1, 2, 3):
            answer = page.ask(f"/stocks/M00{number}")
            assert answer.status == 200
            assert data_of(answer.text)["ratios"]["return_on_equity"] == [None] * 3
        drawn = data_of(page.ask("/scatter?x=return_on_equity&y=price_to_book&region=us").text)
        assert not {"M001", "M002", "M003"} & {point[0] for point in drawn["points"]}
        for group in data_of(page.ask("/distribution?ratio=net_margin&by=region").text)["groups"]:
            assert all(abs(figure) < 100 for figure in group[3:4] + group[4] + group[5:6])
        for where in ("return_on_equity > 5%", "return_on_equity < 5%", "market_cap_usd > 0"):
            rows = page.ask(f"/stocks.csv?where={quote(where)}&q=M00").text
            assert not {"M001", "M002", "M003"} & {line.split(",")[0] for line in rows.splitlines()}
        csv_text = page.ask("/stocks.csv?q=M00").text
        assert not re.search(r"\b(nan|inf)\b", csv_text, re.IGNORECASE)
        assert page.ask("/stocks?q=M00&sort=return_on_equity&descending=1&column=return_on_equity").status == 200


def test_a_day_beyond_the_calendar_is_said_and_no_fault(page, stocks):
    def moved(old, new):
        return f"UPDATE financial_ratios SET period_end = '{new}' WHERE symbol = 'M004' AND period_end = '{old}'"

    with changed(stocks, (moved("2026-03-31", "20000-03-31"), moved("20000-03-31", "2026-03-31"))):
        for address in ("/stocks/M004", "/stocks?q=M004", "/stocks.csv?q=M004"):
            answer = page.ask(address)
            assert answer.status == 503
            assert "a row of the database can&#39;t be read" in answer.text


def test_a_stock_without_figures_says_why(page, stocks):
    def listed(symbol):
        return (
            f"INSERT INTO stock (symbol, name, country_code) VALUES ('{symbol}', 'One', 'us')",
            f"DELETE FROM stock WHERE symbol = '{symbol}'",
        )

    def asked(symbol, payload):
        return (
            f"INSERT INTO company_statements VALUES ('{symbol}', '2026-11-01', '2026-11-02 12:00Z', 'x', '{payload}')",
            f"DELETE FROM company_statements WHERE symbol = '{symbol}'",
        )

    statements = [listed(symbol) for symbol in ("N-GONE", "N-NONE", "N-EMPTY", "N-FAILED", "N-NEW")]
    statements += [asked("N-GONE", '{"nothing": "gone"}'), asked("N-NONE", '{"nothing": "no_statements"}'), asked("N-EMPTY", '{"a": 1}')]
    with Producer(page.kafka, messages.new_run_id()) as producer:
        (task,) = producer.processing(["N-FAILED"], "us")
        producer.failed(task, "the answer was <cut>", "MessageError")
    with changed(stocks, *statements):
        until(lambda: "it failed" in page.ask("/stocks/N-FAILED").text, 20, "the dead letter")
        failed = page.ask("/stocks/N-FAILED").text
        assert "it failed for good: MessageError: the answer was &lt;cut&gt;" in failed
        assert 'href="../dead-letters?symbol=N-FAILED"' in failed
        assert "did not know this symbol when it was asked, on 2026-11-02 (gone)" in page.ask("/stocks/N-GONE").text
        assert "had no statements of this company when it was asked, on 2026-11-02 (no_statements)" in page.ask("/stocks/N-NONE").text
        assert "no period that can be used when it was asked, on 2026-11-02 (no_statements)" in page.ask("/stocks/N-EMPTY").text
        assert "No figures: it has not been processed yet." in page.ask("/stocks/N-NEW").text


def test_unreadable_records_are_counted_on_the_page(page):
    run_id = "20251101T000000Z-0abc"
    put(page.kafka, topics.SCRAPING_ERRORS, 0, with_header_name([b"any"], b"\xff\xfe\xfd\xfc"))
    with Producer(page.kafka, run_id) as producer:
        producer.processing(["ODD"], "us")
    until(lambda: 'data-testid="unreadable">1 unreadable record<' in page.ask(f"/?run={run_id}").text, 30, "the count")
