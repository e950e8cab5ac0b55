"""What was learned of the site, kept for the next run: `throttle.json` in the folder of the embedded services' state.

Replaced in one piece, by whichever process leads; unreadable files are as none. In a demo the stand-in is another one each
time: its limits are taken over, what was asked of the last one is not.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from config import Settings

log = logging.getLogger(__name__)

NAME = "throttle.json"
_VERSION = 1


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
        """As `Throttle.learned` gave it, the history moved by the time since, with `learned_at` (epoch seconds); None if there is none."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["version"] != _VERSION or not (self._any_site or kept["site"] == self._site):
                return None
            passed = (time.time() if now is None else now) - float(kept["saved_at"])
            same = kept["site"] == self._site and passed >= 0
            bins = [[float(first) + passed, float(last) + passed, int(count)] for first, last, count in kept["history"] if same]
            self._limits, self._learned_at = _shape(kept["limits"]), float(kept["learned_at"])
            return {"limits": list(kept["limits"]), "history": bins, "learned_at": self._learned_at}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            log.warning("%s can't be used, so the site's limits are learned anew: %s: %s", self.path, type(error).__name__, error)
            return None

    def save(self, learned: dict[str, Any], now: float | None = None) -> None:
        """Replace the file. A folder that can't be written is said, and does no harm to the run."""
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


def _shape(limits: Any) -> list[tuple[float, float]]:
    return [(float(limit["seconds"]), round(float(limit["requests"]))) for limit in limits]
