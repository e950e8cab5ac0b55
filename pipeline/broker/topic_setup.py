"""Creates the topics before any client uses them, and checks that the cluster accepts what is written to them."""

from __future__ import annotations

import logging
import time
from typing import Any

import kafka.errors
from kafka.admin import ConfigResource, ConfigResourceType

from config import Kafka
from pipeline.broker import dialect
from pipeline.errors import ServiceError
from pipeline.wire import topics

log = logging.getLogger(__name__)

#: A message is acknowledged when so many replicas have it; in a topic with fewer replicas, none ever is.
_MIN_INSYNC_REPLICAS = "min.insync.replicas"
_MAX_MESSAGE_BYTES = "max.message.bytes"
_CLEANUP_POLICY = "cleanup.policy"


def ensure(admin: Any, settings: Kafka, timeout_seconds: float = 30.0) -> frozenset[str]:
    """Create the missing topics, and return their names. Topics with other partition counts stay as they are, with a warning.

    Both brokers create a topic with too few partitions as soon as a client names it, so this must run before any client starts. Several
    processes may run it at once.

    Raises ServiceError if a topic can't be created, or if the cluster would refuse every write to it.
    """
    missing = {
        name: {
            "num_partitions": topics.partitions(name, settings),
            "replication_factor": settings.replication_factor,
            "configs": topics.configs(name),
        }
        for name in topics.ALL
        if name not in set(admin.list_topics())
    }
    if missing:
        _check_new_topics(admin, settings)
    created = set()
    for name, options in missing.items():
        try:
            admin.create_topics({name: options})
            created.add(name)
        except kafka.errors.TopicAlreadyExistsError:
            continue  # another process was faster
        except kafka.errors.InvalidReplicationFactorError as error:
            raise ServiceError(
                f"topic {name} can't be created: KAFKA_REPLICATION_FACTOR is {settings.replication_factor}, more than there are brokers"
            ) from error
        except kafka.errors.KafkaError as error:
            raise ServiceError(f"topic {name} can't be created: {error}") from error
    described = _described_when_ready(admin, timeout_seconds)
    for name, partitions in described.items():
        count, expected = len(partitions), topics.partitions(name, settings)
        if count != expected:
            log.warning("topic %s has %d partitions, the settings say %d: going on with %d", name, count, expected, count)
    _check_limits(admin, settings)
    _check_cleanup(admin, settings)
    _check_replicas(admin, settings, {name: min(len(part["replica_nodes"]) for part in parts) for name, parts in described.items()})
    return frozenset(created)


