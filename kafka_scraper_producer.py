"""Sends one scraping task per region to `stock-scraping-tasks`, and waits until the broker has acknowledged each.

python kafka_scraper_producer.py                                  the regions below, the band from the settings
python kafka_scraper_producer.py --regions us,fr --market-cap-min 300M --market-cap-max 2B
python kafka_scraper_producer.py --regions all                    all 59 regions that Yahoo Finance knows
python kafka_scraper_producer.py --regions jp --market-cap-min 50B --market-cap-max 300B --market-cap-currency JPY
python kafka_scraper_producer.py --regions-file daily.txt         one task per line: fr, fr 300M 2B, or jp 50B 300B JPY
python kafka_scraper_producer.py --demo                           to the running demo
"""

from __future__ import annotations

if __name__ == "__main__":
    import sys

    sys.path.insert(0, __file__.rpartition("/")[0])  # PYTHONSAFEPATH leaves it out
    import pipeline.process.early  # noqa: F401  (first: Ctrl+C while the rest is imported ends it without a traceback)

# isort: split
import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.process import packages

if __name__ == "__main__":
    packages.need("dotenv", "kafka", "psycopg2")

import config
from config import Settings
from launch.bands import Converter
from pipeline.broker import clients
from pipeline.broker.sender import Message, Sender
from pipeline.errors import ServiceError, TaskError
from pipeline.process import discovery
from pipeline.process.arguments import Parser, add_region_flags, asked_band, chosen_bands, read_bands, region_names
from pipeline.process.script import run_script
from pipeline.wire import messages, topics
from pipeline.wire.bands import band_text, rate_text
from pipeline.wire.currencies import REGION_CURRENCIES
from pipeline.wire.messages import ScrapingTask
from pipeline.wire.regions import REGIONS, AskedBand, RegionBand
from pipeline.yahoo import recording

#: The default regions; any of the codes that Yahoo Finance knows can be added (see pipeline/wire/regions.py).
regions = [
    {"code": "us", "name": "United States"},
    {"code": "fr", "name": "France"},
    {"code": "gb", "name": "United Kingdom"},
    {"code": "de", "name": "Germany"},
    {"code": "jp", "name": "Japan"},
]


class ScraperProducer:
    """Sends the scraping tasks of one run. Raises ServiceError if the broker is not reachable."""

    def __init__(self, settings: Settings, run_id: str | None = None, task_count: int | None = None) -> None:
        """`task_count` tasks are spread evenly over the partitions; further ones start again at the first partition."""
        self.settings = settings
        self.task_count = task_count or len(regions)
        self._sent = 0
        self._converter = Converter(settings)
        self.run_id = run_id or messages.new_run_id()
        discovery.ensure_topics(settings)
        self._producer = Sender(settings.kafka)
        self._partitions = self._producer.partition_count(topics.SCRAPING_TASKS)

    def send_scraping_task(
        self,
        region: dict[str, str],
        market_cap_min: str | None = None,
        market_cap_max: str | None = None,
        currency: str | None = None,
    ) -> ScrapingTask:
        """Send one region and band, and wait for the acknowledgement.

        The bounds are in `currency`: an ISO code, `local` for the region's own, or None for the setting MARKET_CAP_CURRENCY.
        Raises SettingsError for an unknown region or currency, or an invalid band; ServiceError if no exchange rate is known, or the
        broker does not answer.
        """
        (band,) = self.converted([asked_band(self.settings, region["code"], market_cap_min, market_cap_max, currency)])
        return self.send(band, region.get("name"))

    def converted(self, bands: Sequence[AskedBand]) -> list[RegionBand]:
        """The bands in the regions' own currencies. Raises ServiceError if no exchange rate is known."""
        return self._converter.bands(bands)

    def send(self, band: RegionBand, region_name: str | None = None) -> ScrapingTask:
        """Send one band that is in the region's own currency. Raises ServiceError if the broker does not answer."""
        name = region_name or REGIONS[band.code]
        task = ScrapingTask(self.run_id, band.code, name, band.market_cap_min, band.market_cap_max, band.wanted)
        partition = topics.spread(self._sent % self.task_count, self.task_count, self._partitions)
        # The requests for exchange rates belong to no task of a consumer: the first message of the run reports them.
        value = messages.pending(task, self._converter.requests.take_outside())
        try:
            self._producer.send_all([Message(topics.SCRAPING_TASKS, task.key, value, partition=partition)])
        except TaskError as error:
            raise ServiceError(f"{task} was not acknowledged by Kafka at {self.settings.kafka.bootstrap_servers}: {error}") from error
        self._sent += 1
        return task

    def close(self) -> None:
        self._producer.close()


def sent_text(task: ScrapingTask) -> str:
    """What was sent, for people: `sent Japan: 300M to 2B USD = 44.7B to 299B JPY (149.2 of 27 Nov)`."""
    own = REGION_CURRENCIES[task.region_code]
    bounds = f"{band_text(task.market_cap_min, task.market_cap_max)} {own}"
    wanted = task.wanted
    if wanted is None or wanted.currency == own:
        return f"sent {task.region_name}: {bounds}"
    return f"sent {task.region_name}: {wanted} = {bounds} ({rate_text(wanted.rate)} of {wanted.rate_day.day} {wanted.rate_day:%b})"


def main() -> int:
    parser = Parser(__doc__)
    add_region_flags(parser)
    recording.add_flag(parser)
    parser.add_argument("--demo", action="store_true", help="use the running demo")
    parser.add_argument("--run-id", help=argparse.SUPPRESS)
    # What run_pipeline.py has converted already.
    parser.add_argument("--bands-file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    recording.record_to(arguments.record)

    settings = config.load(demo=arguments.demo)
    asked = chosen_bands(arguments, settings, regions) if arguments.bands_file is None else []
    bands = read_bands(Path(arguments.bands_file)) if arguments.bands_file else []
    clients.quiet()

    producer = ScraperProducer(discovery.find_broker(settings), arguments.run_id, len(bands or asked))
    # All bands are converted before the first is sent: if a rate is missing, nothing is sent.
    bands = bands or producer.converted(asked)
    names = region_names((band.code for band in bands), regions)
    for band in bands:
        task = producer.send(band, names[band.code])
        print(f"{sent_text(task)}, {task.task_id}", flush=True)
    producer.close()
    print(f"run {producer.run_id}: {len(bands)} scraping tasks sent", flush=True)
    return config.EXIT_DONE


if __name__ == "__main__":
    run_script(main)
