"""Runs beside and after one another: fresh stocks, runs that were given up."""

import json
import signal

import pytest

import config
from local.services import Market
from pipeline import database, kafka_clients, messages, topics
from pipeline.messages import ProcessingTask
from tests.conftest import until
from tests.e2e.conftest import last_json, rows, shows_work


def test_a_repeated_run_skips_stocks_whose_ratios_are_young(terminal):
    command = ("run_pipeline.py", "--demo", "--exit-when-done", "--json", "--stocks", "20", "--regions", "fr,gb")
    first = last_json(terminal.run(*command).stdout)
    second = last_json(terminal.run(*command, "--max-age", "24h").stdout)
    assert "fresh" not in first["processing"]
    assert second["processing"]["fresh"] == first["processing"]["completed"]
    assert second["processing"]["no_data"] == first["processing"]["no_data"]
    assert second["processing"]["sent"] == first["processing"]["sent"]
    assert (second["processing"]["pending"], second["ratio_rows"]) == (0, 0)


def test_tasks_of_a_run_that_was_given_up_are_completed_without_being_done(services):
    settings = config.load(True, services.environment())
    run_id = messages.new_run_id()
    connection = services.database()
    database.create_tables(connection)
    database.write(connection, [database.Write(runs=[database.Run(run_id, ("us",), 1, 2)])])
    assert database.newest_unfinished_run(connection).run_id == run_id
    assert database.abandon_unfinished_runs(connection, messages.new_run_id()) == [run_id]
    assert database.newest_unfinished_run(connection) is None
    producer = kafka_clients.producer(settings.kafka)
    for symbol in ("A", "B"):
        task = ProcessingTask(run_id, symbol, "", "us")
        producer.send(topics.PROCESSING_TASKS, key=task.key.encode(), value=messages.pending(task))
    producer.flush()
    producer.close()
    services.start("kafka_processing_consumer.py", "--demo")

    def summary():
        return json.loads(services.run("kafka_monitor.py", "--demo", "--once", "--json", "--run", run_id).stdout)

    until(lambda: summary()["processing"].get("abandoned") == 2, 60, "two abandoned tasks")
    assert summary()["processing"] == {"sent": 2, "completed": 0, "no_data": 0, "failed": 0, "abandoned": 2, "pending": 0}
    assert rows(connection, "SELECT count(*) FROM financial_ratios") == [(0,)]
    connection.close()


def test_resume_takes_up_the_newest_unfinished_run_where_it_stood(terminal, own_broker, tables):
    """With services that outlive the orchestrator; on the embedded ones nothing is left to resume."""
    if own_broker.source == "embedded":
        pytest.skip("the embedded broker can't serve as a broker of one's own for several runs: see make test-kafka")
    market = Market.start(terminal.home / "market.log", ["--stocks", "60", "--latency-ms", "1000"])
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers,
        "DB_DEV_NAME": tables.name,
        "DB_USER": tables.user,
        "DB_PASSWORD": tables.password,
        "DB_HOST": tables.host,
        "DB_PORT": str(tables.port),
        "YAHOO_BASE_URL": market.base_url,
        "REQUESTS_PER_SECOND": "0",
    }
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
