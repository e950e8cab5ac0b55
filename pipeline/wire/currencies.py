"""Currencies: which one each region's stocks are traded in, and what is known of their size. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from math import log
from typing import NamedTuple

#: A rate that is so many times off what is known of its pair, or more, and nearer to its inverse, stands upside down.
_UPSIDE_DOWN = 3.0
_UPSIDE_DOWN_STORED = 1.1
#: A rate so many times off the currencies' usual size is a filler or in another unit; within the other of its inverse, upside down.
_FAR, _NEARLY_INVERSE = 50.0, 1.3


class DayRate(NamedTuple):
    """What one unit of a pair's first currency costs in its second, and the day of that price. `USDJPY` is the yen for one dollar."""

    day: date
    rate: float


# Sources. Most are own knowledge: the currency of the country's stock exchange. The screener compares a market cap in the listing's
# trading currency; recorded lists show that for ARS, CLP, IDR, KRW, TRY (July 2026) and JPY (region-specific ceilings of public
# screeners), recorded quotes for GBP (prices in pence, GBp), ILS (agorot, ILA), ZAR (cents, ZAc) and KWD (fils, KWF).
# Listings in another currency than the region's (London's in dollars, Lima's, Cairo's) are converted by their own.
REGION_CURRENCIES: dict[str, str] = {
    "ae": "AED",  # own knowledge: Abu Dhabi, Dubai
    "ar": "ARS",  # recorded list
    "at": "EUR",  # own knowledge
    "au": "AUD",  # own knowledge
    "be": "EUR",  # own knowledge
    "br": "BRL",  # own knowledge
    "ca": "CAD",  # own knowledge; some Toronto listings are in USD
    "ch": "CHF",  # own knowledge
    "cl": "CLP",  # recorded list
    "cn": "CNY",  # own knowledge; B shares are in USD or HKD
    "co": "COP",  # own knowledge
    "cz": "CZK",  # own knowledge
    "de": "EUR",  # own knowledge
    "dk": "DKK",  # own knowledge
    "ee": "EUR",  # own knowledge: since 2011
    "eg": "EGP",  # own knowledge; some Cairo listings are in USD
    "es": "EUR",  # own knowledge
    "fi": "EUR",  # own knowledge
    "fr": "EUR",  # own knowledge
    "gb": "GBP",  # recorded quotes: prices in pence, market caps in pounds
    "gr": "EUR",  # own knowledge
    "hk": "HKD",  # own knowledge; some have a second listing in CNY
    "hu": "HUF",  # own knowledge
    "id": "IDR",  # recorded list
    "ie": "EUR",  # own knowledge
    "il": "ILS",  # recorded quotes: prices in agorot
    "in": "INR",  # own knowledge
    "is": "ISK",  # own knowledge
    "it": "EUR",  # own knowledge
    "jp": "JPY",  # region-specific ceilings of public screeners
    "kr": "KRW",  # recorded list
    "kw": "KWD",  # recorded quotes: prices in fils, a thousandth
    "lk": "LKR",  # own knowledge
    "lt": "EUR",  # own knowledge: since 2015
    "lv": "EUR",  # own knowledge: since 2014
    "mx": "MXN",  # own knowledge
    "my": "MYR",  # own knowledge
    "nl": "EUR",  # own knowledge
    "no": "NOK",  # own knowledge
    "nz": "NZD",  # own knowledge
    "pe": "PEN",  # own knowledge; many Lima listings are in USD
    "ph": "PHP",  # own knowledge
    "pk": "PKR",  # own knowledge
    "pl": "PLN",  # own knowledge
    "pt": "EUR",  # own knowledge
    "qa": "QAR",  # own knowledge
    "ro": "RON",  # own knowledge
    "ru": "RUB",  # own knowledge
    "sa": "SAR",  # own knowledge
    "se": "SEK",  # own knowledge
    "sg": "SGD",  # own knowledge; some Singapore listings are in USD
    "sr": "SRD",  # own knowledge
    "th": "THB",  # own knowledge
    "tr": "TRY",  # recorded list
    "tw": "TWD",  # own knowledge
    "us": "USD",  # own knowledge
    "ve": "VES",  # own knowledge: the bolívar since 2018
    "vn": "VND",  # own knowledge
    "za": "ZAR",  # recorded quotes: prices in cents
}

#: About how much of it a dollar costs, from own knowledge of 2025: enough to tell a rate from its inverse. VES has no lasting size.
_ABOUT_PER_DOLLAR = {
    **{"AED": 3.67, "ARS": 1400, "AUD": 1.5, "BRL": 5.5, "CAD": 1.4, "CHF": 0.8, "CLP": 950, "CNY": 7.1, "COP": 4000, "CZK": 21},
    **{"DKK": 6.5, "EGP": 48, "EUR": 0.87, "GBP": 0.75, "HKD": 7.8, "HUF": 340, "IDR": 16500, "ILS": 3.4, "INR": 88, "ISK": 125},
    **{"JPY": 150, "KRW": 1400, "KWD": 0.307, "LKR": 300, "MXN": 18.5, "MYR": 4.2, "NOK": 10, "NZD": 1.7, "PEN": 3.5, "PHP": 58},
    **{"PKR": 282, "PLN": 3.7, "QAR": 3.64, "RON": 4.4, "RUB": 80, "SAR": 3.75, "SEK": 9.5, "SGD": 1.3, "SRD": 38, "THB": 32.5},
    **{"TRY": 42, "TWD": 31, "VND": 26300, "ZAR": 17.5},
}


def per_dollar(rates: Mapping[str, DayRate]) -> dict[str, float]:
    """Currency → what a dollar costs in it, from rates by pair."""
    inverse = {pair[:3]: 1 / found.rate for pair, found in rates.items() if pair[3:] == "USD"}
    return inverse | {pair[3:]: found.rate for pair, found in rates.items() if pair[:3] == "USD"}


def upside_down(currency: str, per_dollar: float, stored: float | None = None) -> bool:
    """Whether a rate is the inverse of what it is to be, as far as another value of the same pair can tell.

    It is compared with the rate that was stored within the last days, else with the currency's usual size. A currency that loses its
    value moves away from the inverse, so it is never taken for one.
    """
    known = stored if stored is not None else _ABOUT_PER_DOLLAR.get(currency)
    if known is None:
        return False
    off, off_inverse = abs(log(per_dollar / known)), abs(log(per_dollar * known))
    return off_inverse < off and off > log(_UPSIDE_DOWN if stored is None else _UPSIDE_DOWN_STORED)


def is_plausible(source: str, target: str, rate: float) -> bool:
    """Whether one unit of `source` can cost `rate` of `target`, as far as the usual sizes of the two tell."""
    sizes = [1.0 if code == "USD" else _ABOUT_PER_DOLLAR.get(code) for code in (source, target)]
    if sizes[0] is None or sizes[1] is None:
        return True
    known = sizes[1] / sizes[0]
    off, off_inverse = abs(log(rate / known)), abs(log(rate * known))
    return off < log(_FAR) and not (off > log(_UPSIDE_DOWN) and off_inverse < log(_NEARLY_INVERSE))
