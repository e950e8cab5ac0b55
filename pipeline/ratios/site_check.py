"""Our ratios held against the site's own: where they differ by more than 5 %, and why if that is known. Pure.

The site computes a few ratios itself (trailing P/E, P/B, current ratio, margins). They are no truth: its P/B of a London
stock in pence can be 100 times off. But a difference that nothing explains is worth a look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.ratios.fundamentals import MINOR_UNITS

#: Our ratio → the site's own, as `financial_ratios.inputs` keeps it under `site_ratios` (fractions, both).
COMPARED = {
    "price_to_earnings": "trailingPE",
    "price_to_book": "priceToBook",
    "current_ratio": "currentRatio",
    "gross_margin": "grossMargins",
    "operating_margin": "operatingMargins",
    "ebitda_margin": "ebitdaMargins",
    "net_margin": "profitMargins",
}
#: Relative difference that counts, and the absolute one below which it does not (the site rounds).
TOLERANCE = 0.05
ROUNDING = 0.001
_PRICE_RATIOS = ("price_to_earnings", "price_to_book")


@dataclass
class SiteCheck:
    """How many ratios were compared, and those that differ, by reason."""

    compared: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    #: reason → one symbol and ratio, to look at.
    example: dict[str, str] = field(default_factory=dict)

    @property
    def differ(self) -> int:
        return sum(self.reasons.values())

    def text(self) -> str:
        """For people: the counts, and one example a reason."""
        lines = [f"held against the site's own ratios: {self.compared} compared, {self.differ} differ by more than {TOLERANCE:.0%}"]
        return "\n".join([*lines, *(f"  {count} {reason} ({self.example[reason]})" for reason, count in self.reasons.most_common())])

    def summary(self) -> dict[str, Any]:
        return {"compared": self.compared, "differ": self.differ, "by_reason": dict(self.reasons.most_common())}


def check(rows: Iterable[tuple[str, str, Mapping[str, float | None], Mapping[str, Any]]]) -> SiteCheck:
    """`rows` are trailing rows: symbol, statement currency, our ratios, inputs."""
    result = SiteCheck()
    for symbol, currency, values, inputs in rows:
        site = inputs.get("site_ratios") or {}
        for ratio, name in COMPARED.items():
            ours, theirs = values.get(ratio), site.get(name)
            if ours is None or not isinstance(theirs, int | float):
                continue
            result.compared += 1
            if abs(ours - theirs) > max(TOLERANCE * abs(theirs), ROUNDING):
                reason = _reason(ratio, ours, theirs, currency, inputs)
                result.reasons[reason] += 1
                result.example.setdefault(reason, f"{symbol} {ratio}: {ours:.4g} here, {theirs:.4g} there")
    return result


def _reason(ratio: str, ours: float, theirs: float, currency: str, inputs: Mapping[str, Any]) -> str:
    market = inputs.get("market") or {}
    quote = str(market.get("quote_currency") or "")
    if ratio in _PRICE_RATIOS:
        if quote in MINOR_UNITS and theirs and 50 <= abs(theirs / ours if ours else 0.0) <= 200:
            return "pence: the site's ratio is 100 times off"
        if quote and MINOR_UNITS.get(quote, quote) != currency:
            return "currency: the site mixes the quote's and the statement's"
        price, shares, quoted = market.get("price"), market.get("shares_outstanding"), market.get("quoted_market_cap")
        unit = 0.01 if quote in MINOR_UNITS else 1.0
        if price and shares and quoted and not 0.95 <= price * unit * shares / quoted <= 1.05:
            return "share classes: the site divides by one class's shares"
        if ratio == "price_to_earnings":
            return "per share: the site's earnings are diluted, ours are of all shares"
    return "unexplained"
