"""What a process knows about the others that ask the same site: who leads, which stages are busy, what is in flight. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.wire import topics

#: Seconds for which a process's word counts. Busy processes report twice a second.
WORD_SECONDS = 3.0
#: The scraping consumers' part of the whole rate while processing consumers have work. It is small, as one request lists 250 stocks.
SCRAPING_PART = 0.1
#: The part of a process without partitions: for the producer's few requests, or a task whose partition has just moved.
LEAST_PART = 0.004


@dataclass(frozen=True)
class Word:
    """What one process last said about itself. `since` is when it started, in epoch seconds: the oldest one leads."""

    heard_at: float
    sender: str
    stage: str
    since: float
    busy: bool
    in_flight: int
    #: 1, or less after an error from 500 on.
    courtesy: float


def word(fields: dict[str, Any], now: float) -> Word:
    """Raises KeyError, TypeError or ValueError."""
    courtesy = min(max(float(fields["courtesy"]), 0.1), 1.0)
    in_flight = min(max(int(fields["in_flight"]), 0), 1_000)
    return Word(now, str(fields["sender"]), str(fields["stage"]), float(fields["since"]), bool(fields["busy"]), in_flight, courtesy)


class Peers:
    """The other processes, by what they said within WORD_SECONDS."""

    def __init__(self) -> None:
        self._words: dict[str, Word] = {}

    def heard(self, said: Word) -> None:
        self._words[said.sender] = said

    def present(self, now: float) -> list[Word]:
        for sender in [sender for sender, said in self._words.items() if now - said.heard_at > WORD_SECONDS]:
            del self._words[sender]
        return list(self._words.values())

    def leads(self, mine: Word, now: float) -> bool:
        """Whether this process draws the conclusions and sends the single requests: it is the oldest one with work."""
        return all(_rank(mine) <= _rank(said) for said in self.present(now))

    def is_leader(self, sender: str, mine: Word, now: float) -> bool:
        ranked = min([mine, *self.present(now)], key=_rank)
        return ranked.sender == sender

    def part(self, stage: str, share: float, now: float, cut_off: bool) -> float:
        """The part of the whole rate for a process of `stage` that holds `share` of its stage's partitions.

        A stage without work leaves its part to the other. cut_off: the others can't be heard, so both stages count as busy.
        """
        whole = {topics.SCRAPING.name: SCRAPING_PART, topics.PROCESSING.name: 1 - SCRAPING_PART}.get(stage)
        if whole is None:
            return SCRAPING_PART
        if not cut_off and not any(said.busy and said.stage not in ("", stage) for said in self.present(now)):
            whole = 1.0
        return max(whole * share, LEAST_PART)

    def in_flight(self, now: float) -> int:
        return sum(said.in_flight for said in self.present(now))

    def courtesy(self, now: float) -> float:
        return min([1.0, *(said.courtesy for said in self.present(now))])


def _rank(said: Word) -> tuple[bool, float, str]:
    return (not said.busy, said.since, said.sender)
