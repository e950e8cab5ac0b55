"""Starts Kafka by docker-compose.yml if a Docker engine answers, and waits for it. Errors quote the engine's own output."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import IO

import config
from pipeline.errors import ServiceError

#: Seconds in which the Docker engine must answer.
ENGINE_SECONDS = 10.0
#: Seconds in which the images must be fetched and the containers started. A slow connection takes minutes.
FETCH_SECONDS = 900.0
#: Seconds after that in which the services must be healthy. The file's own health checks give up earlier.
HEALTHY_SECONDS = 180.0
#: Seconds between two looks at the containers.
POLL_SECONDS = 1.0
#: Services of the file that a run needs. The others are optional.
NEEDED = ("zookeeper", "kafka")

Say = Callable[[str], None]

#: One line per container: service, state, health (empty if the container has no health check).
_FORMAT = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}'


def compose_command(say: Say) -> list[str] | None:
    """`docker compose` or `docker-compose` if a Docker engine answers, else None. Says why if Docker is installed but unusable."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    code, words = _run([docker, "info"], ENGINE_SECONDS)
    if code != 0:
        say(f"Docker is installed, but its engine does not answer ({_last_line(words)}): continuing without it")
        return None
    if _run([docker, "compose", "version"], ENGINE_SECONDS)[0] == 0:
        return [docker, "compose"]
    compose = shutil.which("docker-compose")
    if compose is None:
        say("Docker is installed, but neither `docker compose` nor `docker-compose` is: continuing without it")
        return None
    return [compose]


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
            raise ServiceError(f"docker compose can't start Kafka: {_words(output) or f'exit code {code}'}{waiting.logs_of_the_sick()}")
    _until(waiting.look, HEALTHY_SECONDS, lambda: None, waiting.complaint)
    code, words = _run([*command, "up", "-d", "--no-deps", "kafka-ui"], FETCH_SECONDS)
    # Kafka UI is optional: if its port is taken or its image can't be fetched, the run goes on.
    say("Kafka UI: http://localhost:8080, in a moment" if code == 0 else f"no Kafka UI, going on without it: {_last_line(words)}")


class _Waiting:
    """Reports which services are still awaited: once, and again whenever that changes."""

    def __init__(self, command: list[str], say: Say) -> None:
        self._command = command
        self._say = say
        self._said = ""
        self.states: dict[str, str] = {}

    def look(self) -> bool:
        """Whether every needed service is healthy."""
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
        """The end of the log of the first needed service that has a container and is not healthy."""
        for name in NEEDED:
            if self.states.get(name, "healthy") != "healthy":
                _, log = _run([*self._command, "logs", "--no-color", "--tail", "10", name], ENGINE_SECONDS)
                return f"\nThe log of {name} ends with:\n{log}"
        return ""


def _states(command: list[str]) -> dict[str, str]:
    """Service → `healthy`, or the state that it is in, for each existing container."""
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
    """Exit code and output of an engine's command. A command that does not end in time counts as failed."""
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
    """The end of the output of `up`, without the progress that it draws first."""
    output.seek(0)
    return "\n".join(output.read().strip().splitlines()[-8:])


def _last_line(words: str) -> str:
    return words.splitlines()[-1] if words else "no output"
