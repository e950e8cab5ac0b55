"""SASL_SSL from settings alone, and what each wrong setting says: one line, exit code 3 (or 2), never a password."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

import config
from config import Kafka
from local.apache_kafka import ApacheKafka
from pipeline.broker import clients
from pipeline.errors import ServiceError
from tests.apache_kafka.conftest import Live, database_environment
from tests.conftest import quiet_port, until

PASSWORD = "right-and-telling"
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_pipeline="{PASSWORD}";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Authority:
    """An authority and, signed by it, the broker's certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.certificate = folder / "ca.crt"
        self.broker = folder / "broker.pem"
        new_key = ("openssl", "req", "-newkey", "rsa:2048", "-nodes")
        self._run(*new_key, "-x509", "-days", "2", "-subj", "/CN=made by a test", "-keyout", "ca.key", "-out", "ca.crt")
        self._run(*new_key, "-subj", "/CN=localhost", "-keyout", "broker.key", "-out", "broker.csr")
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        sign = ("openssl", "x509", "-req", "-in", "broker.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        self._run(*sign, "-days", "2", "-extfile", "names", "-out", "broker.crt")
        self.broker.write_text((folder / "broker.key").read_text() + (folder / "broker.crt").read_text())

    def _run(self, *command: str) -> None:
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True)


