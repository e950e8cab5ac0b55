"""Watches the consumer groups from a thread of its own, so that a broker that does not answer never holds up who looks on."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import kafka.errors

from config import Kafka, SettingsError
from pipeline.broker import clients as kafka_clients
from pipeline.broker import probe
from pipeline.broker.consumer_groups import GroupReader, GroupState
from pipeline.errors import ServiceError
from pipeline.runs.lag import GroupLag, LagWindow, Sample
from pipeline.wire import topics
from pipeline.yahoo import shared_throttle
from pipeline.yahoo.throttle_text import Site

log = logging.getLogger(__name__)

#: Seconds between two looks.
READ_SECONDS = 2.0
#: Seconds in which a broker must accept a connection.
CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Seen:
    """What was last seen, replaced as a whole.

    answered_at: when the broker last answered (time.monotonic); lost: whether it does not any more; problem: why it does not, or
    why the groups can't be read. cluster: which cluster it was; a broker in memory that was started anew is another one.
    site: what the processes say of the site's patience, None if nothing is known.
    """

    answered_at: float
    settings: Kafka
    cluster: str = ""
    groups: tuple[GroupLag, ...] = ()
    site: Site | None = None
    lost: bool = False
    problem: str = ""


class GroupWatch:
    """`seen` is what there is to know now; read it as often as you like."""

    def __init__(self, find: Callable[[], Kafka], settings: Kafka) -> None:
        """find: where the broker is, asked again after it was lost; settings: where it is now."""
        self._find = find
        self._windows: dict[str, LagWindow] = {}
        self._stopped = threading.Event()
        self.seen = Seen(time.monotonic(), settings)
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
        if not probe.listens(settings.bootstrap_servers, CONNECT_SECONDS):
            raise ServiceError(f"nobody listens at {settings.bootstrap_servers}")
        with contextlib.ExitStack() as clients:
            admin = kafka_clients.admin(settings)
            clients.callback(_close, admin)
            reader = GroupReader(settings)
            clients.callback(_close, reader)
            reports = None
            while not self._stopped.is_set():
                with kafka_clients.reaching(settings):
                    cluster = str(admin.describe_cluster()["cluster_id"])
                    # Topics of an earlier version may lack it, and waiting for it would hold up the groups.
                    tells_of_throttle = reports is not None or topics.CONTROL in admin.list_topics()
                if reports is None and tells_of_throttle:
                    reports = shared_throttle.Reports(settings)
                    clients.callback(_close, reports)
                self._look(settings, cluster, reader, reports)
                self._stopped.wait(READ_SECONDS)

    def _look(self, settings: Kafka, cluster: str, reader: GroupReader, reports: shared_throttle.Reports | None) -> None:
        if cluster != self.seen.cluster:
            self._windows.clear()
        try:
            groups, problem = tuple(map(self._view, reader.read().values())), ""
        except ServiceError as error:
            # One who may not see the groups can follow the run all the same: the broker did answer.
            if not isinstance(error.__cause__, kafka.errors.AuthorizationError):
                raise
            groups, problem = (), str(error)
        site = None if reports is None else reports.site()
        self.seen = Seen(time.monotonic(), settings, cluster, groups, site, problem=problem)

    def _view(self, state: GroupState) -> GroupLag:
        window = self._windows.setdefault(state.group, LagWindow())
        members = len(state.members)
        window.feed(Sample(time.monotonic(), state.partitions, members))
        return GroupLag(state.group, state.lag, members, window.verdict())

    def _note(self, problem: str) -> None:
        self.seen = replace(self.seen, lost=True, problem=problem)


def _close(client: object) -> None:
    """A client whose broker is gone may fail to close, and that is no news."""
    try:
        client.close()  # type: ignore[attr-defined]
    except (kafka.errors.KafkaError, OSError) as error:
        log.debug("close: %s", error)
