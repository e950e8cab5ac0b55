"""Runs beside and after one another: fresh stocks, runs that were given up."""

import json
import signal
from datetime import date

import pytest

import config
from kafka_scraper_producer import ScraperProducer
from launch.market_process import MarketProcess
from local.market.regions import MARKET_DAY, quoted_rate
from pipeline.broker import clients, positions
from pipeline.runs.account_reader import Tally
from pipeline.storage import database, run_table, schema
from pipeline.storage import rows as stored_rows
from pipeline.wire import messages, topics
from pipeline.wire.bands import WantedBand, converted
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.regions import RegionBand
from tests.conftest import until
from tests.e2e.conftest import last_json, rows, shows_work, values_of


def test_a_repeated_run_skips_stocks_with_recent_ratios(terminal):
    command = ("run_pipeline.py", "--demo", "--exit-when-done", "--json", "--stocks", "20", "--regions", "fr,gb")
    first = last_json(terminal.run(*command).stdout)
    second = last_json(terminal.run(*command, "--max-age", "24h").stdout)
    assert "fresh" not in first["processing"]
    assert second["processing"]["fresh"] == first["processing"]["completed"]
    assert second["processing"]["no_data"] == first["processing"]["no_data"]
    assert second["processing"]["sent"] == first["processing"]["sent"]
    assert (second["processing"]["pending"], second["ratio_rows"]) == (0, 0)


def test_tasks_of_an_abandoned_run_are_completed_without_being_done(services):
    settings = config.load(True, services.environment())
    run_id = messages.new_run_id()
    connection = services.database()
    schema.create_tables(connection)
    stored_rows.write(connection, [stored_rows.Write(runs=[run_table.Run(run_id, ("us",), 1, 2)])])
    assert run_table.newest_unfinished_run(connection).run_id == run_id
    assert run_table.abandon_unfinished_runs(connection, messages.new_run_id()) == [run_id]
    assert run_table.newest_unfinished_run(connection) is None
    producer = clients.producer(settings.kafka)
    for symbol in ("A", "B"):
        task = ProcessingTask(run_id, symbol, "", "us")
        producer.send(topics.PROCESSING_TASKS, key=task.key.encode(), value=messages.pending(task))
    producer.flush()
    producer.close()
    services.start("kafka_processing_consumer.py", "--demo")

    def summary():
        return json.loads(services.run("kafka_monitor.py", "--demo", "--once", "--json", "--run", run_id).stdout)

    until(lambda: summary()["processing"].get("abandoned") == 2, 60, "two abandoned tasks")
    assert summary()["processing"] == {
        "sent": 2,
        "completed": 0,
        "no_data": 0,
        "failed": 0,
        "abandoned": 2,
        "pending": 0,
        "fetched": 0,
        "stored": 0,
    }
    assert rows(connection, "SELECT count(*) FROM financial_ratios") == [(0,)]
    connection.close()


@pytest.fixture
def outlasting(own_broker, tables):
    """Settings of services that outlive the orchestrator; on the embedded ones nothing is left to resume."""
    if own_broker.source == "embedded":
        pytest.skip("the embedded broker can't serve as a broker of one's own for several runs: see make test-kafka")
    return {
        "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers,
        "DB_DEV_NAME": tables.name,
        "DB_USER": tables.user,
        "DB_PASSWORD": tables.password,
        "DB_HOST": tables.host,
        "DB_PORT": str(tables.port),
        "REQUESTS_PER_SECOND": "0",
    }


def test_resume_continues_the_newest_unfinished_run_where_it_stopped(terminal, outlasting, tables):
    market = MarketProcess.start(terminal.home / "market.log", ["--stocks", "60", "--latency-ms", "1000"])
    environ = {**outlasting, "YAHOO_BASE_URL": market.base_url}
    try:
        command = ("run_pipeline.py", "--exit-when-done", "--json")
        first = terminal.start(*command, **environ)
        until(lambda: shows_work(terminal.errors(first)), 90, "some work")
        first.send_signal(signal.SIGKILL)
        first.wait()
        until(lambda: not [command for command in terminal.processes().values() if "kafka_" in command], 20, "the end of its children")
        resumed = terminal.run(*command, "--resume", **environ)
        assert resumed.returncode == 0, resumed.stderr
        summary = last_json(resumed.stdout)
        assert f"resuming {summary['run_id']}" in resumed.stderr
        assert summary["run_id"] in terminal.errors(first), "the same run"
        assert summary["scraping"]["completed"] == 5
        assert summary["processing"]["sent"] == 60
        assert summary["processing"]["pending"] == 0
        connection = database.connect(tables)
        assert rows(connection, "SELECT run_id, status FROM pipeline_run") == [(summary["run_id"], "completed")]
        connection.close()
        again = terminal.run(*command, "--resume", "--regions", "fr", **environ)
        assert "no unfinished run to resume" in again.stderr
        assert again.returncode == 0
    finally:
        terminal.end_processes()
        market.stop()


