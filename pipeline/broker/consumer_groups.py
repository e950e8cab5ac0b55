"""Reads the consumer groups: who is in them, what they have committed, and how far that is behind."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import kafka.errors
from kafka import KafkaAdminClient, TopicPartition

from config import Kafka
from pipeline.broker import clients, dialect, positions
from pipeline.broker.patient import partitions_of
from pipeline.wire.topics import STAGES, StageTopics

log = logging.getLogger(__name__)

#: A member's id is its client's id, a hyphen, and a UUID of 36 characters.
_UUID_SUFFIX = 37


@dataclass(frozen=True)
class Member:
    """One process of a group. `partitions` and `host` are empty on the embedded broker, which does not report them."""

    member_id: str
    client_id: str
    host: str = ""
    partitions: tuple[TopicPartition, ...] = ()


@dataclass(frozen=True)
class PartitionLag:
    """How far a group is in one partition. `committed` is None if it has committed nothing yet."""

    begin: int
    end: int
    committed: int | None = None

    @property
    def lag(self) -> int:
        """Records that exist and are not done. What retention has removed does not count."""
        return max(0, self.end - max(self.committed or 0, self.begin))


@dataclass(frozen=True)
class GroupState:
    """`state`: "Stable", "Empty" (no members), "PreparingRebalance" or "CompletingRebalance"."""

    group: str
    state: str
    members: tuple[Member, ...] = ()
    partitions: dict[TopicPartition, PartitionLag] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        return sum(one.lag for one in self.partitions.values())

    def lag_of(self, topic: str) -> int:
        return sum(one.lag for partition, one in self.partitions.items() if partition.topic == topic)


class GroupReader:
    """Reads the groups as often as wanted over the same two connections. Not for several threads at once."""

    def __init__(self, settings: Kafka) -> None:
        """Raises ServiceError if the broker is not reachable."""
        self.settings = settings
        self._admin = clients.admin(settings)
        try:
            self._consumer = clients.reader(settings, for_watermarks=True)
        except BaseException:
            self._admin.close()
            raise

    def read(self, stages: tuple[StageTopics, ...] = STAGES) -> dict[str, GroupState]:
        """The state of each stage's group, by its name. Raises ServiceError if the broker does not answer or a topic does not exist."""
        with clients.reaching(self.settings):
            # Committed positions before the ends: they only grow, so a lag is never made too small by reading late.
            descriptions = {stage.group: group_description(self._admin, stage.group) for stage in stages}
            committed = {stage.group: positions.committed_offsets(self._admin, stage.group) for stage in stages}
            topics_of = {stage.group: (stage.tasks, stage.retries) for stage in stages}
            partitions = partitions_of(self._consumer, [name for names in topics_of.values() for name in names])
            begins, ends = positions.watermarks(self._consumer, partitions)
        found = {}
        for group, names in topics_of.items():
            lags = {
                partition: PartitionLag(begins[partition], ends[partition], committed[group].get(partition))
                for partition in partitions
                if partition.topic in names
            }
            description = descriptions[group]
            found[group] = GroupState(group, description["group_state"], tuple(map(_member, description["members"])), lags)
        return found

    def close(self) -> None:
        self._consumer.close()
        self._admin.close()


def group_state(settings: Kafka, stage: StageTopics) -> GroupState:
    """One look at one stage's group. Raises ServiceError."""
    reader = GroupReader(settings)
    try:
        return reader.read((stage,))[stage.group]
    finally:
        reader.close()


def renew_if_spoilt(settings: Kafka, group: str) -> None:
    """Delete a group that refuses this program's members although nobody is in it, if the broker is one that does so.

    Its positions go with it: what was done already is done again. Raises ServiceError if the broker does not answer.
    """
    if dialect.of(settings).forgets_protocols:
        return
    with closing(clients.admin(settings)) as admin, clients.reaching(settings):
        if not group_description(admin, group)["members"]:
            admin.delete_groups([group])
            log.warning("the other program has left the group %s, which is made anew", group)


def _member(description: dict[str, Any]) -> Member:
    member_id = description["member_id"]
    # The embedded broker sends unreadable bytes here, or nothing.
    assignment = description.get("member_assignment")
    assigned = assignment.get("assigned_partitions", []) if isinstance(assignment, dict) else []
    return Member(
        member_id=member_id,
        client_id=description.get("client_id") or member_id[:-_UUID_SUFFIX],
        host=(description.get("client_host") or "").lstrip("/"),
        partitions=tuple(TopicPartition(one["topic"], number) for one in assigned for number in sorted(one["partitions"])),
    )


def group_description(client: KafkaAdminClient, group: str) -> dict[str, Any]:
    """A group as `describe_groups` gives it. A group that was never joined is given as an empty one. Raises KafkaError.

    The embedded broker leaves client, host and assignment of its members blank.
    """
    try:
        found = positions.from_coordinator(lambda: client.describe_groups([group]))[group]
    except kafka.errors.GroupIdNotFoundError:
        return {"group_state": "Empty", "members": []}
    return {**found, "group_state": "Empty"} if found["group_state"] in ("Dead", "") else dict(found)
