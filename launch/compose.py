"""Starts Kafka by docker-compose.yml, and waits until it is healthy. Errors quote the engine's own output."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import IO

import config
from launch import docker
from launch.docker import Say
from pipeline.errors import ServiceError

#: Seconds in which the images must be fetched and the containers started. A slow connection takes minutes.
FETCH_SECONDS = 900.0
#: Seconds after that in which the services must be healthy. The file's own health checks give up earlier.
HEALTHY_SECONDS = 180.0
#: Seconds between two looks at the containers.
POLL_SECONDS = 1.0
#: Services of the file that a run needs. The others are optional.
NEEDED = ("zookeeper", "kafka")


def start_compose(command: list[str], say: Say) -> None:
    """Start the compose file's services and wait until the needed ones are healthy.

    Raises ServiceError, with the engine's own output if it can't start them, or with the end of a service's log if that
    service does not become healthy.
    """
    say("starting Kafka by docker-compose.yml (its images are fetched the first time)…")
    waiting = _Waiting(command, say)
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # `up` waits for ZooKeeper, as the file says. docker-compose 1 does not know `up --wait`.
        up = subprocess.Popen(
            [*command, "up", "-d", "kafka"], cwd=config.PROJECT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _until(lambda: up.poll() is not None, FETCH_SECONDS, waiting.look)
        finally:
            if up.poll() is None:
                up.kill()
            code = up.wait()
        if code != 0:
            raise ServiceError(
                f"docker compose can't start Kafka: {_end_of(output) or f'exit code {code}'}{waiting.log_of_the_unhealthy()}"
            )
    _until(waiting.look, HEALTHY_SECONDS, lambda: None, waiting.complaint)
    code, said = docker.run([*command, "up", "-d", "--no-deps", "kafka-ui"], FETCH_SECONDS)
    # Kafka UI is optional: if its port is taken or its image can't be fetched, the run goes on.
    say("Kafka UI: http://localhost:8080, in a moment" if code == 0 else f"no Kafka UI, going on without it: {docker.last_line(said)}")


class _Waiting:
    """Reports which services are still awaited: once, and again whenever that changes."""

    def __init__(self, command: list[str], say: Say) -> None:
        self._command = command
        self._say = say
        self._said = ""
        self.states: dict[str, str] = {}

    def look(self) -> bool:
        """Whether every needed service is healthy."""
        self.states = docker.states(self._command)
        missing = {name: self.states.get(name, "not started") for name in NEEDED if self.states.get(name) != "healthy"}
        text = ", ".join(f"{name} ({state})" for name, state in missing.items())
        if text and text != self._said and self.states:
            self._say(f"waiting for {text}")
        self._said = text
        return not missing

    def complaint(self) -> str:
        return f"not healthy: {self._said}{self.log_of_the_unhealthy()}"

    def log_of_the_unhealthy(self) -> str:
        """The end of the log of the first needed service that has a container and is not healthy."""
        for name in NEEDED:
            if self.states.get(name, "healthy") != "healthy":
                _, log = docker.run([*self._command, "logs", "--no-color", "--tail", "10", name], docker.ENGINE_SECONDS)
                return f"\nThe log of {name} ends with:\n{log}"
        return ""


def _until(done: Callable[[], bool], seconds: float, each_time: Callable[[], object], complaint: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not done():
        each_time()
        if time.monotonic() >= deadline:
            raise ServiceError(f"docker compose: Kafka is not ready after {seconds:g} s. {complaint()}".strip())
        time.sleep(POLL_SECONDS)


def _end_of(output: IO[str]) -> str:
    """The end of the output of `up`, without the progress that it draws first."""
    output.seek(0)
    return "\n".join(output.read().strip().splitlines()[-8:])
