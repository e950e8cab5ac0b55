"""Faults on demand: names, rates and the seeded draws that decide where they strike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

#: Name → what it does. A rate is a fraction of the requests (of page loads for those of the page, of symbols for gone_once).
FAULTS = {
    "http500": "JSON request answered with 500",
    "rate_limit": "JSON request answered with 429, and so is every other one for the next half second",
    "bad_json": "JSON body cut short, with status 200",
    "drop": "connection closed before or within the response",
    "hang": "answer only after 35 s",
    "gone_once": "symbol answered as missing at the first endpoint that asks for it, later as usual",
    "no_rates": "exchange rates missing from the answer to a request for quotes",
    "dollar_filter": "screener compares the bounds with market caps in dollars, not in the listing's own currency",
    "page_error": "the page's request for its rows answered with 500",
    "page_never_settles": "page stays in its loading state",
    "changed_layout": "page with other test ids and elements",
    "blocked_page": "page answered with 429, Edge: Too Many Requests",
    "endless_script": "page whose script never ends",
}
#: Faults of a page load, drawn in this order. Only the first that strikes applies.
PAGE_FAULTS = ("blocked_page", "endless_script", "changed_layout", "page_never_settles")
#: Seconds that a burst of 429 lasts.
BURST_SECONDS = 0.5
#: Seconds after which a hanging answer comes.
HANG_SECONDS = 35.0


def parse(text: str) -> dict[str, float]:
    """Rates from "http500=0.1,drop=0.02"; empty text is none. Raises ValueError that says what is expected."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    try:
        return check({name: float(rate) for name, _, rate in pairs})
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; expected name=rate,… with names {', '.join(FAULTS)}") from None


def check(rates: Mapping[str, object]) -> dict[str, float]:
    """The rates, if every name is known and every rate a number from 0 to 1. Raises ValueError."""
    checked = {}
    for name, rate in rates.items():
        if name not in FAULTS:
            raise ValueError(f"no fault {name!r}")
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"rate of {name} is {rate!r}, not a number from 0 to 1")
        checked[name] = float(rate)
    return checked


class Faults:
    """Draws faults and counts them. Each name has a generator of its own, so that one rate does not shift another's draws."""

    def __init__(self, rates: Mapping[str, float], seed: int) -> None:
        self._seed = seed
        self.injected: Counter[str] = Counter()
        self.replace(rates)

    def replace(self, rates: Mapping[str, float]) -> None:
        """Use these rates instead, from the start of the draws."""
        self.rates = dict(rates)
        self._generators = {name: random.Random(f"{self._seed}:{name}") for name in FAULTS}
        self._burst_until = 0.0
        self._symbols: dict[str, tuple[str, int]] = {}

    def strikes(self, name: str) -> bool:
        rate = self.rates.get(name, 0.0)
        if rate and self._generators[name].random() < rate:
            self.injected[name] += 1
            return True
        return False

    def rate_limited(self, now: float) -> bool:
        """Whether a request at `now` (monotonic seconds) falls into a burst of 429, or begins one."""
        if now < self._burst_until:
            self.injected["rate_limit"] += 1
            return True
        if self.strikes("rate_limit"):
            self._burst_until = now + BURST_SECONDS
            return True
        return False

    def coin(self, name: str) -> bool:
        """Even odds for a variant of fault `name`."""
        return self._generators[name].random() < 0.5

    def hides(self, symbol: str, endpoint: str, times: int) -> bool:
        """Whether `symbol` is to be answered as missing at `endpoint`, at the first endpoint that asks for it and `times` at most.

        yfinance repeats a request by itself after a 404: to be seen at all the fault must last for both.
        """
        rate = self.rates.get("gone_once", 0.0)
        if not rate:
            return False
        if symbol not in self._symbols:
            struck = random.Random(f"{self._seed}:gone_once:{symbol}").random() < rate
            self._symbols[symbol] = (endpoint, times if struck else 0)
        where, left = self._symbols[symbol]
        if where != endpoint or left == 0:
            return False
        self._symbols[symbol] = (where, left - 1)
        self.injected["gone_once"] += 1
        return True
