"""The screener's query: its body with other operands, what a body asks for, and the addresses it goes to. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

#: Stocks of one answer, at most.
CALL_SIZE = 250
#: From this offset on the site repeats itself.
LARGEST_OFFSET = 10_000
QUERY_PATH = "/v1/finance/screener"
CRUMB_PATH = "/v1/test/getcrumb"
LIVE_DATA_HOST = "https://query1.finance.yahoo.com"
#: A crumb is a few letters; a longer text is something else.
LONGEST_CRUMB = 64
_CAP = "intradaymarketcap"
#: Parameters of the address if the page has not shown its own.
USUAL_PARAMETERS = {"formatted": "false", "lang": "en-US", "region": "US", "corsDomain": "finance.yahoo.com"}
_OWN_HEADERS = ("accept", "authorization", "content-type")
_QUERY_URL = re.compile(r"(?:https?://[\w.:-]+)?/v\d+/finance/screener(?:\?[^\s\"'<>\\]*)?")


@dataclass(frozen=True)
class Asked:
    """What a query asks for: the regions (small letters), and the bounds of the market cap, None if there are none."""

    regions: frozenset[str]
    band: tuple[float, float] | None


def is_query_url(url: str) -> bool:
    return re.fullmatch(r"/v\d+/finance/screener/?", urlsplit(url).path) is not None


def may_ask_for_rows(url: str) -> bool:
    """Whether the table's rows may come from this address. Ready-made lists, the menus' fields and parts of a page are excluded."""
    path = urlsplit(url).path.lower()
    return "screener" in path and not re.search(r"/(?:predefined|instrument|fields|saved)(?:/|$)|\.(?!json$)\w{2,5}$", path)


def query_urls(text: str) -> list[str]:
    """Addresses of screener queries in a text of the page, such as an attribute or a script with JSON."""
    plain = re.sub(r"\\+u0026|&amp;", "&", re.sub(r"\\+u002[fF]|\\+/", "/", text))
    return [found for found in _QUERY_URL.findall(plain) if crumb_of(found) or found.startswith("http")]


def crumb_of(url: str) -> str:
    return dict(parse_qsl(urlsplit(url).query)).get("crumb", "")


def plain_crumb(text: str) -> str:
    """A crumb as it stands in a script (`a\\u002Fb`), or nothing."""
    crumb = re.sub(r"\\+u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace("\\", "")
    return crumb if is_crumb(crumb) else ""


def is_crumb(text: str) -> bool:
    """Whether a text can be a crumb: a few letters, not a page or a sentence."""
    return 0 < len(text) <= LONGEST_CRUMB and not any(mark in text for mark in "<{ \n")


def crumb_in_headers(headers: Mapping[str, str]) -> str:
    """The crumb that a request carries in a header of its own, such as X-Crumb."""
    return next((value for name, value in headers.items() if "crumb" in name), "")


def own_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that the page's script has set, in lower case: our request sends the same."""
    kept = {name: value for name, value in headers.items() if name in _OWN_HEADERS or re.match(r"x-|.*(?:crumb|csrf|token)", name)}
    return {"content-type": "application/json", **kept}


def without_crumb(url: str) -> str:
    """The address as it may be logged and recorded."""
    return re.sub(r"(?i)([?&](?:crumb|[a-z_]*token|[a-z_]*session(?:id)?)=)[^&#]*", r"\1-", url)


def query_url(origin: str, crumb: str, seen: str = "") -> str:
    """The address of our own queries: path and parameters as the page's (`seen`), plain numbers, quotes in place of records."""
    parts = urlsplit(seen or QUERY_PATH)
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True)) or dict(USUAL_PARAMETERS)
    parameters.pop("useRecordsResponse", None)
    parameters.pop("crumb", None)
    if "formatted" in parameters:
        parameters["formatted"] = "false"
    if crumb:
        parameters["crumb"] = crumb
    base = urlsplit(origin)
    return urlunsplit((base.scheme, base.netloc, parts.path, urlencode(parameters), ""))


#: Fields that are asked for beside those that the page shows.
_PROFILE = ("sector", "industry")


