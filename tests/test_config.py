import fcntl
import os
import re
import subprocess
import sys
from datetime import date, datetime, timedelta, timezone

import pytest

import config
from config import SettingsError, names


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


def test_a_group_of_settings_is_taken_from_one_place_only(tmp_path):
    settings = load(tmp_path, "DB_DEV_NAME=mine\nDB_USER=me\nDB_PASSWORD=secret\n", DB_DEV_NAME="other", DB_USER="you")
    assert (settings.database.name, settings.database.password, settings.database.source) == ("other", "", "environment")
    assert "secret" not in repr(settings)


def test_a_partition_setting_does_not_imply_the_users_own_brokers(tmp_path):
    settings = load(tmp_path, "KAFKA_TASK_PARTITIONS=6\n")
    assert (settings.kafka.bootstrap_servers, settings.kafka.task_partitions) == ("", 6)


@pytest.mark.parametrize("name", ["KAFKA_HEAP_OPTS", "KAFKA_OPTS", "KAFKA_LOG4J_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS"])
def test_variables_of_an_installed_apache_kafka_are_not_settings_of_this_program(tmp_path, name):
    assert load(tmp_path, **{name: "-Xmx1G"}).kafka.source == "default"
    settings = load(tmp_path, "KAFKA_BOOTSTRAP_SERVERS=mine:9092\n", **{name: "-Xmx1G"})
    assert (settings.kafka.bootstrap_servers, settings.kafka.source) == ("mine:9092", ".env"), "nor does it hide those of .env"


def test_running_services_are_found(tmp_path):
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
        ("MAX_ATTEMPTS", "٣", "a whole number from 1"),
        ("KAFKA_TASK_PARTITIONS", "1_000", "a whole number from 1"),
        ("REQUESTS_PER_SECOND", "1e1", "a number from 0"),
        ("MAX_ATTEMPTS", "0", "a whole number from 1"),
        ("PROCESSOR_THREADS", "1.5", "a whole number from 1"),
        ("SPLIT_ABOVE", "0", "a whole number from 1"),
        ("REQUESTS_PER_SECOND", "nan", "a number from 0"),
        ("SCRAPER_HEADLESS", "maybe", "true or false"),
        ("SCRAPER_USER_AGENT", "Mözilla/5.0", "printable ASCII"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:0", "host:port"),
        ("KAFKA_TASK_PARTITIONS", "-1", "a whole number from 1"),
        ("FUNDAMENTALS_SOURCE", "both", "one of timeseries, public"),
        ("YAHOO_BASE_URL", "yahoo", "an address such as"),
        ("YAHOO_BASE_URL", "file:///etc/passwd", "an address such as"),
        ("DB_DEV_NAME", "alone", "set DB_DEV_NAME and DB_USER"),
        ("KAFKA_SASL_USERNAME", "alone", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "http://localhost:9092", "without a protocol"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092,PLAINTEXT://kafka:9092", "without a protocol"),
        ("KAFKA_BOOTSTRAP_SERVERS", "user@kafka:9092", "without a protocol"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka..example:9092", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092/topic", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "one:9092 two:9092", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka:٩٠٩٢", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", " , ", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "::1:9092", "an IPv6 address in brackets"),
        ("KAFKA_BOOTSTRAP_SERVERS", "[::1:9092", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "[kafka]:9092", "host:port"),
        ("YAHOO_BASE_URL", "http://[::1", "an address such as"),
        ("YAHOO_BASE_URL", "http://localhost:many", "an address such as"),
    ],
)
def test_a_bad_value_names_the_setting_and_what_is_expected(tmp_path, name, value, expected):
    with pytest.raises(SettingsError) as error:
        load(tmp_path, **{name: value})
    assert expected in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("servers", ["[::1]:9092", "10.0.0.1:9092,kafka-2.example:9093", "bücher.example:9092"])
def test_names_and_addresses_of_both_ip_versions_are_valid_servers(tmp_path, servers):
    assert load(tmp_path, KAFKA_BOOTSTRAP_SERVERS=servers).kafka.bootstrap_servers == servers


@pytest.mark.parametrize(
    "host", ["`db`", "${HOST}", "postgres://db.example", "http://db.example", "db.example:5432", "me@db.example", "db.example/stocks"]
)
def test_a_database_host_is_nothing_but_a_host(tmp_path, host):
    with pytest.raises(SettingsError, match=r"DB_HOST is .* without a protocol"):
        load(tmp_path, DB_DEV_NAME="stocks", DB_USER="me", DB_HOST=host)


