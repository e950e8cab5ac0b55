"""What the screener finds: queries of the JSON endpoint and of the page, sorting, and values that move while one pages through."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from local.market.companies import Company, Market
from local.market.oddities import Entry, entries, formatted, record
from local.market.page_switches import Switches
from local.market.payloads import quote
from local.market.regions import REGIONS

#: Fields of a query or a sort → a company's value.
FIELDS: dict[str, Callable[[Company], Any]] = {
    "ticker": lambda company: company.symbol,
    "companyshortname.raw": lambda company: company.name,
    "region": lambda company: company.region,
    "exchange": lambda company: company.exchange.code,
    "sector": lambda company: company.sector,
    "industry": lambda company: company.industry,
    "intradaymarketcap": lambda company: company.market_cap,
    "intradayprice": lambda company: company.price,
    "intradaypricechange": lambda company: quote(company)["regularMarketChange"],
    "percentchange": lambda company: quote(company)["regularMarketChangePercent"],
    "dayvolume": lambda company: quote(company)["regularMarketVolume"],
    "avgdailyvol3m": lambda company: quote(company)["averageDailyVolume3Month"],
    "peratio.lasttwelvemonths": lambda company: quote(company).get("trailingPE", 0.0),
    "fiftytwowkpercentchange": lambda company: quote(company)["fiftyTwoWeekChangePercent"],
}
#: Columns whose values change while one looks: sorted by them, rows move between pages.
MOVING = frozenset({"intradaymarketcap", "intradayprice", "intradaypricechange", "percentchange", "dayvolume", "peratio.lasttwelvemonths"})
#: The JSON endpoint repeats its rows past this offset.
LARGEST_OFFSET = 10_000


class QueryError(ValueError):
    """A query that the endpoint would refuse."""


def matches(query: dict[str, Any], company: Company, dollars: bool = False) -> bool:
    """Whether a company meets a query such as {"operator": "AND", "operands": […]}. BTWN includes both ends.

    A market cap is compared in the listing's own currency as the site does, with `dollars` in dollars.
    """
    try:
        operator, operands = query["operator"].upper(), query["operands"]
        if operator in ("AND", "OR"):
            return (all if operator == "AND" else any)(matches(operand, company, dollars) for operand in operands)
        value = company.market_cap_usd if dollars and operands[0] == "intradaymarketcap" else FIELDS[operands[0]](company)
        if operator == "EQ":
            return bool(value == operands[1])
        if operator == "BTWN":
            return bool(operands[1] <= value <= operands[2])
        compare = {"GT": value > operands[1], "GTE": value >= operands[1], "LT": value < operands[1], "LTE": value <= operands[1]}
        return bool(compare[operator])
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise QueryError(f"cannot use {query!r}") from error


def sort(companies: Sequence[Company], field: str, ascending: bool, moved: Callable[[Company], float] | None = None) -> list[Company]:
    """Sorted by a field, then by symbol. `moved` gives a factor per company, applied to values of moving fields."""
    if field not in FIELDS:
        raise QueryError(f"cannot sort by {field!r}")
    value = FIELDS[field]
    factor = moved if moved and field in MOVING else None
    return sorted(
        sorted(companies, key=lambda company: company.symbol),
        key=(lambda company: value(company) * factor(company)) if factor else value,
        reverse=not ascending,
    )


def screen(
    market: Market,
    body: dict[str, Any],
    dollars: bool = False,
    switches: Switches | None = None,
    rng: random.Random | None = None,
    records: bool = False,
) -> dict[str, Any]:
    """Answer of `POST /v1/finance/screener`; bounds as in `matches`. With `rng` rows sorted by what moves do so. Raises QueryError."""
    switches = switches or Switches()
    size = body.get("size") or body.get("count") or 25
    offset = body.get("offset") or 0
    if not (isinstance(size, int) and 0 < size <= 250 and isinstance(offset, int) and offset >= 0):
        raise QueryError("size must be 1 to 250 and offset 0 or more")
    query = body.get("query")
    if not isinstance(query, dict):
        raise QueryError("no query")
    found = [company for company in market.companies if matches(query, company, dollars)]
    factors = _factors(found, rng)
    found = sort(found, body.get("sortField") or "ticker", str(body.get("sortType", "DESC")).upper() == "ASC", factors)
    listed = entries(found, switches)
    start = min(offset, LARGEST_OFFSET - size)
    rows = [record(entry) if records else entry.quote for entry in listed[start : start + size]]
    wanted = [name for name in ("sector", "industry") if name in (body.get("includeFields") or ())]
    profiles = [_profile(entry.company) for entry in listed[start : start + size]]
    rows = [{**row, **{name: profile[name] for name in wanted}} for row, profile in zip(rows, profiles, strict=True)]
    if switches["numbers"] == "formatted":
        rows = [formatted(row) for row in rows]
    result = {"start": offset, "count": len(rows), "total": _total(listed, switches), "records" if records else "quotes": rows}
    return {"finance": {"result": [result], "error": None}}


def listed(company: Company) -> dict[str, Any]:
    """All that a listing can say of a company: its quote, sector and industry."""
    return {**quote(company), **_profile(company)}


def _profile(company: Company) -> dict[str, str]:
    """Sector and industry as the screener writes them: with a dash in place of the hyphen of a company's own page."""
    return {"sector": company.sector, "industry": company.industry.replace(" - ", "—")}


