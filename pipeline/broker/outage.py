"""An outage of the broker in a process's log: one line when it begins and one when it ends, instead of hundreds by the client.

The client reconnects by itself, and until then logs an ERROR for each attempt. Records are dropped by what they say, not by who
logs them: those whose error only means that no broker answers. A refused login, a missing right, too few replicas and everything
else is shown.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import kafka.errors

from config import Kafka
from pipeline.broker import diagnosis, internals
from pipeline.errors import ServiceError
from pipeline.repeated import AGAIN_SECONDS, Repeated

log = logging.getLogger(__name__)

#: What the client gets while a broker is away, or hands its partitions and groups to another one. It tries again by itself.
OUTAGE_ERRORS = (
    kafka.errors.KafkaConnectionError,
    kafka.errors.NodeNotReadyError,
    kafka.errors.Cancelled,
    kafka.errors.KafkaTimeoutError,
    kafka.errors.RequestTimedOutError,
    kafka.errors.NetworkExceptionError,
    kafka.errors.BrokerNotAvailableError,
    kafka.errors.LeaderNotAvailableError,
    kafka.errors.NotLeaderForPartitionError,
    kafka.errors.CoordinatorNotAvailableError,
    kafka.errors.CoordinatorLoadInProgressError,
    kafka.errors.NotCoordinatorError,
)
_NAMES = frozenset(error.__name__ for error in OUTAGE_ERRORS)
#: Loggers of the client that name such errors at each attempt. A filter applies to its own logger only, not to those below it.
_LOGGERS = (
    "kafka.coordinator",
    "kafka.coordinator.consumer",
    "kafka.coordinator.heartbeat",
    "kafka.consumer.fetcher",
    "kafka.consumer.group",
    "kafka.producer.kafka",
    "kafka.producer.sender",
    "kafka.producer.transaction_manager",
)

#: How such records begin if they contain no error: the client looks for the group's coordinator again.
_PHRASES = ("Marking the coordinator dead", "Heartbeat session expired")

#: What the heartbeat's task logs if a consumer is closed while it waits, which is a regular end.
_CLOSED = "Unhandled Heartbeat loop error: NetworkSelector closed!"

#: Seconds between two looks, and seconds without any connection after which the broker counts as away: a reconnection is not an outage.
LOOK_SECONDS = 0.5
AWAY_SECONDS = 2.0


class _Noise(logging.Filter):
    """Drops records whose error belongs to an outage, and those that repeat what was logged a moment ago."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith(_PHRASES) or record.getMessage() == _CLOSED:
            return False
        named = list(record.args) if isinstance(record.args, tuple) else []
        if record.exc_info:
            named.append(record.exc_info[1])
        if any(isinstance(one, OUTAGE_ERRORS) or (isinstance(one, str) and one in _NAMES) for one in named):
            return False
        # Without its arguments: another partition, time or number is no news.
        what, now = (record.name, str(record.msg)), time.monotonic()
        if record.levelno < logging.WARNING or now - self._said.get(what, float("-inf")) >= AGAIN_SECONDS:
            self._said[what] = now
            return True
        return False


_noise = _Noise()


def drop_noise() -> None:
    """From now on the client's records about an outage do not reach the log."""
    known = {name for name in logging.root.manager.loggerDict if name.startswith("kafka.")}
    for name in sorted(known | set(_LOGGERS)):
        logging.getLogger(name).addFilter(_noise)


class BrokerWatch:
    """Whether a client has a connection to any broker. For the thread that uses the client."""

    def __init__(self, client: Any, settings: Kafka) -> None:
        """client: a KafkaConsumer or KafkaProducer that was connected."""
        self.away = False
        self._client = client
        self.settings = settings
        self._failures = diagnosis.attach()
        self._client_id = str(client.config["client_id"])
        self._connected_at = self._looked_at = time.monotonic()
        self._refusal = ""
        self._cluster: str | None = None
        self._repeated = Repeated(log)

    def look(self) -> None:
        """Call it repeatedly: it logs when the broker goes away and when it is back.

        Raises ServiceError if another broker has taken its place: an embedded one that was started anew knows none of the offsets and
        producers of the one before, and refuses this process's messages for ever.
        """
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        if self._connected():
            cluster = internals.cluster_id(self._client)
            self._cluster = self._cluster or cluster
            if cluster and cluster != self._cluster:
                raise ServiceError(
                    f"Kafka at {self.settings.bootstrap_servers} is another one than before, and what was in that one is gone with it:"
                    " start this script again"
                )
            if self.away:
                log.info("Kafka at %s is back after %.0f s", self.settings.bootstrap_servers, now - self._connected_at)
            self.away, self._refusal, self._connected_at = False, "", now
            self._failures.forget(self._client_id)
        elif now - self._connected_at >= AWAY_SECONDS:
            self._say_that_it_is_away()

    def trouble(self, what: str, error: BaseException, level: int = logging.WARNING) -> None:
        """Log what failed and is tried again; nothing while the broker is away, and the same text only twice a minute."""
        if isinstance(error, OUTAGE_ERRORS) and not self._connected():
            self._say_that_it_is_away()
        if not self.away:
            self._repeated.say(level, f"{what}: {_text(error)}")

    def _say_that_it_is_away(self) -> None:
        error = self._failures.of(self._client_id)
        if not self.away:
            reason = "" if error is None else f" ({_text(error)})"
            log.warning("Kafka at %s is away%s: waiting for it", self.settings.bootstrap_servers, reason)
        self.away = True
        # If a broker is reachable and refuses, waiting does not help.
        refusal = diagnosis.explain(self.settings, error, error) if error is not None and diagnosis.is_refusal(error) else ""
        if refusal and refusal != self._refusal:
            log.error("%s", refusal)
            self._refusal = refusal

    def _connected(self) -> bool:
        return internals.is_connected(self._client)


def _text(error: BaseException) -> str:
    """The text of a Kafka error includes its type."""
    if isinstance(error, kafka.errors.InconsistentGroupProtocolError):
        return f"another program is a member of this consumer group, and shares the work out in another way: stop it there ({error})"
    return str(error) if isinstance(error, kafka.errors.KafkaError) else f"{type(error).__name__}: {error}"
