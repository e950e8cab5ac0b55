"""Topics with fewer replicas than `min.insync.replicas` take no message at all: that is said at the start, not found by a stall."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ConfigResource, ConfigResourceType, ResourcePattern, ResourceType

import config
from config import Kafka
from local.apache_kafka import ApacheKafka
from pipeline.broker import clients, topic_setup
from pipeline.errors import ServiceError
from pipeline.wire import topics
from tests.apache_kafka.conftest import database_environment
from tests.conftest import emptied, quiet_port, until

PASSWORD = "of-a-test"
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_limited="{PASSWORD}";'


@pytest.fixture(scope="module")
def limited_port():
    return quiet_port()


@pytest.fixture(scope="module")
def demanding(tmp_path_factory, limited_port):
    """A broker whose topics want two replicas; on a second port its users have no rights but those that they are given."""
    folder = tmp_path_factory.mktemp("demanding")
    running = ApacheKafka.start(
        Path(os.environ["TEST_KAFKA_HOME"]),
        folder / "data",
        folder / "broker.log",
        quiet_port(),
        {
            "min.insync.replicas": "2",
            "listeners": f"SASL_PLAINTEXT://127.0.0.1:{limited_port}",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": PLAIN,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        },
    )
    yield running
    running.stop()


@pytest.fixture
def settings(demanding):
    return emptied(demanding)


@pytest.fixture
def admin(settings):
    admin = clients.admin(settings)
    yield admin
    admin.close()


def pipeline_topics(admin):
    return [name for name in admin.list_topics() if name in topics.ALL]


def test_topics_that_could_not_be_written_are_not_created(settings, admin):
    with pytest.raises(ServiceError, match=r"min\.insync\.replicas is 2 .* Set KAFKA_REPLICATION_FACTOR=3$") as caught:
        topic_setup.ensure(admin, settings)
    assert "\n" not in str(caught.value)
    assert pipeline_topics(admin) == []


def test_existing_topics_are_judged_by_their_own_settings(settings, admin):
    resource = ConfigResource(ConfigResourceType.TOPIC, topics.PROCESSING_TASKS, {"min.insync.replicas": "2"})
    for name in topics.ALL:
        own = {"min.insync.replicas": "1"}
        admin.create_topics({name: {"num_partitions": topics.partitions(name, settings), "replication_factor": 1, "configs": own}})
    until(lambda: set(pipeline_topics(admin)) == set(topics.ALL), 60, "all topics")
    topic_setup.ensure(admin, settings)
    admin.alter_configs([resource])
    with pytest.raises(ServiceError, match=r"^every write to stock-processing-tasks would be refused .*KAFKA_REPLICATION_FACTOR=3$"):
        topic_setup.ensure(admin, settings)


@pytest.mark.parametrize("script", ["run_pipeline.py", "kafka_scraper_producer.py"])
def test_a_script_ends_with_exit_code_3_and_one_line(settings, terminal, tables, start_market, script):
    servers = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "YAHOO_BASE_URL": start_market().base_url}
    done = terminal.run(script, "--regions", "fr", seconds=60, **servers, **database_environment(tables))
    assert done.returncode == config.EXIT_SERVICE
    lines = [line for line in done.stderr.splitlines() if "min.insync.replicas" in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert lines[0].endswith("Set KAFKA_REPLICATION_FACTOR=3")
    assert "Traceback" not in done.stderr


def test_a_client_that_may_not_read_the_settings_goes_on(settings, admin, limited_port):
    admin.create_acls(
        [
            ACL("User:limited", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "*"))
            for operation in (ACLOperation.CREATE, ACLOperation.DESCRIBE, ACLOperation.WRITE)
        ]
    )
    limited = Kafka(
        bootstrap_servers=f"127.0.0.1:{limited_port}",
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="limited",
        sasl_password=PASSWORD,
        source="environment",
    )
    theirs = clients.admin(limited)
    topic_setup.ensure(theirs, limited)
    theirs.close()
    assert set(pipeline_topics(admin)) == set(topics.ALL)
