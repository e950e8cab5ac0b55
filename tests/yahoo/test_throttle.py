"""The throttle by a simulated clock: one process's requests, and whole sites with their limits."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RateLimited
from pipeline.yahoo.courtesy import LEAST_COURTESY, RECOVERY_SECONDS
from pipeline.yahoo.governor import Governor
from pipeline.yahoo.history import History
from pipeline.yahoo.limits import Limit
from pipeline.yahoo.throttle import Throttle
from tests.yahoo.simulated_site import START, Bucket, EverythingCounts, FixedWindow, World, now_and_then

ONE = [(300, 30)]
TWO = [(100, 20), (600, 200)]


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


@pytest.fixture
def throttle(clock):
    """Of 4 requests a second, all of them this process's."""
    return Throttle(4.0, clock=clock, sleep=clock.sleep, stage="processing")


def starts_of(throttle, clock, count):
    """The moments at which `count` requests of one thread start, from now on."""
    began, found = clock.now, []
    for _ in range(count):
        throttle.acquire()
        found.append(round(clock.now - began, 3))
        throttle.answered(200)
    return found


def rate(throttle):
    return throttle.state()["requests_per_second"]


# One process


def test_requests_start_at_the_rate(throttle, clock):
    assert starts_of(throttle, clock, 5) == pytest.approx([0, 0.25, 0.5, 0.75, 1.0], abs=0.002)


def test_no_request_waits_without_a_rate(clock):
    throttle = Throttle(0.0, clock=clock, sleep=clock.sleep)
    assert starts_of(throttle, clock, 100) == [0] * 100
    assert throttle.state() == {"requests_per_second": 0.0, "paused_seconds": 0.0, "reason": ""}


def test_a_429_stops_all_requests_until_a_single_one_is_answered(throttle, clock):
    throttle.acquire()
    throttle.acquire()
    throttle.answered(429)
    assert throttle.state() == {"requests_per_second": 0.0, "paused_seconds": 1.0, "reason": "the site answered 429"}
    began = clock.now
    throttle.acquire()
    assert clock.now - began == pytest.approx(1.0, abs=0.01)
    assert throttle.try_start() > 0, "the second one waits for the answer to the first"
    throttle.answered(200)
    assert throttle.state()["paused_seconds"] == 0.0


def test_trial_requests_are_sent_at_growing_intervals(throttle, clock):
    throttle.acquire()
    throttle.answered(429)
    began, moments = clock.now, []
    for _ in range(6):
        throttle.acquire()
        moments.append(clock.now - began)
        throttle.answered(429)
    assert moments[0] == pytest.approx(1.0, abs=0.01)
    assert all(1.25 <= later / sooner <= 2.3 for sooner, later in pairwise(moments))


def test_retry_after_is_honoured_up_to_a_minute(throttle, clock):
    throttle.acquire()
    throttle.answered(429, retry_after_seconds=86_400)
    assert throttle.state()["paused_seconds"] == 60.0


def test_a_request_without_an_answer_counts_and_blocks_nothing(throttle, clock):
    throttle.acquire()
    throttle.answered(429)
    throttle.acquire()
    throttle.unanswered()
    began = clock.now
    throttle.acquire()
    assert clock.now - began < 0.5
    assert (throttle.report()["answered_total"], throttle.report()["refused_total"]) == (1, 1)


def test_requests_that_a_page_makes_by_itself_are_counted(clock):
    throttle = Throttle(0.0, clock=clock, sleep=clock.sleep)
    throttle.noted(200)
    throttle.noted(429)
    found = throttle.report()
    assert (found["answers"], found["refusals"], found["holding"]) == ([[0.0, 1]], 1, True)
    assert throttle.report()["answers"] == [], "each is told once"


def test_requests_that_a_page_makes_by_itself_are_compensated(throttle, clock):
    throttle.acquire()
    for _ in range(4):
        throttle.noted(200)
    began = clock.now
    throttle.acquire()
    assert clock.now - began == pytest.approx(5 / 4.0, abs=0.01)


@pytest.mark.parametrize("status", [500, 503])
def test_a_site_error_halves_the_rate_at_most_once_a_second(throttle, clock, status):
    for _ in range(3):
        throttle.noted(status)
        clock.now += 0.3
    assert rate(throttle) == 2.0
    assert throttle.state()["reason"] == f"the site answered {status}"


def test_the_rate_recovers_with_good_answers_and_never_falls_below_the_minimum(throttle, clock):
    for _ in range(10):
        throttle.acquire()
        throttle.answered(500)
        clock.now += 1.1
    assert rate(throttle) == 4.0 * LEAST_COURTESY
    clock.now += 10 * RECOVERY_SECONDS
    throttle.noted(200)
    assert rate(throttle) < 4.0 * LEAST_COURTESY + 0.2, "silence earns nothing"
    for _ in range(round(RECOVERY_SECONDS)):
        clock.now += 1.0
        throttle.noted(200)
    assert throttle.state() == {"requests_per_second": 4.0, "paused_seconds": 0.0, "reason": ""}


