"""A number, or the reasons that kept it from being one. Pure."""

from __future__ import annotations

from enum import IntEnum, auto
from math import isfinite


class Rank(IntEnum):
    """If several reasons hold, the one that comes first here is given; of two equal ones, the first in the formula."""

    NO_PRICE = auto()
    PRICE_UNIT = auto()
    SHARE_UNIT = auto()
    SPLIT_UNCLEAR = auto()
    FX_UNAVAILABLE = auto()
    MISSING = auto()
    NO_PRIOR_PERIOD = auto()
    PERIOD_LENGTH = auto()
    CURRENCY_CHANGED = auto()
    AMOUNT_UNIT = auto()
    UNEXPECTED_SIGN = auto()
    DENOMINATOR = auto()
    EQUITY_AT_EITHER_END = auto()
    EARLIER_VALUE = auto()
    ENTERPRISE_VALUE = auto()
    MARKET_CAP = auto()
    NO_DEBT_COST = auto()
    #: Beyond a double's range.
    NON_FINITE = auto()


Problem = tuple[Rank, str]


class Figure:
    """A number, or the problems that kept it from being one. `+ - * /` work on both and never raise.

    It has either a `value` or `problems`. A number that only some uses cannot take (an enterprise value of zero or less) has
    its value, and those uses add their problem. `name` is what `non_positive:` calls it as a denominator.
    """

    __slots__ = ("name", "problems", "value")

    def __init__(self, value: float | None, problems: tuple[Problem, ...] = (), name: str = "") -> None:
        if value is not None and not isfinite(value):
            value, problems = None, (*problems, (Rank.NON_FINITE, "non_finite"))
        self.value = None if problems else value
        self.problems = problems
        self.name = name

    @property
    def reason(self) -> str:
        return min(self.problems, key=lambda problem: problem[0])[1]

    def named(self, name: str) -> Figure:
        return Figure(self.value, self.problems, name)

    def but(self, holds: bool, rank: Rank, reason: str) -> Figure:
        """The same figure, with a problem more if `holds`."""
        return Figure(self.value, (*self.problems, (rank, reason)), self.name) if holds else self

    def __add__(self, other: Figure) -> Figure:
        if self.value is None or other.value is None:
            return Figure(None, self.problems + other.problems)
        return Figure(self.value + other.value)

    def __sub__(self, other: Figure) -> Figure:
        if self.value is None or other.value is None:
            return Figure(None, self.problems + other.problems)
        return Figure(self.value - other.value)

    def __mul__(self, other: Figure | float) -> Figure:
        factor = other.value if isinstance(other, Figure) else other
        if self.value is None or factor is None:
            return Figure(None, self.problems + (other.problems if isinstance(other, Figure) else ()))
        return Figure(self.value * factor)

    __rmul__ = __mul__

    def __truediv__(self, other: Figure) -> Figure:
        divisor = other.value
        problems = self.problems + other.problems
        if divisor is not None and divisor <= 0:
            problems += ((Rank.DENOMINATOR, f"non_positive:{other.name}"),)
        if problems or self.value is None or divisor is None:
            return Figure(None, problems)
        return Figure(self.value / divisor)


def positive(figure: Figure, rank: Rank, name: str) -> Figure:
    """The figure, with a problem if it is not above zero."""
    return figure.but(figure.value is not None and figure.value <= 0, rank, f"non_positive:{name}")
