"""Which services a run needs, and what is said about one that does not answer."""

from __future__ import annotations

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import config
from config import Database, Kafka
from launch.services import Services, reach_site
from local.postgres import Postgres
from local.postgres_place import remove_data
from local.state import State
from pipeline.errors import ServiceError
from pipeline.process.ports import free_port, is_free
from tests.conftest import until


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


def test_a_dead_database_is_started_again_once_its_port_is_free(tmp_path: Path) -> None:
    """As another demo does that starts in the same second, a listener takes the port. The workers know no other one."""
    state = State.acquire(tmp_path / "demo")
    said: list[str] = []
    services = Services(config.load(environ={}, env_file=tmp_path / "none"), tmp_path / "logs", said.append, state=state)
    services.postgres = Postgres.start(state.data_dir, tmp_path / "logs" / "postgres.log", free_port(27_000))
    try:
        port = int(services.postgres.settings["DB_PORT"])
        os.kill(services.postgres.process_id, signal.SIGKILL)
        until(lambda: services.postgres is not None and not services.postgres.is_alive() and is_free(port), 20, "the server's end")
        with socket.create_server(("127.0.0.1", port)):
            services.revive()
            services.revive()
            assert not services.all_alive()
            assert len(said) == 2
            assert said[-1].startswith(f"another program has taken port {port}: PostgreSQL is started again when it is free")
        services.revive()
        assert services.all_alive()
        assert int(services.postgres.settings["DB_PORT"]) == port
    finally:
        services.stop()
        remove_data(state.data_dir)


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
