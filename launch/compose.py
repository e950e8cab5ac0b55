"""Kafka by docker-compose.yml, if a Docker engine answers: started, waited for; what goes wrong is told in the engine's own words."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import IO

import config
from pipeline.errors import ServiceError

#: Seconds in which the Docker engine must say that it is there.
ENGINE_SECONDS = 10.0
#: Seconds in which the images must be there and the containers started: a slow line takes minutes.
FETCH_SECONDS = 900.0
#: Seconds after that in which the services must be healthy. The file's own health checks give up before.
HEALTHY_SECONDS = 180.0
#: Seconds between two looks at the containers.
POLL_SECONDS = 1.0
#: Services of the file that a run needs; the others are a convenience.
NEEDED = ("zookeeper", "kafka")

Say = Callable[[str], None]

#: One line per container: service, state, health (nothing if it has no check).
_FORMAT = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}'


def compose_command(say: Say) -> list[str] | None:
    """`docker compose` or `docker-compose` if a Docker engine answers; else None, and if Docker is there, `say` why not."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    code, words = _run([docker, "info"], ENGINE_SECONDS)
    if code != 0:
        say(f"Docker is installed, but its engine does not answer ({_last_line(words)}): going on without it")
        return None
    if _run([docker, "compose", "version"], ENGINE_SECONDS)[0] == 0:
        return [docker, "compose"]
    compose = shutil.which("docker-compose")
    if compose is None:
        say("Docker is there, but neither `docker compose` nor `docker-compose`: going on without it")
        return None
    return [compose]


def start_compose(command: list[str], say: Say) -> None:
    """Start the compose file's services and wait until those that are needed are healthy.

    Raises ServiceError with the engine's own words if it can't start them, and with the end of a service's log if
    one does not become healthy.
    """
    say("starting Kafka by docker-compose.yml; the first time its images are fetched…")
    waiting = _Waiting(command, say)
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # It waits for ZooKeeper by itself, as the file says; `up --wait` is not known to docker-compose 1.
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
            raise ServiceError(f"docker compose can't start Kafka: {_words(output) or f'exit code {code}'}{waiting.logs_of_the_sick()}")
    _until(waiting.look, HEALTHY_SECONDS, lambda: None, waiting.complaint)
    code, words = _run([*command, "up", "-d", "--no-deps", "kafka-ui"], FETCH_SECONDS)
    # A port that is taken, or an image that can't be had, is no reason to do without Kafka.
    say("Kafka UI: http://localhost:8080, in a moment" if code == 0 else f"no Kafka UI this time: {_last_line(words)}")


class _Waiting:
    """What is waited for: said once, and again whenever it changes."""

    def __init__(self, command: list[str], say: Say) -> None:
        self._command = command
        self._say = say
        self._said = ""
        self.states: dict[str, str] = {}

    def look(self) -> bool:
        """Whether all that is needed is healthy. Raises ServiceError for a service that never will be."""
        self.states = _states(self._command)
        missing = {name: self.states.get(name, "not started") for name in NEEDED if self.states.get(name) != "healthy"}
        text = ", ".join(f"{name} ({state})" for name, state in missing.items())
        if text and text != self._said and self.states:
            self._say(f"waiting for {text}")
        self._said = text
        return not missing

    def complaint(self) -> str:
        return f"not healthy: {self._said}{self.logs_of_the_sick()}"

    def logs_of_the_sick(self) -> str:
        """The end of the log of the first needed service that is up, and not well."""
        for name in NEEDED:
            if self.states.get(name, "healthy") != "healthy":
                _, log = _run([*self._command, "logs", "--no-color", "--tail", "10", name], ENGINE_SECONDS)
                return f"\nThe log of {name} ends with:\n{log}"
        return ""


def _states(command: list[str]) -> dict[str, str]:
    """Service → `healthy`, or what it is instead, of the containers that are there."""
    code, words = _run([*command, "ps", "-a", "-q"], ENGINE_SECONDS)
    containers = words.split() if code == 0 else []
    if not containers:
        return {}
    code, words = _run(["docker", "inspect", "--format", _FORMAT, *containers], ENGINE_SECONDS)
    found = {}
    for service, status, *health in (line.split() for line in words.splitlines() if code == 0 and len(line.split()) >= 2):
        found[service] = status if status != "running" else health[0] if health else "healthy"
    return found


def _until(done: Callable[[], bool], seconds: float, each_time: Callable[[], object], complaint: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not done():
        each_time()
        if time.monotonic() >= deadline:
            raise ServiceError(f"docker compose: Kafka is not ready after {seconds:g} s. {complaint()}".strip())
        time.sleep(POLL_SECONDS)


def _run(command: list[str], seconds: float) -> tuple[int, str]:
    """Exit code and all that a command of the engine says; one that does not answer counts as failed."""
    try:
        done = subprocess.run(
            command,
            cwd=config.PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {seconds:g} s"
    except OSError as error:
        return 1, str(error)
    return done.returncode, done.stdout.strip()


def _words(output: IO[str]) -> str:
    """What `up` said, without the progress that it draws before."""
    output.seek(0)
    return "\n".join(output.read().strip().splitlines()[-8:])


def _last_line(words: str) -> str:
    return words.splitlines()[-1] if words else "without a word"
