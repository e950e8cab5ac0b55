"""The main job, end to end: real browser, real broker, real PostgreSQL, the real yfinance code."""

import json
import re

import config
from kafka_scraper_producer import regions
from local.market.regions import MARKET_DAY
from local.postgres import Postgres
from pipeline.runs.account_reader import Tally
from pipeline.storage import database
from tests.conftest import until
from tests.e2e.conftest import HIGH, LOW, SEED, STOCKS, last_json, rows

CODES = [region["code"] for region in regions]


def test_one_command_runs_the_demo_to_its_end_and_the_account_adds_up(terminal, market):
    done = terminal.run("run_pipeline.py", "--demo", "--exit-when-done", "--json", "--stocks", str(STOCKS), "--seed", str(SEED))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "all but the summary goes to stderr"
    summary = last_json(done.stdout)
    listed = [company for code in CODES for company in market.in_dollars(code, LOW, HIGH)]
    without = [company for company in listed if company.traits & {"gone", "no_statements"}]
    assert summary["regions"] == CODES
    assert summary["scraping"] == {"sent": 5, "completed": 5, "split": 0, "failed": 0, "pending": 0}
    assert summary["processing"] == {
        "sent": len(listed),
        "completed": len(listed) - len(without),
        "no_data": len(without),
        "failed": 0,
        "pending": 0,
        "fetched": len(listed) - len(without),
        "stored": 0,
    }
    assert summary["why"] == {"first_fetch": len(listed)}
    assert (summary["stocks"], summary["dead_letters"]) == (len(listed), 0)
    assert summary["ratio_rows"] > 3 * (len(listed) - len(without))

    # Nothing is left but the database, which is kept.
    until(lambda: not terminal.processes(), 10, "the end of all processes")
    assert config.lock_holder(config.state_dir(True, terminal.environment())) is None
    server = Postgres.start(config.state_dir(True, terminal.environment()) / "postgres", terminal.home / "again.log")
    try:
        found = server.settings
        connection = database.connect(
            config.Database(found["DB_DEV_NAME"], found["DB_USER"], found["DB_PASSWORD"], found["DB_HOST"], int(found["DB_PORT"]))
        )
        with_rows = {symbol for (symbol,) in rows(connection, "SELECT DISTINCT symbol FROM financial_ratios")}
        assert with_rows == {company.symbol for company in listed if company not in without}
        assert rows(connection, "SELECT count(*) FROM financial_ratios")[0][0] == summary["ratio_rows"]
        ((status, stored),) = rows(connection, "SELECT status, summary FROM pipeline_run WHERE run_id = %s", summary["run_id"])
        assert (status, stored) == ("completed", summary)
        connection.close()
    finally:
        server.stop()


def test_scripts_in_their_own_terminals_share_the_work(services, market):
    """Two scraping and three processing consumers; what arrives is what the market holds, symbol by symbol."""
    scrapers = [services.start("kafka_scraper_consumer.py", "--demo") for _ in range(2)]
    processors = [services.start("kafka_processing_consumer.py", "--demo") for _ in range(3)]
    for process in (*scrapers, *processors):
        until(lambda process=process: "ready" in services.errors(process), 60, "a consumer that is ready")
    sent = services.run("kafka_scraper_producer.py", "--demo")
    assert sent.returncode == 0, sent.stderr
    assert len([line for line in sent.stdout.splitlines() if line.startswith("sent ")]) == len(CODES)

    def tallies():
        shown = services.run("kafka_monitor.py", "--demo", "--once", "--json")
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    def done():
        summary = tallies()
        return summary["processing"]["sent"] and not summary["scraping"]["pending"] and not summary["processing"]["pending"] and summary

    summary = until(done, 120, "the end of the run")
    assert summary["scraping"]["completed"] == len(CODES)
    assert summary["processing"]["failed"] == 0

    arrived = {code: set() for code in CODES}
    settings = config.load(True, services.environment())
    tally = Tally(settings.kafka)
    tally.read_to_now()
    for task_id, task in tally.newest().processing.tasks.items():
        arrived[task.region].add(task_id.split(":", 2)[2])
    tally.close()
    connection = services.database()
    stored = {code: set() for code in CODES}
    for symbol, code in rows(connection, "SELECT symbol, country_code FROM stock"):
        stored[code].add(symbol)
    connection.close()
    for code in CODES:
        held = {company.symbol for company in market.in_dollars(code, LOW, HIGH)}
        assert arrived[code] == held, code
        assert stored[code] == held, code

    # The work was shared: every consumer had some of it.
    assert all("stocks emitted" in services.errors(process) for process in scrapers)


def test_a_region_without_stocks_completes_with_zero(services):
    scraper = services.start("kafka_scraper_consumer.py", "--demo")
    assert services.run("kafka_scraper_producer.py", "--demo", "--regions", "is").returncode == 0
    settings = config.load(True, services.environment())
    assert settings.today() == MARKET_DAY, "ages count from the day of the demo's market"
    tally = Tally(settings.kafka)
    until(lambda: tally.poll() or (tally.newest() and tally.newest().scraping["completed"]), 60, "the completion")
    until(lambda: tally.poll() or (tally.newest() and tally.newest().scraping["completed"] == 1), 60, "the completion")
    assert [task.count for task in tally.newest().scraping.tasks.values()] == [0]
    assert not tally.newest().processing.tasks
    tally.close()
    assert scraper.poll() is None


def test_check_tests_everything_that_a_run_needs(terminal):
    works = terminal.run("run_pipeline.py", "--demo", "--check", "--stocks", "20")
    assert works.returncode == 0, works.stdout + works.stderr
    assert works.stdout.count("  ok  ") == 10
    assert re.search(r"ok +rates +300M to 2B USD = \d+M to 1\.\d+B EUR at 0\.\d+ of 2026-06-30\n", works.stdout), works.stdout
    broken = terminal.run("run_pipeline.py", "--check", YAHOO_BASE_URL="http://127.0.0.1:1", SCRAPER_BROWSER="/nowhere")
    assert broken.returncode == config.EXIT_SERVICE
    assert "FAIL  site" in broken.stdout
    assert "FAIL  browser" in broken.stdout
    assert "SCRAPER_BROWSER" in broken.stdout
    assert "one page    not tried" in broken.stdout
