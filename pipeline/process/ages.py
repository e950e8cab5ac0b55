"""Ages as people write them. Pure."""

from __future__ import annotations

import re

from config import SettingsError

_AGE = re.compile(r"(\d{1,9})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_age(text: str) -> float:
    """`"90s"`, `"30m"`, `"2h"`, `"1d"` → seconds. Raises SettingsError."""
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise SettingsError(f"age {text!r}: expected a number with s, m, h or d behind it, such as 30m")
    return float(match[1]) * _SECONDS[match[2]]
