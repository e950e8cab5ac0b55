"""Finding the services that a script needs, when it runs in a terminal of its own."""

from __future__ import annotations

from dataclasses import replace

import config
from config import Settings
from pipeline import kafka_clients, topics
from pipeline.errors import ServiceError

#: Where a broker is looked for when nothing is set.
DEFAULT_SERVERS = "localhost:9092"


def found(settings: Settings, database: bool = True) -> Settings:
    """The settings with a broker (those set, else localhost:9092) and, if wanted, a database in them.

    Raises ServiceError where a demo is asked for and none is up, or where no database is known.
    """
    if settings.demo and not settings.kafka.bootstrap_servers:
        raise ServiceError("no demo is up. Start it in another terminal: python run_pipeline.py --demo --services")
    if not settings.kafka.bootstrap_servers:
        if is_demo_broker(DEFAULT_SERVERS):
            raise ServiceError(f"the broker at {DEFAULT_SERVERS} is the demo's: add --demo to join it, or set KAFKA_BOOTSTRAP_SERVERS")
        settings = replace(settings, kafka=replace(settings.kafka, bootstrap_servers=DEFAULT_SERVERS))
    if database and not settings.database.name:
        raise ServiceError(
            "no database is known. Set DB_DEV_NAME, DB_USER, DB_PASSWORD, DB_HOST and DB_PORT (environment or .env), "
            "or start one in another terminal: python run_pipeline.py --services"
        )
    return settings


def is_demo_broker(servers: str) -> bool:
    """Whether `servers` (localhost:PORT) is the embedded broker of a demo that is up: live tasks have no business there."""
    demo = config.embedded_services(config.state_dir(demo=True)).get("KAFKA_BOOTSTRAP_SERVERS", "")
    return bool(demo) and demo.rpartition(":")[2] == servers.rpartition(":")[2]


def ensure_topics(settings: Settings) -> None:
    """Create the topics before any client names them. Raises ServiceError where the broker isn't there."""
    admin = kafka_clients.admin(settings.kafka)
    try:
        with kafka_clients.reaching(settings.kafka):
            topics.ensure(admin, settings.kafka)
    finally:
        admin.close()
