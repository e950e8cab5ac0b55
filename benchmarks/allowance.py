"""How well the throttle keeps to what the site allows: real consumers, a market with an allowance, and the rate second by second."""

from __future__ import annotations

import contextlib
import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.stand import Stand, home, say
from kafka_scraper_producer import ScraperProducer
from pipeline.broker.sender import Message
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.regions import REGIONS

CONSUMERS = 2
THREADS = 32
#: Stocks that are asked for again and again, and requests that each takes.
STOCKS, REQUESTS_PER_STOCK = 100, 2
#: Seconds of a run that don't count: the first one's, and those of one that starts from what the first has learned.
LEARNING_SECONDS, KNOWING_SECONDS = 60, 10
#: Seconds for each character of the picture.
STEP_SECONDS = 5
#: REQUESTS_PER_SECOND while consumers come and go, and the regions that are listed meanwhile.
CEILING = 4
SCRAPED_REGIONS = ("us", "fr", "gb", "de", "jp")
_BARS = " ▁▂▃▄▅▆▇█"


@dataclass
class Trace:
    """What the market has answered and refused in all, at each second from the first request on."""

    seconds: list[float] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    def between(self, begin: float, end: float) -> tuple[int, int]:
        """Answered and refused requests from one second to another."""
        first, last = self._index(begin), self._index(end)
        return self.answered[last] - self.answered[first], self.refused[last] - self.refused[first]

    def rate(self, begin: float, end: float) -> float:
        """Answered requests a second. A look that comes late on a busy machine lengthens the time, not the rate."""
        first, last = self._index(begin), self._index(end)
        return (self.answered[last] - self.answered[first]) / max(self.seconds[last] - self.seconds[first], 1.0)

    def _index(self, second: float) -> int:
        return next((number for number, at in enumerate(self.seconds) if at >= second), len(self.seconds) - 1)

    def picture(self) -> str:
        """The rate of answers over time, a character for STEP_SECONDS, and under it how many were refused."""
        steps = range(0, int(self.seconds[-1]) - STEP_SECONDS + 1, STEP_SECONDS)
        counts = [self.between(step, step + STEP_SECONDS) for step in steps]
        most = max(answered for answered, _ in counts) or 1
        bars = "".join(_BARS[-(-answered * (len(_BARS) - 1) // most)] for answered, _ in counts)
        refused = "".join("." if not one else str(one) if one < 10 else "+" for _, one in counts)
        return f"full block: {most / STEP_SECONDS:.1f}/s\n{bars}\n{refused}"


def measure(stand: Stand, seconds: float, events: Mapping[float, Callable[[], object]] | None = None) -> Trace:
    """Follow the market for so many seconds from its first request on. events: second → what happens then."""
    due = sorted((events or {}).items(), key=lambda one: one[0])
    before = _stats(stand)
    trace, began = Trace(), 0.0
    while not trace.seconds or trace.seconds[-1] < seconds:
        stats, now = _stats(stand), time.monotonic()
        if stats == before and not began:
            time.sleep(0.05)
            continue
        began = began or now
        trace.seconds.append(now - began)
        trace.answered.append(stats[0] - before[0])
        trace.refused.append(stats[1] - before[1])
        if due and now - began >= due[0][0]:
            due.pop(0)[1]()
        time.sleep(max(0.0, began + len(trace.seconds) - time.monotonic()))
    return trace


def judge(name: str, trace: Trace, begin: float, end: float, allowed_per_second: float) -> dict[str, float]:
    answered, refused = trace.between(begin, end)
    used, part = trace.rate(begin, end) / allowed_per_second, refused / max(answered + refused, 1)
    say(f"{name}: {100 * used:.0f} % used, {100 * part:.1f} % refused from second {begin:.0f} to {end:.0f}")
    return {"used": used, "refused": part}


def run() -> dict[str, Any]:
    """One limit and two, a first run and a second one; a drop to a third, a doubling; a ceiling while consumers come and go."""
    found: dict[str, Any] = {}
    with home() as folder:
        with _consumers(folder, ["300/30"], 180) as stand:
            trace = _drawn("300/30, first run", measure(stand, 180))
            found["one"] = judge("300/30", trace, LEARNING_SECONDS, 180, 10)
        with _consumers(folder, ["300/30"], 560) as stand:
            events = {100.0: lambda: _allow(stand, "100/30"), 260.0: lambda: _allow(stand, "200/30")}
            trace = _drawn("300/30, second run; 100/30 from second 100, 200/30 from second 260", measure(stand, 560, events))
            found["one_again"] = judge("300/30 again", trace, KNOWING_SECONDS, 100, 10)
            found["dropped"] = judge("dropped to a third, two windows later", trace, 160, 260, 100 / 30)
            found["doubled"] = judge("doubled, the last minute and a half", trace, 470, 560, 200 / 30)
    with home() as folder:
        limits = ["100/20", "600/200"]
        with _consumers(folder, limits, 460) as stand:
            trace = _drawn("100/20 and 600/200, first run", measure(stand, 460))
            found["two"] = judge("100/20 and 600/200", trace, LEARNING_SECONDS, 460, 3)
        with _consumers(folder, limits, 210) as stand:
            trace = _drawn("100/20 and 600/200, second run", measure(stand, 210))
            found["two_again"] = judge("100/20 and 600/200 again", trace, KNOWING_SECONDS, 210, 3)
    with home() as folder, _consumers(folder, [], 200, REQUESTS_PER_SECOND=f"{CEILING}") as stand:
        found["ceiling"] = coming_and_going(stand)
    return {"allowance": found}


def coming_and_going(stand: Stand) -> dict[str, float]:
    """One scraping and one processing consumer join, one processing consumer leaves, one is killed: the largest rates meanwhile."""

    def scrape() -> None:
        stand.add("scraping")
        producer = ScraperProducer(stand.settings)
        for code in SCRAPED_REGIONS:
            producer.send_scraping_task({"code": code, "name": REGIONS[code]})
        producer.close()

    def end(number: int, signal_number: int) -> None:
        process = stand.consumers[number].process
        assert process is not None
        process.send_signal(signal_number)

    trace = measure(
        stand,
        160,
        {
            20: scrape,
            60: lambda: stand.add("processing"),
            90: lambda: end(1, signal.SIGTERM),
            120: lambda: end(0, signal.SIGKILL),
        },
    )
    _drawn(f"a ceiling of {CEILING}/s; scraping joins in second 20, processing in 60; one leaves in 90, one is killed in 120", trace)
    most = {length: max(trace.rate(begin, begin + length) for begin in range(150)) for length in (5, 10, 30)}
    say("at most " + ", ".join(f"{rate:.2f}/s over {length} s" for length, rate in most.items()))
    average = trace.rate(10, 160)
    say(f"{average:.2f}/s on average; pages and requests of the browser: {_pages(stand)}")
    return {"most_per_second": most[10], "average_per_second": average}


@contextlib.contextmanager
def _consumers(folder: Any, limits: list[str], seconds: float, **settings: str) -> Iterator[Stand]:
    """A market with these limits, and consumers that have more than enough to do for so long."""
    options = [part for limit in limits for part in ("--allowance", limit)]
    # Without `--refresh all` all but the first tasks of a company would be done from what is stored, without a request.
    with Stand(folder, ["--stocks", str(STOCKS), "--latency-ms", "100", *options], THREADS, ["--refresh", "all"]) as stand:
        stand.environ |= settings
        companies = stand.companies()
        runs = int(seconds * 25 / REQUESTS_PER_STOCK / len(companies)) + 1
        stand.start("processing", CONSUMERS)
        for number in range(runs):
            run_id = f"{messages.new_run_id()[:-4]}{number:04x}"
            tasks = [ProcessingTask(run_id, one["symbol"], one["name"], one["region"]) for one in companies]
            stand.producer.send_all([Message(topics.PROCESSING_TASKS, task.key, messages.pending(task)) for task in tasks])
        yield stand


def _stats(stand: Stand) -> tuple[int, int]:
    with urllib.request.urlopen(f"{stand.settings.yahoo_base_url}/market/stats") as answer:  # noqa: S310 (loopback)
        found = json.load(answer)
    return int(found["answered"]), int(found["refused"])


def _allow(stand: Stand, limit: str) -> None:
    """Give the market another allowance."""
    request = urllib.request.Request(f"{stand.settings.yahoo_base_url}/market/allowance", json.dumps([limit]).encode(), method="POST")  # noqa: S310 (loopback)
    urllib.request.urlopen(request).close()  # noqa: S310


def _pages(stand: Stand) -> int:
    """How many requests the browser has made."""
    with urllib.request.urlopen(f"{stand.settings.yahoo_base_url}/market/stats") as answer:  # noqa: S310 (loopback)
        kinds = json.load(answer)["by_kind"]
    return sum(count for kind, count in kinds.items() if kind.startswith(("page", "consent")))


def _drawn(name: str, trace: Trace) -> Trace:
    say(f"{name}; {trace.picture()}")
    return trace
