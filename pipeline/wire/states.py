"""The states of a task: their precedence, their stages, and the order in which they are shown. Pure.

To add a final state, add a line here and a class in `results.py`. Account, monitor, summary and page follow.
"""

from __future__ import annotations

from typing import NamedTuple

_BOTH = ("scraping", "processing")


class StateInfo(NamedTuple):
    """`rank`: if a task has several states, the highest counts. `stages`: names of the stages whose tasks can be in this state."""

    name: str
    rank: int
    stages: tuple[str, ...] = _BOTH
    #: Whether it is shown even if no task is in it.
    always: bool = True
    #: Whether summaries show the reasons of tasks in it.
    has_reason: bool = False


#: In the order in which they are shown. A `fresh` task was skipped because its ratios are young, an `abandoned` one because its run
#: was given up for a newer one. A task that failed, was replayed and then succeeded is completed.
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
#: States that a completion message may report. Failures are reported by error messages.
COMPLETIONS = frozenset(NAMES) - {"failed", "pending"}
#: Shown only if a task is in them.
RARE = frozenset(state.name for state in STATES if not state.always)
