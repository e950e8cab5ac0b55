"""The page in a real browser: a run from 0 to 100 %, the stocks, the charts, dead letters, and no request to other hosts."""

from __future__ import annotations

import csv
import io
import time
import urllib.request
from urllib.parse import urlsplit

import pytest

from pipeline.broker import positions
from pipeline.runs.account_reader import Tally
from pipeline.storage import database
from pipeline.wire import messages, topics
from tests.conftest import until
from tests.ui.conftest import LATEST, MARKUP, Producer

#: Whether the chart's frame cuts the title of its horizontal axis off.
AXIS_TITLE_CUT = """
const bottom = (selector) => document.querySelector(selector).getBoundingClientRect().bottom;
return bottom('.tall-chart .xtitle') > bottom('.tall-chart');
"""


@pytest.fixture(autouse=True)
def _asks_no_other_host(window, page):
    """In every test: by its log, the browser sent requests only to the page's own server, and reported no error."""
    window.requests()
    window.complaints()
    yield
    assert {(urlsplit(url).hostname, urlsplit(url).port) for url in window.requests()} == {("localhost", page.port)}
    assert window.complaints() == []


def figures(window, column):
    """The values of a column of the stock table, as the page shows them."""
    headings = window.texts('[data-testid="stocks-table"] thead th')
    position = next(index for index, text in enumerate(headings) if text.startswith(column))
    found = window.run(
        "return [...document.querySelectorAll('[data-testid=stocks-table] tbody tr')].map((e) => e.children[arguments[0]].dataset.value)",
        position,
    )
    return [None if value is None else float(value) for value in found]


def test_a_run_is_watched_from_0_to_100_percent_without_a_reload(window, page):
    run_id = messages.new_run_id()
    window.open(page.url + "/")
    window.run("window.same = true")
    seen = []

    def watch(stage, percent):
        def there():
            now = window.percent(stage)
            if not seen or seen[-1] != (stage, now):
                seen.append((stage, now))
            return now == percent

        until(there, 20, f"{stage} at {percent} %")

    with Producer(page.kafka, run_id) as producer:
        france, america = producer.scraping("fr", "France"), producer.scraping("us", "United States")
        until(lambda: run_id in window.text("#live-state"), 20, "the new run")
        watch("scraping", 0)
        tasks = producer.processing([f"WATCH{number}" for number in range(40)], "fr")
        watch("processing", 0)
        producer.scraped(france, 40, outside_band=9)
        watch("scraping", 50)
        assert window.text('[data-testid="lists"]') == "Lists: 1 from page-data; stocks left out: 9 outside the band"
        for part in range(0, 40, 10):
            producer.processed(tasks[part : part + 10])
            if part == 20:
                watch("processing", 75)
        producer.scraped(america, 0)
        watch("scraping", 100)
        watch("processing", 100)
    assert window.run("return window.same") is True
    percents = [percent for stage, percent in seen if stage == "processing"]
    assert percents == sorted(percents)
    assert "nothing pending" in window.text("#live-state")
    assert "40/40" in window.text("#live-regions")
    until(lambda: window.text("#live-counts tbody tr:nth-child(2)").split()[1:3] == ["40", "40"], 10, "the counts")
    # The run has an address of its own.
    window.open(f"{page.url}/?run={run_id}")
    until(lambda: window.percent("processing") == 100, 20, "the run by its name")


def test_an_error_is_shown_with_task_and_reason(window, page):
    window.open(page.url + "/")
    with Producer(page.kafka, messages.new_run_id()) as producer:
        (task,) = producer.processing(["ERR"], "us")
        producer.failed(task, "it is <i>so</i>", "PermanentError")
        until(lambda: task.task_id in window.text('[data-testid="error-list"]'), 20, "the error")
    assert "it is <i>so</i>" in window.text('[data-testid="error-list"]')


def test_the_cheapest_profitable_company_in_france_is_found_and_downloaded(window, page, stocks):
    window.open(page.url + "/")
    window.click('nav a[href$="stocks"]')
    until(lambda: window.text("h1") == "Stocks", 10, "the stocks")
    window.click("#filters details.more > summary")
    window.click('input[name="region"][value="fr"]')
    window.run("document.querySelector('select[name=ratio]').value = 'net_margin'; document.querySelector('input[name=max]').value = '50%'")
    window.click("#filters .bar button")
    until(lambda: "region=fr" in str(window.run("return location.search")), 10, "the filter")
    window.run("[...document.querySelectorAll('[data-testid=stocks-table] thead a')].find((e) => e.innerText.startsWith('P/E')).click()")
    until(lambda: "sort=price_to_earnings" in str(window.run("return location.search")), 10, "the order")
    shown = window.texts('[data-testid="stocks-table"] tbody th')
    link = str(window.run("return document.querySelector('[data-testid=export-csv]').href"))
    with urllib.request.urlopen(link, timeout=60) as answer:
        exported = [row["symbol"] for row in csv.DictReader(io.StringIO(answer.read().decode(), newline=""))]
    connection = database.connect(stocks)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            LATEST + "SELECT symbol FROM stock JOIN latest USING (symbol) WHERE country_code = 'fr' AND net_margin <= 0.5 "
            "ORDER BY price_to_earnings NULLS LAST, symbol"
        )
        expected = [symbol for (symbol,) in cursor.fetchall()]
    connection.close()
    assert shown == exported == expected
    assert len(expected) == 3


