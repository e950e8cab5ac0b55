"""The handler of processing tasks: fetches what may have changed, computes the rest from what is stored, and hands over the rows.

If the quote says that nothing was published, a stock costs no request: its rows come from the stored statements with the new price,
market cap and rates. Called by many threads at once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pipeline.errors import NoData, RateLimited, TaskError
from pipeline.ratios import kept
from pipeline.ratios.fundamentals import Fundamentals
from pipeline.ratios.rows import ratio_rows
from pipeline.refresh import due
from pipeline.refresh.anew import rows_anew
from pipeline.refresh.due import Evidence
from pipeline.refresh.identity import is_another_company
from pipeline.storage.rows import Profile, Write
from pipeline.storage.run_table import Run
from pipeline.storage.statements_store import NOTHING, Fetched, Stored
from pipeline.wire import quotes
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.regions import REGIONS
from pipeline.wire.results import Computed, Nothing
from pipeline.wire.text import clean_name
from pipeline.worker.delivery import Delivery, Outcome
from pipeline.worker.failures import GONE
from pipeline.yahoo import partly, session
from pipeline.yahoo.fetch import exchange_rates, fetch

log = logging.getLogger(__name__)

#: The share of stocks whose own page is asked for too: it has the site's own ratios, for the cross-check.
SAMPLE = 1 / 20
#: Days after which a stock's page may be asked for again.
PROFILE_DAYS = 90
#: A quote that is older than this many days is not today's.
QUOTE_DAYS = 1
#: What a day's rows need, and what only an answer with a quote in it has beside that: without any of these, as in a table of the page,
#: it can't tell whether something was published.
_TODAY = ("regularMarketPrice", "marketCap", "currency")
_SAYS_MORE = ("epsTrailingTwelveMonths", "bookValue", "regularMarketTime", *due.EARNINGS_FIELDS)
#: What a first fetch must know of a stock to do without its page.
_PROFILE = ("regularMarketPrice", "marketCap", "sharesOutstanding", "currency", "financialCurrency", "sector", "industry")


@dataclass(frozen=True)
class Refresh:
    """How far statements are refreshed."""

    source: str = "timeseries"
    #: Ask for everything of every stock.
    all: bool = False
    max_age_days: float = 45.0


class Processor:
    """stored: asks for a symbol's newest statements.  ask_quote: the site's quote of a symbol.  now: the pipeline's own day and time."""

    def __init__(
        self,
        refresh: Refresh,
        stored: Callable[[str], Future[Stored | None]],
        ask_quote: Callable[[str], Mapping[str, Any] | None],
        now: Callable[[], datetime],
    ) -> None:
        self._refresh = refresh
        self._stored = stored
        self._ask_quote = ask_quote
        self._now = now

    def ahead(self, task: ProcessingTask) -> Future[Stored | None]:
        """Ask for what is stored of a stock, before a thread is free for it."""
        return self._stored(task.symbol)

    def __call__(self, delivery: Delivery[ProcessingTask]) -> Outcome:
        task, now = delivery.task, self._now()
        stored = (delivery.ahead or self.ahead(task)).result()
        last = due.from_json(stored.evidence, stored.fetched_at) if stored else None
        quote, asked = self._quote(task, last, now)
        verdict = due.verdict(quote, last, now, self._refresh.max_age_days, self._refresh.all, task.symbol)
        write = _write(task, {task.symbol: quote} if asked and quote else {})
        if stored and not verdict.due:
            return _from_store(task, stored, last, quote, verdict.why, write)
        unknown_before = delivery.headers.get("error-type") == GONE
        try:
            found, profiled, another = self._fetch(task.symbol, {} if unknown_before else quote, stored, last, now)
        except NoData as error:
            # One answer never marks a symbol dead: it can be a hidden rate limit. So it is asked for once more.
            if error.reason == "gone" and not unknown_before:
                raise
            reason: Literal["gone", "no_statements"] = "gone" if error.reason == "gone" else "no_statements"
            write.statements = [_nothing(task.symbol, reason, stored, quote, last, verdict.why, now)]
            return Outcome(Nothing(reason, "fetched", verdict.why), write)
        if another:
            log.warning("%s: its statements are another company's now, so the stored rows are replaced", task.symbol)
            last, write.replaced = None, (task.symbol,)
        rows = ratio_rows(found)
        write.profiles = [_profile(task, found)]
        write.ratios = [(task.run_id, row) for row in rows]
        write.statements = [_fetched(found, quote, last, verdict.why, now, profiled)]
        result = Computed(len(rows), "fetched", verdict.why) if rows else Nothing("no_statements", "fetched", verdict.why)
        return Outcome(result, write)

    def _quote(self, task: ProcessingTask, last: Evidence | None, now: datetime) -> tuple[Mapping[str, Any], bool]:
        """What is known of the stock today, and whether the site was asked for it."""
        quote = task.quote if _is_recent(task.quote, now) else {}
        enough = all(quote.get(name) for name in _TODAY) and any(quote.get(name) is not None for name in _SAYS_MORE)
        if last is None or self._refresh.all or enough:
            return quote, False
        try:
            answer = self._ask_quote(task.symbol)
        except RateLimited:
            raise
        except TaskError as error:
            # The list of a hundred is a short cut: a stock's own requests say what it could not.
            log.info("%s: no quote with the others, so it is fetched: %s", task.symbol, error)
            answer = None
        return (quotes.cleaned(answer, now.isoformat(timespec="seconds")), True) if answer else (quote, False)

    def _fetch(
        self, symbol: str, quote: Mapping[str, Any], stored: Stored | None, last: Evidence | None, now: datetime
    ) -> tuple[Fundamentals, bool, bool]:
        """What the site has, by no more requests than are needed; whether its page was among them; whether it is another company."""
        payload = json.loads(stored.payload) if stored else {}
        before = (
            kept.from_payload(payload, symbol=symbol, as_of=stored.fetched_at.date())
            if stored and payload and NOTHING not in payload
            else None
        )
        found, profiled = self._asked(symbol, quote, before, last, now)
        another = before is not None and is_another_company(before.statements, found.statements)
        if another and not self._refresh.all:
            # Sector, industry and closes are the old one's.
            found, profiled = fetch(symbol, self._refresh.source), True
        return found, profiled, another

    def _asked(
        self, symbol: str, quote: Mapping[str, Any], before: Fundamentals | None, last: Evidence | None, now: datetime
    ) -> tuple[Fundamentals, bool]:
        if self._refresh.all or self._refresh.source != "timeseries":
            return fetch(symbol, self._refresh.source), True
        known = {**_known_profile(before), **quote}
        profiled_on = last.profiled_on if last else None
        sampled = due.share(symbol, "sample") < SAMPLE and (profiled_on is None or (now.date() - profiled_on).days >= PROFILE_DAYS)
        profile = sampled or not all(known.get(name) for name in _PROFILE)
        chart = last is None or due.may_have_split(quote, last.quote)
        return partly.fetch_needed(symbol, None if profile else known, None if chart else before), profile


