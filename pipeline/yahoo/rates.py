"""What a dollar costs in other currencies, from the quotes of all pairs in one request. `session.setup` comes first.

A pair's quote is believed only where it says itself that it is that pair's: by its symbol, by its currency where it names one, and
by its size. Whatever is not believed is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from pipeline.errors import TransientError
from pipeline.ratios.rates import RATE_DAYS
from pipeline.wire.currencies import DayRate, upside_down
from pipeline.yahoo import session
from pipeline.yahoo.answers import number

_QUOTES = "https://query1.finance.yahoo.com/v7/finance/quote"
#: A quote's day may be ahead of the UTC date by as much as time zones differ.
_AHEAD = timedelta(days=1)


@dataclass
class Quotes:
    """`rates`: pair (`USDJPY`) → its rate; `refused`: pair → why it has none."""

    rates: dict[str, DayRate] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def dollar_rates(currencies: Iterable[str], today: date, stored: Mapping[str, DayRate]) -> Quotes:
    """What a dollar costs in each currency, by one request. `stored` are earlier rates, to tell a rate from its inverse.

    Raises as session.get_json does, and TransientError for an answer of another shape.
    """
    wanted = sorted(set(currencies) - {"USD"})
    if not wanted:
        return Quotes()
    payload = session.get_json(_QUOTES, {"symbols": ",".join(f"{currency}=X" for currency in wanted), "formatted": "false"})
    return read_quotes(payload, wanted, today, stored)


def read_quotes(payload: Any, currencies: Iterable[str], today: date, stored: Mapping[str, DayRate]) -> Quotes:
    """The rates in an answer. Pure. Raises TransientError for an answer of another shape."""
    outer = payload.get("quoteResponse") if isinstance(payload, dict) else None
    result = outer.get("result") if isinstance(outer, dict) else None
    if not isinstance(result, list):
        raise TransientError("quotes of exchange rates: an answer of another shape")
    found = Quotes()
    for currency in currencies:
        pair = f"USD{currency}"
        # The site has one pair under two symbols.
        own = [one for one in result if isinstance(one, dict) and one.get("symbol") in (f"{currency}=X", f"{pair}=X")]
        values = {number(one.get("regularMarketPrice")) for one in own}
        if not own:
            found.refused[pair] = "the site gives none"
        elif len(values) > 1:
            found.refused[pair] = f"the site gives several: {', '.join(sorted(map(str, values)))}"
        else:
            earlier = stored.get(pair)
            reason = _refused(own[0], currency, today, earlier.rate if earlier else None)
            if reason:
                found.refused[pair] = reason
            else:
                found.rates[pair] = DayRate(_day(own[0], today), values.pop() or 0.0)
    return found


def _refused(quote: Mapping[str, Any], currency: str, today: date, stored: float | None) -> str:
    """Why a pair's quote is not believed; "" if it is."""
    price = number(quote.get("regularMarketPrice"))
    if price is None or price <= 0 or not 1e-12 < price < 1e12:
        return f"the site's {str(quote.get('regularMarketPrice'))[:40]!r} is no rate"
    named = quote.get("currency")
    if isinstance(named, str) and named and named != currency:
        return f"the site's quote is in {named[:10]!r}, not in {currency}"
    if upside_down(currency, price, stored):
        return f"the site's {price:g} stands upside down"
    day = _day(quote, today)
    if today - day > timedelta(days=RATE_DAYS):
        return f"the site's is of {day.isoformat()}"
    return ""


def _day(quote: Mapping[str, Any], today: date) -> date:
    """The day of a quote's last trade; today if it names none that is possible, since the quote itself is from this moment."""
    seconds = number(quote.get("regularMarketTime"))
    if seconds is None or not 0 < seconds < 10**10:
        return today
    day = datetime.fromtimestamp(seconds, timezone.utc).date()
    return today if day > today + _AHEAD else min(day, today)
