from hypothesis import given
from hypothesis import strategies as st

from pipeline.backoff import BASE_SECONDS, LARGEST_SECONDS, delay_seconds
from pipeline.throttle import Throttle


def test_the_delay_doubles_with_each_attempt_up_to_the_largest():
    assert [delay_seconds(attempt, 1.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert delay_seconds(50, 1.0) == LARGEST_SECONDS


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_delay_is_between_half_and_all_of_what_the_attempt_asks_for(attempt, fraction):
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    assert whole / 2 <= delay_seconds(attempt, fraction) <= whole


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_requests_start_at_the_rate():
    clock = Clock()
    throttle = Throttle(4.0, clock, clock.sleep)
    starts = []
    for _ in range(5):
        throttle.wait()
        starts.append(clock.now)
    assert starts == [100.0, 100.25, 100.5, 100.75, 101.0]


def test_without_a_rate_nothing_waits():
    clock = Clock()
    throttle = Throttle(0.0, clock, clock.sleep)
    for _ in range(100):
        throttle.wait()
    assert clock.now == 100.0


def test_a_429_pauses_for_longer_each_time_and_a_good_answer_ends_that():
    clock = Clock()
    throttle = Throttle(0.0, clock, clock.sleep)
    waits = []
    for status in (429, 429, 429, 200, 429):
        throttle.answered(status)
        before = clock.now
        throttle.wait()
        waits.append(clock.now - before)
    assert waits == [1.0, 2.0, 4.0, 0.0, 1.0]


def test_many_429_of_one_moment_are_one_warning():
    clock = Clock()
    throttle = Throttle(0.0, clock, clock.sleep)
    for _ in range(32):
        throttle.answered(429)
    throttle.wait()
    assert clock.now == 101.0


def test_the_sites_own_retry_after_is_honoured():
    clock = Clock()
    throttle = Throttle(0.0, clock, clock.sleep)
    throttle.answered(429, retry_after_seconds=7)
    throttle.wait()
    assert clock.now == 107.0
