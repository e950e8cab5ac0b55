"""Which services a run needs, and what is said about one that does not answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import config
from config import Database, Kafka
from launch.services import Services, reach_site
from local.state import State
from pipeline.errors import ServiceError


def test_services_start_without_the_site_and_say_so_but_a_run_does_not_start(broker: Kafka, tables: Database, tmp_path: Path) -> None:
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


def test_no_proxy_stands_before_a_server_of_ones_own_and_a_dead_one_before_the_site_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://me:secret@127.0.0.1:1")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            reach_site(f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
    with pytest.raises(ServiceError, match=r"can't be reached by the proxy 127\.0\.0\.1:1 \(HTTPS_PROXY in the environment\)"):
        reach_site("")


def test_a_check_uses_the_services_that_are_running_in_its_folder(broker: Kafka, tables: Database, tmp_path: Path) -> None:
    environ = {"PIPELINE_HOME": str(tmp_path)}
    state = State.acquire(config.state_dir(True, environ))
    state.publish(
        {
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            **{"DB_DEV_NAME": tables.name, "DB_USER": tables.user, "DB_PASSWORD": tables.password},
            **{"DB_HOST": tables.host, "DB_PORT": str(tables.port), "YAHOO_BASE_URL": "http://127.0.0.1:1"},
        }
    )
    services = Services(config.load(True, environ, tmp_path / "none"), tmp_path / "logs", [].append)
    site, kafka, postgres = services.steps(join_running=True)
    with pytest.raises(ServiceError, match="the site http://127"):
        site.do()
    assert kafka.do() == f"{broker.bootstrap_servers} (of the services that are up)"
    assert postgres.do().endswith("(of the services that are up)")
    services.stop()
    assert state.services_file.exists(), "they belong to the other one"
    state.release()
