"""What users meet first: wrong settings, services that aren't there, Ctrl+C, a second run beside the first."""

import os
import re
import signal
import socket
import time

import pytest

import config
from pipeline import kafka_clients, topics
from tests.conftest import until

NOWHERE = "127.0.0.1:1"
SCRIPTS = ("kafka_scraper_producer.py", "kafka_scraper_consumer.py", "kafka_processing_consumer.py", "kafka_monitor.py")


@pytest.mark.parametrize("script", [*SCRIPTS, "run_pipeline.py"])
def test_a_broker_that_is_not_there_is_exit_code_3_within_10_seconds(terminal, script):
    started = time.monotonic()
    done = terminal.run(
        script, KAFKA_BOOTSTRAP_SERVERS=NOWHERE, DB_DEV_NAME="x", DB_USER="x", DB_PORT="1", YAHOO_BASE_URL="http://127.0.0.1:1"
    )
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert time.monotonic() - started < 15
    assert "--demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_accepts_and_says_nothing_is_exit_code_3(terminal):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        done = terminal.run("kafka_scraper_producer.py", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("script", SCRIPTS)
def test_without_a_demo_the_scripts_say_how_to_start_one(terminal, script):
    done = terminal.run(script, "--demo")
    assert done.returncode == config.EXIT_SERVICE
    assert "python run_pipeline.py --demo --services" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--regions", "xx"], "'xx'"),
        (["--regions", ","], "--regions"),
        (["--market-cap-min", "2B", "--market-cap-max", "300M"], "above"),
        (["--market-cap-min", "plenty"], "'plenty'"),
        (["--processors", "many"], "many"),
        (["--latency-ms", "5"], "--demo"),
        (["--demo", "--faults", "nonsense=1"], "nonsense"),
    ],
)
def test_bad_arguments_are_exit_code_2_and_name_the_value(terminal, arguments, words):
    done = terminal.run("run_pipeline.py", *arguments)
    assert done.returncode == config.EXIT_SETTINGS, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_setting_is_one_line(terminal):
    done = terminal.run("kafka_monitor.py", MAX_ATTEMPTS="many")
    assert done.returncode == config.EXIT_SETTINGS
    assert done.stderr.strip().count("\n") == 0
    assert "MAX_ATTEMPTS is 'many'" in done.stderr


def test_a_missing_browser_is_said_before_anything_starts(terminal):
    done = terminal.run("run_pipeline.py", "--demo", SCRAPER_BROWSER="/nowhere/chromium")
    assert done.returncode == config.EXIT_SERVICE
    assert "SCRAPER_BROWSER" in done.stderr
    assert "/nowhere/chromium" in done.stderr


def test_a_site_that_is_not_there_names_the_demo(terminal):
    done = terminal.run("run_pipeline.py", YAHOO_BASE_URL="http://127.0.0.1:1")
    assert done.returncode == config.EXIT_SERVICE
    assert "http://127.0.0.1:1 can't be reached" in done.stderr
    assert "--demo" in done.stderr


def test_a_wrong_password_is_one_line_without_the_password(services):
    settings = services.demo_settings()
    environ = {
        name: settings[name] for name in ("KAFKA_BOOTSTRAP_SERVERS", "DB_DEV_NAME", "DB_USER", "DB_HOST", "DB_PORT", "YAHOO_BASE_URL")
    }
    for script in ("kafka_scraper_consumer.py", "kafka_processing_consumer.py", "run_pipeline.py"):
        done = services.run(script, **environ, DB_PASSWORD="wrong-and-telling")
        assert done.returncode == config.EXIT_SERVICE, done.stderr
        assert "password authentication failed" in done.stderr
        assert "DB_PASSWORD" in done.stderr
        assert "wrong-and-telling" not in done.stderr + done.stdout


def test_a_second_run_beside_the_first_names_its_process(services):
    done = services.run("run_pipeline.py", "--demo")
    assert done.returncode == config.EXIT_SERVICE
    assert str(services.open[0].pid) in done.stderr


def test_a_live_script_does_not_join_the_demo_by_accident(services):
    port = services.demo_settings()["KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2]
    if port != "9092":
        pytest.skip("port 9092 is taken by another broker on this machine")
    done = services.run("kafka_scraper_producer.py")
    assert done.returncode == config.EXIT_SERVICE
    assert "is the demo's" in done.stderr


def test_bytes_that_are_no_task_go_to_the_dead_letters_and_the_worker_goes_on(services):
    settings = config.load(True, services.environment())
    producer = kafka_clients.producer(settings.kafka)
    poison = [b"not json", b"[]", b'{"task_id": NaN}', b'{"x": 1e999}', b"\xff", b"x" * 1_000_000]
    for raw in poison:
        producer.send(topics.PROCESSING_TASKS, key=b"poison", value=raw)
        producer.send(topics.SCRAPING_TASKS, key=b"poison", value=raw)
    producer.flush()
    producer.close()
    services.start("kafka_scraper_consumer.py", "--demo")
    services.start("kafka_processing_consumer.py", "--demo")
    reader = kafka_clients.reader(settings.kafka)
    reader.assign(kafka_clients.partitions_of(reader, [topics.PROCESSING_DEAD_LETTERS, topics.SCRAPING_DEAD_LETTERS]))
    letters = []

    def all_there():
        for records in reader.poll(100).values():
            letters.extend(records)
        return len(letters) >= 2 * len(poison)

    until(all_there, 60, "the dead letters")
    reader.close()
    for topic in (topics.PROCESSING_DEAD_LETTERS, topics.SCRAPING_DEAD_LETTERS):
        assert sorted(record.value for record in letters if record.topic == topic) == sorted(poison)
    headers = dict(letters[0].headers)
    assert headers["error-type"] == b"MessageError"
    assert headers["original-topic"] in (b"stock-processing-tasks", b"stock-scraping-tasks")


def start_demo(terminal, *more):
    return terminal.start("run_pipeline.py", "--demo", "--stocks", "60", "--latency-ms", "2000", *more)


@pytest.mark.parametrize("moment", ["services", "children", "work"])
def test_ctrl_c_at_any_moment_leaves_nothing_and_the_next_run_starts_at_once(terminal, moment):
    process = start_demo(terminal)
    wait_for(terminal, process, moment)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == config.EXIT_INTERRUPTED, terminal.errors(process)
    until(lambda: not terminal.processes(), 5, "the end of all processes")
    assert config.lock_holder(config.state_dir(True, terminal.environment())) is None


@pytest.mark.parametrize("moment", ["services", "work"])
def test_sigkill_of_the_orchestrator_leaves_nothing_and_the_next_run_starts_at_once(terminal, moment):
    process = start_demo(terminal)
    wait_for(terminal, process, moment)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not terminal.processes(), 20, "the end of all processes")
    again = terminal.run("run_pipeline.py", "--demo", "--exit-when-done", "--stocks", "20", "--regions", "fr")
    assert again.returncode == 0, again.stderr


def wait_for(terminal, process, moment):
    words = {"services": "site: local market", "children": "logs:", "work": r"processing \d+/\d+ .*[1-9]\d* pending"}[moment]
    until(lambda: re.search(words, terminal.output(process)) or process.poll() is not None, 60, moment)
    assert process.poll() is None, terminal.errors(process)
