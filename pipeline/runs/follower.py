"""Follows a run with its own reader, while a thread watches the broker and the groups."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import kafka.errors

from config import Kafka
from pipeline.errors import ServiceError
from pipeline.runs.account import Account
from pipeline.runs.account_reader import Tally
from pipeline.runs.group_watch import GroupWatch
from pipeline.runs.view import MonitorView, StageRates
from pipeline.yahoo import throttle_text

log = logging.getLogger(__name__)

#: Seconds without an answer after which the broker counts as lost: if it refused connections, and otherwise.
REFUSED_SECONDS, LOST_SECONDS = 3.0, 8.0
#: A poll of this many records means that there is a backlog. It ends after this many smaller polls.
BACKLOG_RECORDS = 200
QUIET_POLLS = 3


class RunFollower:
    """Call `read` repeatedly, and `view` whenever something is displayed."""

    def __init__(self, tally: Tally, find: Callable[[], Kafka]) -> None:
        """tally: of the run, or of the newest one. find: returns the broker's settings; called again after the broker was lost."""
        self._tally = tally
        self._watch = GroupWatch(find, tally.settings)
        self._rates = StageRates()
        self._quiet_polls = 0
        self._cluster = ""
        self._heard_at = time.monotonic()

    @property
    def account(self) -> Account | None:
        return self._tally.newest()

    def start(self) -> None:
        """Start watching the broker and the groups."""
        self._watch.start()

    def stop(self) -> None:
        """Stop watching, and read the records that have arrived until now."""
        self._watch.stop()
        self._poll(0)

    def read(self, timeout_ms: int) -> None:
        """Read new records, for at most `timeout_ms`."""
        self._poll(timeout_ms)
        self._start_anew_on_another_broker()

    def view(self) -> MonitorView:
        account, seen, now = self.account, self._watch.seen, time.monotonic()
        silent = now - max(seen.answered_at, self._heard_at)
        rates = (0.0, 0.0) if self._reading else self._rates(account)
        return MonitorView(
            account=account,
            elapsed_seconds=account.elapsed_seconds(time.time()) if account else 0.0,
            reading=self._reading,
            lost_seconds=silent if silent >= (REFUSED_SECONDS if seen.lost else LOST_SECONDS) else None,
            problem=seen.problem,
            groups=seen.groups,
            throttle=_throttle(seen.site, account),
            waits=throttle_text.waiting(seen.site) if seen.site and account and account.pending else "",
            scraping_rate=rates[0],
            processing_rate=rates[1],
        )

    @property
    def _reading(self) -> bool:
        """Whether old records are still being read. Their rate is not the run's rate."""
        return self._quiet_polls < QUIET_POLLS

    def _poll(self, timeout_ms: int) -> None:
        if self._watch.seen.lost:
            # Another broker may take its port. Nothing is read from it before it is known to be the right one.
            time.sleep(timeout_ms / 1000)
            return
        try:
            count = self._tally.poll(timeout_ms)
        except kafka.errors.KafkaError as error:
            log.debug("poll: %s", error)  # GroupWatch reports a broker that is not reachable
            time.sleep(timeout_ms / 1000)
            return
        if count:
            self._heard_at = time.monotonic()
        if self._reading:
            self._quiet_polls = self._quiet_polls + 1 if count < BACKLOG_RECORDS else 0

    def _start_anew_on_another_broker(self) -> None:
        """Start again if another broker answers: positions in the old one's topics are meaningless."""
        seen = self._watch.seen
        if seen.lost or not seen.cluster or seen.cluster == self._cluster:
            return
        if self._cluster:
            try:
                tally = Tally(seen.settings, self._tally.run_id)
            except (ServiceError, kafka.errors.KafkaError) as error:
                log.info("the new broker is not ready: %s", error)
                return
            self._tally.close()
            self._tally = tally
            self._quiet_polls = 0
        self._cluster = seen.cluster


def _throttle(site: throttle_text.Site | None, account: Account | None) -> str:
    if account is None:
        return throttle_text.text(site)
    return throttle_text.text(site, account.processing["pending"], account.requests_per_finished_stock)
