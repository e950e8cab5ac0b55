"""The commands of a Docker engine that `compose` needs: whether it answers, and in which states its containers are."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import config

#: Seconds in which the Docker engine must answer.
ENGINE_SECONDS = 10.0

Say = Callable[[str], None]

#: One line per container: service, state, health (empty if the container has no health check).
_FORMAT = '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}'


def compose_command(say: Say) -> list[str] | None:
    """`docker compose` or `docker-compose` if a Docker engine answers, else None. Says why if Docker is installed but unusable."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    code, output = run([docker, "info"], ENGINE_SECONDS)
    if code != 0:
        say(f"Docker is installed, but its engine does not answer ({last_line(output)}): continuing without it")
        return None
    if run([docker, "compose", "version"], ENGINE_SECONDS)[0] == 0:
        return [docker, "compose"]
    compose = shutil.which("docker-compose")
    if compose is None:
        say("Docker is installed, but neither `docker compose` nor `docker-compose` is: continuing without it")
        return None
    return [compose]


def states(command: list[str]) -> dict[str, str]:
    """Service → `healthy`, or the state that it is in, for each existing container."""
    code, output = run([*command, "ps", "-a", "-q"], ENGINE_SECONDS)
    containers = output.split() if code == 0 else []
    if not containers:
        return {}
    code, output = run(["docker", "inspect", "--format", _FORMAT, *containers], ENGINE_SECONDS)
    found = {}
    for service, status, *health in (line.split() for line in output.splitlines() if code == 0 and len(line.split()) >= 2):
        found[service] = status if status != "running" else health[0] if health else "healthy"
    return found


def run(command: list[str], seconds: float) -> tuple[int, str]:
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


def last_line(output: str) -> str:
    return output.splitlines()[-1] if output else "no output"
