"""Finding the services that a script needs, when it runs in a terminal of its own."""

from __future__ import annotations

from dataclasses import replace

from config import Kafka, Settings
from pipeline.broker import clients, topic_setup
from pipeline.errors import ServiceError

#: Where a broker is looked for when nothing is set.
DEFAULT_SERVERS = "localhost:9092"
#: How the cluster ids of embedded brokers begin.
EMBEDDED_CLUSTER = "stocks-"


def found(settings: Settings, database: bool = True) -> Settings:
    """The settings with a broker (those set, else localhost:9092) and, if wanted, a database in them.

    Raises ServiceError where a demo is asked for and none is up, or where no database is known.
    """
    if settings.demo and not settings.kafka.bootstrap_servers:
        raise ServiceError("no demo is up. Start it in another terminal: python run_pipeline.py --demo --services")
    if not settings.kafka.bootstrap_servers:
        settings = replace(settings, kafka=replace(settings.kafka, bootstrap_servers=DEFAULT_SERVERS))
        if is_embedded(settings.kafka):
            raise ServiceError(
                f"the broker at {DEFAULT_SERVERS} is the embedded one of a demo or of another folder: add --demo to join this folder's "
                "demo, or set KAFKA_BOOTSTRAP_SERVERS"
            )
    if database and not settings.database.name:
        raise ServiceError(
            "no database is known. Set DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT (environment or .env), "
            "or start one in another terminal: python run_pipeline.py --services"
        )
    return settings


def is_embedded(kafka: Kafka) -> bool:
    """Whether it is a broker that some run_pipeline.py has embedded: tasks of others have no business there.

    Raises ServiceError where nothing answers.
    """
    admin = clients.admin(kafka)
    try:
        with clients.reaching(kafka):
            return str(admin.describe_cluster().get("cluster_id", "")).startswith(EMBEDDED_CLUSTER)
    finally:
        admin.close()


def ensure_topics(settings: Settings) -> None:
    """Create the topics before any client names them. Raises ServiceError where the broker isn't there."""
    admin = clients.admin(settings.kafka)
    try:
        with clients.reaching(settings.kafka):
            topic_setup.ensure(admin, settings.kafka)
    finally:
        admin.close()
