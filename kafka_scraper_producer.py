"""Sends one scraping task a region to `stock-scraping-tasks`, and waits until the broker has acknowledged each.

python kafka_scraper_producer.py                                  the regions below, band from the settings
python kafka_scraper_producer.py --regions us,fr --market-cap-min 300M --market-cap-max 2B
python kafka_scraper_producer.py --regions all                    all 59 that Yahoo Finance knows
python kafka_scraper_producer.py --regions-file daily.txt         a line a task: fr, or fr 300M 2B
python kafka_scraper_producer.py --demo                           to the demo that is up
"""

from __future__ import annotations

if __name__ == "__main__":
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka")

import config
from config import Settings, SettingsError
from pipeline.broker import clients
from pipeline.broker.sender import Message, Sender
from pipeline.errors import ServiceError, TaskError
from pipeline.process import discovery
from pipeline.process.arguments import add_region_flags, chosen_tasks
from pipeline.process.script import run_script
from pipeline.wire import messages, topics
from pipeline.wire.market_cap import format_market_cap, parse_band
from pipeline.wire.messages import ScrapingTask
from pipeline.wire.regions import REGIONS

#: The default regions; any of the codes that Yahoo Finance knows can be added (see pipeline/wire/regions.py).
regions = [
    {"code": "us", "name": "United States"},
    {"code": "fr", "name": "France"},
    {"code": "gb", "name": "United Kingdom"},
    {"code": "de", "name": "Germany"},
    {"code": "jp", "name": "Japan"},
]


class ScraperProducer:
    """Hands out the scraping tasks of one run. Raises ServiceError where the broker isn't there."""

    def __init__(self, settings: Settings, run_id: str | None = None, task_count: int | None = None) -> None:
        """`task_count` tasks are spread evenly over the partitions; more than these start again from the first one."""
        self.settings = settings
        self.task_count = task_count or len(regions)
        self._sent = 0
        self.run_id = run_id or messages.new_run_id()
        discovery.ensure_topics(settings)
        self._producer = Sender(settings.kafka)
        self._partitions = self._producer.partition_count(topics.SCRAPING_TASKS)

    def send_scraping_task(
        self, region: dict[str, str], market_cap_min: str | None = None, market_cap_max: str | None = None
    ) -> ScrapingTask:
        """Send one region and band, and wait for the acknowledgement.

        Raises SettingsError for an unknown region or an unreadable band, ServiceError where the broker does not answer.
        """
        code = region["code"]
        if code not in REGIONS:
            raise SettingsError(f"region {code!r} is unknown: expected one of {', '.join(REGIONS)}")
        low, high = parse_band(market_cap_min or self.settings.market_cap_min, market_cap_max or self.settings.market_cap_max)
        task = ScrapingTask(self.run_id, code, region.get("name") or REGIONS[code], low, high)
        partition = topics.spread(self._sent % self.task_count, self.task_count, self._partitions)
        try:
            self._producer.send_all([Message(topics.SCRAPING_TASKS, task.key, messages.pending(task), partition=partition)])
        except TaskError as error:
            raise ServiceError(f"{task} was not acknowledged by Kafka at {self.settings.kafka.bootstrap_servers}: {error}") from error
        self._sent += 1
        return task

    def close(self) -> None:
        self._producer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_region_flags(parser)
    parser.add_argument("--demo", action="store_true", help="join the demo that is up")
    parser.add_argument("--run-id", help=argparse.SUPPRESS)
    arguments = parser.parse_args()

    settings = config.load(demo=arguments.demo)
    tasks = chosen_tasks(arguments, settings, regions)
    for _, low, high in tasks:
        parse_band(low, high)
    clients.quiet()

    producer = ScraperProducer(discovery.find_broker(settings), arguments.run_id, len(tasks))
    for region, low, high in tasks:
        task = producer.send_scraping_task(region, market_cap_min=low, market_cap_max=high)
        band = f"{format_market_cap(task.market_cap_min)} to {format_market_cap(task.market_cap_max)}"
        print(f"sent {task.region_name}: {band} ({task.task_id})", flush=True)
    producer.close()
    print(f"run {producer.run_id}: {len(tasks)} scraping tasks sent", flush=True)
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
