"""Tells whether a data host refuses for now, as opposed to an answer about the request: by status, by words, or by a row of 403."""

from __future__ import annotations

import re
import threading
from typing import Any

#: Statuses by which the site asks for patience; 999 is its own.
PATIENCE = frozenset({429, 999})
#: A page for people in place of data, with any status, that means the same.
_IN_WORDS = re.compile(r"too many requests|rate.?limit|unusual traffic|automated (queries|requests)|captcha|are you a robot", re.I)
#: Characters of such a page that are looked at.
_PAGE_CHARACTERS = 20_000
#: A refusal in JSON is no longer than this.
_LONGEST_REFUSAL_BYTES = 2_000
#: This many 403 in a row, for at least this many addresses, are a wall around the whole site. Fewer may be about what was requested.
WALL_ANSWERS, WALL_ADDRESSES = 6, 3


def asks_for_patience(response: Any) -> bool:
    """Whether an answer is a refusal for now by its status, or is a page in words where data belongs."""
    if response.status_code in PATIENCE:
        return True
    if response.status_code not in (200, 403, 404):
        return False
    # Data of a company is long, and JSON.
    data = "json" in (response.headers.get("Content-Type") or "") and len(response.content) > _LONGEST_REFUSAL_BYTES
    return not data and _IN_WORDS.search(response.text[:_PAGE_CHARACTERS]) is not None


class Wall:
    """Notices that the site answers 403 to everything. Safe in many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers = 0
        self._addresses: set[str] = set()

    def stands(self, status: int, address: str) -> bool:
        """Hear a status of a data host, and whether it is one of a wall. address: the path that was asked for."""
        with self._lock:
            if status != 403:
                # An answer for the crumb, or a server's error, does not show that the wall is gone.
                if status < 500 and not address.endswith("/getcrumb"):
                    self._answers = 0
                    self._addresses.clear()
                return False
            self._answers += 1
            if len(self._addresses) < WALL_ADDRESSES:
                self._addresses.add(address)
            return self._answers >= WALL_ANSWERS and len(self._addresses) >= WALL_ADDRESSES
