import fcntl
import os
from datetime import date, datetime, timedelta, timezone

import pytest

import config
from config import SettingsError


def load(tmp_path, env_text="", demo=False, **environ):
    env_file = tmp_path / ".env"
    env_file.write_text(env_text)
    return config.load(demo, {"PIPELINE_HOME": str(tmp_path), **environ}, env_file)


def publish(tmp_path, which, text):
    """Services that are up: their settings, and the lock that makes them count."""
    folder = tmp_path / ".pipeline" / which
    folder.mkdir(parents=True)
    (folder / "services.env").write_text(text)
    lock = open(folder / "lock", "w")  # noqa: SIM115
    lock.write(str(os.getpid()))
    lock.flush()
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_the_environment_comes_before_the_file_and_the_file_before_the_default(tmp_path):
    settings = load(tmp_path, "MAX_ATTEMPTS=3\nPROCESSOR_THREADS=7\n", MAX_ATTEMPTS="4")
    assert (settings.max_attempts, settings.processor_threads, settings.market_cap_max) == (4, 7, "2B")


def test_a_group_comes_whole_from_one_place(tmp_path):
    settings = load(tmp_path, "DB_DEV_NAME=mine\nDB_USER=me\nDB_PASSWORD=secret\n", DB_DEV_NAME="other", DB_USER="you")
    assert (settings.database.name, settings.database.password, settings.database.source) == ("other", "", "environment")
    assert "secret" not in repr(settings)


def test_partitions_are_no_sign_of_a_users_own_brokers(tmp_path):
    settings = load(tmp_path, "KAFKA_TASK_PARTITIONS=6\n")
    assert (settings.kafka.bootstrap_servers, settings.kafka.task_partitions) == ("", 6)


@pytest.mark.parametrize("name", ["KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS"])
def test_what_an_installed_apache_kafka_sets_for_itself_is_no_setting_of_this_program(tmp_path, name):
    assert load(tmp_path, **{name: "-Xmx1G"}).kafka.source == "default"
    settings = load(tmp_path, "KAFKA_BOOTSTRAP_SERVERS=mine:9092\n", **{name: "-Xmx1G"})
    assert (settings.kafka.bootstrap_servers, settings.kafka.source) == ("mine:9092", ".env"), "nor does it hide those of .env"


def test_services_that_are_up_are_found(tmp_path):
    lock = publish(tmp_path, "live", "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9093\n")
    assert load(tmp_path).kafka.bootstrap_servers == "127.0.0.1:9093"
    assert load(tmp_path, KAFKA_BOOTSTRAP_SERVERS="mine:9092").kafka.bootstrap_servers == "mine:9092"
    lock.close()
    assert load(tmp_path).kafka.bootstrap_servers == "", "the settings of services whose owner is gone count for nothing"


def test_the_demo_never_sees_the_users_own_services(tmp_path):
    text = "KAFKA_BOOTSTRAP_SERVERS=mine:9092\nDB_DEV_NAME=mine\nDB_USER=me\nYAHOO_BASE_URL=http://mine\nKAFKA_TASK_PARTITIONS=6\n"
    settings = load(tmp_path, text, demo=True)
    assert (settings.kafka.bootstrap_servers, settings.database.name, settings.yahoo_base_url) == ("", "", "")
    assert settings.kafka.task_partitions == 24
    with publish(
        tmp_path, "demo", "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1\nDB_DEV_NAME=demo\nDB_USER=demo\nYAHOO_BASE_URL=http://127.0.0.1:2\n"
    ):
        settings = load(tmp_path, text, demo=True, DB_DEV_NAME="mine", DB_USER="me")
        assert (settings.kafka.bootstrap_servers, settings.database.name) == ("127.0.0.1:1", "demo")
        assert settings.yahoo_base_url == "http://127.0.0.1:2"


def test_ages_count_from_the_utc_date_or_from_the_day_that_is_set(tmp_path):
    assert abs(load(tmp_path).today() - datetime.now(timezone.utc).date()) <= timedelta(days=1)
    assert load(tmp_path, PIPELINE_TODAY="2026-06-30").today() == date(2026, 6, 30)
    assert load(tmp_path, "PIPELINE_TODAY=2026-06-30\n", PIPELINE_TODAY="").today() == date(2026, 6, 30)


def test_a_demo_counts_ages_from_its_markets_day_not_from_the_users(tmp_path):
    with publish(tmp_path, "demo", "PIPELINE_TODAY=2026-06-30\n"):
        assert load(tmp_path, demo=True, PIPELINE_TODAY="2020-01-01").today() == date(2026, 6, 30)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PIPELINE_TODAY", "yesterday", "a day such as 2026-06-30"),
        ("MAX_ATTEMPTS", "many", "a whole number from 1"),
        ("MAX_ATTEMPTS", "0", "a whole number from 1"),
        ("PROCESSOR_THREADS", "1.5", "a whole number from 1"),
        ("SPLIT_ABOVE", "0", "a whole number from 1"),
        ("REQUESTS_PER_SECOND", "nan", "a number from 0"),
        ("SCRAPER_HEADLESS", "maybe", "true or false"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:0", "host:port"),
        ("KAFKA_TASK_PARTITIONS", "-1", "a whole number from 1"),
        ("FUNDAMENTALS_SOURCE", "both", "one of timeseries, public"),
        ("YAHOO_BASE_URL", "yahoo", "an address such as"),
        ("YAHOO_BASE_URL", "file:///etc/passwd", "an address such as"),
        ("DB_DEV_NAME", "alone", "the database's name and user"),
        ("KAFKA_SASL_USERNAME", "alone", "host:port"),
    ],
)
def test_a_bad_value_names_the_setting_and_what_is_expected(tmp_path, name, value, expected):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, **{name: value})
    assert expected in str(error.value)
    assert name in str(error.value)


def test_every_setting_has_its_line_in_the_example():
    text = (config.PROJECT / ".env.example").read_text()
    source = (config.PROJECT / "config.py").read_text()
    import re

    names = set(re.findall(r'"((?:KAFKA|DB|SCRAPER|MARKET|PROCESSOR|MAX|REQUESTS|YAHOO|PIPELINE|FUNDAMENTALS)_[A-Z_]+[A-Z])"', source))
    assert names
    assert [name for name in sorted(names) if f"#{name}=" not in text] == []
