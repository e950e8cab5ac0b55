"""Whether what the site lists lies within the band that was wanted, each listing by its own market cap in its own currency.

The site filters by the listing's own currency, as far as is known (README.md). Bounds that were rounded outward, and listings
in another currency than their region's, bring some that are not wanted: these are kept out and counted. If many lie outside of the
bounds themselves, the site filters by something else than is believed, and nothing of the list can be relied on.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from pipeline.errors import BandCurrencyMismatch
from pipeline.ratios.fundamentals import in_trading_unit, major, unit_value
from pipeline.screener.answers import Listing
from pipeline.wire.bands import WantedBand, amount_text
from pipeline.wire.currencies import REGION_CURRENCIES, DayRate, per_dollar
from pipeline.wire.market_cap import format_market_cap
from pipeline.wire.messages import ScrapingTask

log = logging.getLogger(__name__)

#: More listings than this share of all, and more than so many, outside of the bounds: the site filters in another way.
MOST_OFF_SHARE = 0.1
MOST_OFF = 5
#: If the currencies are not known, some may fit no band that others fit: more than this share, and the site has not filtered at all.
MOST_OFF_SPREAD = 1 / 3
#: Market caps move after the site has filtered by them: a difference of this fraction means nothing.
_MOVED = 0.01
#: Relative tolerance of comparisons: what multiplying may lose, and less than a unit of any currency.
_TOLERANCE = 1e-12

#: A listing in a currency of which no rate is known, as a completion names it.
NO_RATE = "no_rate"

RatesSource = Callable[[], Mapping[str, DayRate]]


class Size(NamedTuple):
    """A market cap in the major unit of a listing's own currency; the currency is empty if the site does not name one."""

    market_cap: float
    currency: str


class Verdict(Enum):
    INSIDE = "inside"
    OUTSIDE = "outside"
    NO_RATE = "no rate"


def size_of(quote: Mapping[str, Any], low: float, high: float) -> Size | None:
    """The size that the answer gives for a listing; None if it gives none. `low` and `high` are the bounds that the site filtered by.

    Quotes in a trading unit such as pence mostly give the market cap in pounds. Price × shares shows which it is; without them, the
    bounds that it passed do.
    """
    cap, code = quote.get("marketCap"), quote.get("currency") or ""
    if not isinstance(cap, int | float) or cap <= 0:
        return None
    currency, unit = major(code), unit_value(code)
    if unit != 1.0:
        in_units = in_trading_unit(cap, quote.get("regularMarketPrice"), quote.get("sharesOutstanding"))
        if in_units is None:
            in_units = not low <= cap <= high and low <= cap * unit <= high
        cap = cap * unit if in_units else cap
    return Size(float(cap), currency)


def judge(size: Size, wanted: WantedBand, own: str, rates: RatesSource) -> Verdict:
    """Whether a size lies within the wanted band. `own` is the region's currency, which `wanted.rate` is in; `rates` has all others.

    A size without a currency is in the region's: the site has compared it with bounds in that.
    """
    if size.currency in (own, ""):
        rate = wanted.rate
    elif size.currency == wanted.currency:
        rate = 1.0
    else:
        known = {"USD": 1.0, **per_dollar(rates())}
        if size.currency not in known or wanted.currency not in known:
            return Verdict.NO_RATE
        rate = known[size.currency] / known[wanted.currency]
    above = wanted.low is None or size.market_cap >= wanted.low * rate * (1 - _TOLERANCE)
    below = wanted.high is None or size.market_cap <= wanted.high * rate * (1 + _TOLERANCE)
    return Verdict.INSIDE if above and below else Verdict.OUTSIDE


