"""The page as its users start it: a process of its own, over a real broker and a real PostgreSQL, seen in a real browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from config import Database, Kafka
from local.tansu import Broker
from pipeline.broker import clients
from pipeline.broker.sender import Message, Sender
from pipeline.ratios.formulas import RATIOS
from pipeline.ratios.rows import RatioRow
from pipeline.screener.binaries import find_browser
from pipeline.storage import database, schema
from pipeline.storage.rows import Profile, Write, write
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask, ScrapingTask
from pipeline.wire.results import Computed, Listed, completion
from tests.conftest import PROJECT, make_topics, quiet_port, until

RUN = "20261101T000000Z-0001"
MARKUP = "<img src=x onerror=\"document.title='hacked'\"> & <b>Söhne</b>"
FORMULA = '=HYPERLINK("http://elsewhere.example","click")'
#: symbol → (name, region, sector)
STOCKS = {
    "AAA.PA": ("Aubergine SA", "fr", "Energy"),
    "BBB.PA": (MARKUP, "fr", "Technology"),
    "CCC.PA": (FORMULA, "fr", "Energy"),
    "DDD.PA": ("Without figures SA", "fr", "Energy"),
    "../../x": ("Path Traveller Inc.", "us", "Technology"),
    "A/B?c#d%": ("Odd Symbol Inc.", "us", "Utilities"),
    **{f"M{number:03}": (f"Made-up {number} Inc.", "us", ("Energy", "Utilities", "Technology")[number % 3]) for number in range(120)},
}


#: The row that the page shows for each stock.
LATEST = "WITH latest AS (SELECT DISTINCT ON (symbol) * FROM financial_ratios ORDER BY symbol, period_type = 'ttm' DESC, period_end DESC) "


def row(symbol: str, number: int, period_type: str, end: date) -> RatioRow:
    """Figures that differ from stock to stock; every seventh ratio of every third stock is missing."""
    values: dict[str, float | None] = {name: (number + 1) * 0.25 + index * 0.01 for index, name in enumerate(RATIOS)}
    values["return_on_equity"] = number * 0.01 - 0.1
    values["net_margin"] = -0.5 + number * 0.003
    gaps = [name for index, name in enumerate(RATIOS) if number % 3 == 0 and index % 7 == 3 and name != "piotroski_tested"]
    values |= dict.fromkeys(gaps)
    year = {"2026-03-31": 1000.0 + number, "2025-03-31": 900.0}
    return RatioRow(
        symbol, period_type, end, "EUR", values, dict.fromkeys(gaps, "missing:TotalDebt"),
        {"lines": {"TotalRevenue": year, "NetIncome": year}, "market": {"price": 12.5, "shares": 3}, "piotroski": {"no_new_shares": 1}},
        {"market_cap": "no witness", "length": "a year"},
    )  # fmt: skip


def fill(settings: Database) -> None:
    """Empty tables, then STOCKS: trailing rows for most, only fiscal years for AAA.PA, nothing for DDD.PA."""
    connection = database.connect(settings)
    schema.create_tables(connection)
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE country, stock, financial_ratios, pipeline_run")
    countries = {"fr": "France", "us": "United States"}
    profiles = [Profile(symbol, name, region, "X", sector, "Things", "EUR", "EUR") for symbol, (name, region, sector) in STOCKS.items()]
    rows = []
    for number, symbol in enumerate(STOCKS):
        if symbol == "DDD.PA":
            continue
        rows += [(RUN, row(symbol, number, "annual", date(year, 12, 31))) for year in (2024, 2025)]
        if symbol != "AAA.PA":
            rows.append((RUN, row(symbol, number, "ttm", date(2026, 3, 31))))
    write(connection, [Write(countries=countries, profiles=profiles, ratios=rows)])
    connection.close()


@pytest.fixture
def many(tables: Database) -> Database:
    """20,000 stocks with random figures, made by the database itself."""
    connection = database.connect(tables)
    with connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
        cursor.execute("INSERT INTO country VALUES ('fr', 'France'), ('us', 'United States')")
        cursor.execute(
            "INSERT INTO stock (symbol, name, country_code, sector) SELECT 'S' || n, 'Made-up ' || n, "
            "(ARRAY['fr', 'us'])[1 + n % 2], (ARRAY['Energy', 'Utilities', 'Technology'])[1 + n % 3] FROM generate_series(1, 20000) n"
        )
        cursor.execute(
            f"INSERT INTO financial_ratios (symbol, period_type, period_end, run_id, currency, {', '.join(RATIOS)}, inputs) "
            f"SELECT 'S' || n, CASE p WHEN 0 THEN 'ttm' ELSE 'annual' END, date '2026-03-31' - p * 365, 'r', 'EUR', "
            f"{', '.join(['random()'] * len(RATIOS))}, jsonb_build_object('lines', jsonb_build_object('TotalRevenue', '{{}}'::jsonb), "
            "'filler', repeat('x', 1000)) FROM generate_series(1, 20000) n, generate_series(0, 4) p"
        )
    connection.close()
    return tables


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class RunningPage:
    """A running `kafka_ui.py`."""

    process: subprocess.Popen[str]
    url: str
    errors: Path
    kafka: Kafka = field(default_factory=Kafka)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            sent = {"Host": f"localhost:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


def environment(kafka: Kafka, settings: Database) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "DB_DEV_NAME": settings.name,
        "DB_USER": settings.user,
        "DB_PASSWORD": settings.password,
        "DB_HOST": settings.host,
        "DB_PORT": str(settings.port),
    }


@contextlib.contextmanager
def page_process(folder: Path, environ: dict[str, str], *arguments: str, program: str = "kafka_ui.py") -> Iterator[RunningPage]:
    """Start the page and wait until it prints its address."""
    errors = folder / f"page-{time.monotonic_ns()}.err"
    with open(errors, "w") as log:
        process = subprocess.Popen(
            [sys.executable, program, *(arguments or ("--port", "0"))],
            cwd=PROJECT,
            env={**os.environ, "PIPELINE_HOME": str(folder), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("page: http://localhost:"), errors.read_text()
        yield RunningPage(process, line.split()[1], errors)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        assert "Traceback" not in errors.read_text(), errors.read_text()


@pytest.fixture(scope="module")
def stocks(postgres: Database) -> Database:
    """The database with STOCKS in it."""
    fill(postgres)
    return postgres


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of this module alone, with the topics."""
    clients.quiet()
    running = Broker.start(tmp_path_factory.mktemp("ui-broker") / "broker.log", quiet_port())
    settings = Kafka(bootstrap_servers=running.bootstrap_servers, source="embedded")
    make_topics(settings)
    yield settings
    running.stop()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, kafka: Kafka, stocks: Database) -> Iterator[RunningPage]:
    with page_process(tmp_path_factory.mktemp("ui"), environment(kafka, stocks)) as found:
        found.kafka = kafka
        yield found


