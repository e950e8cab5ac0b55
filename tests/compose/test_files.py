"""What the compose files say must agree with what the program expects: addresses, replication, settings, images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import config
from config import Kafka, names
from pipeline.process.discovery import DEFAULT_SERVERS
from pipeline.wire import topics

PROJECT = config.PROJECT
FILES = ("docker-compose.yml", "docker-compose.cluster.yml")
#: `${NAME:-default}`
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


def read(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(PROJECT / name)


def filled(text: object, **values: str) -> str:
    """A value of the file as Compose fills it in."""
    return VARIABLE.sub(lambda found: values.get(found[1]) or found[2] or "", str(text))


@pytest.fixture
def single() -> dict[str, Any]:
    return read("docker-compose.yml")["services"]


@pytest.fixture
def cluster() -> dict[str, Any]:
    return read("docker-compose.cluster.yml")["services"]


def listeners(service: dict[str, Any], name: str) -> dict[str, str]:
    return dict(part.split("://") for part in service["environment"][name].split(","))


@pytest.mark.parametrize("name", FILES)
def test_the_compose_files_match_their_schema(name: str) -> None:
    program = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([program, "--builtin-schema", "vendor.compose-spec", PROJECT / name], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_every_image_is_pinned_and_every_port_on_loopback(name: str) -> None:
    for service, options in read(name)["services"].items():
        if "build" not in options:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", options["image"]), service
        assert all(str(port).startswith("127.0.0.1:") for port in options.get("ports", [])), service


@pytest.mark.parametrize("name", FILES)
def test_every_service_but_the_consumers_has_a_health_check_and_each_waits_for_the_hosts_that_it_names(name: str) -> None:
    services = read(name)["services"]
    for service, options in services.items():
        # A consumer listens on no port, nothing waits for it, and it ends by itself if something is wrong.
        assert ("healthcheck" in options) != (options.get("image") == "stock-pipeline-worker"), service
        settings = " ".join(filled(value) for value in options["environment"].values())
        named = {other for other in services if re.search(rf"\b{other}:\d", settings)} - {service}
        # The cluster's brokers name each other, and start together.
        needed = set() if "KAFKA_CONTROLLER_QUORUM_VOTERS" in options["environment"] else named
        waits = options.get("depends_on", {})
        assert waits.keys() == needed, service
        assert all(how["condition"] == "service_healthy" for how in waits.values()), service


@pytest.mark.parametrize("name", FILES)
def test_the_used_volumes_are_exactly_the_declared_ones(name: str) -> None:
    document = read(name)
    used = {volume.split(":")[0] for options in document["services"].values() for volume in options.get("volumes", [])}
    assert used == set(document["volumes"])


def test_the_usual_services_have_their_usual_ports(single: dict[str, Any]) -> None:
    usual = {name: options["ports"] for name, options in single.items() if "profiles" not in options}
    assert usual == {"zookeeper": ["127.0.0.1:2181:2181"], "kafka": ["127.0.0.1:9092:9092"], "kafka-ui": ["127.0.0.1:8080:8080"]}


def test_kafka_advertises_the_address_that_the_program_uses(single: dict[str, Any]) -> None:
    said = listeners(single["kafka"], "KAFKA_ADVERTISED_LISTENERS")
    assert said["HOST"] == DEFAULT_SERVERS
    assert single["kafka-ui"]["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"] == said["INSIDE"]
    worker = single["scraper"]["environment"]
    assert filled(worker["KAFKA_BOOTSTRAP_SERVERS"]) == said["INSIDE"]
    assert single["kafka"]["environment"]["KAFKA_ZOOKEEPER_CONNECT"] == "zookeeper:2181"


def test_one_broker_is_enough_for_the_default_replication(single: dict[str, Any]) -> None:
    environment = single["kafka"]["environment"]
    assert Kafka().replication_factor == 1
    assert {environment[name] for name in environment if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))} == {1}


@pytest.mark.parametrize("name", FILES)
def test_only_the_program_creates_topics_and_they_accept_its_largest_message(name: str) -> None:
    brokers = [options for options in read(name)["services"].values() if "KAFKA_LISTENERS" in options.get("environment", {})]
    assert brokers
    for options in brokers:
        assert options["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        # The topics ask for a limit of their own; a broker's must not be set below it.
        assert int(options["environment"].get("KAFKA_MESSAGE_MAX_BYTES", topics.LARGEST_MESSAGE_BYTES)) >= topics.LARGEST_MESSAGE_BYTES


def test_postgresql_has_the_settings_of_the_env_file(single: dict[str, Any]) -> None:
    postgres = single["postgres"]
    assert postgres["profiles"] == ["postgres"]
    variables = {name: VARIABLE.search(value)[1] for name, value in postgres["environment"].items()}
    assert variables == {"POSTGRES_DB": "DB_DEV_NAME", "POSTGRES_USER": "DB_USER", "POSTGRES_PASSWORD": "DB_PASSWORD"}
    assert filled(postgres["ports"][0], DB_PORT="5433") == "127.0.0.1:5433:5432"
    assert filled(postgres["ports"][0]) == f"127.0.0.1:{config.Database().port}:5432"


def test_every_variable_has_a_default_and_is_in_the_example() -> None:
    example = (PROJECT / ".env.example").read_text()
    for name in FILES:
        # Without a default, a file without .env would not even start the services that don't need the variable.
        text = re.sub(r"^\s*#.*$", "", (PROJECT / name).read_text(), flags=re.MULTILINE).replace("$$", "")
        assert not re.findall(r"\$(?!\{\w+:-)", text)
        for variable, default in VARIABLE.findall(text):
            line = re.search(rf"^#{variable}=(.*)$", example, re.MULTILINE)
            assert line, variable
            # A user's own database has no default that would mean anything to another.
            assert variable.startswith("DB_") or line[1] == default, variable


def test_the_containers_get_every_setting_that_a_consumer_reads(single: dict[str, Any]) -> None:
    # Bands are the producer's, the image has its own browser and folder, and KAFKA_HOME is for run_pipeline.py.
    others = re.compile(r"MARKET_CAP_|SCRAPER_(BROWSER|DRIVER|HEADLESS)|PIPELINE_HOME|KAFKA_HOME")
    wanted = {name for name in names.OTHERS if not others.match(name)}
    assert wanted <= single["scraper"]["environment"].keys() | single["processor"]["environment"].keys()


def test_workers_read_no_password_from_the_image(single: dict[str, Any]) -> None:
    for name in ("scraper", "processor"):
        assert single[name]["profiles"] == ["workers"]
        assert VARIABLE.search(single[name]["environment"]["DB_PASSWORD"])[1] == "DB_PASSWORD"
        assert single[name]["cap_drop"] == ["ALL"]
    assert ".env" in (PROJECT / ".dockerignore").read_text().split()


def test_the_cluster_survives_the_loss_of_any_node(cluster: dict[str, Any]) -> None:
    nodes = {name: options for name, options in cluster.items() if name != "kafka-ui"}
    assert list(nodes) == ["kafka-1", "kafka-2", "kafka-3"]
    for options in nodes.values():
        environment = options["environment"]
        assert {environment[name] for name in environment if name.endswith("REPLICATION_FACTOR")} == {3}
        assert {environment[name] for name in environment if name.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS"))} == {2}
        assert environment["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
    voters = nodes["kafka-1"]["environment"]["KAFKA_CONTROLLER_QUORUM_VOTERS"]
    assert voters == ",".join(f"{options['environment']['KAFKA_NODE_ID']}@{name}:29093" for name, options in nodes.items())
    assert len({options["environment"]["CLUSTER_ID"] for options in nodes.values()}) == 1


def test_each_node_is_reached_at_its_advertised_address(cluster: dict[str, Any]) -> None:
    outside, inside = [], []
    for name, options in cluster.items():
        if name == "kafka-ui":
            continue
        said, listens = listeners(options, "KAFKA_ADVERTISED_LISTENERS"), listeners(options, "KAFKA_LISTENERS")
        port = said["HOST"].partition(":")[2]
        assert options["ports"] == [f"127.0.0.1:{port}:{port}"]
        assert listens["HOST"].endswith(f":{port}")
        outside.append(said["HOST"])
        inside.append(said["INSIDE"])
    assert inside == cluster["kafka-ui"]["environment"]["KAFKA_CLUSTERS_0_BOOTSTRAPSERVERS"].split(",")
    settings = (PROJECT / "docker-compose.cluster.yml").read_text()
    assert f"KAFKA_BOOTSTRAP_SERVERS={','.join(outside)}" in settings
    assert "KAFKA_REPLICATION_FACTOR=3" in settings


@pytest.mark.parametrize("name", FILES)
def test_kafka_ui_asks_for_a_login_and_changes_nothing(name: str) -> None:
    """Its version answers requests of every origin: without a login a page of any site could read the topics."""
    environment = read(name)["services"]["kafka-ui"]["environment"]
    assert environment["AUTH_TYPE"] == "LOGIN_FORM"
    assert environment["SPRING_SECURITY_USER_NAME"]
    # Handed on if it is set, left out if not (one is made then): a default would be a password that everybody knows, or an empty one.
    assert environment["SPRING_SECURITY_USER_PASSWORD"] is None
    assert environment["KAFKA_CLUSTERS_0_READONLY"] == "true"
    assert not any("DYNAMIC" in variable for variable in environment)


def test_actions_are_named_by_commit_with_their_version_beside_it() -> None:
    text = (PROJECT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (\S+)(.*)", text)
    assert used
    for action, beside in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"  # v\d+\.\d+\.\d+", beside), action
    assert "-latest" not in text


def test_movable_versions_are_explained_and_watched_for_updates() -> None:
    assert "by digest" in (PROJECT / "Dockerfile").read_text()
    assert "by digest" in (PROJECT / "docker-compose.yml").read_text()
    updates = YAML(typ="safe").load(PROJECT / ".github" / "dependabot.yml")["updates"]
    assert {one["package-ecosystem"] for one in updates} >= {"github-actions", "docker", "docker-compose", "pip"}