def _from_store(task: ProcessingTask, stored: Stored, last: Evidence | None, quote: Mapping[str, Any], why: str, write: Write) -> Outcome:
    payload = json.loads(stored.payload)
    if NOTHING in payload:
        return Outcome(Nothing(payload[NOTHING], "stored", why), write)
    assert last is not None
    rows = rows_anew(payload, last, task.symbol, quote, exchange_rates.get, session.today())
    write.ratios = [(task.run_id, row) for row in rows]
    write.only_changes = True
    return Outcome(Computed(len(rows), "stored", why) if rows else Nothing("no_statements", "stored", why), write)


def _is_recent(quote: Mapping[str, Any], now: datetime) -> bool:
    seen = quote.get("seen_at")
    return not seen or abs((now.date() - datetime.fromisoformat(seen).date()).days) <= QUOTE_DAYS


def _write(task: ProcessingTask, seen: Mapping[str, Mapping[str, Any]]) -> Write:
    countries = {task.country_code: REGIONS.get(task.country_code, task.country_code)}
    return Write(countries=countries, runs=[Run(task.run_id, (task.country_code,))], quotes=seen)


def _fetched(found: Fundamentals, quote: Mapping[str, Any], last: Evidence | None, why: str, now: datetime, profiled: bool) -> Fetched:
    text, content_hash = kept.to_text(found)
    series = (
        points for table in (found.statements.annual, found.statements.quarterly, found.statements.trailing) for points in table.items()
    )
    ends = [day for key, points in series if key in ("TotalRevenue", "NetIncome", "TotalAssets") for day in points]
    seen = {
        "regularMarketPrice": found.price,
        "marketCap": found.market_cap,
        "sharesOutstanding": found.shares_outstanding,
        "currency": found.currency,
        "financialCurrency": found.financial_currency,
        **quote,
    }
    evidence = due.after_fetch(seen, last, why, due.newest_period(ends), now, profiled, due.step_of(ends))
    return Fetched(found.symbol, now.isoformat(), content_hash, text, due.to_json(evidence))


def _nothing(
    symbol: str, reason: str, stored: Stored | None, quote: Mapping[str, Any], last: Evidence | None, why: str, now: datetime
) -> Fetched:
    """The site has nothing of a stock: remembered as that if it never had, and asked for again later."""
    payload = json.loads(stored.payload) if stored else {}
    if not payload or NOTHING in payload:
        evidence = due.after_fetch(quote, last, why, None, now, False)
        return Fetched(symbol, now.isoformat(), f"{NOTHING}:{reason}", json.dumps({NOTHING: reason}), due.to_json(evidence))
    # No answer takes the place of what is stored.
    evidence = due.after_fetch(quote, last, due.AWAITED, last.newest_period if last else None, now, False)
    text, content_hash = kept.as_text(payload)
    return Fetched(symbol, now.isoformat(), content_hash, text, due.to_json(evidence))


def _known_profile(before: Fundamentals | None) -> dict[str, Any]:
    """What is kept of a stock's page, by the site's field names."""
    if before is None:
        return {}
    named = {"longName": before.name, "exchange": before.exchange, "sector": before.sector, "industry": before.industry}
    named |= {"currency": before.currency, "financialCurrency": before.financial_currency}
    return {name: value for name, value in named.items() if value}


def _profile(task: ProcessingTask, found: Fundamentals) -> Profile:
    return Profile(
        symbol=task.symbol,
        name=task.name or clean_name(found.name or "") or task.symbol,
        country_code=task.country_code,
        exchange=clean_name(found.exchange or ""),
        sector=clean_name(found.sector or ""),
        industry=clean_name(found.industry or ""),
        currency=clean_name(found.currency or ""),
        financial_currency=clean_name(found.financial_currency or ""),
    )
