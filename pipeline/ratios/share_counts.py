"""Whether each of a company's share counts was restated for the splits after it. Pure.

The site always restates closes for later splits, and share counts sometimes. Which it was is decided by evidence: by how the count moved
across the split. Counts that can't be believed at all are left out before (`count_checks`). Rules: docs/ratios.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from math import inf, log

from pipeline.ratios.fundamentals import Fundamentals, Points, unit_value

SHARES = "OrdinarySharesNumber"
EARNINGS = ("NetIncomeCommonStockholders", "NetIncome")
#: After so many days the quote's count and market cap are as after a split; before, they can still be those before it.
SPLIT_SETTLED_DAYS = 30
#: One explanation is believed if it is so many times nearer than every other, in logarithms.
TIMES_AS_NEAR = 2.0
#: A count that jumps by a factor that no split between explains, from here on, may be one restated beside one that was not.
_FLIP = log(1.4)
#: Factors nearer to 1 than this make no difference that would be worth a doubt.
_NEGLIGIBLE = log(1.02)
#: A count is of its date, or of a few days before or after: a split so near to it can be on either side.
_NEAR_DAYS = 10
#: A jump within this of the inverse of a split's factor: the site has the split upside down, or something else is wrong.
_EXACTLY = log(1.03)
#: Earnings per share say nothing if the shares behind them moved so many times more than the count did; fewer times, if that stood still.
_ODD, _ODD_IF_COUNT_STANDS = log(5.0), log(3.5)
#: Earnings per share nearer to zero than this are rounded too much to tell a number of shares.
LEAST_EPS = 0.02
#: What splits leave of a count's move is explained by something else, from here on.
_MORE_THAN_SPLITS = log(1.15)
#: Shares issued or bought back for less than this of the total assets do not move a count so much.
_LEAST_ISSUANCE = 0.05
#: A real split's factor is a ratio of whole numbers, the smaller of them at most this.
_LARGEST_WHOLE = 100


def product(factors: Iterable[float]) -> float:
    result = 1.0
    for factor in factors:
        result *= factor
    return result


def is_real_split(factor: float) -> bool:
    """Whether it is a ratio of small whole numbers (4:1, 23:20, 1:190); a spin-off that comes as a split is none (1281:1000)."""
    larger = max(factor, 1 / factor)
    if larger > 1e6:
        return True
    nearest = Fraction(larger).limit_denominator(_LARGEST_WHOLE)
    return abs(float(nearest) - larger) <= 1e-6 * larger


def nearest(jump: float, factors: Iterable[float]) -> float | None:
    """The one of `factors` that explains the jump; None if none is twice as near as all others, in logarithms."""
    if not 0 < jump < float("inf"):
        return None
    different: list[float] = []
    for factor in factors:
        if not any(abs(log(factor / other)) < 1e-9 for other in different):
            different.append(factor)
    ranked = sorted((abs(log(jump) - log(factor)), factor) for factor in different)
    if len(ranked) == 1 or ranked[0][0] * TIMES_AS_NEAR <= ranked[1][0] + 1e-9 or abs(log(ranked[0][1] / ranked[1][1])) < _NEGLIGIBLE:
        return ranked[0][1]
    return None


def shares_behind(points: Points) -> dict[date, float]:
    """Earnings ÷ earnings per share: by period end, the mean number of shares that the site divided by, in any one unit."""
    eps = points.get("DilutedEPS", {})
    common, all_of_it = (points.get(key, {}) for key in EARNINGS)
    found = {}
    for day, per_share in eps.items():
        earned = common.get(day) or all_of_it.get(day)
        if earned and abs(per_share.value) >= LEAST_EPS and 0 < (shares := earned.value / per_share.value) < inf:
            found[day] = shares
    return found


class ShareCounts:
    """Counts of shares by day, and by what to multiply each so that it fits closes, which are as after every split.

    `spin_offs` are the days of splits that are none: an odd factor, and no count moved by it.
    """

    def __init__(self, series: Points, later: Points, fundamentals: Fundamentals) -> None:
        """`series` are the counts asked for; those in `later` after them, and today's, only tell what happened next."""
        counts = {day: point.value for day, point in series.get(SHARES, {}).items() if point.value > 0}
        newest = max(counts, default=date.min)
        counts |= {day: point.value for day, point in later.get(SHARES, {}).items() if day > newest and point.value > 0}
        self._splits = fundamentals.splits
        self._series, self._later = series, later
        self._counts = dict(sorted(counts.items()))
        self._factors: dict[date, float | None] = {}
        self.spin_offs: set[date] = set()
        days = list(self._counts)
        if days:
            self._factors[days[-1]] = self._of_newest(days[-1], fundamentals)
        for day, after in reversed(list(pairwise(days))):
            self._factors[day] = self._of_earlier(day, after)

    def newest(self) -> tuple[date, float] | None:
        """Day and count, as it was given."""
        return next(reversed(self._counts.items()), None)

    def __contains__(self, day: date) -> bool:
        return day in self._counts

    def factor(self, day: date) -> float | None:
        """How many of today's shares one share counted on `day` has become by splits; None if that is unclear."""
        return self._factors.get(day, 1.0)

    def _between(self, after: date, until: date) -> dict[date, float]:
        return {day: factor for day, factor in self._splits.items() if after < day <= until}

    def _of_newest(self, day: date, fundamentals: Fundamentals) -> float | None:
        """By what the quote says, dated today. A quote that didn't move can be one that doesn't know of the split yet."""
        splits = self._between(day, date.max)
        factor = product(splits.values())
        if not splits or abs(log(factor)) < 1e-9:
            return self._of_a_split_on_the_day(day, fundamentals)
        settled = max(splits) <= fundamentals.as_of - timedelta(days=SPLIT_SETTLED_DAYS)
        verdicts: set[str] = set()
        for today in counts_of_the_quote(fundamentals):
            moved = today / self._counts[day]
            verdict = nearest(moved, (1.0, factor, 1 / factor))
            if verdict is not None and abs(log(moved) - log(verdict)) >= _FLIP:
                continue  # a count that no split explains (of one class, of depositary receipts) says nothing of this one
            # The statement was restated already, and the quote was not.
            if verdict is not None:
                verdicts.add({1.0: "still", factor: "reported"}.get(verdict, "restated"))
        odd = {when for when, one in splits.items() if not is_real_split(one)}
        # Just after a split, a count that says "restated" beside a market cap that says "still" can be that of one class of two.
        if "reported" in verdicts and "restated" not in verdicts:
            return factor
        if "restated" in verdicts and "reported" not in verdicts and (settled or "still" not in verdicts):
            return 1.0
        if verdicts == {"still"} and settled:
            if self._by_newest_earnings(day, factor) == factor:
                return factor  # the whole quote is of before the split, as the count is
            self.spin_offs |= odd
            return 1.0
        return None

    def _by_newest_earnings(self, day: date, factor: float) -> float | None:
        """How many times the count of `day` the shares behind the newest earnings are: 1, `factor` or its inverse. None: nothing tells."""
        behind = {when: (shares, points) for points in (self._later, self._series) for when, shares in shares_behind(points).items()}
        newest = max(behind, default=date.min)
        if abs((newest - day).days) > _NEAR_DAYS:
            return None
        shares, points = behind[newest]
        codes = {by_day[newest].currency for key in ("DilutedEPS", *EARNINGS) if newest in (by_day := points.get(key, {}))}
        return nearest(shares / self._counts[day], (1.0, factor, 1 / factor)) if len(codes) == 1 else None

    def _of_a_split_on_the_day(self, day: date, fundamentals: Fundamentals) -> float:
        """1, unless all that the quote says is that the newest count is of before a split of the same days."""
        factor = product(self._between(day - timedelta(days=_NEAR_DAYS), day).values())
        if abs(log(factor)) < _NEGLIGIBLE:
            return 1.0
        said = {nearest(today / self._counts[day], (1.0, factor)) for today in counts_of_the_quote(fundamentals)}
        return factor if said == {factor} else 1.0

    def _of_earlier(self, day: date, after: date) -> float | None:
        """By how the count moved from `day` to the next count, whose factor is known."""
        known = self._factors[after]
        if known is None:
            return None
        jump = self._counts[after] / self._counts[day]
        if not 0 < jump < float("inf"):
            return None
        splits = self._between(day, after)
        if not splits:
            splits = self._between(day - timedelta(days=_NEAR_DAYS), day)
        factor = product(splits.values())
        if abs(log(factor)) >= _FLIP and abs(log(jump) + log(factor)) < _EXACTLY:
            return None
        chosen = nearest(jump, (1.0, factor))
        if splits and (chosen is None or abs(log(jump) - log(chosen)) >= _MORE_THAN_SPLITS):
            said = self._by_earnings_per_share(day, after, jump, factor)
            if said is not None:
                return known * said
            if chosen is not None and self._is_denied(after, jump / chosen):
                return None
        own = None if chosen is None else known if chosen == 1.0 else known * factor
        if chosen == 1.0:
            self.spin_offs |= {when for when, one in splits.items() if not is_real_split(one)}
        return own if chosen is None else self._flipped(day, jump, known, own)

    def _by_earnings_per_share(self, day: date, after: date, jump: float, factor: float) -> float | None:
        """1 if the count of `day` was restated for the split and its earnings per share were not, `factor` if it is the other way round."""
        behind = shares_behind(self._series)
        if day not in behind or after not in behind:
            return None
        # If both were restated, or neither was, the two move alike.
        said = nearest(behind[day] / behind[after] * jump, (1.0, factor, 1 / factor))
        return None if said is None or said == 1.0 else factor if said == factor else 1.0

    def _is_denied(self, after: date, grew: float) -> bool:
        """Whether by the cash-flow statement shares were bought back while the count grew so many times, or issued while it fell."""
        issued, assets = (self._series.get(key, {}).get(after) for key in ("NetCommonStockIssuance", "TotalAssets"))
        if issued is None or assets is None or abs(issued.value) < _LEAST_ISSUANCE * assets.value:
            return False
        return (grew > 1) != (issued.value > 0)

    def _flipped(self, day: date, jump: float, known: float, own: float | None) -> float | None:
        """`own`, or another factor if only one of this count and the next was restated."""
        moved = abs(log(jump) + log(known) - log(own or 1.0))
        if own is None or moved < _FLIP:
            return own
        for other in (1.0, product(self._between(day, date.max).values())):
            off = abs(log(jump) + log(known) - log(other))
            if abs(log(other / own)) >= _FLIP and off < _FLIP and off * TIMES_AS_NEAR <= moved:
                return other
        return own


