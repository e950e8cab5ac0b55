"""What monitor, page and `--check` say about the site: requests answered and refused, what it allows, how long the rest takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

_HOUR_SECONDS = 3600.0
#: Requests per stock, as long as this run has finished none.
REQUESTS_PER_STOCK = 3.0


@dataclass(frozen=True)
class Allowed:
    """A limit of the site: so many requests in so many seconds, of which so many are left now."""

    requests: float
    seconds: float
    left: float = 0.0

    @property
    def per_hour(self) -> float:
        """Those of a longer window may all be used within one hour."""
        return self.requests * max(1.0, _HOUR_SECONDS / self.seconds)


@dataclass(frozen=True)
class Site:
    """What is known about the site now.

    ceiling: REQUESTS_PER_SECOND, 0 for none. waits_seconds: until it may be asked again. refused_seconds: for how long it has
    refused everything, 0 if it does not.
    """

    answered: int = 0
    refused: int = 0
    per_second: float = 0.0
    ceiling: float = 0.0
    limits: tuple[Allowed, ...] = ()
    waits_seconds: float = 0.0
    reason: str = ""
    refused_seconds: float = 0.0

    @property
    def per_hour(self) -> float | None:
        """Requests that are believed to be allowed in an hour; None if nothing limits them."""
        known = [limit.per_hour for limit in self.limits] + ([self.ceiling * _HOUR_SECONDS] if self.ceiling else [])
        return min(known, default=None)

    def seconds_for(self, requests: float) -> float | None:
        """How long so many more requests take; None if no limit is known: then the site is not what the run waits for."""
        times = [max(0.0, requests - limit.left) / limit.requests * limit.seconds for limit in self.limits]
        times += [requests / self.ceiling] if self.ceiling else []
        return max([*times, self.waits_seconds], default=None) if times else None


def site_of(reports: Sequence[Mapping[str, Any]], totals: Iterable[tuple[int, int]], leader: Mapping[str, Any] | None) -> Site:
    """reports: the newest of each process; totals: (answered, refused) of each ever heard of; leader: the last report of one that led."""
    counts = list(totals)
    reasons = [report["reason"] for report in reports if report["reason"]]
    answered, refused = (sum(int(count[number]) for count in counts) for number in (0, 1))
    if leader is None:
        return Site(answered, refused, reason=reasons[-1] if reasons else "")
    limits = tuple(Allowed(limit["requests"], limit["seconds"], limit["left"]) for limit in leader["limits"])
    # If no process asks any more, the leader's rate is out of date, but its limits still hold.
    now = leader if reports else {"per_second": 0.0, "waits_seconds": 0.0, "refused_seconds": 0.0}
    waits = {name: now[name] for name in ("per_second", "waits_seconds", "refused_seconds")}
    return Site(answered, refused, ceiling=leader["ceiling"], limits=limits, reason=reasons[-1] if reasons else "", **waits)


def text(site: Site | None, pending: int = 0, requests_per_stock: float = REQUESTS_PER_STOCK) -> str:
    """One line; `pending` stocks are still to be asked for."""
    if site is None:
        return ""
    if not (site.answered or site.refused or site.limits):
        return "no process is asking the site"
    # The wait comes first: a narrow terminal cuts the end of the line.
    counts = f"{site.answered:,} answered, {site.refused:,} refused, {site.per_second:.1f}/s now"
    parts = [part for part in (waiting(site), counts, allowed(site)) if part]
    rest = site.seconds_for(pending * requests_per_stock) if pending else None
    if rest is not None:
        parts.append(f"the rest takes {duration(rest)}")
    return "; ".join(parts)


def waiting(site: Site) -> str:
    """What the consumers wait for, and for how long; "" if they don't."""
    if site.refused_seconds >= 1:
        again = f"next try in {duration(site.waits_seconds)}" if site.waits_seconds >= 1 else "trying again"
        return f"the site has refused everything for {duration(site.refused_seconds)}; {again}"
    return f"waiting {duration(site.waits_seconds)} until the site's allowance has room" if site.waits_seconds >= 1 else ""


def allowed(site: Site) -> str:
    """What is believed to be allowed, and why."""
    if site.per_hour is None:
        return "no limit is known"
    limits = sorted(site.limits, key=lambda limit: limit.per_hour)
    by_setting = bool(site.ceiling) and (not limits or site.ceiling * _HOUR_SECONDS <= limits[0].per_hour)
    why = f"REQUESTS_PER_SECOND {site.ceiling:g}" if by_setting else f"{limits[0].requests:,.0f} in {_window(limits[0].seconds)}"
    return f"about {site.per_hour:,.0f} allowed per hour ({why})"


def learned(kept: Mapping[str, Any] | None, ceiling: float) -> str:
    """What an earlier run has learned, and when. kept: as `Learned.load` returns it."""
    if kept is None or not kept["limits"]:
        return "the site's limits are not known yet" + (f"; at most {ceiling:g} requests a second" if ceiling else "")
    limits = tuple(Allowed(float(limit["requests"]), float(limit["seconds"])) for limit in kept["limits"])
    when = datetime.fromtimestamp(float(kept["learned_at"]), timezone.utc)
    return f"{allowed(Site(ceiling=ceiling, limits=limits))}, learned {when:%Y-%m-%d %H:%M} UTC"


def _window(seconds: float) -> str:
    """The length of a window as people name it: "200 s", "10 min" or "2 h"."""
    if seconds % 3600 == 0:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds:.0f} s"


def duration(seconds: float) -> str:
    """As "45 s", "12 min" or "3.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * _HOUR_SECONDS else f"{seconds / _HOUR_SECONDS:.1f} h"
