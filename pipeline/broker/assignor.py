"""Assigns partitions to the members of a consumer group: each topic by itself, evenly, and with as few moves as possible.

kafka-python's own sticky assignor balances the sum over all topics. One of two members may then get all task partitions and the
other one all retry partitions, which are empty: half of the group has nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment


def shared_out(partitions: Sequence[int], members: Sequence[str], owners: Mapping[int, str]) -> dict[str, list[int]]:
    """Partitions of one topic by member, as evenly as possible. Pure.

    `owners` says who has each partition now. A member keeps its lowest ones up to its share; the rest goes in runs to members that have
    fewer than their share. So neighbours stay together, and a partition and the one opposite belong to different members.
    """
    owned: dict[str, list[int]] = {member: [] for member in members}
    for partition in sorted(partitions):
        if owners.get(partition) in owned:
            owned[owners[partition]].append(partition)
    least, more = divmod(len(partitions), len(members))
    # Members that have the most get the additional ones, so that the fewest move.
    order = sorted(members, key=lambda member: (-len(owned[member]), member))
    share = {member: least + (place < more) for place, member in enumerate(order)}
    found = {member: owned[member][: share[member]] for member in members}
    kept = {partition for some in found.values() for partition in some}
    free = [partition for partition in sorted(partitions) if partition not in kept]
    for member in sorted(members):
        lacking = share[member] - len(found[member])
        found[member] = sorted(found[member] + free[:lacking])
        free = free[lacking:]
    return found


class EvenAssignor(CooperativeStickyAssignor):
    """The cooperative protocol of its parent, in two rounds: what moves is given up in the first and given out in the second."""

    name = "even-by-topic"

    def assign(self, cluster: Any, members: Any) -> dict[str, Any]:
        metadata = {member.member_id: self.parse_member_metadata(member.metadata) for member in members}
        owners = {partition: member for member, found in metadata.items() for partition in found.partitions}
        result: dict[str, list[tuple[str, list[int]]]] = {member: [] for member in metadata}
        for topic in sorted({topic for found in metadata.values() for topic in found.subscription}):
            subscribers = [member for member, found in metadata.items() if topic in found.subscription]
            owner_of = {partition.partition: member for partition, member in owners.items() if partition.topic == topic}
            for member, partitions in shared_out(sorted(cluster.partitions_for_topic(topic) or ()), subscribers, owner_of).items():
                # A partition that another member has now comes to this one after that member has given it up.
                now = [partition for partition in partitions if owner_of.get(partition, member) == member]
                if now:
                    result[member].append((topic, now))
        return {member: ConsumerProtocolAssignment(self.version, found, b"") for member, found in result.items()}
