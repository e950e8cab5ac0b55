"""The JSON endpoint behind the screener's page, by yfinance: one region and market-cap band in, its listings out.

The same interface as pipeline/screener/page.py, without a browser. `pipeline.yahoo.session.setup` comes first.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import LayoutChanged, NoData, PermanentError, RateLimited, TaskError, TransientError
from pipeline.screener import answers, query, walls
from pipeline.screener.answers import Answer, SiteError
from pipeline.screener.harvest import RegionList, all_pages
from pipeline.screener.homes import compare_with_home
from pipeline.screener.page_state import Selection
from pipeline.wire.regions import REGIONS
from pipeline.yahoo import session

#: What the listing endpoint is called in messages.
_WHAT = "the screener's endpoint"


class ApiScreener:
    """The screener's endpoint. `open` a region and band, then go through the list's `pages`.

    Raises RateLimited, TransientError for what may go better next time, LayoutChanged for an answer of an unknown
    shape, PermanentError for what the endpoint refuses.
    """

    def open(self, region_code: str, market_cap_min: int, market_cap_max: int) -> RegionList:
        """The list of a region's stocks within a market-cap band, both ends included."""
        if region_code not in REGIONS:
            raise PermanentError(f"no such region: {region_code!r}")
        wanted = Selection(region_code, market_cap_min, market_cap_max)
        first = _call(wanted, 0)
        if not first.rows:
            # A list that is asked for too early can be empty: nothing counts only if it is said twice.
            first = _call(wanted, 0)
        compare_with_home(wanted, first, lambda other: _call(other, 0))

        def one_pass(number: int) -> Iterator[Answer]:
            return all_pages(lambda offset: _call(wanted, offset), first if number == 0 else None)

        return RegionList(str(wanted), "api", first.total or 0, one_pass)


def _call(wanted: Selection, offset: int) -> Answer:
    """One answer: with a total or rows, or one behind the last row."""
    body = query.body(None, wanted.region, wanted.band, offset, plain=True)
    try:
        answer = session.post_json(query.LIVE_DATA_HOST + query.QUERY_PATH, body, query.USUAL_PARAMETERS)
    except NoData as error:
        # A 404 means a missing company elsewhere; here the endpoint itself is missing.
        raise LayoutChanged(f"{_WHAT} is gone: {error}") from error
    except RateLimited:
        raise
    except TaskError as error:
        # A 403 to a company's request may concern that company alone; here the site refuses.
        status = getattr(getattr(error.__cause__, "response", None), "status_code", 0)
        raise (walls.of_status(status, _WHAT) if status in walls.REFUSALS else None) or error from error.__cause__
    found = answers.parse(answer)
    if isinstance(found, SiteError):
        raise walls.of_words(str(found), _WHAT, 200) or TransientError(f"{_WHAT} says {found}")
    if found is None or not found.says_something(offset):
        raise LayoutChanged(f"{_WHAT} has changed: its answer has no total and no rows")
    return found
