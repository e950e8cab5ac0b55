"""Says why a stock has no figures: what the site had of it, whether its task failed, or that it has not been processed yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import ServiceError
from pipeline.storage.statements_store import NOTHING
from pipeline.wire import topics
from pipeline.wire.messages import ProcessingTask, clean_text
from pipeline.worker.dead_letters import Letter
from ui.letters import Letters
from ui.places import Places

_ASKED = "SELECT payload ->> %s, last_seen FROM company_statements WHERE symbol = %s ORDER BY first_seen DESC LIMIT 1"
_FOUND = {
    "gone": "the site did not know this symbol",
    "no_statements": "the site had no statements of this company",
    None: "the site's statements of this company have no period that can be used",
}


@dataclass(frozen=True)
class NoFigures:
    """`reason`: a sentence without its end.  `letter`: the newest dead letter of the stock that was not put back, if there is one."""

    reason: str
    letter: Letter | None = None


def why_none(places: Places, dead: Letters, symbol: str) -> NoFigures:
    """Why there are none. Raises ServiceError if the database is away."""
    asked = places.query(_ASKED, [NOTHING, clean_text(symbol)])
    letter, problem = None, "" if dead.ready() else "the dead letters are still being read"
    try:
        letter = _newest(dead, symbol)
    except ServiceError as error:
        problem = str(error)
    if asked:
        found, at = asked[0]
        assert isinstance(at, datetime)
        return NoFigures(f"{_FOUND.get(found, found)} when it was asked, on {at:%Y-%m-%d} ({found or 'no_statements'})", letter)
    if letter:
        return NoFigures("its task failed", letter)
    return NoFigures(
        f"this stock has not been processed yet, or its task failed ({problem})" if problem else "it has not been processed yet"
    )


def _newest(dead: Letters, symbol: str) -> Letter | None:
    of_stock = (letter for letter in reversed(dead.all()) if letter.stage is topics.PROCESSING and not letter.replayed)
    return next((letter for letter in of_stock if isinstance(letter.task, ProcessingTask) and letter.task.symbol == symbol), None)
