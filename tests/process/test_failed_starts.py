from __future__ import annotations

from pipeline.process.failed_starts import FAILED_STARTS, FailedStarts


def test_failed_starts_wait_longer_each_time_until_one_succeeds() -> None:
    failed = FailedStarts()
    waits = []
    for _ in range(FAILED_STARTS - 1):
        failed.note(died_after_seconds=0.1)
        waits.append(failed.wait_seconds)
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert not failed.too_many
    failed.note(died_after_seconds=60.0)
    assert (failed.any, failed.wait_seconds) == (False, 0.5)
    for _ in range(FAILED_STARTS):
        failed.note(died_after_seconds=0.1)
    assert failed.too_many
