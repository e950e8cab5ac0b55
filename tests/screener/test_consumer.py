"""The scraping consumer on a site whose page has changed: one error at the first task, or the endpoint in its place."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import config
from pipeline.broker import clients
from pipeline.broker.patient import partitions_of
from pipeline.wire import topics
from pipeline.yahoo import shared_throttle
from tests.conftest import until
from tests.e2e.conftest import SEED, STOCKS, Terminal


@pytest.fixture(scope="module")
def terminal() -> Iterator[Terminal]:
    """A terminal in whose home a demo's services are up; every load of the page gives another page than the known one."""
    found = Terminal.opened()
    holder = found.start(
        "run_pipeline.py", "--demo", "--services", "--stocks", str(STOCKS), "--seed", str(SEED), "--faults", "changed_layout=1"
    )
    until(lambda: found.demo_is_up() or holder.poll() is not None, 150, "the demo's services")
    yield found
    found.close()


def found_in(terminal: Terminal, topic: str) -> list[dict[str, Any]]:
    """The values of all records of a topic."""
    settings = config.load(True, terminal.environment()).kafka
    reader = clients.reader(settings)
    reader.assign(partitions_of(reader, [topic]))
    values: list[dict[str, Any]] = []
    for _ in range(3):  # a first poll may come back before the broker has answered
        values += [json.loads(record.value) for batch in reader.poll(500).values() for record in batch]
    reader.close()
    return values


def of_region(terminal: Terminal, topic: str, region: str) -> list[dict[str, Any]]:
    return [value for value in found_in(terminal, topic) if value["region_code"] == region]


def set_faults(terminal: Terminal, **rates: float) -> None:
    address = terminal.demo_settings()["YAHOO_BASE_URL"]
    urllib.request.urlopen(urllib.request.Request(f"{address}/market/faults", json.dumps(rates).encode()), timeout=60).close()


def faults(terminal: Terminal) -> dict[str, int]:
    address = terminal.demo_settings()["YAHOO_BASE_URL"]
    with urllib.request.urlopen(f"{address}/market/counts", timeout=60) as answer:
        return json.load(answer)["faults"]


def test_a_changed_page_fails_its_task_at_the_first_attempt_and_is_saved(terminal: Terminal) -> None:
    consumer = terminal.start("kafka_scraper_consumer.py", "--demo")
    sent = terminal.run("kafka_scraper_producer.py", "--demo", "--regions", "fr")
    assert sent.returncode == 0, sent.stderr
    (error,) = until(lambda: of_region(terminal, topics.SCRAPING_ERRORS, "fr"), 180, "the error")
    assert (error["error_type"], error["status"], error["attempt"]) == ("LayoutChanged", "failed", 1)
    assert "missing" in error["error"]
    assert "screener-table" in error["error"]
    kept = Path(error["error"].partition("The page as it was: ")[2].partition(".html, .png and")[0])
    assert kept.parent == terminal.home / "logs" / error["run_id"]
    assert Path(f"{kept}.html").stat().st_size > 0
    assert Path(f"{kept}.png").stat().st_size > 0
    assert len(of_region(terminal, topics.SCRAPING_DEAD_LETTERS, "fr")) == 1
    assert found_in(terminal, topics.SCRAPING_RETRIES) == []
    assert faults(terminal)["changed_layout"] == 1, "the region is not asked for again"
    consumer.terminate()
    assert consumer.wait(60) == 0


