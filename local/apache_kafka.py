"""A real Apache Kafka on this machine: one KRaft node (broker and controller), whose data is kept between starts.

It needs Java 17 (JAVA_HOME, else PATH) and an unpacked Apache Kafka 4, or a folder of its jars. Listeners are on 127.0.0.1
alone. It starts and joins groups quickly, and replicates nothing: it is for tests and for one machine, not a cluster.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import Kafka
from local.starting import LogSince, answers_before
from pipeline.broker import clients as kafka_clients
from pipeline.errors import ServiceError
from pipeline.process.guardian import Guardian
from pipeline.process.log_end import last_lines
from pipeline.process.ports import answers, free_port

#: Seconds until the broker must answer; 4 as a rule, on two busy cores and over a large log many more.
START_SECONDS = 90.0
#: Seconds that formatting the storage may take: one start of Java.
FORMAT_SECONDS = 60.0
#: Seconds between SIGTERM and SIGKILL; nothing that was acknowledged is lost by either, but a clean log opens faster.
STOP_SECONDS = 20.0
#: Seconds to keep trying if the rest of a killed broker still holds the data's lock or its port.
RETRY_SECONDS = 30.0
#: Java's options: a heap that is enough for one machine's runs, and a quick start rather than the last bit of speed.
JAVA_OPTIONS = ("-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.awt.headless=true")

_DATA_HELD, _PORT_TAKEN = "Failed to acquire lock on file", "Address already in use"
_LOGGING = """\
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
appender.out.name = out
appender.out.type = Console
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %m (%c{1})%n
"""


@dataclass(frozen=True)
class _Place:
    """What stays the same when the broker is started again."""

    java: str
    jars: Path
    data_dir: Path
    log_file: Path
    server_properties: Mapping[str, str] = field(default_factory=dict)

    def command(self, *main: str) -> list[str]:
        options = [*JAVA_OPTIONS, f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.properties'}"]
        return [self.java, *options, "-cp", f"{self.jars}/*", *main]


class ApacheKafka:
    """A broker that this process owns. It ends with `stop()`, or if this process is killed. `start_again()` restarts it."""

    def __init__(self, place: _Place, port: int) -> None:
        self._place = place
        self._port = port
        self._guardian: Guardian | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.version = version(place.jars)

    @classmethod
    def start(
        cls, home: Path, data_dir: Path, log_file: Path, preferred_port: int = 9092, server_properties: Mapping[str, str] | None = None
    ) -> ApacheKafka:
        """Start a broker over `data_dir` on `preferred_port` or the next free one; its output is appended to `log_file`.

        home: an unpacked Apache Kafka, or a folder of its jars.  server_properties: further ones; `listeners` in it are
        added to the plain one that this program uses itself.  Only one process may do this with one `data_dir` at a time.
        Raises ServiceError if Java or Kafka is not installed, or the broker does not answer in time.
        """
        place = _Place(_java(), _jars(home), data_dir.resolve(), log_file.resolve(), dict(server_properties or {}))
        place.data_dir.mkdir(parents=True, exist_ok=True)
        place.log_file.parent.mkdir(parents=True, exist_ok=True)
        (place.data_dir / "log4j2.properties").write_text(_LOGGING, encoding="utf-8")
        _format(place)
        broker = cls(place, free_port(preferred_port))
        # Until it binds the port, another program may take it.
        broker._start(lambda: False, port_may_change=True)
        return broker

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def process_id(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start_again(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Start it where it was: the same port and data. Raises ServiceError.

        stopping: asked while it waits for the broker to answer; true ends the wait, and the broker is as it is.
        """
        if self.is_alive():
            return
        self.stop()
        self._start(stopping, port_may_change=False)

    def _start(self, stopping: Callable[[], bool], port_may_change: bool) -> None:
        deadline = time.monotonic() + START_SECONDS
        retry_until = time.monotonic() + RETRY_SECONDS
        while True:
            log = LogSince(self._place.log_file)
            try:
                self._launch()
                if self._wait_until_it_answers(deadline, stopping):
                    return
            except BaseException:
                self.stop()
                raise
            self.stop()
            said = log.text()
            if port_may_change and _PORT_TAKEN in said:
                self._port = free_port(self._port)
            elif not any(text in said for text in (_DATA_HELD, _PORT_TAKEN)) or time.monotonic() > retry_until:
                raise ServiceError(f"Apache Kafka {self.version} does not start; {self.last_words()}")

    def _launch(self) -> None:
        path = self._place.data_dir / "server.properties"
        # Only the node itself uses the controller's port, so any free one will do.
        path.write_text(_properties_text(_properties(self._place, self._port, free_port())), encoding="utf-8")
        self._guardian = Guardian()
        with open(self._place.log_file, "ab") as log:
            self._process, _ = self._guardian.start(
                self._place.command("kafka.Kafka", str(path)), "SIGTERM", STOP_SECONDS, stdout=log, stderr=log, cwd="/"
            )

    def _wait_until_it_answers(self, deadline: float, stopping: Callable[[], bool]) -> bool:
        """True if it answers, False if the process ended. Raises ServiceError if neither happens in time."""
        cluster_id = _cluster_id(self._place.data_dir / "log")

        def answered() -> bool:
            # Another broker may have the port. Then the cluster id differs, and our broker ends by itself.
            return stopping() or (answers(self._port) and _answering_cluster(self.bootstrap_servers) == cluster_id)

        try:
            return answers_before(deadline, self.is_alive, answered)
        except TimeoutError:
            raise ServiceError(f"Apache Kafka {self.version} does not answer within {START_SECONDS:g} s; {self.last_words()}") from None

    def last_words(self) -> str:
        """The end of the log without the frames of Java's stack traces, which say nothing to a reader."""
        return f"{self._place.log_file} ends with:\n{last_lines(self._place.log_file, wanted=lambda line: not line[0].isspace())}"

    def stop(self) -> None:
        """Stop the broker cleanly, or by SIGKILL if that takes too long. May be called again."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a crash would, by SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        if self._guardian is not None:
            # Its duty ends what is left, if anything.
            self._guardian.finish(STOP_SECONDS + 5)
        if self._process is not None:
            self._process.wait()


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    candidate = str(Path(home) / "bin" / "java") if home else "java"
    found = shutil.which(candidate)
    if found is None:
        where = f"JAVA_HOME is {home!r}, without bin/java in it" if home else "there is no java on PATH, and JAVA_HOME is not set"
        raise ServiceError(f"Apache Kafka needs Java 17 or newer: {where}")
    return found


def _jars(home: Path) -> Path:
    """The folder of Kafka's jars: `libs` of an unpacked Apache Kafka, or `home` itself."""
    for folder in (home / "libs", home):
        if any(folder.glob("kafka_2.*.jar")):
            return folder.resolve()
    raise ServiceError(f"KAFKA_HOME is {str(home)!r}: expected the folder of an unpacked Apache Kafka, with libs/kafka_2.13-….jar in it")


