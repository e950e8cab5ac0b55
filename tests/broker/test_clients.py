"""How long a consumer rests before it asks again, if the broker had nothing for it."""

from __future__ import annotations

import pytest

from pipeline.broker.patient import IDLE_POLL_MS, rest_of


@pytest.mark.parametrize(
    ("thin_answers", "timeout_ms", "rest_ms"),
    [
        (0, IDLE_POLL_MS, 0),  # the last answer had records: there may be more
        (1, IDLE_POLL_MS, 50),
        (5, IDLE_POLL_MS, 250),
        (10_000, IDLE_POLL_MS, 250),
        (5, 200, 150),  # what is left is for the answer
        (5, 20, 0),  # tasks are in progress: their results must not wait
        (5, 0, 0),
    ],
)
def test_the_pause_grows_with_each_empty_answer_and_leaves_time_for_the_next(thin_answers, timeout_ms, rest_ms):
    assert rest_of(thin_answers, timeout_ms) == rest_ms
