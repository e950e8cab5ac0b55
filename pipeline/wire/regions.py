"""The regions of Yahoo Finance's screener: code, plain English name, and the screener page's own label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from config.values import LOCAL
from pipeline.wire.bands import WantedBand
from pipeline.wire.market_cap import LARGEST

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

#: The page's labels that differ from the names in REGIONS.
_LABELS = {"cz": "Czechia", "hk": "Hong Kong SAR China"}


def screener_label(code: str) -> str:
    """The screener page's label of a region. Raises KeyError for a code that is not in REGIONS."""
    return _LABELS.get(code) or REGIONS[code]


class AskedBand(NamedTuple):
    """A region and its band as the user asked for it: both bounds in `currency`, an ISO code or `local` for the region's own."""

    code: str
    low: int
    high: int
    currency: str


class RegionBand(NamedTuple):
    """One task: a region, and both bounds of its band in its own currency. `wanted` is the band that they were converted from."""

    code: str
    market_cap_min: int
    market_cap_max: int
    wanted: WantedBand | None = None

    @property
    def asked(self) -> AskedBand:
        """The band that the user asked for."""
        if self.wanted is None:
            return AskedBand(*self[:3], LOCAL)
        return AskedBand(self.code, self.wanted.low or 0, LARGEST if self.wanted.high is None else self.wanted.high, self.wanted.currency)

    def as_json(self) -> list[Any]:
        """The value in `pipeline_run.tasks`."""
        return [*self[:3], *([self.wanted.fields()] if self.wanted else [])]

    @classmethod
    def read(cls, value: Sequence[Any]) -> RegionBand:
        """Parse the output of `as_json`, or of an earlier version, which has no `wanted`. Raises ValueError."""
        return cls(value[0], value[1], value[2], WantedBand.read(value[3]) if len(value) > 3 else None)
