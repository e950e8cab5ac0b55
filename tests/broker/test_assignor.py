from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from pipeline.broker.assignor import EvenAssignor, shared_out


class Group:
    """Members with what they own, and a cluster of two topics of 24 partitions."""

    def __init__(self):
        self.owned = {}

    def partitions_for_topic(self, topic):
        return set(range(24)) if topic in ("tasks", "retries") else None

    def rebalance(self):
        """Rounds of the cooperative protocol until nothing moves; how many."""
        for number in range(1, 10):
            members = [SimpleNamespace(member_id=member, metadata=self.metadata(owned)) for member, owned in self.owned.items()]
            found = EvenAssignor.assign(EvenAssignor(), self, members)
            new = {member: {TopicPartition(t, p) for t, ps in given.assigned_partitions for p in ps} for member, given in found.items()}
            taken = [partition for owned in new.values() for partition in owned]
            assert len(taken) == len(set(taken))
            for member, owned in new.items():
                others = set().union(*(have for other, have in self.owned.items() if other != member))
                assert not (owned & others), "given to one while another still has it"
            if new == self.owned:
                return number
            self.owned = new
        raise AssertionError("never settles")

    def metadata(self, owned):
        topics = [SimpleNamespace(topic=topic, partitions=[p for t, p in owned if t == topic]) for topic in ("tasks", "retries")]
        return SimpleNamespace(topics=["tasks", "retries"], owned_partitions=topics, generation_id=-1)

    def counts(self, topic):
        return sorted(sum(partition.topic == topic for partition in owned) for owned in self.owned.values())


def test_each_topic_stays_evenly_shared_when_members_come_and_go():
    group = Group()
    for members in (["a"], ["a", "b"], ["a", "b", "c", "d"], ["b", "d"], ["b", "d", "e", "f", "g"], ["g"]):
        group.owned = {member: group.owned.get(member, set()) for member in members}
        group.rebalance()
        for topic in ("tasks", "retries"):
            counts = group.counts(topic)
            assert sum(counts) == 24
            assert counts[-1] - counts[0] <= 1


def test_opposite_partitions_belong_to_different_members():
    assert shared_out(range(24), ["a", "b"], {}) == {"a": [*range(12)], "b": [*range(12, 24)]}
    assert shared_out(range(24), ["a", "b"], dict.fromkeys(range(24), "b")) == {"a": [*range(12, 24)], "b": [*range(12)]}


@given(st.integers(0, 40), st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True), st.randoms())
def test_every_partition_is_assigned_evenly_and_as_few_as_possible_move(count, members, random):
    owners = {partition: random.choice("abcdefghz") for partition in range(count) if random.random() < 0.8}
    found = shared_out(range(count), members, owners)
    assert sorted(partition for some in found.values() for partition in some) == [*range(count)]
    sizes = sorted(len(some) for some in found.values())
    assert sizes[-1] - sizes[0] <= 1
    kept = sum(owners.get(partition) == member for member, some in found.items() for partition in some)
    had = sorted((sum(owner == member for owner in owners.values()) for member in members), reverse=True)
    least, more = divmod(count, len(members))
    assert kept >= sum(min(have, least + (place < more)) for place, have in enumerate(had))