def test_the_table_can_be_sorted_both_ways_and_paged(window, page):
    window.open(page.url + "/stocks?region=us&sort=return_on_equity")
    rising = figures(window, "Return on equity")
    assert rising == sorted(rising)
    assert len(rising) == 50
    window.click("th[aria-sort] a")
    until(lambda: "sort=-return_on_equity" in str(window.run("return location.search")), 10, "the other way round")
    falling = figures(window, "Return on equity")
    assert falling == sorted(falling, reverse=True)
    window.click('a[rel="next"]')
    until(lambda: "page=2" in str(window.run("return location.search")), 10, "the next page")
    assert figures(window, "Return on equity")[0] < falling[-1]


def test_a_name_with_markup_is_shown_as_text_everywhere(window, page):
    window.open(page.url + "/stocks?region=fr")
    assert MARKUP in window.text('[data-testid="stocks-table"]')
    window.open(page.url + "/stocks/BBB.PA")
    assert MARKUP in window.text('[data-testid="stock-detail"] h1')
    window.open(page.url + "/scatter?region=fr&x=current_ratio&y=price_to_book")
    until(lambda: window.run("return document.querySelectorAll('[data-testid=scatter-chart] .points path').length") == 3, 20, "the points")
    # Plotly interprets tags in its texts. Shown on hover, this name must stay plain text.
    shown = window.run(
        """const chart = document.getElementById('scatter-chart');
        const index = chart.data[0].customdata.indexOf('BBB.PA');
        Plotly.Fx.hover(chart, [{curveNumber: 0, pointNumber: index}]);
        return document.querySelector('.hovertext')?.textContent"""
    )
    assert MARKUP in str(shown)
    assert window.run("return document.querySelectorAll('img').length") == 0
    assert "hacked" not in str(window.run("return document.title"))


def test_a_stocks_page_shows_periods_charts_and_reasons(window, page):
    window.open(page.url + "/stocks/M001")
    until(lambda: window.run("return document.querySelectorAll('[data-testid=ratio-chart] .point').length") == 3, 20, "the chart")
    marks = window.run("return [...document.querySelectorAll('#ratio-chart .ytick')].map((e) => e.textContent)")
    assert len(marks) > 1
    assert len(set(marks)) == len(marks)  # none is rounded to its neighbour's figure
    assert window.texts(".periods thead th")[1:] == ["12 months to\n2026-03-31", "Year to\n2025-12-31", "Year to\n2024-12-31"]
    window.run("const e = document.getElementById('chart-ratio'); e.value = 'current_ratio'; e.dispatchEvent(new Event('change'))")
    assert "ratio=current_ratio" in str(window.run("return location.search"))
    window.open(page.url + "/stocks/M002#how-price_to_sales")
    window.run("document.querySelector('.periods a[href=\"#how-return_on_assets\"]').click()")
    until(lambda: window.run("return document.getElementById('how-return_on_assets').open"), 5, "the explanation")
    assert "TotalRevenue" not in window.text("#how-return_on_assets")
    inputs = window.text("#how-return_on_assets")
    assert "NetIncome / avg(TotalAssets)" in inputs
    assert "900 2025-03-31" in inputs
    window.open(page.url + "/stocks/M000")
    assert "TotalDebt is not reported" in window.text(".periods")
    window.open(page.url + "/stocks/DDD.PA")
    assert "No figures" in window.text('[data-testid="stock-detail"]')


def test_scatter_and_distribution_show_the_same_stocks_as_sql(window, page, stocks):
    window.open(page.url + "/scatter?x=return_on_equity&y=price_to_earnings&sector=Energy")
    until(lambda: window.run("return document.querySelectorAll('[data-testid=scatter-chart] .points path').length"), 20, "the points")
    drawn = window.run(
        "return document.getElementById('scatter-chart').data.flatMap((t) => t.customdata.map((s, i) => [s, t.x[i], t.y[i]]))"
    )
    connection = database.connect(stocks)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            LATEST + "SELECT symbol, return_on_equity, price_to_earnings FROM stock JOIN latest USING (symbol) WHERE sector = 'Energy' "
            "AND return_on_equity IS NOT NULL AND price_to_earnings IS NOT NULL"
        )
        assert sorted(map(tuple, drawn)) == sorted(cursor.fetchall())
    assert window.run(AXIS_TITLE_CUT) is False
    window.open(page.url + "/distribution?ratio=net_margin&by=sector")
    until(lambda: window.run("return document.querySelectorAll('[data-testid=distribution-chart] .box').length") == 3, 20, "the boxes")
    assert window.run(AXIS_TITLE_CUT) is False
    with connection, connection.cursor() as cursor:
        cursor.execute(LATEST + "SELECT sector, count(*) FROM stock JOIN latest USING (symbol) WHERE net_margin IS NOT NULL GROUP BY 1")
        counts = {sector: str(count) for sector, count in cursor.fetchall()}
    connection.close()
    rows = [text.split("\t") for text in window.texts('[data-testid="distribution-table"] tbody tr')]
    assert {row[0]: row[1] for row in rows} == counts


