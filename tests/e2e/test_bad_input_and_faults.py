"""What users meet first: wrong settings, services that aren't there, Ctrl+C, a second run beside the first."""

import json
import signal
import socket
import threading
import time

import pytest

import config
from pipeline.broker import clients, positions
from pipeline.broker.patient import partitions_of
from pipeline.wire import topics
from tests.conftest import until

NOWHERE = "127.0.0.1:1"
SCRIPTS = ("kafka_scraper_producer.py", "kafka_scraper_consumer.py", "kafka_processing_consumer.py", "kafka_monitor.py")


def test_a_missing_broker_is_exit_code_3_within_10_seconds(terminal):
    environ = {"KAFKA_BOOTSTRAP_SERVERS": NOWHERE, "DB_DEV_NAME": "x", "DB_USER": "x", "DB_PORT": "1"}
    started = time.monotonic()
    processes = {script: terminal.start(script, **environ) for script in SCRIPTS}
    for script, process in processes.items():
        assert process.wait(60) == config.EXIT_SERVICE, (script, terminal.errors(process))
        assert "--demo" in terminal.errors(process), script
        assert "Traceback" not in terminal.errors(process), script
    assert time.monotonic() - started < 45, "four at once, on a machine that may be busy; one alone takes 8 s"


@pytest.mark.parametrize("script", [*SCRIPTS, "run_pipeline.py", "kafka_dead_letters.py", "kafka_ui.py", "export_ratios.py"])
def test_the_scripts_say_how_to_install_missing_packages(terminal, script):
    done = terminal.run("-S", script)  # -S: without site-packages
    assert done.returncode == config.EXIT_SETTINGS
    assert "is not installed" in done.stderr
    assert "make setup" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_orchestrator_reports_a_missing_broker(terminal):
    with socket.create_server(("127.0.0.1", 0)) as site:
        threading.Thread(target=_answer_404, args=(site,), daemon=True).start()
        done = terminal.run("run_pipeline.py", KAFKA_BOOTSTRAP_SERVERS=NOWHERE, YAHOO_BASE_URL=f"http://127.0.0.1:{site.getsockname()[1]}")
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert f"Kafka at {NOWHERE} can't be reached" in done.stderr


def _answer_404(server):
    with server.accept()[0] as connection:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_a_silent_broker_is_exit_code_3(terminal):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        done = terminal.run("kafka_scraper_producer.py", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{silent.getsockname()[1]}")
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert time.monotonic() - started < 45, "it says so after 10 s, on a machine that is not busy"


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


def test_a_missing_browser_is_reported_before_anything_starts(terminal):
    done = terminal.run("run_pipeline.py", "--demo", SCRAPER_BROWSER="/nowhere/chromium")
    assert done.returncode == config.EXIT_SERVICE
    assert "SCRAPER_BROWSER" in done.stderr
    assert "/nowhere/chromium" in done.stderr


def test_the_error_for_an_unreachable_site_mentions_the_demo(terminal):
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


def test_a_process_started_with_nohup_outlives_its_terminal(terminal):
    run = terminal.start("run_pipeline.py", "--demo", "--services", "--stocks", "20", inside=["nohup"])
    until(lambda: terminal.demo_is_up() or run.poll() is not None, 60, "the services")
    consumer = terminal.start("kafka_processing_consumer.py", "--demo", inside=["nohup"])
    until(lambda: "ready" in terminal.errors(consumer) or consumer.poll() is not None, 60, "the consumer")
    for process in (consumer, run):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)  # were that the second signal, it would end at once
        assert process.wait(60) == config.EXIT_DONE, terminal.errors(process)


def test_a_second_run_names_the_process_of_the_first(services):
    done = services.run("run_pipeline.py", "--demo")
    assert done.returncode == config.EXIT_SERVICE
    assert str(services.open[0].pid) in done.stderr


def test_a_live_script_does_not_join_the_demo_by_accident(services):
    port = services.demo_settings()["KAFKA_BOOTSTRAP_SERVERS"].rpartition(":")[2]
    if port != "9092":
        pytest.skip("port 9092 is taken by another broker on this machine")
    done = services.run("kafka_scraper_producer.py")
    assert done.returncode == config.EXIT_SERVICE
    assert "is the embedded one" in done.stderr


def test_a_consumer_whose_browser_fails_after_joining_ends_and_leaves_the_task_alone(services, tmp_path):
    driver = tmp_path / "driver"
    driver.write_text("#!/bin/sh\nsleep 8\n")
    driver.chmod(0o755)
    settings = config.load(True, services.environment())
    assert services.run("kafka_scraper_producer.py", "--demo", "--regions", "fr").returncode == 0
    before = positions.high_watermarks(settings.kafka, [topics.SCRAPING_RETRIES, topics.SCRAPING_ERRORS])
    done = services.run("kafka_scraper_consumer.py", "--demo", SCRAPER_DRIVER=str(driver))
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert "does not start" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    counted = json.loads(services.run("kafka_monitor.py", "--demo", "--once", "--json").stdout)
    assert counted["scraping"] == {"sent": 1, "completed": 0, "split": 0, "failed": 0, "pending": 1}
    assert positions.high_watermarks(settings.kafka, [topics.SCRAPING_RETRIES, topics.SCRAPING_ERRORS]) == before, "no attempt"


def test_bytes_that_are_not_a_task_become_a_dead_letter_and_the_worker_goes_on(services):
    settings = config.load(True, services.environment())
    producer = clients.producer(settings.kafka)
    poison = [b"not json", b"[]", b'{"task_id": NaN}', b'{"x": 1e999}', b"\xff", b"x" * 1_000_000]
    for raw in poison:
        producer.send(topics.PROCESSING_TASKS, key=b"poison", value=raw)
        producer.send(topics.SCRAPING_TASKS, key=b"poison", value=raw)
    producer.flush()
    producer.close()
    services.start("kafka_scraper_consumer.py", "--demo")
    services.start("kafka_processing_consumer.py", "--demo")
    reader = clients.reader(settings.kafka)
    reader.assign(partitions_of(reader, [topics.PROCESSING_DEAD_LETTERS, topics.SCRAPING_DEAD_LETTERS]))
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