def compare_spread(name: str, caps: list[float], low: int, high: int) -> None:
    """Raise BandCurrencyMismatch if no factor brings these market caps into the band: then the site has not filtered by them."""
    width = high * (1 + _MOVED) / (max(low, 1) * (1 - _MOVED))
    caps = sorted(caps)
    fitting = max((bisect_right(caps, cap * width) - index for index, cap in enumerate(caps)), default=0)
    off = len(caps) - fitting
    if off > MOST_OFF and off > MOST_OFF_SPREAD * len(caps):
        raise BandCurrencyMismatch(
            f"{name}: the site does not filter by market cap: {len(caps)} stocks that it lists are {amount_text(caps[0])} to "
            f"{amount_text(caps[-1])}, and at most {fitting} of them fit a band of {format_market_cap(low)} to {format_market_cap(high)} "
            "in any currency. Nothing of the list was used. Compare it with the site by hand; SCRAPER_SOURCE=api asks the endpoint "
            "behind the page"
        )


class BandCheck:
    """Goes through the listings of one task: `pages` yields those that are wanted, the rest is counted."""

    def __init__(self, task: ScrapingTask, rates: RatesSource) -> None:
        self._task = task
        self._own = REGION_CURRENCIES.get(task.region_code, "")
        self._rates = cache(rates)
        #: Listings that are known to lie outside of the wanted band, and those that could not be converted.
        self.outside = 0
        self.unconverted = 0

    def pages(self, listed: Iterable[list[Listing]]) -> Iterator[list[Listing]]:
        """The wanted listings, no symbol twice. A task that names no wanted band is in local currency, and all are.

        In which currency the site filters for such a task is left to the site, not whether it does.

        Raises BandCurrencyMismatch before it yields anything.
        """
        wanted = self._task.wanted
        pages = [list({listing.symbol: listing for listing in page}.values()) for page in listed]
        low, high = self._task.market_cap_min, self._task.market_cap_max
        sizes = {listing.symbol: size_of(listing.quote, low, high) for page in pages for listing in page}
        if wanted is None:
            for currency in {size.currency for size in sizes.values() if size is not None}:
                caps = [size.market_cap for size in sizes.values() if size is not None and size.currency == currency]
                compare_spread(str(self._task), caps, low, high)
            yield from pages
            return
        self._compare_with_filter(sizes)
        verdicts = {symbol: judge(size, wanted, self._own, self._rates) for symbol, size in sizes.items() if size is not None}
        self.outside = sum(verdict is Verdict.OUTSIDE for verdict in verdicts.values())
        self.unconverted = sum(verdict is Verdict.NO_RATE for verdict in verdicts.values())
        self._say(len(sizes), len(verdicts))
        for page in pages:
            if kept := [listing for listing in page if verdicts.get(listing.symbol, Verdict.INSIDE) is Verdict.INSIDE]:
                yield kept

    def _compare_with_filter(self, sizes: Mapping[str, Size | None]) -> None:
        """Raise BandCurrencyMismatch if the site can't have compared market caps in the region's currency with the task's bounds."""
        low, high = self._task.market_cap_min * (1 - _MOVED), self._task.market_cap_max * (1 + _MOVED)
        named = {symbol: size for symbol, size in sizes.items() if size is not None and size.currency}
        own = {symbol: size for symbol, size in named.items() if size.currency == self._own}
        off = {symbol: size for symbol, size in own.items() if not low <= size.market_cap <= high} if own else named
        if len(off) > MOST_OFF and len(off) > MOST_OFF_SHARE * len(own or named):
            shown = ", ".join(f"{symbol} ({amount_text(size.market_cap)} {size.currency})" for symbol, size in sorted(off.items())[:3])
            raise BandCurrencyMismatch(
                f"the site does not filter {self._task.region_name} by market caps in {self._own}: {len(off)} of {len(own or named)} "
                f"stocks that it lists are not {format_market_cap(self._task.market_cap_min)} to "
                f"{format_market_cap(self._task.market_cap_max)} {self._own}, such as {shown}. Nothing of the list was used. With "
                "--market-cap-currency local the site's list is taken as it is"
            )

    def _say(self, listed: int, judged: int) -> None:
        if self.outside:
            log.info("%s: %d of %d stocks listed lie outside %s", self._task, self.outside, listed, self._task.wanted)
        if self.unconverted:
            log.warning("%s: %d stocks left out: no exchange rate of the last days for their currencies", self._task, self.unconverted)
        if judged < listed:
            log.info("%s: of %d of %d stocks the site did not say the market cap", self._task, listed - judged, listed)
