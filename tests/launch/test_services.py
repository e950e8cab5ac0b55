"""Which services a run needs, and what is said about one that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from config import Database, Kafka
from launch.services import Services
from pipeline.errors import ServiceError


def test_services_for_other_terminals_start_without_the_site_and_say_so_but_a_run_does_not(
    broker: Kafka, tables: Database, tmp_path: Path
) -> None:
    settings = config.load(
        environ={
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            **{"DB_DEV_NAME": tables.name, "DB_USER": tables.user, "DB_PASSWORD": tables.password},
            **{"DB_HOST": tables.host, "DB_PORT": str(tables.port)},
            **{"YAHOO_BASE_URL": "http://127.0.0.1:1", "PIPELINE_HOME": str(tmp_path)},
        },
        env_file=tmp_path / "none",
    )
    said: list[str] = []
    services = Services.start(settings, tmp_path / "logs", [], said.append, site_needed=False)
    services.stop()
    assert said[0].startswith("site: the site http://127.0.0.1:1 can't be reached")
    assert said[0].endswith("The services start without it; producer and consumers will need it")
    assert [line.partition(":")[0] for line in said] == ["site", "Kafka", "PostgreSQL"]
    with pytest.raises(ServiceError, match=r"the site http://127\.0\.0\.1:1 can't be reached"):
        Services.start(settings, tmp_path / "logs", [], said.append)
