"""Every error that the pipeline raises on purpose (config.SettingsError, exit code 2, apart).

PipelineError
├── ServiceError           broker, database, browser or site not there   exit code 3
│   └── BrowserLost        the browser died or hangs: start a new one, try the task again
└── TaskError              one task went wrong; the process goes on
    ├── MessageError       its bytes are no valid message: dead letter, never tried again
    ├── TransientError     may work later: retry topic, MAX_ATTEMPTS times
    │   ├── RateLimited    the site asks for patience: wait, the attempt does not count
    │   ├── NotNow         a broker that is there does not take messages now: the attempt does not count
    │   └── Unexpected     a fault of this program or of a library: reported with its traceback, then tried again like the others
    ├── PermanentError     will never work: error message and dead letter at once
    │   ├── LayoutChanged  the page is not the one this code knows
    │   └── BandCurrencyMismatch  the site filters by something else than market caps in the region's currency
    └── NoData             the company has nothing to compute: a completion, with the reason
"""

from __future__ import annotations

from typing import Literal


class PipelineError(Exception):
    """Base of all errors of this program."""


class ServiceError(PipelineError):
    """Something the program needs cannot be reached or started; the text says what to do next."""


class BrowserLost(ServiceError):
    """The browser or its driver is dead or does not answer; a new one is needed."""


class TaskError(PipelineError):
    """One task failed. `error_type` goes into error messages and dead letters."""

    @property
    def error_type(self) -> str:
        return type(self).__name__


class MessageError(TaskError):
    """Bytes that are no message of this pipeline."""


class TransientError(TaskError):
    """Worth another attempt later."""


class RateLimited(TransientError):
    """The site answered 429 or its like; `retry_after_seconds` is its own word on when to come back, if any."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class NotNow(TransientError):
    """Nothing of the task's own is wrong: what it needs does not work at the moment."""


class Unexpected(TransientError):
    """Nothing that the site has said: a fault of this program or of a library. Its `__cause__` is the error itself."""


class PermanentError(TaskError):
    """Will fail the same way however often it is tried."""


class LayoutChanged(PermanentError):
    """An element of the page is missing; the text names it and the selectors tried."""


class BandCurrencyMismatch(PermanentError):
    """The site lists other sizes than were asked for; the text has three examples."""


class NoData(TaskError):
    """Nothing to compute, and why."""

    def __init__(self, reason: Literal["no_statements", "gone"], message: str = "") -> None:
        super().__init__(message or reason)
        self.reason = reason
