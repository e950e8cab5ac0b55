"""Converts bands from the currency that the user asked for to each region's own, at one day's rates.

One request fetches the rates of all currencies, when the first bands come. If the site gives no rate, the newest stored one is used,
if it is at most seven days old. Rates are never guessed. The site's rates are stored, because listings in other currencies than
their region's must be converted too.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

from config import Settings
from config.values import LOCAL
from pipeline.errors import RateLimited, ServiceError, TaskError, TransientError
from pipeline.ratios.rates import RATE_DAYS
from pipeline.storage import database, fx_rates, schema
from pipeline.storage.judgement import first_cause
from pipeline.wire.bands import WantedBand, converted
from pipeline.wire.currencies import REGION_CURRENCIES, DayRate
from pipeline.wire.regions import AskedBand, RegionBand
from pipeline.wire.request_count import RequestCount
from pipeline.worker.failures import delay_seconds

log = logging.getLogger(__name__)

#: Longest wait in seconds before another attempt, if the site asks for patience.
LONGEST_WAIT_SECONDS = 30.0
#: Seconds in which the site must answer the request.
TIMEOUT_SECONDS = 10.0
#: Longest text about what failed, in characters.
REASON_LIMIT = 160

T = TypeVar("T")


class Converter:
    """Converts bands. Once a rate has been used, it stays the same for all further bands."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._today = settings.today()
        #: pair → rate: from the site, or stored within the last days.
        self._rates: dict[str, DayRate] = {}
        self._stored: Mapping[str, DayRate] | None = None
        #: pair → why the site's rate can't be used.
        self._refused: dict[str, str] = {}
        self._asked: set[str] = set()
        self.requests = RequestCount()

    def bands(self, asked: Sequence[AskedBand]) -> list[RegionBand]:
        """Each band in its region's own currency. Raises ServiceError that names the pair if no rate is known."""
        moneys = {frozenset((band.currency, REGION_CURRENCIES[band.code])) for band in asked if band.currency != LOCAL}
        # Needed even if the band is in the region's own currency, because a region may list stocks in others. Not for dollars only.
        if moneys - {frozenset({"USD"})}:
            self._ask({currency for money in moneys if len(money) == 2 for currency in money})
        return [self._band(*band) for band in asked]

    def _band(self, code: str, low: int, high: int, currency: str) -> RegionBand:
        if currency == LOCAL:
            return RegionBand(code, low, high)
        rate = self._rate(currency, REGION_CURRENCIES[code])
        return RegionBand(code, *converted(low, high, rate.rate), WantedBand(low, high, currency, rate.rate, rate.day))

    def _rate(self, source: str, target: str) -> DayRate:
        """Price of one unit of `source` in `target`, calculated through the dollar. Raises ServiceError."""
        if source == target:
            return DayRate(self._today, 1.0)
        found = {"USD": DayRate(self._today, 1.0), **{pair[3:]: rate for pair, rate in self._rates.items()}}
        missing = [currency for currency in (source, target) if currency not in found]
        if missing:
            pair = f"USD{missing[0]}"
            reason = self._refused.get(pair, "the site gives none")
            through = "" if pair == f"{source}{target}" else f"for {pair} "
            raise ServiceError(
                f"no exchange rate for {source}{target}: {through}{reason}, and none of the last {RATE_DAYS} days is stored. Try again "
                f"later, leave out the regions that use {missing[0]}, or give the bounds in each region's own currency: "
                f"--market-cap-currency {LOCAL}"
            )
        return DayRate(min(found[source].day, found[target].day), found[target].rate / found[source].rate)

    # -- where rates come from ----------------------------------------------------------------------------------------

    def _ask(self, needed: set[str]) -> None:
        """Fetch all rates that were not fetched yet. Retry on failure only if a needed rate is not stored either."""
        currencies = {*REGION_CURRENCIES.values(), *needed} - self._asked
        if not currencies:
            return
        stored = self._known_before()
        unsure = {currency for currency in needed - {"USD"} if f"USD{currency}" not in stored}
        for attempt in range(1, (self._settings.max_attempts if unsure else 1) + 1):
            try:
                self._ask_once(currencies, stored)
                break
            except TaskError as error:
                self._refused |= {f"USD{currency}": f"the site gives none ({str(error)[:REASON_LIMIT]})" for currency in currencies}
                if not isinstance(error, TransientError) or attempt == self._settings.max_attempts or not unsure:
                    break
                asked = error.retry_after_seconds if isinstance(error, RateLimited) else None
                time.sleep(min(max(delay_seconds(attempt), asked or 0.0), LONGEST_WAIT_SECONDS))
        for pair in sorted(f"USD{currency}" for currency in needed - {"USD"}):
            if pair not in self._rates and pair in stored:
                log.warning("exchange rate %s: using the stored one of %s; %s", pair, stored[pair].day, self._refused.get(pair, ""))
                self._rates[pair] = stored[pair]

    def _ask_once(self, currencies: set[str], stored: Mapping[str, DayRate]) -> None:
        # Imported here: yfinance and pandas are slow to import, and bands in local currency do not need them.
        from pipeline.yahoo import rates, session

        with tempfile.TemporaryDirectory(prefix="stock-pipeline-cache-", ignore_cleanup_errors=True) as cache:
            # Its warnings are in its errors too.
            logging.getLogger("yfinance").setLevel(logging.CRITICAL)
            session.setup(
                self._settings.yahoo_base_url, Path(cache), TIMEOUT_SECONDS, before_request=self.requests.note, today=self._settings.today
            )
            found = rates.dollar_rates(currencies, self._today, stored)
        self._asked |= currencies
        self._rates = {**found.rates, **self._rates}
        self._refused |= found.refused
        self._in_database(lambda connection: fx_rates.store(connection, found.rates))

    def _known_before(self) -> Mapping[str, DayRate]:
        """The newest stored rates that are young enough; empty without a database."""
        if self._stored is None:
            self._stored = self._in_database(lambda connection: fx_rates.newest(connection, self._today, RATE_DAYS)) or {}
        return self._stored

    def _in_database(self, do: Callable[[Any], T]) -> T | None:
        """The result of `do(connection)`, or None if there is no usable database: sending tasks does not require one."""
        if not self._settings.database.name:
            return None
        try:
            with closing(database.connect(self._settings.database)) as connection:
                schema.create_tables(connection)
                return do(connection)
        except (ServiceError, psycopg2.Error) as error:
            log.warning(
                "the database can't be used, so exchange rates are neither read from it nor stored: %s",
                " ".join(str(first_cause(error)).split()),
            )
            return None
