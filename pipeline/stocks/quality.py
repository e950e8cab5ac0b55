"""What was checked of a row before its figures were trusted, in plain words (`financial_ratios.quality`). Pure."""

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
#: (check, word) → what it means; a word that is none of these is told as it stands.
_TEXTS = {
    ("market_cap", "price_times_shares"): "agrees with price × ordinary shares",
    ("market_cap", "price_times_shares in the trading unit"): "is in pence or their like, and so agrees with price × shares",
    ("market_cap", "price_times_earnings_by_eps"): "agrees with price × earnings ÷ earnings per share",
    ("market_cap", "price_times_earnings_by_eps in the trading unit"): "is in pence or their like, and so agrees with earnings per share",
    ("market_cap", "no witness"): "taken as quoted: there is nothing to hold it against",
    ("market_cap", "disagrees"): "not believed: nothing that it was held against agrees with it",
    ("market_cap", "none quoted"): "none is quoted",
    ("quote_age", "unknown"): "not known, so the quote is none of today",
    ("price_unit", "one unit"): "no break between the close and today's quote",
    ("price_unit", "no close"): "no close near the period's end",
    ("price_unit", "no quote to hold the closes against"): "no break in the closes; there is no quote to hold them against",
    ("share_unit", "market cap"): "an ordinary share: market cap ÷ price is the statements' count",
    ("share_unit", "shares outstanding"): "an ordinary share: the shares outstanding are the statements' count",
    ("share_unit", "market cap is of other shares"): "not an ordinary share, or one of several classes, by the market cap",
    ("share_unit", "shares outstanding are other shares"): "not an ordinary share, by the shares outstanding",
    ("share_unit", "not shown"): "nothing shows that it is an ordinary share",
    ("splits", "none"): "none is known",
    ("splits", "decided"): "whether the share counts are of before or after them was decided by how the counts moved",
    ("splits", "spin-off"): "one was a spin-off: it changed the price and no count",
    ("splits", "unclear"): "nothing shows whether the share count is of before or after one",
    ("rate", "one currency"): "none is needed",
    ("rate", "none"): "none that is young enough and in line with its series",
    ("length", "a year"): "a year, by the fiscal year before it",
    ("length", "odd"): "not a year, by the fiscal year before it",
    ("length", "not shown"): "taken for a year: no earlier one is there",
}


def checks(quality: Mapping[str, str]) -> dict[str, str]:
    """Label → what was found, of the checks that were made."""
    return {label: _TEXTS.get((check, quality[check]), quality[check]) for check, label in LABELS.items() if quality.get(check)}
