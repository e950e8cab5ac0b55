"""The verdicts on a group's lag, each computed by hand from a few samples. Window: 120 s, or as a test says."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.broker.consumer_groups import PartitionLag
from pipeline.runs.lag import FINE, REWOUND, SLOW, STALLED, STOPPED, VERDICTS, WAITING, GroupLag, LagWindow, Sample


def position(committed, end, begin=0):
    return PartitionLag(begin, end, committed)


def judged(*samples, members=2, window_seconds=120.0):
    """The verdict after samples of one partition: (time, committed, watermark)."""
    window = LagWindow(window_seconds)
    for time, committed, watermark in samples:
        window.feed(Sample(time, {"p0": position(committed, watermark)}, members))
    return window.verdict()


def every(seconds, count, start=0):
    """Moments: every so many seconds, so many."""
    return [start + number * seconds for number in range(count)]


def test_there_is_no_verdict_before_the_first_sample():
    assert LagWindow().verdict() is None


def test_a_group_without_lag_is_fine_from_the_first_sample():
    assert judged((0, 5, 5)) == FINE
    assert judged((0, None, 0)) == FINE
    assert judged((0, None, 0), members=0) == FINE


def test_a_falling_lag_is_fine_at_once_however_large():
    # 1,000,000 behind, then 999,999: no threshold.
    assert judged((0, 0, 1_000_000), (2, 1, 1_000_000)) == FINE


def test_a_window_that_is_not_full_shows_no_standstill():
    assert judged(*[(time, 3, 10) for time in every(10, 12)]) is None  # 0 … 110 s
    assert judged(*[(time, 3, 10) for time in every(10, 13)]) == STALLED  # 0 … 120 s


def test_a_group_that_waits_for_the_site_is_not_stalled():
    assert [GroupLag("a", 5, 2, verdict).while_waiting().verdict for verdict in (STALLED, STOPPED, FINE, None)] == [
        WAITING,
        STOPPED,
        FINE,
        None,
    ]


def test_a_constant_offset_is_stalled_with_members_and_stopped_without():
    samples = [(time, 3, 10) for time in every(10, 13)]
    assert judged(*samples, members=1) == STALLED
    assert judged(*samples, members=None) == STOPPED


def test_the_lag_does_not_freeze_when_commits_stop():
    # Burrow #446: the last commit left a lag of 1, and the log grew from then on: it stands still and is not fine.
    assert judged((0, 9, 10), *[(time, 9, 10 + time) for time in every(10, 12, 10)]) == STALLED


def test_offsets_that_move_while_the_lag_never_falls_are_slow():
    # 1 done, 1 more to do, every 10 s: lag 10 for all of 120 s.
    assert judged(*[(time, time // 10, 10 + time // 10) for time in every(10, 13)]) == SLOW
    # 1 done, 3 more to do: it grows.
    assert judged(*[(time, time // 10, 10 + 3 * time // 10) for time in every(10, 13)]) == SLOW
    # The same for 110 s only.
    assert judged(*[(time, time // 10, 10 + time // 10) for time in every(10, 12)]) is None


def test_one_drop_of_the_lag_makes_a_slow_group_fine_until_it_leaves_the_window():
    samples = [(0, 0, 10), (10, 2, 11), *[(time, 1 + time // 10, 10 + time // 10) for time in every(10, 13, 20)]]
    assert judged(*samples[:-2]) == FINE  # 0 … 120 s
    assert judged(*samples[2:]) == SLOW  # 20 … 140 s


def test_a_lag_of_zero_at_any_point_of_the_window_is_fine():
    samples = [(0, 10, 10), *[(time, 10, 11) for time in every(10, 12, 10)]]
    assert judged(*samples[:12]) == FINE
    # The zero of second 0 leaves the window with second 130.
    assert judged(*samples, (130, 10, 11)) == STALLED


def test_a_topic_with_rare_records_does_not_count_as_stopped():
    # Burrow #38: nothing for an hour, then one record, which is taken up 4 s later.
    quiet = [(time, 7, 7) for time in every(10, 361)]
    assert judged(*quiet, (3602, 7, 8)) == FINE
    assert judged(*quiet, (3602, 7, 8), (3606, 8, 8)) == FINE


def test_long_tasks_widen_the_window():
    # A commit every 100 s, so a window of 200 s: 190 s after the last commit it is no standstill yet.
    window = LagWindow()
    for time in every(10, 30):  # 0 … 290 s, commits at 100 and 200 s, and new work with each
        window.feed(Sample(time, {"p0": position(time // 100, 10 + time // 100)}, 2))
    assert window.seconds == 200
    for time in every(10, 10, 300):
        window.feed(Sample(time, {"p0": position(2, 12)}, 2))
    assert window.verdict() == SLOW  # 390 s: the commit of second 200 is in it, and the lag is 10 all along
    for time in every(10, 2, 400):
        window.feed(Sample(time, {"p0": position(2, 12)}, 2))
    assert window.verdict() == STALLED  # 410 s


def test_one_long_standstill_does_not_hide_the_next():
    window = LagWindow()
    for time in every(10, 361):
        window.feed(Sample(time, {"p0": position(0, 5)}, 2))
    window.feed(Sample(3610, {"p0": position(1, 5)}, 2))
    assert window.seconds == 600  # not twice the 3,610 s


def test_a_group_without_members_is_stopped_after_twenty_seconds():
    samples = [(time, 3, 10) for time in every(2, 11)]
    assert judged(*samples[:10], members=0) is None  # 0 … 18 s
    assert judged(*samples, members=0) == STOPPED  # 0 … 20 s


def test_a_group_whose_members_all_left_is_stopped_even_if_recently_done():
    window = LagWindow()
    window.feed(Sample(0, {"p0": position(5, 5)}, 2))
    for time in every(2, 11, 2):
        window.feed(Sample(time, {"p0": position(5, 9)}, 0))
    assert window.verdict() == STOPPED
    window.feed(Sample(24, {"p0": position(5, 9)}, 1))
    assert window.verdict() == FINE


def test_a_reset_offset_is_rewound_until_it_catches_up_or_leaves_the_window():
    reset = [(0, 90, 100), (10, 95, 100), (20, 10, 100)]
    assert judged(*reset) == REWOUND
    assert judged(*reset, (30, 50, 100)) == REWOUND
    assert judged(*reset, (30, 100, 100)) == FINE
    # The step back from 95 to 10 is between second 10 and 20; at 140 s the window begins with second 20.
    assert judged(*reset, *[(time, 10, 100) for time in every(10, 12, 30)]) == STALLED


def test_a_finished_group_that_is_reset_is_rewound():
    assert judged((0, 100, 100), (10, 0, 100)) == REWOUND
    assert judged((0, 100, 100), (10, None, 100)) == REWOUND  # its offsets were deleted


def test_one_rewound_partition_shows_among_others_that_advance():
    window = LagWindow()
    window.feed(Sample(0, {"p0": position(50, 60), "p1": position(10, 100)}, 2))
    window.feed(Sample(2, {"p0": position(5, 60), "p1": position(99, 100)}, 2))
    assert window.verdict() == REWOUND


def test_partitions_that_wait_their_turn_are_not_a_standstill():
    # Two partitions, one worker: p1 waits for 130 s while p0 is worked on.
    window = LagWindow()
    for time in every(10, 14):
        window.feed(Sample(time, {"p0": position(time // 10, 100), "p1": position(0, 5)}, 1))
    assert window.verdict() == FINE


def test_a_partition_that_is_never_served_shows_once_the_others_are_done():
    window = LagWindow()
    for time in every(10, 13):
        window.feed(Sample(time, {"p0": position(100, 100), "p1": position(0, 5)}, 1))
    assert window.verdict() == STALLED


def test_records_removed_by_retention_are_neither_lag_nor_work():
    assert position(3, 100, begin=100).lag == 0
    assert position(None, 100, begin=40).lag == 60
    # 5 records fewer every 10 s, because they expire: nobody commits.
    window = LagWindow()
    for time in every(10, 13):
        window.feed(Sample(time, {"p0": position(0, 100, begin=time // 2)}, 1))
    assert window.verdict() == STALLED


def test_a_first_commit_counts_as_work():
    assert judged((0, None, 10), (2, 1, 10)) == FINE


def test_unobserved_time_is_not_judged():
    # The broker was away from second 2 to second 200: what stood still then may have been the broker.
    assert judged((0, 3, 10), (2, 3, 10), (200, 3, 10)) is None


def test_a_recreated_topic_starts_a_new_history():
    # The log ended at 100 and now ends at 5: that is no rewinding.
    assert judged((0, 80, 100), (2, 90, 100), (4, None, 5)) is None
    assert judged((0, 80, 100), (2, 90, 100), (4, None, 5), (6, 5, 5)) == FINE


@given(
    st.lists(st.tuples(st.integers(1, 19), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60), st.sampled_from([None, 0, 1])
)
def test_a_group_that_only_goes_forward_is_never_rewound_and_any_history_has_a_verdict(steps, members):
    time, committed, watermark, samples = 0, 0, 0, []
    for seconds, produced, done in steps:
        time, watermark = time + seconds, watermark + produced
        committed = min(committed + done, watermark)
        samples.append((time, committed, watermark))
    verdict = judged(*samples, members=members)
    assert verdict in {None, *VERDICTS} - {REWOUND, WAITING}
    if committed == watermark:
        assert verdict == FINE