def test_resume_sends_exactly_the_unsent_bands_of_a_regions_file(terminal, outlasting, own_broker, tables):
    """The orchestrator died after two of four: what it was to send is known from the database, not from this command."""
    market = MarketProcess.start(terminal.home / "market.log", ["--stocks", "60"])
    environ = {**outlasting, "YAHOO_BASE_URL": market.base_url}
    bands = [(300, 600), (600, 1000), (1000, 2000)]
    # In euros, two of them made of dollars at the rate of that day; and one in its own currency.
    wanted = [WantedBand(low * 10**6, high * 10**6, "USD", 0.9, date(2026, 6, 29)) for low, high in bands[:2]]
    tasks = [RegionBand("fr", *converted(one.low, one.high, one.rate), one) for one in wanted]
    tasks += [RegionBand("fr", 1_000_000_000, 2_000_000_000), RegionBand("gb", 300_000_000, 2_000_000_000)]
    (terminal.home / "other.txt").write_text("de\nfr 5B 6B\n")
    run_id = messages.new_run_id()
    connection = database.connect(tables)
    try:
        run = run_table.Run(run_id, ("fr", "gb"), 300_000_000, 2_000_000_000, tuple(tasks))
        stored_rows.write(connection, [stored_rows.Write(countries={"fr": "France", "gb": "United Kingdom"}, runs=[run])])
        producer = ScraperProducer(config.load(environ=environ), run_id, len(tasks))
        for task in (tasks[0], tasks[2]):
            producer.send(task)
        producer.close()
        command = ("run_pipeline.py", "--exit-when-done", "--json", "--resume", "--regions-file", str(terminal.home / "other.txt"))
        resumed = terminal.run(*command, **environ)
        assert resumed.returncode == 0, resumed.stderr
        assert f"run {run_id} continues with its own regions and bands" in resumed.stderr
        summary = last_json(resumed.stdout)
        assert (summary["run_id"], summary["regions"]) == (run_id, ["fr", "gb"])
        assert summary["scraping"] == {"sent": 4, "completed": 4, "split": 0, "failed": 0, "pending": 0}
        assert sum(positions.high_watermarks(own_broker, [topics.SCRAPING_TASKS]).values()) == 4, "none was sent twice"
        tally = Tally(own_broker, run_id)
        assert tally.read_to_now()
        assert set(tally.newest().scraping.tasks) == {f"scrape:{run_id}:{code}:{low}-{high}" for code, low, high, _ in tasks}
        tally.close()
        sent = [messages.scraping_task(value) for value in values_of(own_broker, topics.SCRAPING_TASKS)]
        assert {task.wanted for task in sent} == {*wanted, None}, "at the rates of the run's own day"

        # Of a run of an older version what it was to send is not known, and nothing is guessed.
        old = run_table.Run(messages.new_run_id(), ("us",), 300_000_000, 2_000_000_000)
        stored_rows.write(connection, [stored_rows.Write(runs=[old])])
        refused = terminal.run(*command, **environ)
        assert refused.returncode == config.EXIT_SERVICE
        assert f"run {old.run_id} can't be resumed: no task was sent for us" in refused.stderr
    finally:
        connection.close()
        terminal.end_processes()
        market.stop()


def test_the_tasks_of_a_run_are_stored_before_they_are_sent(terminal, tmp_path):
    path = tmp_path / "daily.txt"
    path.write_text("gb 300M 1B local\ngb 1B 2B GBP\nus\nfr 300M 2B usd\n")
    process = terminal.start("run_pipeline.py", "--demo", "--stocks", "20", "--regions-file", str(path))
    until(lambda: "the run is done" in terminal.output(process) or process.poll() is not None, 90, "the end of the run")
    connection = terminal.database()
    ((tasks, low, high),) = rows(connection, "SELECT tasks, market_cap_min, market_cap_max FROM pipeline_run")
    assert (low, high) == (3e8, 2e9)
    day = MARKET_DAY.isoformat()
    usd = {"min": 300_000_000, "max": 2_000_000_000, "currency": "USD"}
    rate = quoted_rate("USD", "EUR", MARKET_DAY)
    assert tasks[:3] == [
        ["gb", 300_000_000, 1_000_000_000],
        ["gb", 1_000_000_000, 2_000_000_000, {"min": 10**9, "max": 2 * 10**9, "currency": "GBP", "rate": 1.0, "rate_day": day}],
        ["us", 300_000_000, 2_000_000_000, {**usd, "rate": 1.0, "rate_day": day}],
    ]
    code, low, high, wanted = tasks[3]
    assert (code, low, high) == ("fr", *converted(300_000_000, 2_000_000_000, rate))
    assert wanted == {**usd, "rate": rate, "rate_day": day}
    assert rows(connection, "SELECT day::text, rate FROM fx_rate WHERE pair = 'USDEUR'") == [(day, rate)]
    connection.close()


def test_a_region_without_an_exchange_rate_ends_the_run_before_anything_is_sent(terminal):
    done = terminal.run("run_pipeline.py", "--demo", "--exit-when-done", "--stocks", "20", "--regions", "fr,ve")
    assert done.returncode == config.EXIT_SERVICE
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("run_pipeline.py: ")]
    assert "no exchange rate for USDVES" in line
    assert "--market-cap-currency local" in line
    assert not list(terminal.home.glob("logs/*/producer.log"))