def version(home: Path) -> str:
    """Apache Kafka's version, by the name of its jar, in `home` or its `libs`."""
    found = [*home.glob("libs/kafka_2.*.jar"), *home.glob("kafka_2.*.jar")]
    names = [re.fullmatch(r"kafka_2\.\d+-([\d.]+\S*?)\.jar", path.name) for path in found]
    return next((match.group(1) for match in names if match is not None), "of unknown version")


def _properties(place: _Place, port: int, controller_port: int) -> dict[str, str]:
    """server.properties: small, quick to start and to join groups, and as safe as one node can be."""
    own = f"PLAINTEXT://127.0.0.1:{port}"
    further = place.server_properties.get("listeners", "")
    clients = ",".join(filter(None, (own, further)))
    protocols = ",".join(f"{name}:{name}" for name in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))
    properties = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocols}",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(place.data_dir / "log"),
        "auto.create.topics.enable": "false",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # A killed node may register again only when its old session is over: 9 s otherwise.
        "broker.session.timeout.ms": "4000",
        "broker.heartbeat.interval.ms": "500",
        "group.initial.rebalance.delay.ms": "100",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        # One index of 10 MiB a partition is reserved otherwise, and cleared at each start.
        "log.index.size.max.bytes": str(1024 * 1024),
    }
    properties |= {name: value for name, value in place.server_properties.items() if name != "listeners"}
    return properties | {"listeners": f"{clients},CONTROLLER://127.0.0.1:{controller_port}", "advertised.listeners": clients}


def _properties_text(properties: Mapping[str, str]) -> str:
    # A backslash begins an escape in such a file, in paths as in passwords.
    return "".join("{}={}\n".format(name, value.replace("\\", "\\\\")) for name, value in properties.items())


def _format(place: _Place) -> None:
    """Format the storage if there is none. It appears in one piece: an interrupted format starts again."""
    final = place.data_dir / "log"
    if (final / "meta.properties").exists():
        return
    began = place.data_dir / "formatting"
    for leftover in (began, final):
        shutil.rmtree(leftover, ignore_errors=True)
    path = place.data_dir / "format.properties"
    properties = _properties(place, 9092, 9093) | {"log.dirs": str(began)}
    path.write_text(_properties_text(properties), encoding="utf-8")
    # 22 characters of URL-safe base64, as Kafka's own ids; one that begins with "-" would be taken for an option.
    cluster_id = "s" + uuid.uuid4().hex[:21]
    command = place.command("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(path))
    try:
        done: Any = _run_guarded(command, FORMAT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ServiceError(f"Apache Kafka's storage could not be formatted within {FORMAT_SECONDS:g} s") from error
    if done[0] != 0:
        raise ServiceError(f"Apache Kafka's storage can't be formatted in {place.data_dir}: {done[1].strip()[-800:]}")
    path.unlink()
    began.rename(final)


def _run_guarded(command: list[str], seconds: float) -> tuple[int, str]:
    """Run a command that ends with this process too; its exit code and output."""
    guardian = Guardian()
    try:
        process, _ = guardian.start(command, "SIGKILL", 1.0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
        # Its standard input is closed already, which `communicate` would flush.
        process.stdin = None
        try:
            output, _errors = process.communicate(timeout=seconds)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process.returncode, output.decode("utf-8", "replace")
    finally:
        guardian.finish()


def _cluster_id(log_dir: Path) -> str:
    text = (log_dir / "meta.properties").read_text(encoding="utf-8")
    match = re.search(r"^cluster\.id=(\S+)$", text, re.MULTILINE)
    if match is None:
        raise ServiceError(f"{log_dir / 'meta.properties'} has no cluster.id: is that Apache Kafka's data?")
    return match.group(1)


def _answering_cluster(servers: str) -> str | None:
    """The cluster id of the broker that answers there; None if none does yet."""
    settings = Kafka(bootstrap_servers=servers)
    with contextlib.suppress(ServiceError):
        admin = kafka_clients.admin(settings)
        try:
            with kafka_clients.reaching(settings):
                return str(admin.describe_cluster()["cluster_id"])
        finally:
            admin.close()
    return None
