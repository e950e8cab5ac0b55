"""Takes processing tasks, fetches each company's statements by yfinance, and writes its ratios into PostgreSQL.

takes   stock-processing-tasks, stock-processing-retries   (consumer group stock-processors)
writes  stock, financial_ratios
emits   processing-completion                              or processing-errors and a retry or dead letter

python kafka_processing_consumer.py            as many times as wanted, each in its own terminal
python kafka_processing_consumer.py --demo     joins the demo that is up
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
import gc
import logging
import shutil
import tempfile
from pathlib import Path

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "yfinance")

import config
from pipeline.errors import NoData
from pipeline.process import discovery
from pipeline.process.arguments import parse_age
from pipeline.process.script import end_with_orchestrator, on_stop, run_script, set_up_logging
from pipeline.ratios.fundamentals import Fundamentals
from pipeline.ratios.rows import ratio_rows
from pipeline.storage.polled import FreshStocks, abandoned_runs
from pipeline.storage.rows import Profile, Write
from pipeline.storage.run_table import Run
from pipeline.storage.writer import Writer
from pipeline.wire import messages, topics
from pipeline.wire.messages import ProcessingTask
from pipeline.wire.regions import REGIONS
from pipeline.wire.results import Computed, Nothing
from pipeline.wire.text import clean_name
from pipeline.worker.delivery import Delivery, Outcome
from pipeline.worker.failures import GONE
from pipeline.worker.untouched import LeftAlone
from pipeline.worker.worker import TaskWorker
from pipeline.yahoo import fetch, session, shared_throttle
from pipeline.yahoo.learned import Learned
from pipeline.yahoo.throttle import Throttle

log = logging.getLogger(__name__)


class Processor:
    """The handler: fetch, compute, hand over the rows and what became of the task. Called by many threads at once."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, delivery: Delivery[ProcessingTask]) -> Outcome:
        task = delivery.task
        countries = {task.country_code: REGIONS.get(task.country_code, task.country_code)}
        runs = [Run(task.run_id, (task.country_code,))]
        try:
            found = fetch.fetch(task.symbol, self.source)
        except NoData as error:
            # One answer never marks a symbol dead: it can be a hidden rate limit. So it is asked for once more.
            if error.reason == "gone" and delivery.headers.get("error-type") != GONE:
                raise
            return Outcome(Nothing(error.reason), Write(countries=countries, runs=runs))
        rows = ratio_rows(found)
        written = Write(
            countries=countries,
            profiles=[_profile(task, found)],
            ratios=[(task.run_id, row) for row in rows],
            runs=runs,
        )
        return Outcome(Computed(len(rows)) if rows else Nothing("no_statements"), written)


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="join the demo that is up")
    parser.add_argument("--max-age", metavar="AGE", help="skip stocks whose ratios are younger, such as 24h")
    arguments = parser.parse_args()
    max_age = parse_age(arguments.max_age) if arguments.max_age else None
    set_up_logging()
    settings = discovery.find_broker_and_database(config.load(demo=arguments.demo))

    discovery.ensure_topics(settings)
    writer = Writer(settings.database)
    throttle = Throttle(settings.requests_per_second, topics.PROCESSING.name, sender=shared_throttle.sender_name())
    follower = shared_throttle.Follower(settings.kafka, throttle, Learned(settings))
    with tempfile.TemporaryDirectory(prefix="stock-pipeline-cache-") as cache:
        end_with_orchestrator(lambda: shutil.rmtree(cache, ignore_errors=True))
        # A folder of its own: yfinance's cache in a shared one is locked across processes.
        session.setup(
            settings.yahoo_base_url,
            Path(cache),
            before_request=throttle.acquire,
            after_response=throttle.answered,
            no_answer=throttle.unanswered,
            today=settings.today,
        )
        worker = TaskWorker(
            settings.kafka,
            topics.PROCESSING,
            messages.processing_task,
            Processor(settings.fundamentals_source),
            threads=settings.processor_threads,
            buffered=4 * settings.processor_threads,
            max_attempts=settings.max_attempts,
            writer=writer,
            untouched=LeftAlone(abandoned_runs(settings.database), FreshStocks(settings.database, max_age)),
        )
        throttle.share = lambda: worker.share

        def stop() -> None:
            throttle.close()
            worker.stop()

        on_stop(stop)
        # What is loaded by now stays: without it the collector goes through pandas and yfinance again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        worker.run(ready=lambda: log.info("ready: processing tasks from %s", settings.kafka.bootstrap_servers))
        writer.close()
        follower.stop()
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
