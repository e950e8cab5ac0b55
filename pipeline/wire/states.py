"""The states of a task, in one list: which of several counts, of which stage they are, and in which order people read them. Pure.

A new final state is one line here, and its class in `results.py`: account, monitor, summary and page follow.
"""

from __future__ import annotations

from typing import NamedTuple

_BOTH = ("scraping", "processing")


class StateInfo(NamedTuple):
    """`rank`: of several states of one task the highest counts. `stages`: by name, those whose tasks can be in it."""

    name: str
    rank: int
    stages: tuple[str, ...] = _BOTH
    #: Whether it is named even if no task is in it.
    always: bool = True
    #: Whether a task in it has a reason that people want to see.
    has_reason: bool = False


#: In the order in which they are shown. `fresh` was skipped because its ratios are young, `abandoned` because its run was
#: given up for a newer one; a task that failed and was replayed with success is completed.
STATES = (
    StateInfo("completed", 5),
    StateInfo("split", 6, stages=("scraping",)),
    StateInfo("no_data", 3, stages=("processing",), has_reason=True),
    StateInfo("failed", 2, has_reason=True),
    StateInfo("fresh", 4, always=False),
    StateInfo("abandoned", 1, always=False),
    StateInfo("pending", 0),
)
NAMES = tuple(state.name for state in STATES)
RANKS = {state.name: state.rank for state in STATES}
#: What a completion message may say: a failure is told by an error message.
COMPLETIONS = frozenset(NAMES) - {"failed", "pending"}
#: Named only if a task is in them.
RARE = frozenset(state.name for state in STATES if not state.always)