class Secured:
    def __init__(self, running: ApacheKafka, port: int, authority: Authority, strange: Authority) -> None:
        self.running = running
        self.strange = strange
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "pipeline",
            "KAFKA_SASL_PASSWORD": PASSWORD,
            "KAFKA_SSL_CAFILE": str(authority.certificate),
        }

    def settings(self, **changed: str) -> Kafka:
        environ = {name: value for name, value in {**self.environment, **changed}.items() if value}
        return config.load(environ=environ, env_file=Path("/nowhere")).kafka


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A broker that wants TLS and a user on one port; on another one it is open."""
    folder = tmp_path_factory.mktemp("secured")
    authority, strange = Authority(folder / "ours"), Authority(folder / "strange")
    port = quiet_port()
    running = ApacheKafka.start(
        Path(os.environ["TEST_KAFKA_HOME"]),
        folder / "data",
        folder / "broker.log",
        quiet_port(),
        {
            "listeners": f"SASL_SSL://127.0.0.1:{port}",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(authority.broker),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": PLAIN,
            "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": SCRAM,
        },
    )
    yield Secured(running, port, authority, strange)
    running.stop()


@pytest.fixture
def live(secured, terminal, tables):
    return Live(terminal, {**secured.environment, **database_environment(tables), "REQUESTS_PER_SECOND": "0"})


def test_the_whole_pipeline_runs_with_tls_and_a_login(live, start_market):
    site = start_market()
    done = live.run("run_pipeline.py", "--exit-when-done", "--json", "--regions", "fr,gb", YAHOO_BASE_URL=site.base_url)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["scraping"] == {"sent": 2, "completed": 2, "split": 0, "failed": 0, "pending": 0}
    assert (summary["processing"]["failed"], summary["processing"]["pending"]) == (0, 0)
    assert PASSWORD not in done.stdout + done.stderr
    for log in (live.terminal.home / "logs").rglob("*.log"):
        assert PASSWORD not in log.read_text(), log.name


def test_each_script_runs_with_it_in_its_own_terminal(live, start_market):
    site = start_market()
    workers = [live.start(f"kafka_{name}_consumer.py", YAHOO_BASE_URL=site.base_url) for name in ("scraper", "processing")]
    for worker in workers:
        until(lambda worker=worker: "ready" in live.terminal.errors(worker), 180, "a consumer that is ready")
    sent = live.run("kafka_scraper_producer.py", "--regions", "fr", YAHOO_BASE_URL=site.base_url)
    assert sent.returncode == 0, sent.stderr

    def done():
        shown = live.run("kafka_monitor.py", "--once", "--json")
        assert shown.returncode == 0, shown.stderr
        tallies = json.loads(shown.stdout)
        return tallies["processing"]["sent"] and not tallies["scraping"]["pending"] + tallies["processing"]["pending"]

    until(done, 180, "the end of the run")


def test_a_scram_user_can_log_in(secured):
    admin = clients.admin(Kafka(secured.running.bootstrap_servers))
    add_scram_user(admin, "scraper", PASSWORD)
    admin.close()
    settings = secured.settings(KAFKA_SASL_MECHANISM="SCRAM-SHA-256", KAFKA_SASL_USERNAME="scraper")

    def gets_in():  # the new user reaches the broker's copy of the metadata in a moment
        admin = clients.admin(settings)
        admin.close()
        return True

    until(gets_in, 60, "the user")


def add_scram_user(admin: KafkaAdminClient, user: str, password: str) -> None:
    admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_256, password)])


WRONG = [
    ({"KAFKA_SASL_PASSWORD": "wrong-and-telling"}, 3, "KAFKA_SASL_PASSWORD"),
    ({"KAFKA_SASL_MECHANISM": "SCRAM-SHA-256", "KAFKA_SASL_USERNAME": "nobody"}, 3, "KAFKA_SASL_USERNAME"),
    ({"KAFKA_SASL_MECHANISM": "SCRAM-SHA-512"}, 3, "KAFKA_SASL_MECHANISM"),
    ({"KAFKA_SSL_CAFILE": "strange"}, 3, "KAFKA_SSL_CAFILE"),
    ({"KAFKA_SSL_CAFILE": ""}, 3, "KAFKA_SSL_CAFILE (it is not set"),
    ({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, 3, "speaks TLS. Check KAFKA_SECURITY_PROTOCOL (it is PLAINTEXT)"),
    ({"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, 3, "speaks TLS. Check KAFKA_SECURITY_PROTOCOL (it is SASL_PLAINTEXT)"),
    ({"KAFKA_SECURITY_PROTOCOL": "SSL"}, 3, "it may want a user. Check KAFKA_SECURITY_PROTOCOL (it is SSL)"),
    ({"KAFKA_BOOTSTRAP_SERVERS": "open"}, 3, "does not speak TLS there, or not this one. Check the port, and KAFKA_SECURITY_PROTOCOL"),
    ({"KAFKA_BOOTSTRAP_SERVERS": "open", "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, 3, "asks for no user there"),
    ({"KAFKA_SSL_CAFILE": "/nowhere/ca.crt"}, 2, "KAFKA_SSL_CAFILE is '/nowhere/ca.crt': expected"),
    ({"KAFKA_SASL_PASSWORD": ""}, 2, "KAFKA_SASL_PASSWORD is missing"),
]


def test_a_wrong_setting_is_one_line_that_names_it(secured, terminal):
    """Two at once: what is no clear refusal is given the 8 s in which a broker may still answer."""
    places = {"strange": str(secured.strange.certificate), "open": secured.running.bootstrap_servers}

    def problem(changed, code, words):
        environ = {**secured.environment, **{name: places.get(value, value) for name, value in changed.items()}}
        started = time.monotonic()
        done = terminal.run("kafka_scraper_producer.py", **environ)
        late = time.monotonic() - started >= 20
        wrong = done.returncode != code or done.stderr.count("\n") != 1 or words not in done.stderr
        return (changed, late, done) if late or wrong or "telling" in done.stdout + done.stderr else None

    with ThreadPoolExecutor(2) as pool:
        assert [found for found in pool.map(problem, *zip(*WRONG, strict=True)) if found] == []


def test_a_refused_login_fails_without_waiting_for_the_time_out(secured):
    """By its certificate: on a busy machine a refused login may look like a lost connection, which is worth the whole wait."""
    for client in (clients.admin, clients.producer, clients.reader):
        started = time.monotonic()
        with pytest.raises(ServiceError, match="not trusted"):
            client(secured.settings(KAFKA_SSL_CAFILE=""))
        assert time.monotonic() - started < clients.REACH_SECONDS - 2


def test_every_script_reports_a_wrong_password(live, start_market):
    site = start_market()
    scripts = ("kafka_scraper_consumer.py", "kafka_processing_consumer.py", "kafka_monitor.py", "run_pipeline.py")
    with ThreadPoolExecutor(4) as pool:
        wrong = {"KAFKA_SASL_PASSWORD": "wrong-and-telling", "YAHOO_BASE_URL": site.base_url}
        results = dict(zip(scripts, pool.map(lambda script: live.run(script, **wrong), scripts), strict=True))
    for script, done in results.items():
        assert done.returncode == config.EXIT_SERVICE, (script, done.stderr)
        assert "KAFKA_SASL_PASSWORD" in done.stderr.splitlines()[-1], script
        assert "Traceback" not in done.stderr, script
        assert "telling" not in done.stdout + done.stderr, script