def body(template: Mapping[str, Any] | None, region: str, band: tuple[int, int], offset: int, *, plain: bool = False) -> dict[str, Any]:
    """The body that asks for a region's stocks of a band, 250 from `offset` on, by ticker. Both bounds are included.

    It is the page's own body (`template`) with other operands, in the form in which the page writes its region; without lists
    and objects of unknown meaning, which may be filters. `plain` is the form that yfinance uses, without anything of the page's.
    """
    if plain:
        known: dict[str, Any] = {"userId": "", "userIdType": "guid"}
    elif template:
        known = {name: value for name, value in template.items() if name == "includeFields" or not isinstance(value, list | dict)}
    else:
        known = {"topOperator": "AND"}
    for name in ("useRecordsResponse", "count"):
        known.pop(name, None)
    if isinstance(known.get("includeFields"), list):
        # The page asks for the columns that it shows. Sector and industry are not among them, and save a request per stock later.
        known["includeFields"] = [*known["includeFields"], *(name for name in _PROFILE if name not in known["includeFields"])]
    leaf = {"operator": "EQ", "operands": ["region", region]}
    region_operand = leaf if plain else _region_operand((template or {}).get("query"), region) or {"operator": "or", "operands": [leaf]}
    return {
        **known,
        "offset": offset,
        "size": CALL_SIZE,
        "sortField": "ticker",
        "sortType": "ASC",
        "quoteType": "EQUITY",
        "query": {"operator": "AND", "operands": [region_operand, {"operator": "BTWN", "operands": [_CAP, band[0], band[1]]}]},
    }


def asked(text: str | None) -> Asked | None:
    """What the body of a query asks for; None if the text is not a query."""
    try:
        query = json.loads(text or "").get("query")
    except (ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(query, Mapping):
        return None
    regions: set[str] = set()
    low, high = 0.0, float("inf")
    for node in _nodes(query):
        field, values = _field(node)
        if field == "region":
            regions |= {value.lower() for value in values if isinstance(value, str)}
        elif field in (_CAP, "lastclosemarketcap.lasttwelvemonths"):
            numbers = [float(value) for value in values if isinstance(value, int | float)]
            operator = str(node.get("operator", "")).upper()
            if operator == "BTWN" and len(numbers) == 2:
                low, high = max(low, min(numbers)), min(high, max(numbers))
            elif operator in ("GT", "GTE") and numbers:
                low = max(low, numbers[0])
            elif operator in ("LT", "LTE") and numbers:
                high = min(high, numbers[0])
    return Asked(frozenset(regions), None if (low, high) == (0.0, float("inf")) else (low, high))


def template_of(text: str | None) -> dict[str, Any] | None:
    """The page's own body, to be sent again with other operands; None if it does not ask for stocks."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    usable = isinstance(found, dict) and isinstance(found.get("query"), dict) and str(found.get("quoteType", "EQUITY")).upper() == "EQUITY"
    return found if usable else None


def _nodes(query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield query
    for operand in query.get("operands") or ():
        if isinstance(operand, Mapping):
            yield from _nodes(operand)


def _field(node: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The field of a leaf such as {"operator": "EQ", "operands": ["region", "us"]}, and its values, lists among them spread."""
    operands = node.get("operands") or ()
    if not isinstance(operands, list) or not operands or not isinstance(operands[0], str):
        return "", []
    values = [one for value in operands[1:] for one in (value if isinstance(value, list) else [value])]
    return operands[0].lower(), values


def _region_operand(query: Any, region: str) -> dict[str, Any] | None:
    """The page's own operand for its regions, with `region` in their place: the leaf, in its OR if it stands in one."""
    if not isinstance(query, Mapping):
        return None
    for operand in query.get("operands") or ():
        if not isinstance(operand, Mapping):
            continue
        leaves = [node for node in _nodes(operand) if _field(node)[0] == "region"]
        if not leaves:
            continue
        leaf = leaves[0]
        values = _field(leaf)[1]
        code = region.upper() if values and all(isinstance(value, str) and value.isupper() for value in values) else region
        nested = any(isinstance(value, list) for value in leaf["operands"][1:])
        one = {**leaf, "operands": [leaf["operands"][0], [code] if nested else code]}
        if leaf is operand:
            return one
        if str(operand.get("operator", "")).upper() == "OR":
            return {**operand, "operands": [one]}
        return _region_operand(operand, region)
    return None
