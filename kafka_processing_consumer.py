"""Takes processing tasks, fetches each company's statements by yfinance, and writes its ratios into PostgreSQL.

takes   stock-processing-tasks, stock-processing-retries   (consumer group stock-processors)
writes  stock, financial_ratios
emits   processing-completion                              or processing-errors and a retry or dead letter

python kafka_processing_consumer.py            as many times as wanted, each in its own terminal
python kafka_processing_consumer.py --demo     joins the demo that is up
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from pathlib import Path

import config
from pipeline import fundamentals, messages, services, topics, yahoo
from pipeline.database import Profile, Run, Write, Writer
from pipeline.errors import NoData
from pipeline.messages import ProcessingTask
from pipeline.process import end_with_orchestrator, on_stop, run_script, set_up_logging
from pipeline.ratios import ratio_rows
from pipeline.regions import REGIONS
from pipeline.throttle import Throttle
from pipeline.worker import GONE, Delivery, Message, Outcome, TaskWorker

log = logging.getLogger(__name__)


def process(delivery: Delivery) -> Outcome:
    """The handler: fetch, compute, hand over the rows and the completion."""
    task = delivery.task
    assert isinstance(task, ProcessingTask)
    countries = {task.country_code: REGIONS.get(task.country_code, task.country_code)}
    runs = [Run(task.run_id, (task.country_code,))]
    try:
        found = fundamentals.fetch(task.symbol)
    except NoData as error:
        # One answer never marks a symbol dead: it can be a hidden rate limit. So it is asked for once more.
        if error.reason == "gone" and delivery.headers.get("error-type") != GONE:
            raise
        completion = messages.processing_completion(task, 0, error.reason)
        return Outcome([Message(topics.PROCESSING_COMPLETION, task.task_id, completion)], Write(countries=countries, runs=runs))
    rows = ratio_rows(found)
    profile = Profile(
        symbol=task.symbol,
        name=task.name or found.name or task.symbol,
        country_code=task.country_code,
        exchange=messages.clean_text(found.exchange),
        sector=messages.clean_text(found.sector),
        industry=messages.clean_text(found.industry),
        currency=messages.clean_text(found.currency),
        financial_currency=messages.clean_text(found.financial_currency),
    )
    completion = messages.processing_completion(task, len(rows), "" if rows else "no_statements")
    return Outcome(
        [Message(topics.PROCESSING_COMPLETION, task.task_id, completion)],
        Write(
            countries=countries,
            profiles=[profile],
            ratios=[(task.run_id, row) for row in rows],
            trailing_of=[task.symbol],
            runs=runs,
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="join the demo that is up")
    arguments = parser.parse_args()
    set_up_logging()
    settings = services.found(config.load(demo=arguments.demo))

    services.ensure_topics(settings)
    writer = Writer(settings.database)
    throttle = Throttle(settings.requests_per_second)
    with tempfile.TemporaryDirectory(prefix="stock-pipeline-cache-") as cache:
        end_with_orchestrator(lambda: shutil.rmtree(cache, ignore_errors=True))
        # A folder of its own: yfinance's cache in a shared one is locked across processes.
        yahoo.setup(settings.yahoo_base_url, Path(cache), before_request=throttle.wait, after_response=throttle.answered)
        worker = TaskWorker(
            settings.kafka,
            topics.PROCESSING,
            messages.processing_task,
            process,
            threads=settings.processor_threads,
            buffered=4 * settings.processor_threads,
            max_attempts=settings.max_attempts,
            writer=writer,
        )
        on_stop(worker.stop)
        worker.run(ready=lambda: log.info("ready: processing tasks from %s", settings.kafka.bootstrap_servers))
        writer.close()
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
