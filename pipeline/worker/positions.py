"""A worker's partitions: which ones it has, what was taken from each, and up to where that is committed.

For the polling thread, which owns the consumer.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import kafka.errors
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener

from pipeline.broker import consumer_groups, internals, lost_positions, positions
from pipeline.broker.internals import Unreadable
from pipeline.broker.lost_positions import Remade
from pipeline.broker.outage import BrokerWatch
from pipeline.errors import ServiceError
from pipeline.wire.topics import StageTopics
from pipeline.worker.ledger import OffsetLedger

log = logging.getLogger(__name__)

#: Seconds between two commits.
COMMIT_SECONDS = 0.5
#: Seconds between two looks whether a group that refuses this worker is one that nobody is in.
RENEWAL_SECONDS = 3.0


class _Rebalances(ConsumerRebalanceListener):
    """Only notes what happened. A commit in a listener is refused, so the polling thread acts after its poll."""

    def __init__(self) -> None:
        self.assigned = False
        self.lost = False

    def on_partitions_revoked(self, revoked: Any) -> None:
        log.info("partitions revoked: %d", len(revoked))
        self.assigned = True

    def on_partitions_assigned(self, assigned: Any) -> None:
        log.info("partitions assigned: %d", len(assigned))
        self.assigned = True

    def on_partitions_lost(self, lost: Any) -> None:
        log.warning("removed from the consumer group: %d partitions lost, other consumers do their tasks", len(lost))
        self.lost = True


class Positions:
    """Subscribes to the task and the retry topic, and keeps a ledger of each partition."""

    def __init__(self, consumer: KafkaConsumer, watch: BrokerWatch, topics: StageTopics) -> None:
        self._consumer = consumer
        self._watch = watch
        self._retries = topics.retries
        self._group = topics.group
        self._ledgers: dict[TopicPartition, OffsetLedger] = {}
        self._rebalances = _Rebalances()
        self._last_commit = 0.0
        self._last_renewal = float("-inf")
        self._remade = Remade(consumer)
        #: Records of topics that were deleted and made anew, whose tasks are still in hand: the new ones of the same offsets are others.
        self._gone: set[tuple[TopicPartition, int]] = set()
        #: After a poll that has changed the assignment: the partitions that this worker has had without a break. Otherwise None.
        self.kept: set[TopicPartition] | None = None
        consumer.subscribe([topics.tasks, topics.retries], listener=self._rebalances)

    def pause(self, everything: bool, retries: bool) -> None:
        """Pause all partitions, or those of retries. A paused consumer goes on polling, so it stays in its group."""
        assigned = self._consumer.assignment()
        held_back = [tp for tp in assigned if everything or (retries and tp.topic == self._retries)]
        self._consumer.pause(*held_back)
        self._consumer.resume(*(self._consumer.paused() - set(held_back)))

    def poll(self, timeout_ms: int, most: int) -> list[Any]:
        """New records, noted as taken. Unreadable ones are noted as finished: they were logged and passed over."""
        self.kept = None
        try:
            try:
                found = self._consumer.poll(timeout_ms, max_records=most)
            except lost_positions.LOST as error:
                lost_positions.recover(self._consumer, self._group, error)
                found = {}
        except kafka.errors.KafkaError as error:
            self._watch.trouble("poll failed, trying again", error)
            if isinstance(error, kafka.errors.InconsistentGroupProtocolError):
                self._renew_if_spoilt()
            time.sleep(0.2)
            return []
        self._after_rebalance()
        for partition in self._remade.look():
            found.pop(partition, None)
            self._begin_anew(partition)
        for one in self._consumer.take_unreadable():
            found.setdefault(one.partition, []).append(one)
        taken = []
        for partition, batch in found.items():
            ledger = self._ledgers.setdefault(partition, OffsetLedger())
            for record in sorted(batch, key=lambda record: record.offset):
                if isinstance(record, Unreadable):
                    last = record.next_offset - 1
                    if ledger.take(last):
                        ledger.finish(last)
                elif ledger.take(record.offset):
                    taken.append(record)
        return taken

    def _renew_if_spoilt(self) -> None:
        now = time.monotonic()
        if now - self._last_renewal < RENEWAL_SECONDS:
            return
        self._last_renewal = now
        try:
            consumer_groups.renew_if_spoilt(self._watch.settings, self._group)
        except (ServiceError, kafka.errors.KafkaError) as error:
            self._watch.trouble("the group can't be looked at, trying again", error)

    def finish(self, partition: TopicPartition, offset: int) -> None:
        """All outputs of the record are safe. Nothing is noted if the partition belongs to another consumer now."""
        if (partition, offset) in self._gone:
            self._gone.discard((partition, offset))
        elif partition in self._ledgers:
            self._ledgers[partition].finish(offset)

    def dropped(self, partition: TopicPartition, offset: int) -> None:
        """The record's task is forgotten, and nothing will ever finish it."""
        self._gone.discard((partition, offset))

    def commit_if_due(self) -> None:
        if time.monotonic() - self._last_commit >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Commit, for each partition, the position below which everything is finished."""
        self._last_commit = time.monotonic()
        mine = self._consumer.assignment()
        for tp, ledger in self._ledgers.items():
            if tp in mine and not ledger.open:
                ledger.read_to(internals.read_position(self._consumer, tp))
        safe = {tp: ledger.to_commit() for tp, ledger in self._ledgers.items() if tp in mine}
        offsets = {tp: positions.position(position) for tp, position in safe.items() if position is not None}
        if not offsets:
            return
        try:
            self._consumer.commit(offsets, timeout_ms=5_000)
        except (kafka.errors.CommitFailedError, kafka.errors.BrokerResponseError, kafka.errors.RetriableError) as error:
            # A rebalance, or a broker that is away: the next round commits it, or the new owner does it again.
            self._watch.trouble("commit put off", error, logging.INFO)
            return
        for tp, position in offsets.items():
            self._ledgers[tp].committed(position.offset)

    def _begin_anew(self, partition: TopicPartition) -> None:
        """Its records are others than before."""
        self.kept = (set(self._consumer.assignment()) if self.kept is None else self.kept) - {partition}
        ledger = self._ledgers.pop(partition, None)
        if ledger is not None:
            self._gone |= {(partition, offset) for offset in ledger.unfinished()}

    def forget(self) -> None:
        self._ledgers.clear()

    def _after_rebalance(self) -> None:
        """Forget partitions that belong to another consumer now: it commits them, and doing a task twice is doing it once."""
        if self._rebalances.lost or self._rebalances.assigned:
            self.kept = set() if self._rebalances.lost else set(self._consumer.assignment())
            self._ledgers = {partition: ledger for partition, ledger in self._ledgers.items() if partition in self.kept}
        self._rebalances.lost = self._rebalances.assigned = False
