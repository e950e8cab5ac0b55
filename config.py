"""Settings: environment, then `.env`, then running embedded services, then defaults.

The `KAFKA_*` settings all come from the first of these sources that has any of them, and so do the `DB_*` settings. So a
host from one source is never combined with a password from another. `load(demo=True)` ignores the user's own Kafka,
database and site, and takes these from the running demo only.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from pathlib import Path

from dotenv import dotenv_values

import setting_values
import settings_file
from setting_values import SettingsError as SettingsError

PROJECT = Path(__file__).resolve().parent

#: The settings that say how to reach the brokers. They are listed by name because an installed Apache Kafka uses variables such
#: as KAFKA_HEAP_OPTS, which have nothing to do with brokers' addresses.
KAFKA_GROUP = (
    "KAFKA_BOOTSTRAP_SERVERS",
    "KAFKA_SECURITY_PROTOCOL",
    "KAFKA_SASL_MECHANISM",
    "KAFKA_SASL_USERNAME",
    "KAFKA_SASL_PASSWORD",
    "KAFKA_SSL_CAFILE",
    "KAFKA_SSL_CERTFILE",
    "KAFKA_SSL_KEYFILE",
)

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

#: Exit codes of every script.
EXIT_DONE = 0
EXIT_TASKS_FAILED = 1
EXIT_SETTINGS = 2
EXIT_SERVICE = 3
EXIT_STALLED = 4
EXIT_INTERRUPTED = 130


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


def state_dir(demo: bool, environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the embedded services' state. The demo and live runs have separate ones."""
    return _home(environ) / ".pipeline" / ("demo" if demo else "live")


def _home(environ: Mapping[str, str]) -> Path:
    """`PIPELINE_HOME`, else the project's folder: the parent of `.pipeline/` and `logs/`."""
    return Path(environ.get("PIPELINE_HOME") or PROJECT)


