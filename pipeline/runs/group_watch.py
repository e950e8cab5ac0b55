"""Watches the consumer groups in a thread, so that a broker that does not answer never blocks the display."""

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
from pipeline.yahoo import shared_throttle, throttle_text
from pipeline.yahoo.throttle_text import Site

log = logging.getLogger(__name__)

#: Seconds between two readings.
READ_SECONDS = 2.0
#: Seconds in which a broker must accept a connection.
CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Seen:
    """The latest reading, replaced as a whole.

    answered_at: when the broker last answered (time.monotonic). lost: whether it has stopped answering. problem: why it does not
    answer, or why the groups can't be read. cluster: the cluster's id; an in-memory broker has a new one after each start.
    site: what the processes report about the site's limits, None if nothing is known.
    """

    answered_at: float
    settings: Kafka
    cluster: str = ""
    groups: tuple[GroupLag, ...] = ()
    site: Site | None = None
    lost: bool = False
    problem: str = ""


class GroupWatch:
    """`seen` is the latest reading. Read it as often as you like."""

    def __init__(self, find: Callable[[], Kafka], settings: Kafka) -> None:
        """find: returns the broker's settings, called again after the broker was lost. settings: the current ones."""
        self._find = find
        self._windows: dict[str, LagWindow] = {}
        self._stopped = threading.Event()
        self.seen = Seen(time.monotonic(), settings)
        self._thread = threading.Thread(target=self._loop, name="group-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. This does not wait for it, because it may be waiting for a broker."""
        self._stopped.set()

    def _loop(self) -> None:
        while not self._stopped.is_set():
            try:
                self._watch(self._find())
            except (ServiceError, SettingsError, kafka.errors.KafkaError, OSError) as error:
                self._note(problem=str(error))
            except Exception as error:  # if the thread died, the monitor would show nothing
                log.exception("watching the groups")
                self._note(problem=f"{type(error).__name__}: {error}")
            self._stopped.wait(READ_SECONDS)

    def _watch(self, settings: Kafka) -> None:
        """Read repeatedly until something fails."""
        if not probe.listens(settings.bootstrap_servers, CONNECT_SECONDS):
            raise ServiceError(f"no broker at {settings.bootstrap_servers}")
        with contextlib.ExitStack() as clients:
            admin = kafka_clients.admin(settings)
            clients.callback(_close, admin)
            reader = GroupReader(settings)
            clients.callback(_close, reader)
            reports = None
            watched = ""
            while not self._stopped.is_set():
                with kafka_clients.reaching(settings):
                    cluster = str(admin.describe_cluster()["cluster_id"])
                if watched not in ("", cluster):
                    # Whether this one is meant is not known: it may be a stranger's, on the port of one that has ended.
                    raise ServiceError(f"another broker answers at {settings.bootstrap_servers}")
                watched = cluster
                with kafka_clients.reaching(settings):
                    # An earlier version did not create the control topic, and waiting for it would delay the groups.
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
            # A user without access to the groups can still follow the run: the broker did answer.
            if not isinstance(error.__cause__, kafka.errors.AuthorizationError):
                raise
            groups, problem = (), str(error)
        site = None if reports is None else reports.site()
        if site is not None and throttle_text.waiting(site):
            groups = tuple(group.while_waiting() for group in groups)
        self.seen = Seen(time.monotonic(), settings, cluster, groups, site, problem=problem)

    def _view(self, state: GroupState) -> GroupLag:
        window = self._windows.setdefault(state.group, LagWindow())
        members = len(state.members)
        window.feed(Sample(time.monotonic(), state.partitions, members))
        return GroupLag(state.group, state.lag, members, window.verdict())

    def _note(self, problem: str) -> None:
        self.seen = replace(self.seen, lost=True, problem=problem)


def _close(client: object) -> None:
    """Close a client. If its broker is gone, closing may fail, and the error is of no interest."""
    try:
        client.close()  # type: ignore[attr-defined]
    except (kafka.errors.KafkaError, OSError) as error:
        log.debug("close: %s", error)
