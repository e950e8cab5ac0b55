"""What `run_pipeline.py` makes of Docker, played by a program of the same name that is healthy, slow, broken or engine-less."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import config
from launch import compose
from launch.compose import start_compose
from launch.docker import compose_command
from pipeline.errors import ServiceError

#: Plays `docker`, its plugin `docker compose` and the program `docker-compose`. Files beside it say how: a file `broken` with
#: the engine's words, `looks` with the number of looks until ZooKeeper and then Kafka are healthy, and so on.
STAND_IN = """#!/bin/sh
here=$(dirname "$0")
if [ "$(basename "$0")" = docker-compose ]; then set -- compose "$@"; fi
echo "$*" >> "$here/calls"
case "$*" in
info)
    if [ -e "$here/no-engine" ]; then cat "$here/no-engine" >&2; exit 1; fi
    if [ -e "$here/hangs" ]; then exec sleep 60; fi ;;
"compose version")
    if [ -e "$here/no-plugin" ]; then echo "docker: unknown command: docker compose" >&2; exit 1; fi ;;
"compose up -d kafka")
    if [ -e "$here/broken" ]; then cat "$here/broken" >&2; exit 1; fi
    touch "$here/up" ;;
"compose up -d --no-deps kafka-ui")
    if [ -e "$here/no-ui" ]; then cat "$here/no-ui" >&2; exit 1; fi ;;
"compose ps -a -q")
    if [ -e "$here/up" ]; then echo z; echo k; fi ;;
inspect*)
    echo look >> "$here/looked"
    looked=$(wc -l < "$here/looked")
    needed=$(cat "$here/looks" 2>/dev/null || echo 0)
    for service in zookeeper kafka; do
        if [ "$looked" -gt "$needed" ]; then echo "$service running healthy"; else echo "$service running starting"; fi
        needed=$((needed * 2))
    done ;;
"compose logs --no-color --tail 10 "*)
    echo "the last words of $6" | sed "s/ $//" ;;
*)
    echo "the stand-in does not know: $*" >&2; exit 64 ;;
esac
"""


class Docker:
    """The stand-in, first on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program("docker")

    def program(self, name: str) -> None:
        path = self.folder / name
        path.write_text(STAND_IN)
        path.chmod(0o755)

    def plays(self, name: str, words: str = "") -> None:
        (self.folder / name).write_text(words)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(compose, "POLL_SECONDS", 0.02)
    return Docker(folder)


@pytest.fixture
def said() -> list[str]:
    return []


def command(said: list[str]) -> list[str]:
    found = compose_command(said.append)
    assert found is not None
    return found


def test_a_healthy_engine_starts_kafka_and_its_page(docker: Docker, said: list[str]) -> None:
    start_compose(command(said), said.append)
    assert said[0] == "starting Kafka by docker-compose.yml (its images are fetched the first time)…"
    assert said[-1] == "Kafka UI: http://localhost:8080, in a moment"
    assert "compose up -d kafka" in docker.calls
    assert docker.calls[-1] == "compose up -d --no-deps kafka-ui"


def test_a_slow_engine_is_reported_once_per_change(docker: Docker, said: list[str]) -> None:
    docker.plays("looks", "3")
    start_compose(command(said), said.append)
    waited = [line for line in said if line.startswith("waiting for")]
    assert waited == ["waiting for zookeeper (starting), kafka (starting)", "waiting for kafka (starting)"]


def test_the_error_of_a_refusing_engine_is_quoted(docker: Docker, said: list[str]) -> None:
    words = "Error response from daemon: Bind for 127.0.0.1:9092 failed: port is already allocated"
    docker.plays("broken", words)
    with pytest.raises(ServiceError, match=f"docker compose can't start Kafka: {words}"):
        start_compose(command(said), said.append)


def test_a_service_that_never_becomes_healthy_is_named_with_the_end_of_its_log(
    docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "HEALTHY_SECONDS", 0.1)
    docker.plays("looks", "1000")
    expected = (
        r"not ready after 0\.1 s\. not healthy: zookeeper \(starting\), kafka \(starting\)\nThe log of zookeeper ends with:\nthe last words"
    )
    with pytest.raises(ServiceError, match=expected):
        start_compose(command(said), said.append)


def test_an_engine_that_never_finishes_pulling_is_given_up(docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "FETCH_SECONDS", 0.1)
    docker.program("docker")
    (docker.folder / "docker").write_text(STAND_IN.replace('touch "$here/up"', "exec sleep 60"))
    with pytest.raises(ServiceError, match=r"not ready after 0\.1 s"):
        start_compose(["docker", "compose"], said.append)


def test_without_an_engine_the_run_goes_on_and_says_why(docker: Docker, said: list[str]) -> None:
    docker.plays("no-engine", "Cannot connect to the Docker daemon. Is the docker daemon running?")
    assert compose_command(said.append) is None
    assert said == [
        "Docker is installed, but its engine does not answer (Cannot connect to the Docker daemon. Is the docker daemon running?): "
        "continuing without it"
    ]


def test_a_hanging_engine_counts_as_no_engine(docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.docker.ENGINE_SECONDS", 0.2)
    docker.plays("hangs")
    assert compose_command(said.append) is None
    assert "no answer within 0.2 s" in said[0]


def test_without_docker_nothing_is_said(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compose_command(said.append) is None
    assert said == []


def test_docker_compose_1_is_used_if_the_plugin_is_missing(docker: Docker, said: list[str]) -> None:
    docker.plays("no-plugin")
    assert compose_command(said.append) is None
    assert "neither `docker compose` nor `docker-compose`" in said[0]
    docker.program("docker-compose")
    assert command(said) == [str(docker.folder / "docker-compose")]
    start_compose(command(said), said.append)
    assert said[-1].startswith("Kafka UI:")


def test_a_kafka_ui_that_cannot_start_does_not_stop_the_run(docker: Docker, said: list[str]) -> None:
    docker.plays("no-ui", "Bind for 127.0.0.1:8080 failed: port is already allocated")
    start_compose(command(said), said.append)
    assert said[-1] == "no Kafka UI, going on without it: Bind for 127.0.0.1:8080 failed: port is already allocated"


@pytest.fixture
def site() -> Iterator[str]:
    """Something that answers in the site's place."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_orchestrator_ends_with_exit_code_3_and_the_engines_output(docker: Docker, site: str, tmp_path: Path) -> None:
    docker.plays("broken", "Error response from daemon: no space left on device")
    # Port 1: nothing answers there, whatever else runs on this machine.
    code = "import launch.services, run_pipeline as r; launch.services.DEFAULT_SERVERS = 'localhost:1'; r.run_script(r.main)"
    done = subprocess.run(
        [sys.executable, "-c", code, "--exit-when-done"],
        cwd=config.PROJECT,
        env={**os.environ, "PIPELINE_HOME": str(tmp_path), "YAHOO_BASE_URL": site},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == config.EXIT_SERVICE, done.stderr
    assert "starting Kafka by docker-compose.yml" in done.stdout
    assert "docker compose can't start Kafka: Error response from daemon: no space left on device" in done.stderr
    assert "Traceback" not in done.stderr