def test_an_ending_process_does_not_wait_for_its_allowance(throttle, clock):
    throttle.acquire()
    throttle.answered(429, retry_after_seconds=60)
    throttle.close()
    with pytest.raises(RateLimited):
        throttle.acquire()


@given(
    st.floats(0.1, 1000),
    st.lists(st.tuples(st.floats(0, 20), st.sampled_from([200, 404, 429, 500]), st.none() | st.floats(0, 1e6)), max_size=60),
)
def test_the_ceiling_holds_and_the_site_is_asked_again_whatever_the_answers(setting, answers):
    clock = Clock()
    throttle = Throttle(setting, clock=clock, sleep=clock.sleep)
    for passed, status, retry_after in answers:
        clock.now += passed
        if throttle.try_start() == 0:
            throttle.answered(status, retry_after)
        found = throttle.state()
        assert 0 <= found["requests_per_second"] <= setting + 0.001
        assert 0 <= found["paused_seconds"] <= 300


# What is counted


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=300), st.floats(0, 5000))
def test_a_history_never_undercounts_and_hardly_overcounts(moments, window):
    history = History()
    for moment in sorted(moments):
        history.add(moment)
    now = max(moments)
    history.tidy(now)
    since = now - window
    exact = sum(moment > since for moment in moments)
    assert exact <= history.count(since) <= sum(moment >= since - 0.1 - 0.012 * window for moment in moments)
    assert history.count(-1) == len(moments)


def test_a_days_history_is_small():
    history = History()
    for second in range(86_400):
        history.add(float(second))
    history.tidy(86_400.0)
    assert len(history.bins) < 1_500


def test_an_invalid_limit_is_refused():
    for wrong in ({"seconds": 0, "requests": 5, "confirmed": 0}, {"seconds": 5, "requests": math.nan, "confirmed": 0}, {"seconds": 5}):
        with pytest.raises((ValueError, KeyError)):
            Governor().adopt([wrong])


@pytest.mark.parametrize(("requests", "cap"), [(1, 0.95), (10, 9.5), (300, 285)])
def test_requests_stay_below_a_limit(requests, cap):
    assert Limit(30.0, requests).cap == pytest.approx(cap)


# Whole sites


def best(limits):
    return min(requests / seconds for requests, seconds in limits)


def run(limits, seconds, *, processes=2, learned=None, change=None, **options):
    """A world after so many seconds. change: (moment, the limits from then on)."""
    world = World(limits, **options)
    for number in range(processes):
        world.join(f"p{number}", learned=learned)
    if change is not None:
        world.run(change[0])
        world.allow(*change[1])
        seconds -= change[0]
    world.run(seconds)
    return world


@pytest.mark.parametrize(
    ("limits", "from_second", "to_second", "options"),
    [
        (ONE, 60, 360, {}),
        (ONE, 60, 360, {"processes": 1, "latency": 1.0}),
        (ONE, 60, 180, {"processes": 6}),
        (TWO, 60, 660, {}),
        ([(600, 60)], 120, 420, {}),
        ([(47, 23)], 60, 360, {}),
        ([(10, 60)], 180, 1200, {}),
        ([(100, 30)], 60, 360, {"ceiling": 4.0}),
        ([(60, 600)], 600, 2400, {"ceiling": 4.0}),
    ],
)
def test_an_allowance_is_learned_and_respected(limits, from_second, to_second, options):
    world = run(limits, to_second, **options)
    assert world.rate(from_second, to_second) >= 0.85 * best(limits)
    assert world.refused_part(from_second, to_second) <= 0.02


@pytest.mark.parametrize(("limits", "learning"), [(ONE, 120), (TWO, 420)])
def test_a_second_run_respects_the_allowance_from_its_first_ten_seconds(limits, learning):
    first = run(limits, learning)
    learned = first.processes["p0"].throttle.learned()
    second = run(limits, 310, learned={**learned, "history": []})
    for end in (40, 100, 310):
        assert second.rate(10, end) >= 0.85 * best(limits)
        assert second.refused_part(0, end) <= 0.02
    # On the same site, at once: what the first run has asked is still in the windows.
    for name in list(first.processes):
        first.kill(name)
    first.run(1.0)
    for name in ("q0", "q1"):
        first.join(name, learned=learned)
    first.run(210)
    assert first.refused_part(learning, learning + 211) <= 0.02
    assert first.rate(learning + 11, learning + 211) >= 0.85 * best(limits)


@pytest.mark.parametrize(
    ("limits", "at", "third", "windows"),
    [
        *((ONE, 100 + at, [(100, 30)], 60) for at in (0, 7, 14)),
        (TWO, 400, [(33, 20), (200, 200)], 400),
        ([(600, 60)], 150, [(200, 60)], 120),
    ],
)
def test_a_drop_to_a_third_is_learned_within_two_windows(limits, at, third, windows):
    world = run(limits, at + 3 * windows, change=(at, third))
    assert world.rate(at + windows, at + 3 * windows) >= 0.85 * best(third)
    assert world.refused_part(at + windows, at + 3 * windows) <= 0.03