def counts_of_the_quote(fundamentals: Fundamentals) -> list[float]:
    """What the quote says of the number of shares: directly, and by its market cap and price."""
    found = [fundamentals.shares_outstanding]
    if fundamentals.price and fundamentals.market_cap:
        found.append(fundamentals.market_cap / fundamentals.price / unit_value(fundamentals.currency))
    return [count for count in found if count and 0 < count < float("inf")]


def growth_by_splits(jump: float | None, between: Iterable[float], later: Iterable[float], grew: float | None = None) -> float | None:
    """How many shares as now each share behind an earlier figure per share is, 1 if both are per share alike; None: nothing tells.

    `jump` is by how much the shares behind the two figures (earnings ÷ earnings per share) grew, None if that is not known. `between`
    and `later` are the factors of the splits between the two dates and after them. `grew` is by how much the share count itself did.
    """
    factor, after = product(between), product(later)
    if abs(log(factor)) >= 1e-9:
        if jump is None or grew is None or not 0 < jump / grew < float("inf"):
            said = nearest(jump, (1.0, factor)) if jump is not None else None
            return None if said is None or abs(log(jump or 1.0) - log(said)) >= _MORE_THAN_SPLITS else said
        return nearest(jump / grew, (1.0, factor))
    if jump is None or not 0 < jump < float("inf"):
        # Splits after both dates alone: both figures come in one answer, restated or not.
        return 1.0
    if abs(log(after)) >= _FLIP:
        return 1.0 if nearest(jump, (1.0, after, 1 / after)) == 1.0 else None
    if grew is not None and 0 < grew < float("inf"):
        # One of the two is in another unit (pence), or of before a split that the site doesn't know.
        odd = abs(log(jump / grew)) >= (_ODD_IF_COUNT_STANDS if abs(log(grew)) < log(1.25) else _ODD)
        return None if odd else 1.0
    return 1.0
