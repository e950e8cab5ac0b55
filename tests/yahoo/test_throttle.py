import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.yahoo.throttle import LEAST_FRACTION, RECOVERY_SECONDS, Throttle, Warned, shares


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def starts_of(throttle, clock, count):
    """The moments at which `count` requests of one thread start, from now on."""
    began, found = clock.now, []
    for _ in range(count):
        throttle.wait()
        found.append(round(clock.now - began, 6))
    return found


def rate(throttle):
    return throttle.state()["requests_per_second"]


def ask_for(seconds, throttle, clock, status=200):
    """One answer every tenth of a second."""
    for _ in range(round(seconds * 10)):
        clock.now += 0.1
        throttle.answered(status)


def test_requests_start_at_the_rate(clock):
    assert starts_of(Throttle(4.0, clock, clock.sleep), clock, 5) == [0, 0.25, 0.5, 0.75, 1.0]


def test_without_a_rate_nothing_waits(clock):
    throttle = Throttle(0.0, clock, clock.sleep)
    assert starts_of(throttle, clock, 100) == [0] * 100
    assert throttle.state() == {"requests_per_second": 0.0, "paused_seconds": 0.0, "reason": ""}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_warning_halves_the_rate_at_once(clock, status):
    throttle = Throttle(8.0, clock, clock.sleep)
    throttle.answered(status)
    assert rate(throttle) == 4.0
    assert throttle.state()["reason"] == f"the site answered {status}"


def test_a_500_makes_slower_and_does_not_pause(clock):
    throttle = Throttle(4.0, clock, clock.sleep)
    throttle.answered(500)
    assert starts_of(throttle, clock, 3) == [0, 0.5, 1.0]


def test_a_500_with_a_retry_after_pauses(clock):
    throttle = Throttle(4.0, clock, clock.sleep)
    throttle.answered(503, retry_after_seconds=9)
    assert starts_of(throttle, clock, 1) == [9.0]


def test_a_429_pauses_for_longer_each_time_and_a_good_answer_ends_that(clock):
    throttle = Throttle(1000.0, clock, clock.sleep)
    pauses = []
    for status in (429, 429, 429, 200, 429):
        throttle.answered(status)
        pauses.append(throttle.state()["paused_seconds"])
        throttle.wait()
    assert pauses == [1.0, 2.0, 4.0, 0.0, 1.0]


def test_many_warnings_of_one_moment_are_one(clock):
    heard = []
    throttle = Throttle(8.0, clock, clock.sleep, heard.append)
    for _ in range(32):
        throttle.answered(429)
    throttle.wait()
    assert clock.now == 101.0
    assert rate(throttle) == 4.0
    assert heard == [Warned(429, 1.0)]


def test_the_sites_own_retry_after_is_honoured(clock):
    throttle = Throttle(0.0, clock, clock.sleep)
    throttle.answered(429, retry_after_seconds=7)
    assert throttle.state()["paused_seconds"] == 7.0
    throttle.wait()
    assert clock.now == 107.0


def test_a_site_that_says_to_come_back_in_a_day_is_asked_in_a_minute(clock):
    throttle = Throttle(1.0, clock, clock.sleep)
    throttle.answered(429, retry_after_seconds=86_400)
    throttle.wait()
    assert clock.now == 160.0


def test_a_thread_that_sleeps_while_a_warning_comes_queues_again_at_the_new_rate(clock):
    throttle = Throttle(2.0, clock, clock.sleep)
    throttle.wait()

    def sleep(seconds):
        if seconds == 0.5:  # the first wait: the warning comes in the middle of it
            clock.now += 0.25
            throttle.answered(429)
            clock.now += 0.25
        else:
            clock.sleep(seconds)

    throttle._sleep = sleep
    throttle.wait()
    assert clock.now == 101.25


