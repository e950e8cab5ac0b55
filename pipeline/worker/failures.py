"""What becomes of a task whose handler raised: it comes back later, it failed for good, or it goes back untouched. Pure.

RateLimited, NotNow         comes back; the attempt is not counted: the task did nothing wrong
NoData ("gone")             comes back once, marked: one answer never says that a symbol is dead
TransientError, lost        comes back, MAX_ATTEMPTS times; then it failed for good
  browser, lost service
PermanentError              failed for good at once
GoesBack                    stays uncommitted and is delivered again
Unexpected, anything else   a fault of this program or of a library: reported, and tried again like a TransientError
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.errors import NoData, NotNow, PermanentError, RateLimited, ServiceError, TransientError, Unexpected

#: Seconds before the second attempt; doubles with each further one.
BASE_SECONDS = 1.0
#: The longest wait, in seconds.
LARGEST_SECONDS = 60.0
#: An error of this type in the headers says that the site has called the symbol unknown once already.
GONE = "Gone"


class GoesBack(Exception):
    """The process ends before it could begin with the task: it stays uncommitted and is delivered again, and no attempt is counted."""


@dataclass(frozen=True)
class ComesBack:
    """The task waits in the retry topic until `at` (epoch seconds); `failed_attempts` is what counts against it by then."""

    at: float
    failed_attempts: int
    error_type: str
    text: str
    expected: bool = True


@dataclass(frozen=True)
class ForGood:
    """The task is an error message and a dead letter. Not `expected`: a fault of this program, to be reported."""

    error_type: str
    text: str
    expected: bool = True


@dataclass(frozen=True)
class StaysUndone:
    """The task is delivered again, to whoever is there then."""


Verdict = ComesBack | ForGood | StaysUndone


def judge(error: BaseException, failed_attempts: int, max_attempts: int, now: float, random_fraction: float | None = None) -> Verdict:
    """The verdict on a task that raised `error` after so many failed attempts before this one, at the epoch time `now`."""
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
        return again(attempt, GONE)
    expected = isinstance(error, TransientError | PermanentError | ServiceError) and not isinstance(error, Unexpected)
    if isinstance(error, PermanentError) or attempt >= max_attempts:
        return ForGood(error_type, text, expected)
    return again(attempt, expected=expected)


def delay_seconds(attempt: int, random_fraction: float | None = None) -> float:
    """Wait after failed attempt number `attempt` (1, 2, …): exponential, and at random between half of that and all of it,
    so that tasks that failed together do not come back together.
    """
    fraction = random.random() if random_fraction is None else random_fraction  # noqa: S311 (no secret)
    # The exponent is bounded so that a rate-limited task, whose attempts are not counted, can come back any number of times.
    whole = min(BASE_SECONDS * 2.0 ** min(max(attempt, 1) - 1, 30), LARGEST_SECONDS)
    return whole * (0.5 + 0.5 * fraction)
