"""Decides about a task whose handler raised an error: it comes back later, has failed for good, or stays undone. Pure.

RateLimited, NotNow         comes back; the attempt does not count: the task is not the cause
NoData ("gone")             comes back once, marked: a single answer does not prove that a symbol is gone
TransientError, lost        comes back until MAX_ATTEMPTS attempts have failed; then it has failed for good
  browser, lost service
PermanentError              has failed for good at once
GoesBack                    stays uncommitted and is delivered again
Unexpected, anything else   a fault of this program or of a library: reported, and tried again like a TransientError
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.errors import NoData, NotNow, PermanentError, RateLimited, ServiceError, TransientError, Unexpected

#: Seconds before the second attempt. Doubles with each further one.
BASE_SECONDS = 1.0
#: The longest wait, in seconds.
LARGEST_SECONDS = 60.0
#: Seconds before a symbol that the site has called unknown is asked for again: nothing has to recover, and a run waits for its last task.
GONE_SECONDS = 0.25
#: This error type in the headers says that the site has called the symbol unknown once before.
GONE = "Gone"


class GoesBack(Exception):
    """The process ends before the task was started: it stays uncommitted, is delivered again, and no attempt counts."""


@dataclass(frozen=True)
class ComesBack:
    """The task waits in the retry topic until `at` (epoch seconds). `failed_attempts` is how many count by then."""

    at: float
    failed_attempts: int
    error_type: str
    text: str
    expected: bool = True


@dataclass(frozen=True)
class ForGood:
    """The task becomes an error message and a dead letter. If not `expected`, a fault of this program is reported."""

    error_type: str
    text: str
    expected: bool = True


@dataclass(frozen=True)
class StaysUndone:
    """The task is delivered again, to this consumer or another one."""


Verdict = ComesBack | ForGood | StaysUndone


def judge(error: BaseException, failed_attempts: int, max_attempts: int, now: float, random_fraction: float | None = None) -> Verdict:
    """The verdict on a task that has raised `error` after `failed_attempts` earlier ones. `now` is in epoch seconds."""
    attempt = failed_attempts + 1
    error_type, text = type(error).__name__, str(error) or repr(error)

    def again(counted: int, error_type: str = error_type, at_least: float = 0.0, expected: bool = True) -> ComesBack:
        wait = max(delay_seconds(max(counted, 1), random_fraction), min(at_least, LARGEST_SECONDS))
        return ComesBack(now + wait, counted, error_type, text, expected)

    if isinstance(error, GoesBack):
        return StaysUndone()
    if isinstance(error, RateLimited):
        return again(failed_attempts, at_least=error.retry_after_seconds or 0.0)
    if isinstance(error, NotNow):
        return again(failed_attempts)
    if isinstance(error, NoData):
        return ComesBack(now + GONE_SECONDS, attempt, GONE, text)
    expected = isinstance(error, TransientError | PermanentError | ServiceError) and not isinstance(error, Unexpected)
    if isinstance(error, PermanentError) or attempt >= max_attempts:
        return ForGood(error_type, text, expected)
    return again(attempt, expected=expected)


def delay_seconds(attempt: int, random_fraction: float | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (1, 2, …): exponential, and at random between half of that and all of it,
    so that tasks that failed together do not come back together.
    """
    fraction = random.random() if random_fraction is None else random_fraction  # noqa: S311 (no secret)
    # The exponent is bounded so that a rate-limited task, whose attempts are not counted, can come back any number of times.
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    return whole * (0.5 + 0.5 * fraction)
