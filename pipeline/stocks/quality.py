"""Describes the checks of a row (`financial_ratios.quality`) in plain words. Pure."""

from __future__ import annotations

from collections.abc import Mapping

#: Check → its label, in the order in which people read them.
LABELS = {
    "market_cap": "Market cap",
    "quote_age": "Age of the quote",
    "price_unit": "Unit of the closes",
    "close_age": "Age of the close",
    "share_unit": "Kind of share",
    "splits": "Splits",
    "rate": "Exchange rate",
    "length": "Length of the period",
    "amounts": "Unit of the amounts",
    "kept": "Kept from before",
}
#: (check, word) → its meaning. Any other word is shown as it is.
_TEXTS = {
    ("market_cap", "price_times_shares"): "agrees with price × ordinary shares",
    ("market_cap", "price_times_shares in the trading unit"): "is in pence or their like, and so agrees with price × shares",
    ("market_cap", "price_times_earnings_by_eps"): "agrees with price × earnings ÷ earnings per share",
    ("market_cap", "price_times_earnings_by_eps in the trading unit"): "is in pence or their like, and so agrees with earnings per share",
    ("market_cap", "closes_times_shares"): "agrees with the closes × ordinary shares; the quoted price is not in pence, as it is labelled",
    ("market_cap", "no witness"): "taken as quoted: there is nothing to compare it with",
    ("market_cap", "disagrees"): "not used: it disagrees with everything that it was compared with",
    ("market_cap", "not a share"): "not used: the symbol or name is that of a warrant, a right or a preferred share",
    ("market_cap", "one class"): "not used: by its earnings per share the company has far more shares",
    ("market_cap", "another currency"): "not used: it is in another currency than the price",
    ("market_cap", "not of its size"): "not used: beside the company's figures, the price is not in the unit that it is labelled with",
    ("market_cap", "none quoted"): "none is quoted",
    ("quote_age", "unknown"): "unknown, so the quote may not be today's",
    ("price_unit", "one unit"): "no break between the close and today's quote",
    ("price_unit", "no close"): "no close near the period's end",
    ("price_unit", "no quote to hold the closes against"): "no break in the closes; there is no quote to compare them with",
    ("share_unit", "market cap"): "an ordinary share: market cap ÷ price equals the statements' count",
    ("share_unit", "shares outstanding"): "an ordinary share: the shares outstanding equal the statements' count",
    ("share_unit", "market cap is of other shares"): "not an ordinary share, or one of several classes, by the market cap",
    ("share_unit", "shares outstanding are other shares"): "not an ordinary share, by the shares outstanding",
    ("share_unit", "not shown"): "nothing shows that it is an ordinary share",
    ("splits", "none"): "none is known",
    ("splits", "decided"): "how the counts moved shows whether they are from before or after the splits",
    ("splits", "spin-off"): "one was a spin-off: it changed the price and no count",
    ("splits", "unclear"): "nothing shows whether the share count is from before or after a split",
    ("rate", "one currency"): "none is needed",
    ("rate", "none"): "none is recent enough and in line with its series",
    ("length", "a year"): "a year, by the fiscal year before it",
    ("length", "odd"): "not a year, by the fiscal year before it",
    ("length", "not shown"): "taken for a year: there is no earlier one",
}


def checks(quality: Mapping[str, str]) -> dict[str, str]:
    """Label of each check that was made → its result."""
    return {label: _TEXTS.get((check, quality[check]), quality[check]) for check, label in LABELS.items() if quality.get(check)}
