"""The site's own word on when to come back. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timezone
from email.utils import parsedate_to_datetime

#: A site that asks to wait longer than this is not believed.
_LONGEST_RETRY_AFTER_SECONDS = 86_400.0


def retry_after_seconds(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds from a Retry-After header, which is a number or a date; None if there is none, or if it makes no sense."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp() - now()
    return seconds if 0 <= seconds <= _LONGEST_RETRY_AFTER_SECONDS else None
