"""Regions that the screener page offers, the exchanges that hold made-up companies, and exchange rates by day."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, time, timedelta

#: The market's day 0: nothing here depends on the clock.
MARKET_DAY = date(2026, 6, 30)
#: The latest day that it can be turned to.
LAST_DAY = 400
#: First day of every price series.
FIRST_DAY = date(2021, 1, 4)


@dataclass(frozen=True)
class Exchange:
    """Where the companies of one region are listed."""

    code: str
    name: str
    suffix: str
    currency: str
    timezone: str
    opens: time
    #: Legal form at the end of a company's name.
    form: str


EXCHANGES = {
    "us": Exchange("NYQ", "NYSE (made up)", "", "USD", "America/New_York", time(9, 30), "Inc."),
    "gb": Exchange("LSE", "LSE (made up)", ".L", "GBp", "Europe/London", time(8, 0), "plc"),
    "fr": Exchange("PAR", "Paris (made up)", ".PA", "EUR", "Europe/Paris", time(9, 0), "SA"),
    "de": Exchange("GER", "XETRA (made up)", ".DE", "EUR", "Europe/Berlin", time(9, 0), "AG"),
    "jp": Exchange("JPX", "Tokyo (made up)", ".T", "JPY", "Asia/Tokyo", time(9, 0), "KK"),
    "se": Exchange("STO", "Stockholm (made up)", ".ST", "SEK", "Europe/Stockholm", time(9, 0), "AB"),
    "ch": Exchange("EBS", "Swiss (made up)", ".SW", "CHF", "Europe/Zurich", time(9, 0), "AG"),
    "kr": Exchange("KSC", "Korea (made up)", ".KS", "KRW", "Asia/Seoul", time(9, 0), "Co., Ltd."),
    "id": Exchange("JKT", "Jakarta (made up)", ".JK", "IDR", "Asia/Jakarta", time(9, 0), "Tbk"),
    "kw": Exchange("KUW", "Kuwait (made up)", ".KW", "KWF", "Asia/Kuwait", time(9, 0), "KSCP"),
    "ve": Exchange("CCS", "Caracas (made up)", ".CR", "VES", "America/Caracas", time(9, 0), "CA"),
}

#: Code → label of every region that the page's menu has. Plain English names but for those that the site spells its own way.
REGIONS = {
    "ae": "United Arab Emirates",
    "ar": "Argentina",
    "at": "Austria",
    "au": "Australia",
    "be": "Belgium",
    "br": "Brazil",
    "ca": "Canada",
    "ch": "Switzerland",
    "cl": "Chile",
    "cn": "China",
    "co": "Colombia",
    "cz": "Czechia",
    "de": "Germany",
    "dk": "Denmark",
    "ee": "Estonia",
    "eg": "Egypt",
    "es": "Spain",
    "fi": "Finland",
    "fr": "France",
    "gb": "United Kingdom",
    "gr": "Greece",
    "hk": "Hong Kong SAR China",
    "hu": "Hungary",
    "id": "Indonesia",
    "ie": "Ireland",
    "il": "Israel",
    "in": "India",
    "is": "Iceland",
    "it": "Italy",
    "jp": "Japan",
    "kr": "South Korea",
    "kw": "Kuwait",
    "lk": "Sri Lanka",
    "lt": "Lithuania",
    "lv": "Latvia",
    "mx": "Mexico",
    "my": "Malaysia",
    "nl": "Netherlands",
    "no": "Norway",
    "nz": "New Zealand",
    "pe": "Peru",
    "ph": "Philippines",
    "pk": "Pakistan",
    "pl": "Poland",
    "pt": "Portugal",
    "qa": "Qatar",
    "ro": "Romania",
    "ru": "Russia",
    "sa": "Saudi Arabia",
    "se": "Sweden",
    "sg": "Singapore",
    "sr": "Suriname",
    "th": "Thailand",
    "tr": "Turkey",
    "tw": "Taiwan",
    "us": "United States",
    "ve": "Venezuela",
    "vn": "Vietnam",
    "za": "South Africa",
}

#: What one unit is worth in dollars, about; `rate` lets it swing.
_DOLLARS = {
    **{"USD": 1.0, "EUR": 1.12, "GBP": 1.31, "JPY": 0.0068, "SEK": 0.098, "CHF": 1.19},
    **{"KRW": 0.00072, "IDR": 0.000061, "KWD": 3.25, "VES": 0.0041},
    # Of regions without companies.
    **{"AED": 0.272, "ARS": 0.0007, "AUD": 0.65, "BRL": 0.18, "CAD": 0.72, "CLP": 0.00105, "CNY": 0.14, "COP": 0.00025, "CZK": 0.047},
    **{"DKK": 0.155, "EGP": 0.0207, "HKD": 0.128, "HUF": 0.0029, "ILS": 0.29, "INR": 0.0113, "ISK": 0.008, "LKR": 0.0033, "MXN": 0.054},
    **{"MYR": 0.236, "NOK": 0.099, "NZD": 0.58, "PEN": 0.29, "PHP": 0.0171, "PKR": 0.00355, "PLN": 0.273, "QAR": 0.274, "RON": 0.226},
    **{"RUB": 0.0122, "SAR": 0.266, "SGD": 0.77, "SRD": 0.026, "THB": 0.031, "TRY": 0.0235, "TWD": 0.0325, "VND": 0.000038, "ZAR": 0.057},
}
#: What the site gives exchange rates of. Not of VES: a region whose rate is missing.
CURRENCIES = frozenset(_DOLLARS) - {"VES"}
#: Trading units: their major unit, and how many of them it is.
_UNITS = {"GBp": ("GBP", 100), "ZAc": ("ZAR", 100), "ILA": ("ILS", 100), "KWF": ("KWD", 1000)}
#: Digits of an exchange rate, as the site gives it.
RATE_DIGITS = 7


def day_of(number: int) -> date:
    """The date of the market's day `number`."""
    return MARKET_DAY + timedelta(days=number)


def major(currency: str) -> str:
    """The currency that `currency` is a trading unit of (GBp → GBP), else itself."""
    return _UNITS.get(currency, (currency, 1))[0]


def units(currency: str) -> int:
    """How many of `currency` are one of its major unit: 100 of GBp, else 1."""
    return _UNITS.get(currency, (currency, 1))[1]


def rate(source: str, target: str, day: date) -> float:
    """How many `target` one `source` is worth on `day`. Raises KeyError for a currency that no company uses."""
    return _in_dollars(source, day) / _in_dollars(target, day)


def quoted_rate(source: str, target: str, day: date) -> float:
    """`rate` with the digits that the site gives."""
    return float(f"{rate(source, target, day):.{RATE_DIGITS}g}")


def _in_dollars(currency: str, day: date) -> float:
    base = _DOLLARS[currency]
    if currency == "USD":
        return base
    days = day.toordinal() - FIRST_DAY.toordinal()
    phase = sum(map(ord, currency))
    return base * (1 + 0.07 * math.sin(days / 190 + phase) + 0.008 * math.sin(days / 9 + phase))
