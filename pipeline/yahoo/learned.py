"""What was learned of the site, kept for the next run: `throttle.json` in the folder of the embedded services' state.

The process that leads replaces the file in one piece. An unreadable file counts as none. Each demo starts a new stand-in, so the
limits are taken over there, but not what the last one was asked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import time
from pathlib import Path
from typing import Any

from config import Settings
from pipeline.wire.text import one_line
from pipeline.yahoo.limits import MOST_LIMITS, limit_from

log = logging.getLogger(__name__)

NAME = "throttle.json"
_VERSION = 1
#: A day's history is a thousand short lines.
_LARGEST_BYTES = 1_000_000
#: Epoch seconds; a date can still be made of them.
_LATEST_MOMENT = 10_000_000_000.0
#: Answers within one bin, at most.
_MOST_ANSWERS = 1_000_000


class Learned:
    """The file of one site. Not for several threads at once."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.state_dir / NAME
        self._site = settings.yahoo_base_url
        self._any_site = settings.demo
        self._limits: Any = None
        self._learned_at = 0.0
        self._refused = False

    def load(self, now: float | None = None) -> dict[str, Any] | None:
        """As `Throttle.learned` gave it, the history moved by the time since, with `learned_at` (epoch seconds); None if there is none.

        Everything that is returned is valid: a file with any invalid value counts as none.
        """
        moment = time.time() if now is None else now
        try:
            kept = self._read()
            if kept is None or kept["version"] != _VERSION or not (self._any_site or kept["site"] == self._site):
                return None
            limits = [limit_from(limit).fields() for limit in list(kept["limits"])[:MOST_LIMITS]]
            passed = moment - _moment(kept["saved_at"])
            # If the clock was ahead when the file was written, the age of the history is unknown.
            same = kept["site"] == self._site and passed >= 0
            bins = [_bin(one, passed) for one in kept["history"]] if same else []
            self._limits, self._learned_at = _shape(limits), min(_moment(kept["learned_at"]), moment)
            return {"limits": limits, "history": bins, "learned_at": self._learned_at}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            what = one_line(f"{type(error).__name__}: {error}", 300)
            log.warning("%s can't be used, so the site's limits are learned anew: %s", self.path, what)
            return None

    def _read(self) -> Any:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        # Reading another kind of file might never end.
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_BYTES:
            raise ValueError(f"no file of at most {_LARGEST_BYTES:,} bytes")
        return json.loads(self.path.read_text(encoding="utf-8"))

    def save(self, learned: dict[str, Any], now: float | None = None) -> None:
        """Replace the file. If the folder is not writable, this is logged once and the run goes on."""
        moment = time.time() if now is None else now
        shape = _shape(learned["limits"])
        if shape != self._limits:
            self._limits, self._learned_at = shape, moment
        kept = {"version": _VERSION, "site": self._site, "saved_at": moment, "learned_at": self._learned_at, **learned}
        part = self.path.with_name(f"{NAME}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(kept), encoding="utf-8")
            os.replace(part, self.path)
        except OSError as error:
            if not self._refused:
                log.warning("what was learned of the site can't be kept in %s: %s", self.path, error)
            self._refused = True
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def forget(state_dir: Path) -> None:
    """Remove what was learned: for a demo whose market has no allowance."""
    (state_dir / NAME).unlink(missing_ok=True)


def _moment(value: Any) -> float:
    """An epoch time in seconds. Raises ValueError or TypeError if it is none."""
    moment = float(value)
    if not 0 <= moment < _LATEST_MOMENT:
        raise ValueError(f"no time: {moment}")
    return moment


def _bin(one: Any, passed: float) -> list[float]:
    """A bin of the history, as so many seconds before now. Raises ValueError or TypeError if it is none."""
    first, last, count = float(one[0]), float(one[1]), int(one[2])
    if not (0 <= last <= first < _LATEST_MOMENT and 0 < count < _MOST_ANSWERS):
        raise ValueError(f"no count of answers: {first}, {last}, {count}")
    return [first + passed, last + passed, count]


def _shape(limits: Any) -> list[tuple[float, float]]:
    return [(float(limit["seconds"]), round(float(limit["requests"]))) for limit in limits]
