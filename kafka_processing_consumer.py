"""Takes processing tasks, fetches the statements that may have changed through yfinance, and writes the ratios into PostgreSQL.

takes   stock-processing-tasks, stock-processing-retries   (consumer group stock-processors)
reads   company_statements, fx_rate
writes  stock, country, quote, financial_ratios, company_statements, fx_rate, pipeline_run
emits   processing-completion                              or processing-errors and a retry or dead letter

python kafka_processing_consumer.py            as many times as wanted, each in its own terminal
python kafka_processing_consumer.py --demo     joins the running demo
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import gc
import logging
import shutil
import tempfile
from pathlib import Path

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2", "yfinance")

import config
from pipeline.process import discovery
from pipeline.process.arguments import Parser, parse_age
from pipeline.process.script import end_with_orchestrator, on_stop, run_script, set_up_logging
from pipeline.refresh.sources import processor
from pipeline.storage.polled import FreshStocks, abandoned_runs
from pipeline.storage.writer import Writer
from pipeline.wire import messages, topics
from pipeline.worker.untouched import LeftAlone
from pipeline.worker.worker import TaskWorker
from pipeline.yahoo import recording, session, shared_throttle
from pipeline.yahoo.learned import Learned
from pipeline.yahoo.throttle import Throttle

log = logging.getLogger(__name__)


def main() -> int:
    parser = Parser(__doc__)
    recording.add_flag(parser)
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    parser.add_argument(
        "--refresh", choices=("due", "all"), default="due", help="ask for statements that may have changed (default), or for everything"
    )
    parser.add_argument("--max-age", type=parse_age, metavar="AGE", help="skip stocks whose ratios are younger, such as 24h")
    arguments = parser.parse_args()
    set_up_logging()
    recording.record_to(arguments.record)
    settings = discovery.find_broker_and_database(config.load(demo=arguments.demo))

    discovery.ensure_topics(settings)
    writer = Writer(settings.database)
    throttle = Throttle(settings.requests_per_second, topics.PROCESSING.name, sender=shared_throttle.sender_name())
    follower = shared_throttle.Follower(settings.kafka, throttle, Learned(settings))
    with tempfile.TemporaryDirectory(prefix="stock-pipeline-cache-") as cache:
        end_with_orchestrator(lambda: shutil.rmtree(cache, ignore_errors=True))
        # Its own folder: processes that share yfinance's cache would wait for each other's locks.
        session.setup(
            settings.yahoo_base_url,
            Path(cache),
            before_request=throttle.acquire,
            after_response=throttle.answered,
            no_answer=throttle.unanswered,
            today=settings.today,
        )
        handler = processor(settings, refresh_all=arguments.refresh == "all")
        worker = TaskWorker(
            settings.kafka,
            topics.PROCESSING,
            messages.processing_task,
            handler,
            threads=settings.processor_threads,
            buffered=4 * settings.processor_threads,
            max_attempts=settings.max_attempts,
            writer=writer,
            untouched=LeftAlone(abandoned_runs(settings.database), FreshStocks(settings.database, arguments.max_age)),
            ahead=handler.ahead,
            requests=throttle.requests,
        )
        throttle.share = lambda: worker.share

        def stop() -> None:
            throttle.close()
            worker.stop()

        on_stop(stop)
        # All modules are loaded and stay. Frozen, they are not searched for garbage again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        worker.run(ready=lambda: log.info("ready: processing tasks from %s", settings.kafka.bootstrap_servers))
        writer.close()
        follower.stop()
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