def test_messages_and_dead_letters_are_shown_and_one_is_put_back(window, page):
    run_id = messages.new_run_id()
    with Producer(page.kafka, run_id) as producer:
        kept, back = producer.processing(["KEPT", "BACK"], "fr")
        producer.failed(kept, "it fails for good")
        producer.failed(back, "it failed on <Monday>")
        producer.send(
            topics.PROCESSING_DEAD_LETTERS, "", b"no task <b>at all</b>", {"error-type": "MessageError", "error-message": "not JSON"}
        )
    window.open(page.url + "/kafka")
    assert topics.PROCESSING_DEAD_LETTERS in window.text('[data-testid="topics-table"]')
    assert "stock-processors" in window.text('[data-testid="groups-table"]')
    window.run(
        f"[...document.querySelectorAll('[data-testid=topics-table] a')].find((e) => e.innerText === '{topics.PROCESSING_TASKS}').click()"
    )
    until(lambda: "BACK" in window.text('[data-testid="messages-table"]'), 20, "the messages")

    def shown():
        window.open(f"{page.url}/dead-letters?run={run_id}")
        return back.task_id in window.text('[data-testid="dead-letters-table"]')

    until(shown, 20, "the dead letters")
    assert "it failed on <Monday>" in window.text('[data-testid="dead-letters-table"]')
    tally = Tally(page.kafka, run_id)
    before = sum(positions.high_watermarks(page.kafka, [topics.PROCESSING_TASKS]).values())
    window.click(f'button[aria-label="Put back {back.task_id}"]')
    until(lambda: "1 task put back" in window.text("[role=status]"), 20, "the answer")
    table = window.text('[data-testid="dead-letters-table"]')
    assert (back.task_id in table, kept.task_id in table) == (False, True)
    tally.close()
    assert sum(positions.high_watermarks(page.kafka, [topics.PROCESSING_TASKS]).values()) == before + 1
    # A letter that is not a task is shown without a button.
    window.open(page.url + "/dead-letters?error_type=MessageError")
    assert "no task <b>at all</b>" in window.text('[data-testid="dead-letters-table"]')
    assert window.run("return document.querySelectorAll('form[method=post]').length") == 0
    # All letters that match the filter, at once.
    window.open(f"{page.url}/dead-letters?run={run_id}")
    window.run("window.confirm = () => true; document.querySelector('.above form button').click()")
    until(lambda: "1 task put back" in window.text("[role=status]"), 20, "the answer")
    assert "No letter matches" in window.text("#letters")


def test_every_view_is_fast_and_fits_a_phone(window, page):
    for view in ("", "kafka", "kafka/topics/stock-processing-tasks", "dead-letters", "stocks", "stocks/M001", "scatter", "distribution"):
        started = time.monotonic()
        assert page.ask(f"/{view}").status == 200
        assert time.monotonic() - started < 15  # as a rule 0.1 s; the machine may be busy
        with window.narrow(390):
            window.open(f"{page.url}/{view}")
            width = window.run("return document.documentElement.scrollWidth")
        assert width <= 390, view


def test_the_default_columns_fit_a_window_of_1300_pixels(window, page):
    with window.narrow(1300):
        window.open(f"{page.url}/stocks?sort=-market_cap_usd")
        inside, whole = window.run("const e = document.querySelector('.scroll'); return [e.clientWidth, e.scrollWidth]")
        assert whole <= inside
        assert window.texts("[data-testid=stocks-table] thead th")[-1] == "Period"


def test_every_view_can_be_used_by_keyboard_and_screen_reader(window, page):
    for view in (
        "",
        "kafka",
        "kafka/topics/stock-processing-tasks",
        "dead-letters",
        "stocks?region=fr",
        "stocks/M001",
        "scatter",
        "distribution",
    ):
        window.open(f"{page.url}/{view}")
        problems = window.run(
            """const bad = [];
            const name = (e) => e.getAttribute('aria-label') || e.labels?.length || e.textContent?.trim() || e.title;
            for (const e of document.querySelectorAll('input:not([type=hidden]), select, button, a, progress'))
                if (!name(e)) bad.push(e.outerHTML.slice(0, 100));
            for (const e of document.querySelectorAll('table')) if (!e.caption) bad.push('a table without a caption');
            for (const e of document.querySelectorAll('th')) if (!e.scope) bad.push('a th without a scope');
            if (document.querySelectorAll('h1').length !== 1) bad.push('not one h1');
            if (!document.querySelector('a.skip[href="#main"]')) bad.push('no skip link');
            if (!document.documentElement.lang || !document.title) bad.push('no language or title');
            const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
            if (new Set(ids).size !== ids.length) bad.push('an id twice');
            return bad;"""
        )
        assert problems == [], view