class Window:
    """A browser window, with what these tests do in it."""

    def __init__(self, driver: WebDriver) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        """The text of the first such element, "" if there is none."""
        found = self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", selector)
        return str(found)

    def texts(self, selector: str) -> list[str]:
        found = self.run("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector)
        assert isinstance(found, list)
        return found

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def percent(self, stage: str) -> int:
        value = self.run("return document.querySelector(arguments[0])?.dataset.percent ?? '-1'", f'[data-testid="progress-{stage}"]')
        return int(str(value))

    def complaints(self) -> list[str]:
        """The browser's errors since the last call: those of scripts, and what the page's policy forbids."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """Every address to which the browser has sent a request since the last call, by its network log."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if urlsplit(url).scheme not in ("data", "blob", "about")]

    @contextlib.contextmanager
    def narrow(self, width: int) -> Iterator[None]:
        """As wide as a phone."""
        metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture(scope="session")
def window() -> Iterator[Window]:
    options = Options()
    binaries = find_browser(os.environ.get("SCRAPER_BROWSER"), os.environ.get("SCRAPER_DRIVER"))
    if binaries.browser:
        options.binary_location = binaries.browser
    for argument in ("--headless=new", "--window-size=1400,1000", "--disable-background-networking", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(binaries.driver) if binaries.driver else Service())
    driver.set_page_load_timeout(60)
    yield Window(driver)
    driver.quit()


class Producer:
    """Messages of a run, sent as the pipeline's processes send them."""

    def __init__(self, kafka: Kafka, run_id: str) -> None:
        self.run_id = run_id
        self._producer = Sender(kafka)

    def __enter__(self) -> Producer:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def scraping(self, region: str, name: str) -> ScrapingTask:
        task = ScrapingTask(self.run_id, region, name, 300, 2000)
        self.send(topics.SCRAPING_TASKS, task.key, messages.pending(task))
        return task

    def processing(self, symbols: list[str], region: str) -> list[ProcessingTask]:
        tasks = [ProcessingTask(self.run_id, symbol, f"Made-up {symbol}", region) for symbol in symbols]
        self._producer.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task)) for task in tasks])
        return tasks

    def scraped(self, task: ScrapingTask, count: int, outside_band: int = 0) -> None:
        self.send(topics.SCRAPING_COMPLETION, task.task_id, completion(task, Listed(count, "page-data", outside_band=outside_band)))

    def processed(self, tasks: list[ProcessingTask]) -> None:
        done = [Message(topics.PROCESSING_COMPLETION, task.task_id, completion(task, Computed(5))) for task in tasks]
        self._producer.send_all(done)

    def failed(self, task: ProcessingTask, error: str, error_type: str = "PermanentError") -> None:
        """A final error, and its dead letter."""
        self.send(topics.PROCESSING_ERRORS, task.task_id, messages.error_message(task, error, error_type, 3, final=True))
        headers = {"error-type": error_type, "error-message": error, "attempt": "3", "original-topic": topics.PROCESSING_TASKS}
        self.send(topics.PROCESSING_DEAD_LETTERS, task.key, messages.pending(task), headers)

    def send(self, topic: str, key: str, value: bytes, headers: dict[str, str] | None = None) -> None:
        self._producer.send_all([Message(topic, key, value, headers or {})])


__all__ = ["Answer", "Producer", "RunningPage", "Window", "until"]
