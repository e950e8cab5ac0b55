"""Watches the consumer groups from a thread of its own, so that a broker that does not answer never holds up who looks on."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import kafka.errors

from config import Kafka, SettingsError
from pipeline import kafka_clients
from pipeline.errors import ServiceError
from pipeline.groups import GroupReader, GroupState
from pipeline.lag import LagWindow, Position, Sample

log = logging.getLogger(__name__)

#: Seconds between two looks.
READ_SECONDS = 2.0
#: Seconds in which a broker must accept a connection.
CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class GroupView:
    """What is shown of a group. `members` None where they are not known, `verdict` None where it is too early for one."""

    name: str
    lag: int
    members: int | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Seen:
    """What was last seen, replaced as a whole.

    answered_at: when the broker last answered (time.monotonic); problem: why it does not, or why the groups can't be read.
    cluster: which cluster it was; a broker in memory that was started anew is another one. throttle: one line, "" for none.
    """

    answered_at: float
    settings: Kafka
    cluster: str = ""
    groups: tuple[GroupView, ...] = ()
    problem: str = ""
    throttle: str = field(default="")


class GroupWatch:
    """`seen` is what there is to know now; read it as often as you like."""

    def __init__(self, find: Callable[[], Kafka], throttle: Callable[[Kafka], str] = lambda _: "") -> None:
        """find: where the broker is now, asked again after it was lost. throttle: its state in one line, asked with each look."""
        self._find = find
        self._throttle = throttle
        self._windows: dict[str, LagWindow] = {}
        self._stopped = threading.Event()
        self.seen = Seen(time.monotonic(), find())
        self._thread = threading.Thread(target=self._loop, name="group-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it may be waiting for a broker, so nobody waits for it."""
        self._stopped.set()

    def _loop(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch(self._find())
            except (ServiceError, SettingsError, kafka.errors.KafkaError, OSError) as error:
                self._note(problem=str(error))
            except Exception as error:  # a thread that dies would leave a monitor that says nothing
                log.exception("watching the groups")
                self._note(problem=f"{type(error).__name__}: {error}")
            self._stopped.wait(READ_SECONDS)

    def _watch(self, settings: Kafka) -> None:
        """Look again and again until something is wrong."""
        _check_that_somebody_listens(settings)
        with contextlib.ExitStack() as clients:
            admin = kafka_clients.admin(settings)
            clients.callback(_close, admin)
            reader = GroupReader(settings)
            clients.callback(_close, reader)
            while not self._stopped.is_set():
                with kafka_clients.reaching(settings):
                    cluster = str(admin.describe_cluster()["cluster_id"])
                self._look(settings, cluster, reader)
                self._stopped.wait(READ_SECONDS)

    def _look(self, settings: Kafka, cluster: str, reader: GroupReader) -> None:
        if cluster != self.seen.cluster:
            self._windows.clear()
        try:
            groups, problem = tuple(map(self._view, reader.read().values())), ""
        except ServiceError as error:
            # One who may not see the groups can follow the run all the same: the broker did answer.
            if not isinstance(error.__cause__, kafka.errors.AuthorizationError):
                raise
            groups, problem = (), str(error)
        throttle = self._throttle(settings)
        self.seen = Seen(time.monotonic(), settings, cluster, groups, problem, throttle)

    def _view(self, state: GroupState) -> GroupView:
        window = self._windows.setdefault(state.group, LagWindow())
        positions = {partition: Position(one.committed, one.end, one.begin) for partition, one in state.partitions.items()}
        members = len(state.members)
        window.feed(Sample(time.monotonic(), positions, members))
        return GroupView(state.group, state.lag, members, window.verdict())

    def _note(self, problem: str) -> None:
        seen = self.seen
        self.seen = Seen(seen.answered_at, seen.settings, seen.cluster, seen.groups, problem, seen.throttle)


def _check_that_somebody_listens(settings: Kafka) -> None:
    """The client waits for eight seconds where nobody does, and asks again and again. Raises ServiceError."""
    for server in settings.bootstrap_servers.split(","):
        host, _, port = server.strip().rpartition(":")
        with contextlib.suppress(OSError):
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            return
    raise ServiceError(f"nobody listens at {settings.bootstrap_servers}")


def _close(client: object) -> None:
    """A client whose broker is gone may fail to close, and that is no news."""
    try:
        client.close()  # type: ignore[attr-defined]
    except (kafka.errors.KafkaError, OSError) as error:
        log.debug("close: %s", error)
