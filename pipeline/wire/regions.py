"""The regions of Yahoo Finance's screener: code, plain English name, and the screener page's own label."""

from __future__ import annotations

from typing import NamedTuple

#: Every region code that yfinance knows (its codes are lower case only), with its plain English name.
REGIONS: dict[str, str] = {
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
    "cz": "Czech Republic",
    "de": "Germany",
    "dk": "Denmark",
    "ee": "Estonia",
    "eg": "Egypt",
    "es": "Spain",
    "fi": "Finland",
    "fr": "France",
    "gb": "United Kingdom",
    "gr": "Greece",
    "hk": "Hong Kong",
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

#: Where the page's label is not the plain name.
_LABELS = {"cz": "Czechia", "hk": "Hong Kong SAR China"}


def screener_label(code: str) -> str:
    """What the screener page calls a region. Raises KeyError for a code that is not in REGIONS."""
    return _LABELS.get(code) or REGIONS[code]


class RegionBand(NamedTuple):
    """One task: a region, and both bounds of its band as plain numbers."""

    code: str
    market_cap_min: int
    market_cap_max: int