@pytest.mark.parametrize(
    ("host", "read"), [("::1", "::1"), ("[::1]", "::1"), ("/var/run/postgresql", None), ("one.example,10.0.0.2", None)]
)
def test_a_database_is_reached_by_name_address_or_socket(tmp_path, host, read):
    assert load(tmp_path, DB_DEV_NAME="stocks", DB_USER="me", DB_HOST=host).database.host == (read or host)


@pytest.mark.parametrize("value", ["a\nb", "a\x1b[31mb", "caf\udce9", "a\u202eb"])
def test_values_that_no_service_can_use_are_refused_without_being_shown(tmp_path, value):
    with pytest.raises(SettingsError, match="DB_PASSWORD contains a control or invisible character") as error:
        load(tmp_path, DB_DEV_NAME="stocks", DB_USER="me", DB_PASSWORD=value)
    assert "\n" not in str(error.value)
    assert value not in str(error.value)


GOOD = b"DB_DEV_NAME=stocks\nDB_USER=me\n"
BROKEN = {
    "UTF-16": ("DB_PASSWORD=secret\n".encode("utf-16"), "is in UTF-16: save it as UTF-8"),
    "UTF-16 without its mark": ("DB_PASSWORD=secret\n".encode("utf-16-le"), "line 1: contains NUL bytes"),
    "Latin-1": (GOOD + "DB_PASSWORD=sécret\n".encode("latin-1"), "line 3: not in UTF-8"),
    "a NUL": (GOOD + b"DB_PASSWORD=sec\0ret\n", "line 3: contains NUL bytes"),
    "a quote that does not close": (GOOD + b"DB_PASSWORD='secret\nDB_HOST=db\n", "line 3: expected NAME=value, and every quote"),
    "a quote that closes lines later": (GOOD + b"DB_PASSWORD='secret\nDB_HOST='\n", "the value of DB_PASSWORD contains a line break"),
    "text behind a quote": (GOOD + b"DB_PASSWORD='sec'ret\n", "line 3: expected NAME=value"),
    "a colon": (b"\n# mine\nDB_PASSWORD: secret\n", "line 3: expected NAME=value"),
    "a colon without a space": (b"DB_PASSWORD:secret\n", "line 1: expected NAME=value"),
    "a colon before a value with =": (b"DB_PASSWORD: secret=1\n", "line 1: expected NAME=value"),
    "a name alone": (b"DB_PASSWORD\n", "line 1: expected NAME=value"),
    "JSON": (b'{"DB_PASSWORD": "secret"}', "line 1: expected NAME=value"),
    "a section": (b"[database]\nDB_PASSWORD=secret\n", "line 1: expected NAME=value"),
    "two values of one name": (GOOD + b"DB_USER=you\n", "line 3: DB_USER has another value in line 2"),
    "a mark within": (GOOD + b"\xef\xbb\xbfDB_PASSWORD=secret\n", "line 3: expected NAME=value"),
    "too long": (b"#" * 1_000_001, "larger than 1,000,000 bytes"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_env_file_is_one_line_with_the_place_and_without_its_values(tmp_path, name):
    raw, expected = BROKEN[name]
    (tmp_path / ".env").write_bytes(raw)
    with pytest.raises(SettingsError) as error:
        config.load(False, {"PIPELINE_HOME": str(tmp_path)}, tmp_path / ".env")
    assert expected in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/.env")
    assert "\n" not in str(error.value)
    assert "ret" not in str(error.value), "a password in a message"


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "link to nothing"])
def test_a_path_that_is_not_an_env_file_is_one_line(tmp_path, kind):
    path = tmp_path / ".env"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else tmp_path / "nowhere")
    with pytest.raises(SettingsError, match=r"^[^\n]*\.env (is|can't be read)[^\n]*$"):
        config.load(False, {"PIPELINE_HOME": str(tmp_path)}, path)


@pytest.mark.parametrize(
    "raw",
    [
        "DB_USER=me\nDB_DEV_NAME=x\n".encode("utf-8-sig"),
        b"export DB_USER=me\r\nDB_DEV_NAME = x # here\r\n",
        b"DB_USER='me'\rDB_DEV_NAME=x\rDB_HOST=\r",
    ],
)
def test_the_usual_styles_of_env_files_are_read(tmp_path, raw):
    (tmp_path / ".env").write_bytes(raw)
    found = config.load(False, {"PIPELINE_HOME": str(tmp_path)}, tmp_path / ".env").database
    assert (found.user, found.name, found.host) == ("me", "x", "localhost")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DB_PASWORD", "DB_PASSWORD"),
        ("DB_PASS", "DB_PASSWORD"),
        ("DB_NAME", "DB_DEV_NAME"),
        ("db_user", "DB_USER"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_BROKERS", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CAFILE"),
        ("MAX_ATTEMPT", "MAX_ATTEMPTS"),
    ],
)
def test_a_misspelled_name_in_the_file_is_reported_with_the_right_one(tmp_path, name, meant):
    with pytest.raises(SettingsError, match=rf"line 1: {name} is not a setting: did you mean {meant}\?"):
        load(tmp_path, f"{name}=secret\n")