@pytest.mark.parametrize(("source", "region"), [("api", "gb"), ("auto", "de")])
def test_the_endpoint_replaces_the_page_and_the_completion_says_so(terminal: Terminal, source: str, region: str) -> None:
    consumer = terminal.start("kafka_scraper_consumer.py", "--demo", SCRAPER_SOURCE=source)
    recorded = terminal.home / f"recorded-{region}"
    sent = terminal.run("kafka_scraper_producer.py", "--demo", "--regions", region, "--record", str(recorded))
    assert sent.returncode == 0, sent.stderr
    assert any("/finance/" in json.loads(path.read_text())["url"] for path in recorded.glob("*.json")), "it has asked for exchange rates"
    (completion,) = until(lambda: of_region(terminal, topics.SCRAPING_COMPLETION, region), 180, "the completion")
    assert (completion["status"], completion["source"]) == ("completed", "api")
    assert completion["tickers_found"] > 0
    tasks = [value for value in found_in(terminal, topics.PROCESSING_TASKS) if value["country_code"] == region]
    assert len({task["symbol"] for task in tasks}) == completion["tickers_found"]
    said = terminal.errors(consumer)
    assert ("from here on" in said) == (source == "auto")
    if source == "api":
        assert not [command for command in terminal.processes().values() if "chromedriver" in command], "no browser is needed"
    consumer.terminate()
    assert consumer.wait(60) == 0


def test_a_429_to_the_endpoint_slows_all_processes(terminal: Terminal) -> None:
    consumer = terminal.start("kafka_scraper_consumer.py", "--demo", SCRAPER_SOURCE="api")
    set_faults(terminal, rate_limit=1.0)
    assert terminal.run("kafka_scraper_producer.py", "--demo", "--regions", "jp").returncode == 0
    kafka = config.load(True, terminal.environment()).kafka
    (told,) = until(lambda: [one for one in shared_throttle.latest(kafka) if one["holding"]], 150, "its word to the others")
    assert told["reason"] == "the site answered 429"
    set_faults(terminal, changed_layout=1.0)
    (completion,) = until(lambda: of_region(terminal, topics.SCRAPING_COMPLETION, "jp"), 180, "the completion")
    assert completion["tickers_found"] > 0
    consumer.terminate()
    assert consumer.wait(60) == 0


def test_a_site_that_filters_in_dollars_fails_the_task_with_examples_and_emits_nothing(terminal: Terminal) -> None:
    consumer = terminal.start("kafka_scraper_consumer.py", "--demo", SCRAPER_SOURCE="api")
    set_faults(terminal, dollar_filter=1.0)
    assert terminal.run("kafka_scraper_producer.py", "--demo", "--regions", "jp").returncode == 0

    def mismatches() -> list[dict[str, Any]]:
        return [error for error in of_region(terminal, topics.SCRAPING_ERRORS, "jp") if error["error_type"] == "BandCurrencyMismatch"]

    (error,) = until(mismatches, 180, "the error")
    assert (error["status"], error["attempt"]) == ("failed", 1)
    assert re.search(
        r"does not filter Japan by market caps in JPY: \d+ of \d+ stocks .*such as \S+ \(\S+ JPY\), \S+ \(\S+ JPY\), ", error["error"]
    )
    assert [task for task in found_in(terminal, topics.PROCESSING_TASKS) if task["run_id"] == error["run_id"]] == []
    # The run's account has the producer's own requests: cookie, crumb, and the quotes of all pairs.
    counts = json.loads(terminal.run("kafka_monitor.py", "--demo", "--once", "--json", "--run", error["run_id"]).stdout)
    assert (counts["scraping"]["failed"], counts["stocks"]) == (1, 0)
    assert counts["requests"] == error["requests"] + 3
    set_faults(terminal, changed_layout=1.0)
    consumer.terminate()
    assert consumer.wait(60) == 0


@pytest.mark.parametrize(
    ("source", "code", "expected"),
    [
        ("api", 0, r"ok +one list +\d+ stocks of region fr listed\n"),
        ("auto", 0, r"ok +one page +\d+ stocks of region fr listed by the endpoint: the page has changed"),
        ("browser", 3, r"FAIL +one page +.*missing table.*The page as it was: .*SCRAPER_SOURCE=api lists stocks without the page"),
    ],
)
def test_the_check_names_the_working_source_or_what_to_do(source: str, code: int, expected: str) -> None:
    own = Terminal.opened()
    try:
        done = own.run("run_pipeline.py", "--demo", "--check", "--stocks", "60", "--faults", "changed_layout=1", SCRAPER_SOURCE=source)
        assert done.returncode == code, done.stdout + done.stderr
        assert re.search(expected, done.stdout), done.stdout
    finally:
        own.close()
