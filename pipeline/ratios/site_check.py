"""Our ratios compared with the site's own: which differ by more than 5 %, and why, if that is known. Pure.

The site computes a few ratios itself (trailing P/E, P/B, margins, returns). They are no truth: its P/B of a London stock in
pence can be 100 times off. But a difference that nothing explains is worth a look. A cause is named only if applying it to our own
figures brings the two within 5 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.ratios.fundamentals import major, unit_value

#: Our ratio → the site's own, as `financial_ratios.inputs` keeps it under `site_ratios` (fractions, both).
COMPARED = {
    "price_to_earnings": "trailingPE",
    "price_to_book": "priceToBook",
    "current_ratio": "currentRatio",
    "quick_ratio": "quickRatio",
    "return_on_assets": "returnOnAssets",
    "gross_margin": "grossMargins",
    "operating_margin": "operatingMargins",
    "ebitda_margin": "ebitdaMargins",
    "net_margin": "profitMargins",
}
#: Relative difference that counts, and the absolute one below which it does not (the site rounds).
TOLERANCE = 0.05
ROUNDING = 0.001
#: What the site takes for taxes in its return on assets.
SITE_TAX_RATE = 0.375


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
        """For people: the counts, and one example per reason."""
        if not self.compared:
            why = "this run wrote no trailing row (those that have not changed stay, and those of a later day)"
            return f"compared with the site's own ratios: none, because {why}"
        differ = f"{self.differ} differ by more than {TOLERANCE * 100:.0f} % (why: docs/ratios.md)"
        lines = [f"compared with the site's own ratios: {self.compared}; {differ}"]
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
            if not _agree(ours, theirs):
                causes = _causes(ratio, ours, currency, inputs)
                reason = next((cause for cause, figure in causes if _agree(figure, theirs)), "unexplained")
                result.reasons[reason] += 1
                result.example.setdefault(reason, f"{symbol} {ratio}: {ours:.4g} here, {theirs:.4g} there")
    return result


def _agree(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= max(TOLERANCE * abs(theirs), ROUNDING)


def _causes(ratio: str, ours: float, currency: str, inputs: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What the ratio would be if it were computed as the site may do it, by cause; the first that fits is told."""
    if ratio in ("price_to_earnings", "price_to_book"):
        return _of_a_price(ratio, ours, currency, inputs)
    if ratio == "operating_margin":
        quarter = inputs.get("newest_quarter") or {}
        return _quotient("quarter: the site's margin is of the newest quarter", quarter.get("OperatingIncome"), quarter.get("TotalRevenue"))
    lines = {key: [by_day[day] for day in sorted(by_day, reverse=True)] for key, by_day in (inputs.get("lines") or {}).items()}
    newest = {key: values[0] for key, values in lines.items() if values}
    if ratio == "quick_ratio":
        cash = newest.get("CashCashEquivalentsAndShortTermInvestments", newest.get("CashAndCashEquivalents"))
        receivables = newest.get("Receivables")
        quick = cash + receivables if cash is not None and receivables is not None else None
        return _quotient("receivables: the site counts all of them, ours are those of customers", quick, newest.get("CurrentLiabilities"))
    if ratio == "return_on_assets":
        assets, profit = lines.get("TotalAssets", [])[:2], newest.get("OperatingIncome")
        after_tax = profit * (1 - SITE_TAX_RATE) if profit is not None else None
        cause = "definition: the site's is operating income less 37.5 % over mean assets"
        return _quotient(cause, after_tax, sum(assets) / len(assets) if assets else None)
    return []


def _of_a_price(ratio: str, ours: float, currency: str, inputs: Mapping[str, Any]) -> list[tuple[str, float]]:
    market = inputs.get("market") or {}
    quote = str(market.get("quote_currency") or "")
    unit, rate = unit_value(quote), market.get("rate")
    found = [("pence: the site's ratio is 100 times off", ours / unit)] if unit != 1 else []
    if quote and major(quote) != major(currency) and rate:
        found += [("currency: the site mixes the quote's and the statement's", figure) for figure in (ours / rate, ours / rate / unit)]
    price, shares, quoted = market.get("price"), market.get("shares_outstanding"), market.get("quoted_market_cap")
    if price and shares and quoted:
        found.append(("share classes: the site divides by one class's shares", ours * price * unit * shares / quoted))
    eps = (inputs.get("lines") or {}).get("DilutedEPS") or {}
    if ratio == "price_to_earnings" and price and eps and eps[max(eps)]:
        cause = "per share: the site's earnings are diluted, ours are of all shares"
        found += [(cause, price * unit * (rate or 1.0) / eps[max(eps)]), (cause, price / eps[max(eps)])]
    return found


def _quotient(cause: str, numerator: float | None, denominator: float | None) -> list[tuple[str, float]]:
    return [(cause, numerator / denominator)] if numerator is not None and denominator else []
