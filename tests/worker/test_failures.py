"""The retry policy: task, error, attempt, clock and chance give the verdict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import (
    BrowserLost,
    LayoutChanged,
    MessageError,
    NoData,
    NotNow,
    PermanentError,
    RateLimited,
    ServiceError,
    TransientError,
    Unexpected,
)
from pipeline.worker.failures import (
    BASE_SECONDS,
    LARGEST_SECONDS,
    ComesBack,
    ForGood,
    GoesBack,
    StaysUndone,
    delay_seconds,
    judge,
)
from pipeline.worker.faults import Faults

NOW = 1_800_000_000.0


def verdict(error, failed_attempts=0, max_attempts=3):
    return judge(error, failed_attempts, max_attempts, NOW, random_fraction=1.0)


@pytest.mark.parametrize("error", [TransientError("x"), BrowserLost("x"), ServiceError("x")])
def test_transient_errors_are_retried_until_the_attempts_are_used_up(error):
    name = type(error).__name__
    assert verdict(error) == ComesBack(NOW + 1, 1, name, "x")
    assert verdict(error, 1) == ComesBack(NOW + 2, 2, name, "x")
    assert verdict(error, 2) == ForGood(name, "x")


@pytest.mark.parametrize("error", [PermanentError("x"), LayoutChanged("x")])
def test_permanent_errors_fail_at_the_first_attempt(error):
    assert verdict(error) == ForGood(type(error).__name__, "x")


@pytest.mark.parametrize("failed", [0, 2, 500])
@pytest.mark.parametrize("error", [RateLimited("x"), NotNow("x")])
def test_errors_that_are_not_the_tasks_fault_cost_no_attempt(error, failed):
    found = verdict(error, failed)
    assert isinstance(found, ComesBack)
    assert found.failed_attempts == failed
    assert NOW + 1 <= found.at <= NOW + LARGEST_SECONDS


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (0.1, 1.0), (None, 1.0), (1e9, LARGEST_SECONDS)])
def test_retry_after_is_honoured_up_to_the_longest_wait(asked, waited):
    assert verdict(RateLimited("x", asked)).at == NOW + waited


def test_a_missing_symbol_is_retried_with_a_mark():
    assert verdict(NoData("gone")) == ComesBack(NOW + 0.25, 1, "Gone", "gone")


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), MessageError("x"), KeyboardInterrupt("x"), Unexpected("x")])
def test_unexpected_errors_are_retried_and_reported(error):
    assert verdict(error) == ComesBack(NOW + 1, 1, type(error).__name__, "x", expected=False)
    assert verdict(error, 2) == ForGood(type(error).__name__, "x", expected=False)


def test_an_error_without_a_text_is_still_named():
    assert verdict(ZeroDivisionError()).text == "ZeroDivisionError()"


def test_a_task_that_goes_back_stays_undone():
    assert verdict(GoesBack()) == StaysUndone()


def test_the_delay_doubles_with_each_attempt_up_to_a_maximum():
    assert [delay_seconds(attempt, 1.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert delay_seconds(50, 1.0) == LARGEST_SECONDS


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_the_delay_is_between_half_and_all_of_the_back_off(attempt, fraction):
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    assert whole / 2 <= delay_seconds(attempt, fraction) <= whole


def test_a_fault_of_this_program_is_reported_once_with_its_traceback(caplog):
    def faulty(place):
        try:
            try:
                return {} + place
            except TypeError as error:
                raise Unexpected("x") from error
        except Unexpected as error:
            return error

    faults = Faults()
    for place in (1, 1, 2):
        faults.report("process:A", faulty(place))
    assert caplog.text.count("unexpected error in process:A, please report it") == 1
    assert caplog.text.count("TypeError: unsupported operand") == 1
    faults.report("process:B", ZeroDivisionError())
    assert "unexpected error in process:B" in caplog.text
