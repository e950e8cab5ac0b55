"""The JSON endpoint behind the screener's page, by yfinance: one region and market-cap band in, its listings out.

The same interface as pipeline/screener/page.py, without a browser. `pipeline.yahoo.session.setup` comes first.
"""

from __future__ import annotations

from collections.abc import Iterator

import yfinance

from pipeline.errors import LayoutChanged, NoData, PermanentError, TransientError
from pipeline.screener import answers, walls
from pipeline.screener.answers import Answer, SiteError
from pipeline.screener.harvest import RegionList
from pipeline.screener.page_state import Wanted
from pipeline.screener.query import CALL_SIZE
from pipeline.wire.regions import REGIONS
from pipeline.yahoo import session

#: What the listing endpoint is called in messages.
_WHAT = "the screener's endpoint"


class ApiScreener:
    """The screener's endpoint. `open` a region and band, then go through the list's `pages`.

    Raises RateLimited, TransientError for what may go better next time, LayoutChanged for an answer that is another than this
    code knows, PermanentError for what the endpoint refuses.
    """

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> RegionList:
        """The list of a region's stocks within a market-cap band, both ends included."""
        if region_code not in REGIONS:
            raise PermanentError(f"no such region: {region_code!r}")
        wanted = Wanted(region_code, market_cap_min, market_cap_max)
        first = _call(wanted, 0)
        return RegionList(str(wanted), "api", first.total or 0, lambda number: _pass(wanted, first if number == 0 else None))


def _pass(wanted: Wanted, first: Answer | None) -> Iterator[Answer]:
    """All calls from the first on; `first` is the answer that is there already."""
    offset, total = 0, 1
    while offset < total:
        answer = first if first is not None and not offset else _call(wanted, offset)
        yield answer
        if not answer.rows:
            return
        offset += answer.rows
        total = answer.total or 0


def _call(wanted: Wanted, offset: int) -> Answer:
    """One answer; it has a total."""
    query = yfinance.EquityQuery(
        "and",
        [yfinance.EquityQuery("eq", ["region", wanted.region]), yfinance.EquityQuery("btwn", ["intradaymarketcap", *wanted.band])],
    )
    try:
        answer = yfinance.screen(query, offset=offset, size=CALL_SIZE, sortField="ticker", sortAsc=True)
    except Exception as error:
        meant = session.meaning(error)
        if isinstance(meant, NoData):
            # There is no company that could be gone: it is the endpoint that is not there.
            raise LayoutChanged(f"{_WHAT} is gone: {meant}") from error
        raise meant from error
    found = answers.parse(answer)
    if isinstance(found, SiteError):
        raise walls.of_words(str(found), _WHAT, 200) or TransientError(f"{_WHAT} says {found}")
    if found is None or found.total is None:
        raise LayoutChanged(f"{_WHAT} has changed: its answer has no total or no rows")
    return found
