"""What the completions of a run say about its lists."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.runs.listing_notes import ListingNotes


def test_the_last_completion_of_each_task_counts() -> None:
    notes = ListingNotes()
    notes.note({"task_id": "a", "source": "table", "missing": 9})
    notes.note({"task_id": "a", "source": "page-data", "missing": 2, "skipped": {"no_symbol": 1}, "outside_band": 3})
    notes.note({"task_id": "b", "source": "page-data", "missing": 0, "skipped": {}})
    assert notes.text() == "lists: 2 from page-data; stocks left out: 2 missing, 3 outside the band, 1 skipped (no symbol)"


@pytest.mark.parametrize("odd", [None, -1, 1e99, True, "many", {"x": 1}, [3], 10**40])
def test_odd_fields_count_nothing(odd: Any) -> None:
    notes = ListingNotes()
    notes.note({"task_id": "a", "source": odd, "missing": odd, "outside_band": odd, "skipped": {"no_symbol": odd, "\x1b[2J": 1}})
    notes.note({"task_id": "b", "skipped": odd, "source": "\x1b[2J"})
    assert notes.left_out().get("missing", 0) == 0
    assert "\x1b" not in notes.text()
