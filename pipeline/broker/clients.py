"""Kafka clients with the settings that this pipeline needs."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from config import Kafka
from pipeline.broker import diagnosis, dialect, internals, outage, probe
from pipeline.broker.assignor import EvenAssignor
from pipeline.broker.patient import Patient
from pipeline.errors import ServiceError
from pipeline.wire.topics import LARGEST_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Seconds in which a broker must answer, or the script ends with exit code 3.
REACH_SECONDS = 8.0
#: After so many of them, a broker that has refused (a password, a certificate) is not asked again: its answer would be the same.
REFUSED_SECONDS = 2.0
#: Seconds in which a broker must say where it is, when it is asked why it can't be reached.
ADVERTISED_SECONDS = 1.0
_failures = diagnosis.attach()
_numbers = itertools.count(1)

#: How often a client asks for the topics' partitions, in ms.
METADATA_MS = 20_000
#: How often a member asks whether there is a rebalance, in ms: the others wait that long for it in each one.
LONGEST_HEARTBEAT_MS = 3_000
#: Longest wait of one `send`, in ms: the polling thread must not be blocked for longer.
SEND_BLOCK_MS = 5_000


def quiet() -> None:
    """The client logs an ERROR for each lost connection, and reconnects by itself. From now on only worse things reach the log.

    An outage is reported by the code that waits for its end (outage.BrokerWatch, the monitor, the page).
    """
    logging.getLogger("kafka").setLevel(logging.WARNING)
    for name in ("kafka.net", "kafka.cluster", "kafka.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Diagnosis listens to this one: it has the reason for a failed connection, which the client does not raise.
    logging.getLogger("kafka.net.connection").setLevel(logging.ERROR)
    _failures.silent = True
    outage.drop_noise()


def common(settings: Kafka) -> dict[str, Any]:
    """What every client needs to reach the brokers. Raises SettingsError if that can't work with any broker."""
    diagnosis.check_files(settings)
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap_servers.split(",")],
        "security_protocol": settings.security_protocol,
        "reconnect_backoff_max_ms": 2_000,
        # New partitions of a topic are noticed after this time at the latest.
        "metadata_max_age_ms": METADATA_MS,
        # Each client has its own, so that its failures can be told from those of other clients.
        "client_id": f"stock-pipeline-{os.getpid()}-{next(_numbers)}",
    }
    if settings.sasl_mechanism:
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": settings.sasl_password,
        }
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if getattr(settings, name):
            options[name] = getattr(settings, name)
    return options


@contextlib.contextmanager
def reaching(settings: Kafka) -> Any:
    """Turn what the client raises if no broker answers into a ServiceError that says what to do."""
    before = _failures.count
    try:
        yield
    except (kafka.errors.KafkaError, OSError) as error:
        logged = _failures.since(before)
        astray = [] if diagnosis.is_refusal(logged or error) else _advertised(settings)
        raise ServiceError(diagnosis.explain(settings, error, logged, astray)) from error


def _advertised(settings: Kafka) -> list[tuple[str, int]]:
    """The addresses that the brokers advertise; empty if none of them answers in a moment."""
    if not probe.listens(settings.bootstrap_servers, ADVERTISED_SECONDS):
        return []
    try:
        client = KafkaAdminClient(**common(settings), bootstrap_timeout_ms=int(1000 * ADVERTISED_SECONDS))
    except (kafka.errors.KafkaError, OSError):
        return []
    try:
        return internals.advertised(client)
    finally:
        client.close()


def _reached(kind: Callable[..., Any], settings: Kafka, **options: Any) -> Any:
    """A client that has reached a broker. Raises ServiceError after REACH_SECONDS, and sooner if a broker refuses."""
    options = {**common(settings), **options}
    with reaching(settings):
        try:
            return kind(**options, bootstrap_timeout_ms=int(1000 * REFUSED_SECONDS))
        except kafka.errors.KafkaError as error:
            if diagnosis.is_refusal(_failures.of(options["client_id"]) or error):
                raise
        return kind(**options, bootstrap_timeout_ms=int(1000 * (REACH_SECONDS - REFUSED_SECONDS)))


def admin(settings: Kafka) -> KafkaAdminClient:
    client: KafkaAdminClient = _reached(internals.Admin, settings, request_timeout_ms=10_000)
    return client


def producer(settings: Kafka) -> KafkaProducer:
    """Acknowledged by all in-sync replicas, one request at a time, so that the order in a partition is kept. Use a `Sender`.

    Not idempotent in Kafka's sense: such a client calls itself dead after any error that can't be tried again, and every
    message of this pipeline may arrive twice anyway.
    """
    client: KafkaProducer = _reached(
        internals.Producer,
        settings,
        enable_idempotence=False,
        acks="all",
        max_in_flight_requests_per_connection=1,
        max_request_size=LARGEST_MESSAGE_BYTES,
        max_block_ms=SEND_BLOCK_MS,
        # One request then carries the completions of several partitions. A flush does not linger.
        linger_ms=50,
        batch_size=65536,
        # It saves more time than it costs: the client computes checksums in Python, over the compressed bytes.
        compression_type="gzip",
    )
    return client


def group_consumer(settings: Kafka, group: str, most_records: int, auto_offset_reset: str = "earliest") -> KafkaConsumer:
    """A member of a consumer group that commits by hand. Subscribe it yourself.

    auto_offset_reset: with "none", `poll` raises what lost_positions.py reports and repairs.
    """
    session_ms = dialect.of(settings).session_ms
    client: Patient = _reached(
        Patient,
        settings,
        group_id=group,
        # It tells the members apart: which process has which partitions.
        client_id=f"stock-pipeline-{os.getpid()}",
        enable_auto_commit=False,
        auto_offset_reset=auto_offset_reset,
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=min(session_ms // 3, LONGEST_HEARTBEAT_MS),
        max_poll_records=most_records,
        fetch_max_wait_ms=100,
        partition_assignment_strategy=(EvenAssignor,),
        allow_auto_create_topics=False,
    )
    return client


def leave(consumer: KafkaConsumer, settings: Kafka, timeout_ms: int = 3_000) -> None:
    """Close a member of a group without committing. It says that it leaves if the broker handles that well."""
    if not dialect.of(settings).leaves_by_request:
        internals.leave_silently(consumer)
    consumer.close(autocommit=False, timeout_ms=timeout_ms)


def reader(settings: Kafka, for_watermarks: bool = False) -> KafkaConsumer:
    """A consumer without a group: it reads what it is assigned and leaves no trace. `watermarks` needs one with for_watermarks."""
    client: Patient = _reached(
        Patient,
        settings,
        group_id=None,
        # In a fetch session Apache Kafka only sends what has changed, so not a watermark that it has sent before.
        enable_incremental_fetch_sessions=not for_watermarks,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=5_000,
        fetch_max_wait_ms=100,
        allow_auto_create_topics=False,
    )
    return client
