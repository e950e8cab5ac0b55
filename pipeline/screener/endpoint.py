"""The JSON endpoint behind the screener's page, by yfinance: one region and market-cap band in, its listings out.

The same interface as pipeline/screener/page.py, without a browser. `pipeline.yahoo.session.setup` comes first. The endpoint gives 250
stocks a call and repeats itself past 10,000; the scraping consumer cuts wider bands in two long before that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import yfinance

from pipeline.errors import LayoutChanged, NoData, PermanentError, TransientError
from pipeline.screener import answers
from pipeline.screener.answers import Answer, Listing
from pipeline.screener.page import MOST_PASSES
from pipeline.wire.market_cap import format_market_cap
from pipeline.wire.regions import REGIONS
from pipeline.yahoo import session

log = logging.getLogger(__name__)

#: Stocks of one call, at most.
CALL_SIZE = 250
#: From this offset on the endpoint repeats itself.
LARGEST_OFFSET = 10_000


class ApiScreener:
    """The screener's endpoint. `open` a region and band, then go through `pages`.

    Raises RateLimited, TransientError for what may go better next time, LayoutChanged where the answer is another than this
    code knows, PermanentError for what the endpoint refuses.
    """

    def __init__(self) -> None:
        self._region = ""
        self._band = (0, 0)
        self._first: list[Listing] = []
        #: The last total that the endpoint named.
        self.total = 0
        #: Symbols that the total promised and no call had, after `pages` is through.
        self.missing = 0

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> int:
        """Ask for a region's stocks within a market-cap band, both ends included; returns how many there are."""
        if region_code not in REGIONS:
            raise PermanentError(f"no such region: {region_code!r}")
        self._region, self._band = region_code, (market_cap_min, market_cap_max)
        self.missing = 0
        self._first = self._call(0)
        return self.total

    def pages(self, tolerate_missing: bool = False) -> Iterator[list[Listing]]:
        """The listings, 250 at most at a time, no symbol twice.

        Where symbols are missing at the end, all is asked for again, twice at most. If some are missing even then:
        TransientError, or with `tolerate_missing` just their number in `missing`.
        """
        assert self._region, "open() comes first"
        if self.total > LARGEST_OFFSET:
            raise PermanentError(f"{self._name}: {self.total} stocks, and the endpoint gives {LARGEST_OFFSET}: choose narrower bands")
        seen: set[str] = set()
        for number in range(MOST_PASSES):
            if number:
                log.info("%s: %d of %d listed, asking again", self._name, len(seen), self.total)
            for page in self._one_pass(again=number > 0):
                new = {listing.symbol: listing for listing in page if listing.symbol not in seen}
                seen.update(new)
                if new:
                    yield list(new.values())
            if len(seen) >= self.total:
                break
        self.missing = max(0, self.total - len(seen))
        if self.missing and not tolerate_missing:
            raise TransientError(f"{self._name}: the endpoint listed {len(seen)} of {self.total} stocks")

    @property
    def _name(self) -> str:
        low, high = self._band
        return f"{REGIONS[self._region]} {format_market_cap(low)}-{format_market_cap(high)}"

    def _one_pass(self, again: bool) -> Iterator[list[Listing]]:
        """All calls from the first on, whose answer `open` has already."""
        offset = 0
        while offset < self.total:
            page = self._call(offset) if offset or again else self._first
            if not page:
                return
            yield page
            offset += len(page)

    def _call(self, offset: int) -> list[Listing]:
        low, high = self._band
        query = yfinance.EquityQuery(
            "and",
            [yfinance.EquityQuery("eq", ["region", self._region]), yfinance.EquityQuery("btwn", ["intradaymarketcap", low, high])],
        )
        try:
            answer = yfinance.screen(query, offset=offset, size=CALL_SIZE, sortField="ticker", sortAsc=True)
        except Exception as error:
            meant = session.meaning(error)
            if isinstance(meant, NoData):
                # There is no company that could be gone: it is the endpoint that is not there.
                raise LayoutChanged(f"the screener's endpoint is gone: {meant}") from error
            raise meant from error
        found = answers.parse(answer)
        if not isinstance(found, Answer) or found.total is None:
            raise LayoutChanged(f"the screener's endpoint has changed: its answer has no total or no rows ({found})")
        self.total = found.total
        return list(found.listings)
