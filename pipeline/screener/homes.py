"""Which region a listing's symbol belongs to, by the ending that the site gives it for its exchange. Pure.

A site that silently ignores the region's filter answers like one that keeps to it. Only the stocks themselves give it away. Endings are
a reason to look closer, not proof: the list is compared with that of the region which they point to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from pipeline.errors import TransientError
from pipeline.screener.answers import Answer
from pipeline.screener.page_state import Selection
from pipeline.wire.regions import REGIONS

#: More symbols of one other region than this share of all, and more than so many, are a reason to look closer.
STRANGE_SHARE, STRANGE = 0.25, 5

#: Yahoo's endings by region (its help page "Exchanges and data providers"). Symbols of the United States have none.
_ENDINGS = {
    "ae": "AE",
    "ar": "BA",
    "at": "VI",
    "au": "AX",
    "be": "BR",
    "br": "SA",
    "ca": "TO V CN NE",
    "ch": "SW",
    "cl": "SN",
    "cn": "SS SZ",
    "co": "CL",
    "cz": "PR",
    "de": "DE F BE DU HM HA MU SG",
    "dk": "CO",
    "ee": "TL",
    "eg": "CA",
    "es": "MC",
    "fi": "HE",
    "fr": "PA NX",
    "gb": "L IL",
    "gr": "AT",
    "hk": "HK",
    "hu": "BD",
    "id": "JK",
    "ie": "IR",
    "il": "TA",
    "in": "NS BO",
    "is": "IC",
    "it": "MI",
    "jp": "T",
    "kr": "KS KQ",
    "kw": "KW",
    "lt": "VS",
    "lv": "RG",
    "mx": "MX",
    "my": "KL",
    "nl": "AS",
    "no": "OL",
    "nz": "NZ",
    "ph": "PS",
    "pl": "WA",
    "pt": "LS",
    "qa": "QA",
    "ro": "RO",
    "sa": "SR SAU",
    "se": "ST",
    "sg": "SI",
    "th": "BK",
    "tr": "IS",
    "tw": "TW TWO",
    "ve": "CR",
    "vn": "VN",
    "za": "JO",
}
_REGION_OF = {ending: region for region, endings in _ENDINGS.items() for ending in endings.split()}


def home_of(symbol: str) -> str:
    """The region that a symbol's ending belongs to; empty if the ending is unknown, as in BF.B."""
    _, dot, ending = symbol.rpartition(".")
    return _REGION_OF.get(ending, "") if dot else "us"


def strange_home(symbols: Iterable[str], region: str) -> str:
    """The region that more symbols belong to than a list of `region` should have; empty if there is none."""
    homes = Counter(map(home_of, symbols))
    most = max(STRANGE, STRANGE_SHARE * homes.total())
    return next((home for home, count in homes.most_common() if home not in (region, "") and count > most), "")


def compare_with_home(wanted: Selection, first: Answer, ask: Callable[[Selection], Answer]) -> None:
    """If the first answer's stocks seem to be another region's, ask for that one's. Raises TransientError if they are the same."""
    symbols = {listing.symbol for listing in first.listings}
    home = strange_home(symbols, wanted.region)
    if not home:
        return
    other = ask(replace(wanted, region=home))
    if len(symbols & {listing.symbol for listing in other.listings}) > STRANGE:
        raise TransientError(f"{wanted}: the site lists the same stocks as for {REGIONS[home]}: it ignores the region")
