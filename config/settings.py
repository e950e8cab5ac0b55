"""The settings as typed values. Passwords are in no `repr`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path


@dataclass(frozen=True)
class Kafka:
    """How to reach the brokers. `bootstrap_servers` is empty if nothing was set."""

    bootstrap_servers: str = ""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    task_partitions: int = 24
    replication_factor: int = 1
    #: Where the settings come from: "environment", ".env" or "default". For a broker that run_pipeline.py has started:
    #: "embedded" (in memory) or "apache" (KAFKA_HOME's, durable).
    source: str = "default"

    @property
    def started_here(self) -> bool:
        """Whether run_pipeline.py has started this broker."""
        return self.source in ("embedded", "apache")

    def __repr__(self) -> str:
        return f"Kafka({self.bootstrap_servers}, {self.security_protocol}, from {self.source})"


@dataclass(frozen=True)
class Database:
    """How to reach PostgreSQL. `name` is empty if nothing was set."""

    name: str = ""
    user: str = ""
    password: str = ""
    host: str = "localhost"
    port: int = 5432
    sslmode: str = "prefer"
    source: str = "default"

    def __repr__(self) -> str:
        return f"Database({self.user}@{self.host}:{self.port}/{self.name}, from {self.source})"


@dataclass(frozen=True)
class Settings:
    demo: bool
    kafka: Kafka
    database: Database
    #: Folder of an unpacked Apache Kafka that is started in place of the embedded broker; None if unset, and in the demo.
    kafka_home: Path | None
    market_cap_min: str
    market_cap_max: str
    #: Currency of the bounds: an ISO code, or "local" for each region's own currency.
    market_cap_currency: str
    #: What lists the stocks: "browser" (the screener's page), "api" (its JSON endpoint), or "auto" (the page, or the endpoint
    #: if the page has changed).
    scraper_source: str
    scraper_browser: str | None
    scraper_driver: str | None
    scraper_headless: bool
    #: The browser's User-Agent. Empty: the browser's own, without the word Headless.
    scraper_user_agent: str
    #: A task that lists more stocks than this is split in two.
    split_above: int
    processor_threads: int
    max_attempts: int
    #: Most requests per second to the site, for all consumers on all hosts together; 0 is no limit.
    requests_per_second: float
    #: Where statements come from: "timeseries" (three requests per stock) or "public" (yfinance's public calls, slower).
    fundamentals_source: str
    #: A stock's statements are fetched again after this many days, even if its quote shows no change.
    statements_max_age_days: float
    #: Address of a server to use in place of Yahoo Finance; empty is the live site.
    yahoo_base_url: str
    #: PIPELINE_TODAY: the day that `today` is fixed to; None if it is the UTC date.
    fixed_day: date | None
    #: Folder of the embedded services' state: `.pipeline/demo` or `.pipeline/live`.
    state_dir: Path
    log_dir: Path

    def today(self) -> date:
        """The day from which ages of quotes, rates and statements count. Due dates, `first_seen` and `seen_at` use it too.

        Call it each time, because the UTC date changes while a process runs. Message timestamps are always real time.
        """
        return self.fixed_day or utc_today()


def utc_today() -> date:
    """The current date, in UTC."""
    return datetime.now(timezone.utc).date()
