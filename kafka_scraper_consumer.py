"""Takes scraping tasks, drives a browser over Yahoo Finance's screener, and emits one processing task per stock.

SCRAPER_SOURCE=api lists by the JSON endpoint behind the page, without a browser; auto does so if the page has changed.

takes   stock-scraping-tasks, stock-scraping-retries       (consumer group stock-scrapers)
writes  country, stock, quote, pipeline_run                page by page
emits   stock-processing-tasks, then scraping-completion   or scraping-errors and a retry or dead letter

python kafka_scraper_consumer.py            as many times as wanted, each in its own terminal
python kafka_scraper_consumer.py --demo     joins the running demo
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "selenium")

import config
from config import Settings
from pipeline.broker.sender import Message, Sender
from pipeline.errors import PermanentError, ServiceError
from pipeline.process import discovery
from pipeline.process.arguments import Parser
from pipeline.process.script import end_with_orchestrator, on_stop, run_script, set_up_logging
from pipeline.ratios.rates import RATE_DAYS
from pipeline.screener.answers import Listing
from pipeline.screener.band_check import NO_RATE, BandCheck
from pipeline.screener.browser import Browser
from pipeline.screener.opening import Opening
from pipeline.screener.page import PagedScreener
from pipeline.screener.source import Source, StockList
from pipeline.storage import fx_rates, rows
from pipeline.storage.polled import abandoned_runs
from pipeline.storage.rows import Write
from pipeline.storage.run_table import Run
from pipeline.storage.writer import Writer
from pipeline.wire import messages, quotes, topics
from pipeline.wire.currencies import DayRate
from pipeline.wire.market_cap import cut_of
from pipeline.wire.messages import ProcessingTask, ScrapingTask
from pipeline.wire.regions import REGIONS
from pipeline.wire.results import Listed, Split
from pipeline.wire.text import clean_name
from pipeline.worker.delivery import Delivery, Outcome
from pipeline.worker.failures import GoesBack
from pipeline.worker.untouched import LeftAlone
from pipeline.worker.worker import TaskWorker
from pipeline.yahoo import recording, shared_throttle
from pipeline.yahoo.learned import Learned
from pipeline.yahoo.throttle import Throttle

log = logging.getLogger(__name__)


class Scraper:
    """The handler: one browser, kept across tasks. The source may still be opening when the first task comes."""

    def __init__(
        self,
        browser: Browser,
        opening: Opening,
        writer: Writer,
        sender: Sender,
        settings: Settings,
    ) -> None:
        self.browser = browser
        self.opening = opening
        self.log_dir = settings.log_dir
        self.today = settings.today
        self.database = settings.database
        self.split_above = settings.split_above
        self.writer = writer
        self.sender = sender

    def __call__(self, delivery: Delivery[ScrapingTask]) -> Outcome:
        task = delivery.task
        if task.region_code not in REGIONS:
            raise PermanentError(f"region {task.region_code!r} is unknown to the screener: expected one of {', '.join(REGIONS)}")
        bounds = (task.wanted.low, task.wanted.high) if task.wanted else (task.market_cap_min, task.market_cap_max)
        run = Run(task.run_id, (task.region_code,), *bounds)
        self.writer.write(Write(countries={task.region_code: task.region_name}, runs=[run]))
        source = self._source()
        self.browser.renew_if_due()
        found = source.open(task.region_code, task.market_cap_min, task.market_cap_max, self.log_dir / task.run_id)
        log.info("%s: %d stocks listed", task, found.total)
        cut = cut_of(task.market_cap_min, task.market_cap_max) if found.total > self.split_above else None
        if cut is not None:
            # The halves share the cut, since the filter includes both ends: a stock on it comes twice and is one task.
            log.info("%s: split at %d", task, cut)
            return Outcome(Split((replace(task, market_cap_max=cut), replace(task, market_cap_min=cut)), found.source))
        emitted: set[str] = set()
        check = BandCheck(task, self._stored_rates)
        for page in check.pages(found.pages()):
            fresh = [listing for listing in page if listing.symbol not in emitted]
            self._emit(task, fresh)
            emitted.update(listing.symbol for listing in fresh)
        skipped = {**found.skipped, **({NO_RATE: check.unconverted} if check.unconverted else {})}
        log.info("%s: %d stocks emitted by %s%s", task, len(emitted), found.source, _left_out(found))
        return Outcome(Listed(len(emitted), found.source, found.missing, skipped, check.outside))

    def _source(self) -> Source:
        try:
            return self.opening.get()
        except Exception as error:  # whatever it is, it ends this process, and main says it
            raise GoesBack from error

    def _stored_rates(self) -> Mapping[str, DayRate]:
        return fx_rates.read_newest(self.database, self.today(), RATE_DAYS)

    def _emit(self, task: ScrapingTask, listings: list[Listing]) -> None:
        """Write what is listed, then send a processing task for each."""
        seen_at = quotes.seen_at(self.today())
        seen = {listing.symbol: quotes.cleaned(listing.quote, seen_at) for listing in listings if listing.quote}
        names = {listing.symbol: clean_name(listing.name) or listing.symbol for listing in listings}
        stocks = [rows.ListedStock(symbol, name, task.region_code) for symbol, name in names.items()]
        self.writer.write(Write(listings=stocks, quotes=seen))
        tasks = [ProcessingTask(task.run_id, symbol, name, task.region_code, seen.get(symbol, {})) for symbol, name in names.items()]
        self.sender.send_all([Message(topics.PROCESSING_TASKS, one.key, messages.pending(one)) for one in tasks])


def _left_out(found: StockList) -> str:
    """What the list lacks, for the log; empty if nothing is missing."""
    reasons = [f"{count} {reason.replace('_', ' ')}" for reason, count in found.skipped.items()]
    parts = [f"{found.missing} missing"] * bool(found.missing) + reasons
    return f" ({', '.join(parts)}, of {found.total})" if parts else ""


def main() -> int:
    parser = Parser(__doc__)
    recording.add_flag(parser)
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    arguments = parser.parse_args()
    set_up_logging()
    recording.record_to(arguments.record)
    settings = discovery.find_broker_and_database(config.load(demo=arguments.demo))

    with tempfile.TemporaryDirectory(prefix="stock-pipeline-cache-") as cache:
        browser = Browser(
            settings.scraper_browser, settings.scraper_driver, settings.scraper_headless, user_agent=settings.scraper_user_agent
        )

        def leave_nothing() -> None:
            browser.kill()
            shutil.rmtree(cache, ignore_errors=True)

        end_with_orchestrator(leave_nothing)
        discovery.ensure_topics(settings)
        writer = Writer(settings.database)
        sender = Sender(settings.kafka)
        throttle = Throttle(settings.requests_per_second, topics.SCRAPING.name, sender=shared_throttle.sender_name())
        follower = shared_throttle.Follower(settings.kafka, throttle, Learned(settings))
        opening = Opening(lambda: open_source(settings, browser, throttle, Path(cache)))
        worker = TaskWorker(
            settings.kafka,
            topics.SCRAPING,
            messages.scraping_task,
            Scraper(browser, opening, writer, sender, settings),
            threads=1,
            buffered=1,
            max_attempts=settings.max_attempts,
            writer=writer,
            untouched=LeftAlone(abandoned_runs(settings.database)),
            requests=throttle.requests,
        )
        throttle.share = lambda: worker.share

        def stop() -> None:
            throttle.close()
            worker.stop()

        on_stop(stop)
        opening.start(on_failure=worker.stop)
        try:
            worker.run()
            if opening.failed is not None:
                raise opening.failed  # neither a browser nor the endpoint can be used
        finally:
            browser.close()
            writer.close()
            follower.stop()
    return config.EXIT_DONE


def open_source(settings: Settings, browser: Browser, throttle: Throttle, cache: Path) -> Source:
    """The source that SCRAPER_SOURCE asks for. Raises ServiceError if its browser does not start and there is no other source."""
    page = PagedScreener(browser, settings.yahoo_base_url, courtesy=throttle) if settings.scraper_source != "api" else None
    api = None
    if settings.scraper_source != "browser":
        # Here: yfinance and pandas are half a browser's memory, which a consumer with a browser has no use for.
        from pipeline.screener.endpoint import ApiScreener
        from pipeline.yahoo import session

        session.setup(
            settings.yahoo_base_url,
            cache,
            before_request=throttle.acquire,
            after_response=throttle.answered,
            no_answer=throttle.unanswered,
        )
        api = ApiScreener()
    source = Source(page, browser if page else None, api)
    if page is not None:
        try:
            browser.start()
        except ServiceError as error:
            if api is None:
                raise
            source.do_without_page(str(error))
    log.info("ready: scraping tasks from %s", settings.kafka.bootstrap_servers)
    return source


if __name__ == "__main__":
    run_script(main)
