"""What is odd in a list of stocks, by the page's switches: rows without a symbol, doubled ones, names that are none."""

from __future__ import annotations

from typing import Any, NamedTuple

from local.market.companies import Company
from local.market.page_switches import Switches
from local.market.payloads import quote

#: Symbols that tempt, and names that do: markup, quotes, right to left, wide.
ODD = (
    ("M&M.NS", 'Mahindra & "Mahindra"'),
    ("^RTX", "<script>alert(1)</script>"),
    ("BRK-B", "O'Neill \\ Söhne"),
    ("A+B.NS", "شركة الاختبار"),
    ("X=Y.NS", "株式会社テスト"),
    ("ABC%D.NS", "100% Made Up"),
    ("é1.NS", "Érable Été"),
)


class Entry(NamedTuple):
    """One row of a list: the company, what the site says of it, and the other name that its link has."""

    company: Company
    quote: dict[str, Any]
    link_title: str


def entries(companies: list[Company], switches: Switches) -> list[Entry]:
    """The rows of a sorted list of companies. Which ones are odd depends on the list, not on its order."""
    plain = [Entry(company, quote(company), company.name) for company in companies]
    if len(plain) < 12 or not any(switches[name] for name in ("no_symbol", "doubled", "dash_names", "odd_symbols", "funds")):
        return plain
    by_symbol = sorted(company.symbol for company in companies)
    changed = {entry.company.symbol: entry for entry in plain}

    def change(position: int, **fields: Any) -> None:
        entry = changed[by_symbol[position]]
        kept = {name: value for name, value in {**entry.quote, **fields}.items() if value is not None}
        changed[by_symbol[position]] = Entry(entry.company, kept, entry.link_title)

    if switches["odd_symbols"]:
        for position, (symbol, name) in enumerate(ODD):
            change(position, symbol=symbol, shortName=name, longName=name)
            changed[by_symbol[position]] = changed[by_symbol[position]]._replace(link_title=name)
    if switches["dash_names"]:
        change(-1, shortName="--", longName=None)
        change(-2, shortName="--", longName="--")
        changed[by_symbol[-2]] = changed[by_symbol[-2]]._replace(link_title="--")
    if switches["no_symbol"]:
        change(-3, symbol=None)
    if switches["funds"]:
        change(-4, quoteType="ETF")
    found = []
    for entry in plain:
        found.append(changed[entry.company.symbol])
        if switches["doubled"] and entry.company.symbol == by_symbol[-5]:
            found.append(found[-1])
    return found


def record(entry: Entry) -> dict[str, Any]:
    """A row in the shape of `records`: other names for the same."""
    fields = dict(entry.quote)
    symbol, name = fields.pop("symbol", None), fields.get("longName") or fields.get("shortName")
    return {**({"ticker": symbol} if symbol else {}), "companyName": name, "sector": entry.company.sector, **fields}


def formatted(fields: dict[str, Any]) -> dict[str, Any]:
    """Numbers as objects with their raw value and a text."""
    return {
        name: {"raw": value, "fmt": f"{value:,.2f}"} if isinstance(value, int | float) and not isinstance(value, bool) else value
        for name, value in fields.items()
    }
