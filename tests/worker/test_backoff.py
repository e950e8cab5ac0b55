from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.backoff import BASE_SECONDS, LARGEST_SECONDS, delay_seconds


def test_the_delay_doubles_with_each_attempt_up_to_the_largest():
    assert [delay_seconds(attempt, 1.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert delay_seconds(50, 1.0) == LARGEST_SECONDS


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_delay_is_between_half_and_all_of_what_the_attempt_asks_for(attempt, fraction):
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    assert whole / 2 <= delay_seconds(attempt, fraction) <= whole