def test_other_names_in_the_file_are_errors_only_if_they_resemble_database_settings(tmp_path):
    load(
        tmp_path, "COMPOSE_PROJECT_NAME=x\nWORKERS_DB_HOST=db\nSPRING_SECURITY_USER_NAME=me\nKAFKA_HEAP_OPTS=-Xmx1G\nPOSTGRES_PASSWORD=x\n"
    )
    with pytest.raises(SettingsError, match="DB_DATABASE is not a setting: expected one of DB_DEV_NAME"):
        load(tmp_path, "DB_DATABASE=stocks\n")
    with pytest.raises(SettingsError, match="PG_BIN_DIR has no effect here: set it in the environment"):
        load(tmp_path, "PG_BIN_DIR=/opt/pg/bin\n")


def test_a_misspelled_environment_variable_is_an_error_but_those_of_other_programs_are_not(tmp_path):
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVER in the environment is not a setting: did you mean KAFKA_B"):
        load(tmp_path, KAFKA_BOOTSTRAP_SERVER="mine:9092")
    load(tmp_path, KAFKA_PORT="tcp://10.0.0.1:9092", KAFKA_SERVICE_HOST="10.0.0.1", KAFKA_OPTS="-X", LOG_FORMAT="json", PGPASSWORD="x")


def test_invalid_band_bounds_are_reported_by_setting_name(tmp_path):
    with pytest.raises(SettingsError, match="MARKET_CAP_MAX is '2 billion': expected a number followed by"):
        load(tmp_path, MARKET_CAP_MAX="2 billion")
    with pytest.raises(SettingsError, match="MARKET_CAP_MIN is '3B': expected at most MARKET_CAP_MAX, which is 2B"):
        load(tmp_path, MARKET_CAP_MIN="3B")


def test_a_value_is_checked_even_if_it_is_not_used_yet(tmp_path):
    with pytest.raises(SettingsError, match="KAFKA_SASL_MECHANISM is 'OTHER': expected one of"):
        load(tmp_path, KAFKA_BOOTSTRAP_SERVERS="mine:9092", KAFKA_SASL_MECHANISM="OTHER")


@pytest.mark.parametrize(
    ("name", "value"), [("YAHOO_BASE_URL", "http://me:secret@yahoo:1"), ("KAFKA_BOOTSTRAP_SERVERS", "me:secret@kafka:9092")]
)
def test_no_password_in_an_address_is_shown(tmp_path, name, value):
    with pytest.raises(SettingsError, match=f"{name} is '…@") as error:
        load(tmp_path, **{name: value})
    assert "secret" not in str(error.value)


def test_the_home_may_be_set_in_the_file_and_is_the_same_from_any_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    env_file = tmp_path / ".env"
    env_file.write_text("PIPELINE_HOME=~/state\n")
    assert config.load(False, {}, env_file).state_dir == tmp_path / "state" / ".pipeline" / "live"
    assert config.load(True, {"PIPELINE_HOME": "state"}, env_file).log_dir == config.PROJECT / "state" / "logs"
    with pytest.raises(SettingsError, match="PIPELINE_HOME is '~nobody-of-this-name/x': expected a path whose ~"):
        load(tmp_path, PIPELINE_HOME="~nobody-of-this-name/x")
    with pytest.raises(SettingsError, match="KAFKA_HOME is '~nobody-of-this-name/x': expected a path whose ~"):
        load(tmp_path, KAFKA_HOME="~nobody-of-this-name/x")


def test_every_setting_has_a_line_in_the_example():
    text = (config.PROJECT / ".env.example").read_text()
    every = {*names.OURS, *names.COMPOSE, *names.ENVIRONMENT_ONLY}
    assert set(re.findall(r"^#([A-Z_]+)=", text, re.MULTILINE)) == every


def test_importing_the_settings_neither_exits_nor_prints_even_without_the_packages():
    program = "try:\n  import config\nexcept ImportError as error:\n  assert error.name == 'dotenv'"
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=config.PROJECT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
