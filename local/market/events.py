"""What happens to a made-up company after day 0: reports, a split, a restatement that nobody announces, and what the site says of when.

Pure: everything follows from the seed, and what happens by a day is the same on every later one.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

from local.market import quarters
from local.market.regions import LAST_DAY, MARKET_DAY, day_of
from local.market.statements import last_report, months_before, report_months

if TYPE_CHECKING:
    from local.market.companies import Company

#: Reports of one period are spread over so many days: 4 % of the companies on each.
SEASON_DAYS = 22
#: A company in so many splits, or restates, on each of the days 1 to that number.
SPLIT_SLOTS = 300
RESTATEMENT_SLOTS = 150
#: Chance that the statements follow two days after the figures were announced.
LATE_STATEMENTS = 0.08
LATE_DAYS = 2


class Event(NamedTuple):
    """One line of `GET /market/events`."""

    symbol: str
    event: str


class Report(NamedTuple):
    """Figures of the period that ends on `end`: the quote has them from day `announced` on, the statements from `published` on."""

    end: date
    announced: int
    published: int


class Split(NamedTuple):
    """New shares for one old one; whether older counts are restated, and whether the quote counts the new shares a day late."""

    day: int
    factor: float
    restated: bool
    late: bool


@dataclass(frozen=True)
class Schedule:
    """All that is to happen to one company."""

    reports: tuple[Report, ...] = ()
    split: Split | None = None
    #: Day on which lines of the newest fiscal year change without a word, 0 for never.
    restated: int = 0
    #: What the site's `earningsTimestamp` means for this company: the "last" report, the "next" one, or "" for no such field.
    timestamp: str = ""
    #: Whether a "last" one comes with the dates of the next.
    window: bool = False
    #: Announcement of the newest report of day 0, a negative number.
    before: int = 0

    @staticmethod
    def of(company: Company, slot: int) -> Schedule:
        """`slot` is a number of its own for each company."""
        if "gone" in company.traits:
            return Schedule()
        rng = random.Random(f"{company.seed}:events")
        split = Split(slot % SPLIT_SLOTS + 1, rng.choice((2, 3, 4, 10, 0.1)), rng.random() < 0.75, rng.random() < 0.25)
        timestamp = rng.choices(("last", "next", ""), (45, 40, 15))[0]
        window, last, months = rng.random() < 0.5, last_report(company), report_months(company)
        before = (last - MARKET_DAY).days + 15 + rng.randrange(25)
        if "no_statements" in company.traits:
            return Schedule(split=split, timestamp=timestamp, window=window, before=before)
        reports = []
        end = months_before(last, -months)
        while (end - MARKET_DAY).days < LAST_DAY:
            announced = max(1, (end - MARKET_DAY).days + 1 + rng.randrange(SEASON_DAYS))
            late = rng.random() < LATE_STATEMENTS
            reports.append(Report(end, announced, announced + (LATE_DAYS if late else 0)))
            end = months_before(end, -months)
        restated = (slot * 7 + 3) % RESTATEMENT_SLOTS + 1
        return Schedule(tuple(reports), split, restated, timestamp, window, before)

    def on(self, day: int) -> list[str]:
        """Names of what happens on a day."""
        names = []
        for report in self.reports:
            if report.published == day:
                names.append("report")
            elif report.announced == day:
                names.append("announcement")
        if self.split and self.split.day == day:
            names.append("split")
        if self.split and self.split.late and self.split.day + 1 == day:
            names.append("share_count")
        if day and self.restated == day:
            names.append("silent_restatement")
        return names

    def ends(self, day: int, announced: bool) -> list[date]:
        """Ends of the periods that are in the statements, or announced, since day 0; oldest first."""
        return [report.end for report in self.reports if (report.announced if announced else report.published) <= day]

    def outstanding(self, day: int) -> bool:
        """Whether something was announced that the statements do not have yet."""
        return any(report.announced <= day < report.published for report in self.reports)

    def issued(self, company: Company, day: int) -> list[float]:
        """Shares on each day from 0 to `day` for one share of day 0, by what was issued or bought back; splits apart."""
        reported = sorted(report.announced for report in self.reports)
        counts = [bisect_right(reported, number) for number in range(day + 1)]
        if not counts[-1]:
            return [1.0] * len(counts)
        yearly = quarters.growth_of_shares(company.origin)
        return [float(yearly ** (count * report_months(company) / 12)) for count in counts]

    def factor(self, day: int, counted: bool = False) -> float:
        """Shares for one share of day 0, by the split; `counted`: as the quote counts them."""
        if self.split is None or day < self.split.day + (1 if counted and self.split.late else 0):
            return 1.0
        return self.split.factor

    def earnings_times(self, day: int) -> dict[str, int]:
        """The three fields of a quote that say when earnings are reported, as far as the company has them."""
        days = [self.before, *(report.announced for report in self.reports)]
        past = _stamp(max(number for number in days if number <= day))
        coming = next((number for number in days if number > day), None)
        # The site's window is an estimate, and begins with its guess.
        window = {} if coming is None else {"earningsTimestampStart": _stamp(coming), "earningsTimestampEnd": _stamp(coming + 4)}
        if self.timestamp == "last":
            return {"earningsTimestamp": past, **(window if self.window else {})}
        return {"earningsTimestamp": _stamp(coming), **window} if self.timestamp == "next" and coming is not None else {}


def _stamp(day: int) -> int:
    return int(datetime.combine(day_of(0) + timedelta(days=day), time(0), timezone.utc).timestamp())