def test_the_rate_comes_back_in_even_steps_and_stops_at_the_setting(clock):
    throttle = Throttle(8.0, clock, clock.sleep)
    throttle.answered(500)
    seen = []
    for _ in range(4):
        ask_for(RECOVERY_SECONDS / 8, throttle, clock)
        seen.append(rate(throttle))
    assert seen == pytest.approx([5.0, 6.0, 7.0, 8.0], abs=0.1)
    ask_for(RECOVERY_SECONDS, throttle, clock)
    assert throttle.state() == {"requests_per_second": 8.0, "paused_seconds": 0.0, "reason": ""}


def test_silence_earns_nothing(clock):
    throttle = Throttle(8.0, clock, clock.sleep)
    throttle.answered(500)
    clock.now += 10 * RECOVERY_SECONDS
    throttle.answered(200)
    assert rate(throttle) == pytest.approx(4.0 + 8.0 / RECOVERY_SECONDS, abs=0.001)


def test_a_site_that_goes_on_warning_is_not_asked_slower_than_the_least_rate(clock):
    throttle = Throttle(8.0, clock, clock.sleep)
    ask_for(60, throttle, clock, status=500)
    assert rate(throttle) == 8.0 * LEAST_FRACTION


def test_without_a_setting_a_429_starts_a_limit_of_half_the_measured_rate_that_ends_when_it_is_reached_again(clock):
    throttle = Throttle(0.0, clock, clock.sleep)
    for _ in range(200):
        throttle.wait()
        clock.now += 0.02
    throttle.answered(429)
    assert rate(throttle) == pytest.approx(25, rel=0.02)
    ask_for(1, throttle, clock, status=429)  # within the pause
    ask_for(RECOVERY_SECONDS / 4, throttle, clock)
    assert 25 < rate(throttle) < 50
    ask_for(RECOVERY_SECONDS / 2, throttle, clock)
    assert throttle.state() == {"requests_per_second": 0.0, "paused_seconds": 0.0, "reason": ""}


def test_without_a_setting_a_500_starts_no_limit(clock):
    throttle = Throttle(0.0, clock, clock.sleep)
    starts_of(throttle, clock, 50)
    throttle.answered(500)
    assert throttle.state() == {"requests_per_second": 0.0, "paused_seconds": 0.0, "reason": ""}


def test_anothers_warning_slows_down_as_ones_own_and_is_not_passed_on(clock):
    heard = []
    throttle = Throttle(8.0, clock, clock.sleep, heard.append)
    throttle.slow_down(429, 3.0, "the site answered 429 to host:1")
    assert throttle.state() == {"requests_per_second": 4.0, "paused_seconds": 3.0, "reason": "the site answered 429 to host:1"}
    assert heard == []


def test_a_warning_that_two_processes_got_halves_once(clock):
    throttle = Throttle(8.0, clock, clock.sleep)
    throttle.answered(429)
    clock.now += 0.5
    throttle.slow_down(429, 1.0, "the site answered 429 to host:1")
    assert rate(throttle) == 4.0


@given(
    st.floats(0.1, 1000),
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from([200, 404, 429, 500]), st.none() | st.floats(0, 1e6)), max_size=60),
)
def test_whatever_is_answered_the_rate_stays_between_its_bounds(setting, answers):
    clock = Clock()
    throttle = Throttle(setting, clock, clock.sleep)
    for passed, status, retry_after in answers:
        clock.now += passed
        throttle.answered(status, retry_after)
        found = throttle.state()
        assert setting * LEAST_FRACTION - 0.001 <= found["requests_per_second"] <= setting + 0.001
        assert 0 <= found["paused_seconds"] <= 60


@pytest.mark.parametrize(
    ("whole", "processors", "listers", "expected"),
    [
        (10.0, 2, 0, (5.0, 0.0)),
        (10.0, 2, 2, (4.5, 0.5)),
        (10.0, 0, 2, (0.0, 5.0)),
        (10.0, 0, 0, (0.0, 0.0)),
        (0.0, 2, 2, (0.0, 0.0)),
    ],
)
def test_all_processes_together_have_the_whole_rate(whole, processors, listers, expected):
    assert shares(whole, processors, listers) == pytest.approx(expected)