def lock_holder(folder: Path) -> int | None:
    """Process id of the orchestrator that holds `folder`, or None. The system releases the lock when that process ends."""
    try:
        with open(folder / "lock", "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                text = lock.read().strip()
                return int(text) if text.isdigit() else 0
    except FileNotFoundError:
        pass
    return None


def embedded_services(folder: Path) -> dict[str, str]:
    """Settings of the embedded services that are running under `folder`; empty if there are none."""
    path = folder / "services.env"
    if not path.exists() or lock_holder(folder) is None:
        return {}
    return {key: value for key, value in dotenv_values(path, interpolate=False).items() if value}


def load(demo: bool = False, environ: Mapping[str, str] = os.environ, env_file: Path | None = None) -> Settings:
    """Read all settings. Raises SettingsError for a value that does not parse, and for a `.env` that can't be read."""
    path = env_file or PROJECT / ".env"
    from_environment = {key: value for key, value in environ.items() if value}
    from_file = {key: value for key, value in settings_file.read(path).items() if value}
    folder = state_dir(demo, environ)
    embedded = embedded_services(folder)
    for name, value in {**from_file, **from_environment}.items():
        if _is_ours(name) and (not value.isprintable() or "\ufffd" in value):
            raise SettingsError(f"{name} contains a control or invisible character, or bytes that are not UTF-8: expected plain text")
    layers = [("environment", from_environment), (".env", from_file), ("embedded", embedded)]
    if demo:
        # A demo's own processes and a demo's consumer in another terminal find the services in the same way.
        services_layers = [("embedded", embedded)]
        site = embedded
    else:
        services_layers = layers
        site = {**embedded, **from_file, **from_environment}
    rest = {**from_file, **from_environment}
    kafka_rest = {} if demo else rest
    source, values = _group(services_layers, lambda name: name in KAFKA_GROUP)
    if source == "embedded" and "KAFKA_HOME" in embedded:
        source = "apache"  # started by its orchestrator, but it needs the time-outs of a cluster
    return Settings(
        demo=demo,
        kafka=_kafka(source, values, kafka_rest),
        database=_database(*_group(services_layers, lambda name: name.startswith("DB_"))),
        kafka_home=Path(kafka_rest["KAFKA_HOME"]).expanduser() if "KAFKA_HOME" in kafka_rest else None,
        market_cap_min=rest.get("MARKET_CAP_MIN", "300M"),
        market_cap_max=rest.get("MARKET_CAP_MAX", "2B"),
        market_cap_currency=setting_values.currency(rest.get("MARKET_CAP_CURRENCY", "USD")),
        scraper_source=setting_values.choice(rest, "SCRAPER_SOURCE", "browser", ("browser", "api", "auto")),
        scraper_browser=rest.get("SCRAPER_BROWSER"),
        scraper_driver=rest.get("SCRAPER_DRIVER"),
        scraper_headless=setting_values.boolean(rest, "SCRAPER_HEADLESS", True),
        scraper_user_agent=setting_values.user_agent(rest.get("SCRAPER_USER_AGENT", "")),
        split_above=setting_values.whole_number(rest, "SPLIT_ABOVE", 500, 1, 100_000),
        processor_threads=setting_values.whole_number(rest, "PROCESSOR_THREADS", 32, 1, 256),
        max_attempts=setting_values.whole_number(rest, "MAX_ATTEMPTS", 5, 1, 100),
        requests_per_second=setting_values.number(rest, "REQUESTS_PER_SECOND", 0.0 if demo else 4.0, 0.0, 10_000.0),
        fundamentals_source=setting_values.choice(rest, "FUNDAMENTALS_SOURCE", "timeseries", ("timeseries", "public")),
        statements_max_age_days=setting_values.days(rest, "STATEMENTS_MAX_AGE", "45d", 3650),
        yahoo_base_url=setting_values.base_url(site),
        fixed_day=setting_values.day(site, "PIPELINE_TODAY"),
        state_dir=folder,
        log_dir=_home(environ) / "logs",
    )


def _is_ours(name: str) -> bool:
    return name in KAFKA_GROUP or name.startswith(("DB_", "SCRAPER_", "MARKET_CAP_", "YAHOO_BASE_URL", "PIPELINE_HOME"))


def _group(layers: list[tuple[str, dict[str, str]]], belongs: Callable[[str], bool]) -> tuple[str, dict[str, str]]:
    """Name and settings of the first layer that has any setting of the group."""
    for name, layer in layers:
        found = {key: value for key, value in layer.items() if belongs(key)}
        if found:
            return name, found
    return "default", {}


def _kafka(source: str, values: dict[str, str], rest: Mapping[str, str]) -> Kafka:
    if source != "default" and "KAFKA_BOOTSTRAP_SERVERS" not in values:
        raise SettingsError(
            f"KAFKA_BOOTSTRAP_SERVERS is missing, but {', '.join(sorted(values))} is set ({source}): set it to host:port[,host:port…]"
        )
    protocol = setting_values.choice(values, "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))
    return Kafka(
        bootstrap_servers=setting_values.servers(values.get("KAFKA_BOOTSTRAP_SERVERS", "")),
        security_protocol=protocol,
        sasl_mechanism=setting_values.choice(values, "KAFKA_SASL_MECHANISM", "PLAIN", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"))
        if protocol.startswith("SASL")
        else None,
        sasl_username=values.get("KAFKA_SASL_USERNAME"),
        sasl_password=values.get("KAFKA_SASL_PASSWORD"),
        ssl_cafile=values.get("KAFKA_SSL_CAFILE"),
        ssl_certfile=values.get("KAFKA_SSL_CERTFILE"),
        ssl_keyfile=values.get("KAFKA_SSL_KEYFILE"),
        task_partitions=setting_values.whole_number(rest, "KAFKA_TASK_PARTITIONS", 24, 1, 1000),
        replication_factor=setting_values.whole_number(rest, "KAFKA_REPLICATION_FACTOR", 1, 1, 10),
        source=source,
    )


def _database(source: str, values: dict[str, str]) -> Database:
    if source == "default":
        return Database()
    for required in ("DB_DEV_NAME", "DB_USER"):
        if required not in values:
            raise SettingsError(f"{required} is missing, but {', '.join(sorted(values))} is set ({source}): set DB_DEV_NAME and DB_USER")
    return Database(
        name=values["DB_DEV_NAME"],
        user=values["DB_USER"],
        password=values.get("DB_PASSWORD", ""),
        host=setting_values.database_host(values.get("DB_HOST", "localhost")),
        port=setting_values.whole_number(values, "DB_PORT", 5432, 1, 65535),
        sslmode=setting_values.choice(
            values, "DB_SSLMODE", "prefer", ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
        ),
        source=source,
    )