@pytest.mark.parametrize(("limits", "at", "double"), [(ONE, 100, [(600, 30)]), (TWO, 400, [(200, 20), (1200, 200)])])
def test_a_doubled_allowance_is_learned_within_ten_minutes(limits, at, double):
    world = run(limits, at + 700, change=(at, double))
    assert world.rate(at + 600, at + 700) >= 0.85 * best(double)
    assert world.refused_part(at, at + 700) <= 0.02


@pytest.mark.parametrize("limits", [ONE, [(600, 200)]])
def test_a_late_process_on_another_host_does_not_assume_empty_windows(limits):
    world = run(limits, 220)
    world.join("late")
    world.run(200)
    assert world.refused_part(220, 420) <= 0.02
    assert world.rate(220, 420) >= 0.85 * best(limits)


@pytest.mark.parametrize(
    ("part", "seconds", "used"), [(0.001, 0.5, 0.95), (0.005, 0.5, 0.9), (0.01, 0.0, 0.75), (0.02, 0.5, 0.75), (0.05, 0.5, 0.55)]
)
def test_random_refusals_cost_little_and_rarer_ones_cost_less(part, seconds, used):
    """As the stand-in's fault `rate_limit`: now and then half a second of 429."""
    world = run([], 900, ceiling=4.0, faults=now_and_then(part, seconds))
    assert world.rate(0, 900) >= used * 4.0


@pytest.mark.parametrize("bucket", [Bucket(300, 30), Bucket(600, 200)])
def test_a_rate_limit_is_distinguished_from_random_refusals(bucket):
    world = run(bucket, 660)
    assert world.rate(60, 660) >= 0.85 * bucket.requests / bucket.seconds
    assert world.refused_part(60, 660) <= 0.02


@pytest.mark.parametrize("site", [FixedWindow(600, 60), FixedWindow(300, 300), EverythingCounts(300, 30), EverythingCounts(200, 100)])
def test_windows_of_other_kinds_are_learned(site):
    world = run(site, 6 * site.seconds)
    assert world.rate(2 * site.seconds, 6 * site.seconds) >= 0.85 * site.requests / site.seconds
    assert world.refused_part(2 * site.seconds, 6 * site.seconds) <= 0.03


def test_a_site_that_refuses_for_an_hour_is_asked_less_and_less_often():
    world = World([], ceiling=4.0, faults=lambda now: 429 if now < START + 3600 else None)
    world.join("a")
    world.run(4200)
    assert len(world.refused) < 32 + 30
    assert world.rate(3900, 4200) > 3.8, "nothing was answered before, so nothing was learned"


# One ceiling for all


def shares(held, total=24):
    """A function for a process: which fraction of the partitions it has now. `held` maps names to partitions."""
    return lambda name: lambda: held.get(name, 0) / total


def test_all_processes_together_keep_to_the_ceiling_while_they_join_leave_and_are_killed():
    held = {"a": 12, "b": 12, "s": 24}
    share = shares(held)
    world = World([], ceiling=4.0)
    for name in ("a", "b"):
        world.join(name, share=share(name))
    world.join("s", "scraping", share("s"))
    world.run(60)
    held.update(a=8, b=8, c=8)
    world.join("c", share=share("c"))
    world.run(60)
    world.kill("b")
    world.run(12)
    held.update(a=12, b=0, c=12)
    world.run(60)
    for begin in range(0, 190, 5):
        assert world.rate(begin, begin + 5) <= 4.0 + 3 * 3 / 5, f"in second {begin}: each may be one request ahead"
    assert world.rate(0, 120) == pytest.approx(4.0, rel=0.05)
    assert world.rate(132, 192) == pytest.approx(4.0, rel=0.05)


def test_scraping_gets_a_tenth_of_the_rate_while_processing_runs_and_otherwise_all():
    world = World([], ceiling=10.0)
    scraper = world.join("s", "scraping")
    world.run(30)
    assert world.rate(5, 30) == pytest.approx(10.0, rel=0.05)
    processor = world.join("p", "processing", work=540)
    world.run(50)
    assert rate(scraper) == pytest.approx(1.0)
    assert rate(processor) == pytest.approx(9.0)
    world.run(30)
    assert world.processes["p"].work == 0
    assert rate(scraper) == pytest.approx(10.0), "who has nothing to do leaves its part to the other"


def test_a_process_that_is_cut_off_assumes_that_the_others_are_busy(clock):
    throttle = Throttle(10.0, "processing", clock=clock, sleep=clock.sleep)
    throttle.shared = True
    throttle.acquire()
    assert rate(throttle) == 10.0
    clock.now += 5.0
    throttle.acquire()
    assert rate(throttle) == pytest.approx(9.0)
