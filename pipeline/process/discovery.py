"""Finds the services that a script needs if it was not started by the orchestrator."""

from __future__ import annotations

from dataclasses import replace

from config import Database, Kafka, Settings
from pipeline.broker import clients, topic_setup
from pipeline.errors import ServiceError

#: The broker's address if no setting gives one.
DEFAULT_SERVERS = "localhost:9092"
#: How the cluster ids of embedded brokers begin.
EMBEDDED_CLUSTER = "stocks-"


def find_broker(settings: Settings) -> Settings:
    """The settings, completed by the default broker's address if none is set.

    Raises ServiceError if a demo is asked for and none is running, or if the broker at localhost:9092 belongs to another folder or demo.
    """
    if settings.demo and not settings.kafka.bootstrap_servers:
        raise ServiceError("no demo is running. Start one in another terminal: python run_pipeline.py --demo --services")
    if settings.kafka.bootstrap_servers:
        return settings
    settings = replace(settings, kafka=replace(settings.kafka, bootstrap_servers=DEFAULT_SERVERS))
    if is_embedded(settings.kafka):
        raise ServiceError(
            f"the broker at {DEFAULT_SERVERS} is the embedded one of a demo or of another folder: add --demo to join this folder's "
            "demo, or set KAFKA_BOOTSTRAP_SERVERS"
        )
    return settings


def find_database(settings: Settings) -> Database:
    """The database's settings. Raises ServiceError if no database is known."""
    if not settings.database.name:
        if settings.demo:
            raise ServiceError("no demo is running. Start it in another terminal: python run_pipeline.py --demo --services")
        raise ServiceError(
            "no database is known. Set DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT (environment or .env), "
            "start one in another terminal: python run_pipeline.py --services, or add --demo to use the running demo's"
        )
    return settings.database


def find_broker_and_database(settings: Settings) -> Settings:
    """`find_broker`, and a check that a database is known. Raises ServiceError."""
    settings = find_broker(settings)
    find_database(settings)
    return settings


def is_embedded(kafka: Kafka) -> bool:
    """Whether some run_pipeline.py has embedded this broker. Other runs must not send their tasks to it.

    Raises ServiceError if nothing answers.
    """
    admin = clients.admin(kafka)
    try:
        with clients.reaching(kafka):
            return str(admin.describe_cluster().get("cluster_id", "")).startswith(EMBEDDED_CLUSTER)
    finally:
        admin.close()


def ensure_topics(settings: Settings) -> frozenset[str]:
    """Create the topics before any client uses them; those that were missing. Raises ServiceError if the broker is not reachable."""
    admin = clients.admin(settings.kafka)
    try:
        with clients.reaching(settings.kafka):
            return topic_setup.ensure(admin, settings.kafka)
    finally:
        admin.close()