def _described_when_ready(admin: Any, timeout_seconds: float) -> dict[str, list[dict[str, Any]]]:
    """Topic → its partitions, as soon as every topic has some. Raises ServiceError if that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        described = {topic["name"]: topic["partitions"] for topic in admin.describe_topics(list(topics.ALL)) if topic["partitions"]}
        if len(described) == len(topics.ALL):
            return described
        if time.monotonic() > deadline:
            raise ServiceError(f"topics not ready after {timeout_seconds:.0f} s: {', '.join(sorted(set(topics.ALL) - set(described)))}")
        time.sleep(0.1)


def _check_new_topics(admin: Any, settings: Kafka) -> None:
    """Check before topics are created that would have to be deleted again. Raises ServiceError."""
    if not dialect.of(settings).tells_settings:
        return  # it has no such setting, and disconnects a client that asks
    nodes = [str(broker["broker_id"]) for broker in admin.describe_cluster()["brokers"]]
    needed = max(_numbers(admin, ConfigResourceType.BROKER, nodes[:1], _MIN_INSYNC_REPLICAS).values(), default=1)
    if settings.replication_factor < needed:
        raise ServiceError(
            f"the brokers' min.insync.replicas is {needed} and KAFKA_REPLICATION_FACTOR {settings.replication_factor}: every write to the "
            f"pipeline's topics would be refused (NotEnoughReplicas). Set KAFKA_REPLICATION_FACTOR={needed + 1}"
        )


def _check_replicas(admin: Any, settings: Kafka, replicas: dict[str, int]) -> None:
    """replicas: topic → the fewest that one of its partitions has. Raises ServiceError if that is not enough for any write."""
    if not dialect.of(settings).tells_settings:
        return
    needed = _numbers(admin, ConfigResourceType.TOPIC, list(replicas), _MIN_INSYNC_REPLICAS)
    short = sorted(name for name, count in replicas.items() if count < needed.get(name, 1))
    if short:
        most = max(needed[name] for name in short)
        raise ServiceError(
            f"every write to {', '.join(short)} would be refused (NotEnoughReplicas): min.insync.replicas is {most} there, and there are "
            f"{min(replicas[name] for name in short)} replicas. Delete these topics and set KAFKA_REPLICATION_FACTOR={most + 1}"
        )


def _check_cleanup(admin: Any, settings: Kafka) -> None:
    """Raises ServiceError if a topic keeps only the newest message of each key: tasks and results of a symbol have the same one."""
    if not dialect.of(settings).tells_settings:
        return
    found = _told(admin, ConfigResourceType.TOPIC, list(topics.ALL), _CLEANUP_POLICY)
    compacted = sorted(name for name, policy in found.items() if "compact" in policy)
    if compacted:
        raise ServiceError(
            f"tasks and results would vanish from {', '.join(compacted)}: cleanup.policy is {found[compacted[0]]} there, and a later "
            "message of the same stock takes the place of an earlier one. Set it on each: kafka-configs --alter "
            f"--entity-type topics --entity-name {compacted[0]} --add-config cleanup.policy=delete"
        )


def _check_limits(admin: Any, settings: Kafka) -> None:
    """Warn of topics that take smaller messages than are sent to them: their tasks fail, and their letters lose the value."""
    if not dialect.of(settings).tells_settings:
        return
    limits = _numbers(admin, ConfigResourceType.TOPIC, list(topics.ALL), _MAX_MESSAGE_BYTES)
    for stage in topics.STAGES:
        needed = min(limits.get(stage.tasks, 0), topics.LARGEST_MESSAGE_BYTES)
        for name in (stage.retries, stage.dead_letters):
            if limits.get(name, needed) < needed:
                log.warning(
                    "topic %s takes messages of %d bytes at most, %s of %d: larger tasks that fail are kept without their value. Set"
                    " max.message.bytes=%d there",
                    *(name, limits[name], stage.tasks, limits[stage.tasks], topics.LARGEST_MESSAGE_BYTES),
                )
        for name in (stage.completion, stage.errors):
            if limits.get(name, topics.LARGEST_RESULT_BYTES) < topics.LARGEST_RESULT_BYTES:
                log.warning(
                    "topic %s takes messages of %d bytes at most: tasks whose result is larger fail for that alone. Set"
                    " max.message.bytes=%d there",
                    *(name, limits[name], topics.LARGEST_MESSAGE_BYTES),
                )


def _numbers(admin: Any, kind: Any, names: list[str], setting: str) -> dict[str, int]:
    """The setting of each broker or topic, by name, as `_told`."""
    return {name: int(value) for name, value in _told(admin, kind, names, setting).items() if value.isdecimal()}


def _told(admin: Any, kind: Any, names: list[str], setting: str) -> dict[str, str]:
    """The setting of each broker or topic, by name; empty if the broker does not answer: not every user may ask."""
    try:
        resources = [ConfigResource(kind, name, [setting]) for name in names]
        found = admin.describe_configs(resources, config_filter="all")
        entries = found[kind.name.lower()]
        return {name: str(entry[setting]["value"]) for name, entry in entries.items() if setting in entry}
    except (kafka.errors.KafkaError, KeyError, TypeError) as error:
        log.debug("%s is not known: %s", setting, error)
        return {}
