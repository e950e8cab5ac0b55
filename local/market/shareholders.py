"""Share counts, splits and per-share figures of a made-up company."""

from __future__ import annotations

import random
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.market.companies import Company


def split(company: Company) -> tuple[date, int] | None:
    """Day and factor of a company's only split, or None. Closes are always restated for it; share counts not always."""
    if not company.traits & {"split_restated", "split_not_restated"}:
        return None
    rng = random.Random(f"{company.seed}:split")
    return date(rng.choice((2023, 2024, 2025)), rng.choice((2, 5, 8, 11)), 14), rng.choice((2, 3, 4, 10))


def count_as_reported(company: Company, day: date, restated: float) -> float:
    """Shares at `day` as the statements show them: undone for a later split only if the site did not restate."""
    happened = split(company)
    if happened and "split_not_restated" in company.traits and day < happened[0]:
        return round(restated / happened[1])
    return round(restated)


def per_share(company: Company, day: date, restated: float, earnings: float) -> dict[str, float]:
    count = count_as_reported(company, day, restated)
    # Of foreign companies the site has earnings for each unit that is listed, beside the count of ordinary shares.
    units = count / company.shares_per_unit
    return {
        "DilutedEPS": round(earnings / (units * 1.01), 2),
        "BasicEPS": round(earnings / units, 2),
        "DilutedAverageShares": round(count * 1.01),
    }
