"""Fetches of a company only what is needed, and puts it together with what is kept of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipeline.errors import NoData, TransientError
from pipeline.ratios.fundamentals import Fundamentals
from pipeline.ratios.periods import periods, usable
from pipeline.yahoo import session
from pipeline.yahoo.answers import Info
from pipeline.yahoo.assemble import PricesOf, assemble
from pipeline.yahoo.fetch import exchange_rates, fetch_chart, fetch_info, fetch_statements
from pipeline.yahoo.renewed import moved_on

_QUOTES = "https://query2.finance.yahoo.com/v7/finance/quote"


class _Gap(Exception):
    """The kept closes do not reach to a period's end."""


@dataclass(frozen=True)
class KeptChart:
    """What is kept of a chart, in its place. `ends`: the periods' ends whose closes it has, as far as there were any."""

    before: Fundamentals
    ends: frozenset[date]
    price: float | None = None
    quoted_on: date | None = None

    @property
    def currency(self) -> str | None:
        return self.before.chart_currency

    @property
    def splits(self) -> Mapping[date, float]:
        return self.before.splits

    def closes_until(self, day: date, days: int) -> Mapping[date, float]:
        """Raises _Gap for an end that is not among those kept."""
        if day not in self.ends:
            raise _Gap
        return {when: close for when, close in self.before.closes.items() if 0 <= (day - when).days <= days}

    def newest(self) -> tuple[date, float] | None:
        return self.before.newest_close

    def steps(self) -> Mapping[date, float]:
        return self.before.steps


def fetch_needed(symbol: str, known: Mapping[str, Any] | None, before: Fundamentals | None) -> Fundamentals:
    """Statements, and what else is needed.

    known: quote and profile by the site's field names; None if the stock's page has to be asked for.  before: what is kept of the
    company, if its closes are still good: the chart is asked for only if a period has ended since, or before them.
    Raises as `fetch.fetch` does.
    """
    try:
        return _needed(symbol, known, before)
    except NoData:
        if known is None:
            raise
        # Nothing found is no answer yet. The site may not know the symbol at all, and says so on the stock's page; or the one
        # answer was wrong, so the statements are asked for once more.
        fetch_info(session.get_json, symbol)
        return _needed(symbol, known, before)


def _needed(symbol: str, known: Mapping[str, Any] | None, before: Fundamentals | None) -> Fundamentals:
    as_of = session.today()
    info = fetch_info(session.get_json, symbol) if known is None else Info({"quote": dict(known)})
    if before is not None and known is None:
        info = Info({**info.modules, "kept": _profile(before)})
    statements = fetch_statements(session.get_json, symbol, as_of)

    def from_site(since: date) -> PricesOf:
        return fetch_chart(session.get_json, symbol, since, as_of)

    if before is not None:
        ends = frozenset(period.end for period in periods(usable(before)) if period.period_type == "annual")
        chart = KeptChart(moved_on(before, as_of, info.figure("regularMarketPrice"), info.day("regularMarketTime")), ends)
        with contextlib.suppress(_Gap):
            return assemble(symbol, as_of, info, statements, lambda since: chart, exchange_rates.get)
    return assemble(symbol, as_of, info, statements, from_site, exchange_rates.get)


def _profile(before: Fundamentals) -> dict[str, Any]:
    return {"longName": before.name, "exchange": before.exchange, "sector": before.sector, "industry": before.industry}


def fetch_quotes(symbols: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The site's quotes of up to a hundred symbols in one request; those that it does not know are left out."""
    payload = session.get_json(_QUOTES, {"symbols": ",".join(symbols), "formatted": "false"})
    outer = payload.get("quoteResponse") if isinstance(payload, dict) else None
    result = outer.get("result") if isinstance(outer, dict) else None
    if not isinstance(result, list):
        raise TransientError("quote: an answer of another shape")
    found = {quote["symbol"]: quote for quote in result if isinstance(quote, dict) and isinstance(quote.get("symbol"), str)}
    return {symbol: found[symbol] for symbol in symbols if symbol in found}