def page_rows(
    market: Market, wanted: dict[str, Any], rng: random.Random, dollars: bool = False, switches: Switches | None = None
) -> dict[str, Any]:
    """Rows of the screener page that come as pieces of HTML: {"start", "total", "rows"}; bounds as in `matches`.

    `wanted`: `regions` (codes; none: all), `low` and `high` (market cap, both included, None: open), `start`, `count`, `sortField`,
    `sortAsc`. Moving values are shown up to 1 % off their true value, differently at each call, but never outside the band asked for.
    """
    switches = switches or Switches()
    low, high = wanted.get("low"), wanted.get("high")
    regions = set(wanted.get("regions") or REGIONS)
    found = [company for company in market.companies if company.region in regions and _within(company, low, high, dollars)]
    factor = _factors(found, rng)
    found = sort(found, wanted.get("sortField") or "intradaymarketcap", bool(wanted.get("sortAsc")), factor)
    start, count = max(int(wanted.get("start") or 0), 0), min(max(int(wanted.get("count") or 25), 1), 100)
    bounds = (None, None) if dollars else (low, high)
    listed = entries(found, switches)
    rows = [_row(entry, factor(entry.company), *bounds) for entry in listed[start : start + count]]
    return {"start": start, "total": _total(listed, switches), "rows": rows}


def _factors(companies: list[Company], rng: random.Random | None) -> Callable[[Company], float]:
    """How much each company's values have moved just now: up to 1 %."""
    factors = {company.symbol: 1 + rng.uniform(-0.01, 0.01) for company in companies} if rng else {}
    return lambda company: factors.get(company.symbol, 1.0)


def _total(listed: list[Entry], switches: Switches) -> int:
    return len(listed) + switches["total_off"] if listed else 0


def _within(company: Company, low: float | None, high: float | None, dollars: bool) -> bool:
    value = company.market_cap_usd if dollars else company.market_cap
    return (low is None or value >= low) and (high is None or value <= high)


def _row(entry: Entry, factor: float, low: float | None, high: float | None) -> dict[str, Any]:
    company, listed = entry.company, entry.quote
    cap = company.market_cap * factor
    cap = round(min(max(cap, low or 0), high or cap))
    return {
        "ticker": listed.get("symbol", ""),
        "link_title": entry.link_title,
        "companyshortname.raw": listed.get("longName") or listed.get("shortName", ""),
        "intradayprice": round(company.price * factor, 4),
        "intradaypricechange": listed["regularMarketChange"],
        "percentchange": listed["regularMarketChangePercent"],
        "dayvolume": listed["regularMarketVolume"],
        "avgdailyvol3m": listed["averageDailyVolume3Month"],
        "intradaymarketcap": cap,
        "peratio.lasttwelvemonths": listed.get("trailingPE"),
        "fiftytwowkpercentchange": listed["fiftyTwoWeekChangePercent"],
        "region": REGIONS[company.region],
    }
