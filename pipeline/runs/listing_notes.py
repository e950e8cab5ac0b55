"""Where the lists of a run came from, and how many of the stocks that the site promised are not in them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

#: Sources and reasons are short words; other texts in their place are not kept.
_WORD = re.compile(r"[a-z][a-z_-]{0,30}")
_LARGEST = 10**9


class ListingNotes:
    """By the completions of scraping tasks; the last one of a task counts."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[str, Counter[str]]] = {}

    def note(self, fields: dict[str, Any]) -> None:
        """Take in a completion, whose fields may be anything."""
        source = fields.get("source")
        left_out: Counter[str] = Counter()
        for name, text in (("missing", "missing"), ("outside_band", "outside the band")):
            left_out[text] = _count(fields.get(name))
        skipped = fields.get("skipped")
        for reason, count in list(skipped.items())[:20] if isinstance(skipped, dict) else ():
            if _WORD.fullmatch(str(reason)):
                left_out[f"skipped ({reason.replace('_', ' ')})"] += _count(count)
        self._tasks[fields["task_id"]] = (source if isinstance(source, str) and _WORD.fullmatch(source) else "", +left_out)

    def sources(self) -> Counter[str]:
        """Source (`page-data`, `table`, `api`) → tasks whose list came from it."""
        return Counter(source for source, _ in self._tasks.values() if source)

    def left_out(self) -> Counter[str]:
        """Reason → stocks that no list has for it."""
        return sum((found for _, found in self._tasks.values()), Counter())

    def text(self) -> str:
        """For people, such as `lists: 4 from page-data; stocks left out: 3 outside the band`; empty if nothing is known."""
        sources = ", ".join(f"{count} from {source}" for source, count in sorted(self.sources().items()))
        left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(self.left_out().items()))
        return "; ".join([f"lists: {sources}"] * bool(sources) + [f"stocks left out: {left_out}"] * bool(left_out))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _LARGEST else 0
