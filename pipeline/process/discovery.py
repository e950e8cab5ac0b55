"""Finding the services that a script needs, when it runs in a terminal of its own."""

from __future__ import annotations

from dataclasses import replace

from config import Database, Kafka, Settings
from pipeline.broker import clients, topic_setup
from pipeline.errors import ServiceError

#: Where a broker is looked for when nothing is set.
DEFAULT_SERVERS = "localhost:9092"
#: How the cluster ids of embedded brokers begin.
EMBEDDED_CLUSTER = "stocks-"


def find_broker(settings: Settings) -> Settings:
    """The settings with a broker in them: the one that is set, else localhost:9092.

    Raises ServiceError if a demo is asked for and none is up, or if the broker at localhost:9092 is embedded elsewhere.
    """
    if settings.demo and not settings.kafka.bootstrap_servers:
        raise ServiceError("no demo is up. Start it in another terminal: python run_pipeline.py --demo --services")
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
    """Where the database is. Raises ServiceError if none is known."""
    if not settings.database.name:
        raise ServiceError(
            "no database is known. Set DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT (environment or .env), "
            "or start one in another terminal: python run_pipeline.py --services"
        )
    return settings.database


def find_broker_and_database(settings: Settings) -> Settings:
    """As `find_broker`, and the database is known too. Raises ServiceError as both do."""
    settings = find_broker(settings)
    find_database(settings)
    return settings


def is_embedded(kafka: Kafka) -> bool:
    """Whether it is a broker that some run_pipeline.py has embedded: tasks of others have no business there.

    Raises ServiceError if nothing answers.
    """
    admin = clients.admin(kafka)
    try:
        with clients.reaching(kafka):
            return str(admin.describe_cluster().get("cluster_id", "")).startswith(EMBEDDED_CLUSTER)
    finally:
        admin.close()


def ensure_topics(settings: Settings) -> None:
    """Create the topics before any client names them. Raises ServiceError if the broker isn't there."""
    admin = clients.admin(settings.kafka)
    try:
        with clients.reaching(settings.kafka):
            topic_setup.ensure(admin, settings.kafka)
    finally:
        admin.close()
