"""Kafka clients with the settings that this pipeline needs, and what differs between the brokers, in one place."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from config import Kafka
from pipeline.broker import diagnosis, internals, outage, probe
from pipeline.broker.assignor import EvenAssignor
from pipeline.broker.internals import Unreadable
from pipeline.errors import ServiceError
from pipeline.wire.text import one_line
from pipeline.wire.topics import LARGEST_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Seconds in which a broker must answer, or the script ends with exit code 3.
REACH_SECONDS = 8.0
#: After so many of them one that has refused (a password, an authority) is not asked any longer: it will say the same again.
REFUSED_SECONDS = 2.0
#: Seconds in which a broker must say where it is, when it is asked why it can't be reached.
ADVERTISED_SECONDS = 1.0
_last_failure = diagnosis.attach()

#: How long a silent member keeps its partitions, in ms. A first join on the embedded broker takes half of that.
EMBEDDED_SESSION_MS = 6_000
CLUSTER_SESSION_MS = 12_000
#: How often a client asks for the topics' partitions, in ms.
METADATA_MS = 20_000
#: Seconds between two looks of a reader whether there are more partitions.
FOLLOW_SECONDS = 10.0
#: How often a member asks whether there is a rebalance, in ms: that is how long the others wait for it in each.
LONGEST_HEARTBEAT_MS = 3_000
#: How many unreadable records are named in a minute, and how many are kept until somebody counts them.
UNREADABLE_SAID = 20
UNREADABLE_KEPT = 10_000
#: Records from which on an answer is worth the next one at once, to one that only looks on.
FULL_ANSWER = 100
#: How much longer a consumer rests after each answer with hardly anything, and at most, in ms; what is left of a poll for the answer.
REST_MS = 50
LONGEST_REST_MS = 250
ANSWER_MS = 50
#: How long a poll waits where there is nothing else to do: long enough for the longest rest.
IDLE_POLL_MS = LONGEST_REST_MS + ANSWER_MS
#: Largest wait of one `send`, in ms: the polling thread must not stand still for longer.
SEND_BLOCK_MS = 5_000


def quiet() -> None:
    """The client logs an ERROR at every lost connection, and comes back by itself: only what is worse is shown.

    That a broker is away is said by who waits for it (outages.BrokerWatch, the monitor, the page).
    """
    logging.getLogger("kafka").setLevel(logging.WARNING)
    for name in ("kafka.net", "kafka.cluster", "kafka.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # This one is listened to: what it says of a failed connection is the reason that the client does not raise.
    logging.getLogger("kafka.net.connection").setLevel(logging.ERROR)
    _last_failure.silent = True
    outage.drop_noise()


def common(settings: Kafka) -> dict[str, Any]:
    """What every client needs to reach the brokers. Raises SettingsError where that can't work with any broker."""
    diagnosis.check_files(settings)
    options: dict[str, Any] = {
        "bootstrap_servers": [server.strip() for server in settings.bootstrap_servers.split(",")],
        "security_protocol": settings.security_protocol,
        "reconnect_backoff_max_ms": 2_000,
        # How late new partitions of a topic are noticed at most.
        "metadata_max_age_ms": METADATA_MS,
        "client_id": f"stock-pipeline-{os.getpid()}",
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
    """Turn what the client raises where no broker answers into a ServiceError that says what to do."""
    _last_failure.forget()
    try:
        yield
    except (kafka.errors.KafkaError, OSError) as error:
        logged = _last_failure.error
        astray = [] if diagnosis.is_refusal(logged or error) else _advertised(settings)
        raise ServiceError(diagnosis.explain(settings, error, logged, astray)) from error


def _advertised(settings: Kafka) -> list[tuple[str, int]]:
    """Where the brokers say that they are; empty where none answers in a moment."""
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
    """A client that has reached a broker. Raises ServiceError after REACH_SECONDS; sooner where a broker refuses."""
    options |= common(settings)
    with reaching(settings):
        try:
            return kind(**options, bootstrap_timeout_ms=int(1000 * REFUSED_SECONDS))
        except kafka.errors.KafkaError as error:
            if diagnosis.is_refusal(_last_failure.error or error):
                raise
        return kind(**options, bootstrap_timeout_ms=int(1000 * (REACH_SECONDS - REFUSED_SECONDS)))


class _Admin(KafkaAdminClient):
    def _process_acl_operations(self, description: Any) -> Any:
        """Groups and topics come with the rights that one has on them. The embedded broker sends bits there that mean
        nothing, which would be an error; nobody here asks for them.
        """
        return description


def admin(settings: Kafka) -> KafkaAdminClient:
    client: KafkaAdminClient = _reached(_Admin, settings, request_timeout_ms=10_000)
    return client


def producer(settings: Kafka) -> KafkaProducer:
    """Acknowledged by all in-sync replicas, one request at a time, so that the order in a partition is kept. Use a `Sender`.

    Not idempotent in Kafka's sense: such a client calls itself dead after any error that can't be tried again, and every
    message of this pipeline may arrive twice anyway.
    """
    client: KafkaProducer = _reached(
        KafkaProducer,
        settings,
        enable_idempotence=False,
        acks="all",
        max_in_flight_requests_per_connection=1,
        max_request_size=LARGEST_MESSAGE_BYTES,
        max_block_ms=SEND_BLOCK_MS,
        # So that a request takes several partitions' completions. Who waits for his messages flushes, and that does not linger.
        linger_ms=50,
        batch_size=65536,
        # Costs less than it saves: the client computes checksums in Python, over what is left to send.
        compression_type="gzip",
    )
    return client


class Patient(KafkaConsumer):
    """A consumer that passes over what it can't read, and says so, and that rests before it asks a broker again that had nothing
    for it: longer after each such answer.

    While a fetch waits, the embedded broker looks for records again and again; a dozen consumers that always have one
    waiting there cost a core when there is nothing to do. One that only looks on, without a group, rests after a few records
    too: to fetch each by itself costs more than all else that it does.
    """

    thin_answers = 0

    def __init__(self, **options: Any) -> None:
        self._unreadable: list[Unreadable] = []
        #: Since when lines about unreadable records are counted (time.monotonic), and how many there were.
        self._said = (0.0, 0)
        self._followed: tuple[str, ...] = ()
        self._looked_at = 0.0
        super().__init__(**options)
        internals.bound_unpacking()
        internals.pass_over_unreadable(self, self._note_unreadable)

    def take_unreadable(self) -> list[Unreadable]:
        """The records that were passed over since this was called last."""
        found, self._unreadable = self._unreadable, []
        return found

    def _note_unreadable(self, one: Unreadable) -> None:
        if len(self._unreadable) < UNREADABLE_KEPT:
            self._unreadable.append(one)
        since, count = self._said
        now = time.monotonic()
        if now - since >= 60:
            since, count = now, 0
        self._said = (since, count + 1)
        if count < UNREADABLE_SAID:
            more = "" if count < UNREADABLE_SAID - 1 else " (further ones of this minute are counted, not named)"
            log.warning("%s is passed over, it can't be read: %s%s", one, one_line(one.reason, 200), more)

    def follow(self, names: Iterable[str]) -> list[TopicPartition]:
        """Assign all partitions of the topics, now and whenever they get more: those are read from their beginning. The ones that are
        new. Raises ServiceError where a topic isn't there.
        """
        self._followed = tuple(names)
        self._looked_at = time.monotonic()
        known = self.assignment()
        fresh = [partition for partition in partitions_of(self, self._followed) if partition not in known]
        if fresh:
            self.assign([*known, *fresh])
            self.seek_to_beginning(*fresh)
            if known:
                log.info("taking up new partitions: %s", ", ".join(f"{topic}[{number}]" for topic, number in fresh))
        return fresh

    def poll(self, timeout_ms: float = 0, **options: Any) -> Any:
        if self._followed and time.monotonic() - self._looked_at >= FOLLOW_SECONDS:
            try:
                self.follow(self._followed)
            except (ServiceError, kafka.errors.KafkaError) as error:
                log.debug("no look at the partitions: %s", error)  # a broker that is away is said by who watches it
        # While it joins its group every poll takes it a step further.
        rest_ms = 0 if internals.is_joining(self) else rest_of(self.thin_answers, timeout_ms)
        if rest_ms:
            time.sleep(rest_ms / 1000)
        records = super().poll(timeout_ms - rest_ms, **options)
        enough = 1 if self.config["group_id"] else FULL_ANSWER
        self.thin_answers = 0 if sum(map(len, records.values())) >= enough else self.thin_answers + 1
        return records


def rest_of(thin_answers: int, timeout_ms: float) -> float:
    """How long one poll of so many ms rests before it asks, after so many answers with hardly anything. Pure."""
    return max(0, min(thin_answers * REST_MS, LONGEST_REST_MS, timeout_ms - ANSWER_MS))


def group_consumer(settings: Kafka, group: str, most_records: int, auto_offset_reset: str = "earliest") -> KafkaConsumer:
    """A member of a consumer group that commits by hand. Subscribe it yourself.

    auto_offset_reset: "none" raises out of `poll` what lost_positions.py says and mends.
    """
    # A first join on the embedded broker takes half the session time-out; a cluster deserves more patience.
    session_ms = EMBEDDED_SESSION_MS if settings.source == "embedded" else CLUSTER_SESSION_MS
    client: Patient = _reached(
        Patient,
        settings,
        group_id=group,
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
    """Close a member of a group, without committing.

    Not with a LeaveGroup request on the embedded broker: where a follower leaves before the leader, it goes on naming
    the departed leader as that of every later generation, and nobody is assigned anything ever again. A member that is
    silent is forgotten after its session, and that works.
    """
    if settings.source == "embedded":
        internals.leave_silently(consumer)
    consumer.close(autocommit=False, timeout_ms=timeout_ms)


def reader(settings: Kafka, for_watermarks: bool = False) -> KafkaConsumer:
    """A consumer without a group: it reads what it is assigned and leaves no trace. `watermarks` needs one of its own."""
    client: Patient = _reached(
        Patient,
        settings,
        group_id=None,
        # Within a fetch session Apache Kafka tells of a partition only what is new: not the watermark it told before.
        enable_incremental_fetch_sessions=not for_watermarks,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_poll_records=5_000,
        fetch_max_wait_ms=100,
        allow_auto_create_topics=False,
    )
    return client


def position(offset: int) -> OffsetAndMetadata:
    """A position to commit. The leader epoch is unknown, and must be a number all the same."""
    return OffsetAndMetadata(offset, "", -1)


def partitions_of(consumer: KafkaConsumer, names: Iterable[str], timeout_seconds: float = 10.0) -> list[TopicPartition]:
    """All partitions of the topics. Raises ServiceError where one isn't there."""
    found: list[TopicPartition] = []
    deadline = time.monotonic() + timeout_seconds
    for name in names:
        numbers = consumer.partitions_for_topic(name)
        while not numbers and time.monotonic() < deadline:
            time.sleep(0.1)
            numbers = consumer.partitions_for_topic(name)
        if not numbers:
            raise ServiceError(f"topic {name} isn't there: start run_pipeline.py or kafka_scraper_producer.py first")
        found += [TopicPartition(name, number) for number in sorted(numbers)]
    return found


def high_watermarks(settings: Kafka, names: Iterable[str], timeout_seconds: float = 20.0) -> dict[TopicPartition, int]:
    """The offset after the last record of each partition, read now.

    Not by `end_offsets`: the embedded broker answers that wrongly for batches of several records. What a fetch says is
    right on every broker, so each partition is fetched once, from where it is said to end.
    """
    consumer = reader(settings, for_watermarks=True)
    try:
        with reaching(settings):
            return watermarks(consumer, partitions_of(consumer, names), timeout_seconds)[1]
    finally:
        consumer.close()


def watermarks(
    consumer: KafkaConsumer, partitions: list[TopicPartition], timeout_seconds: float = 20.0
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """The first offset that is still there, and the one after the last record, of each partition, read now.

    consumer: a `reader(for_watermarks=True)`, whose assignment this changes. Raises KafkaError where the broker does not answer in time.
    """
    begins = consumer.beginning_offsets(partitions)
    ends = consumer.end_offsets(partitions)
    marks: dict[TopicPartition, int] = {}
    # What it read of a partition before is forgotten with the assignment.
    consumer.unsubscribe()
    consumer.assign(partitions)
    for partition in partitions:
        consumer.seek(partition, max(ends[partition], begins[partition]))
    deadline = time.monotonic() + timeout_seconds
    while len(marks) < len(partitions):
        consumer.poll(50)
        for partition in partitions:
            mark = consumer.highwater(partition)
            if mark is not None:
                marks[partition] = mark
        if time.monotonic() > deadline:
            raise kafka.errors.KafkaTimeoutError(f"no watermark of {len(partitions) - len(marks)} partitions")
    return begins, marks


def group_description(client: KafkaAdminClient, group: str) -> dict[str, Any]:
    """A group as `describe_groups` has it; of one that nobody has joined yet, an empty one. Raises KafkaError.

    The embedded broker leaves client, host and assignment of its members blank.
    """
    try:
        found = _from_coordinator(lambda: client.describe_groups([group]))[group]
    except kafka.errors.GroupIdNotFoundError:
        return {"group_state": "Empty", "members": []}
    return {**found, "group_state": "Empty"} if found["group_state"] in ("Dead", "") else dict(found)


def committed_offsets(client: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """What the group has committed; partitions without a commit are left out. Raises KafkaError."""
    found = _from_coordinator(lambda: client.list_group_offsets(group)).get(group, {})
    return {partition: position.offset for partition, position in found.items() if position.offset >= 0}


def _from_coordinator(ask: Callable[[], Any], timeout_seconds: float = 5.0) -> Any:
    """What `ask` returns, asked again where the group's coordinator is not ready.

    A cluster makes the topic that groups live in when it is first asked for one, and loads it after each restart.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return ask()
        except (
            kafka.errors.CoordinatorNotAvailableError,
            kafka.errors.NotCoordinatorError,
            kafka.errors.CoordinatorLoadInProgressError,
            kafka.errors.NodeNotReadyError,  # a connection that was lost waits for its next attempt
        ):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
