"""Reads all settings from the environment, `.env` and running embedded services."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from config import dotenv_file, names, places, values
from config.settings import Database, Kafka, Settings
from config.values import SettingsError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def load(demo: bool = False, environ: Mapping[str, str] = os.environ, env_file: Path | None = None) -> Settings:
    """Read all settings. Raises SettingsError for a value that does not parse, a misspelled name, and a `.env` that can't be read.

    env_file: in place of the project's `.env`.
    """
    from_environment = {key: value for key, value in environ.items() if value}
    from_file = {key: value for key, value in dotenv_file.read(env_file or places.PROJECT / ".env").items() if value}
    _check_names_and_texts(from_environment, from_file)
    folder = places.state_dir(demo, environ, from_file)
    embedded = places.embedded_services(folder)
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
    band = values.band(rest, "300M", "2B")
    source, kafka = _group(services_layers, lambda name: name in names.KAFKA_GROUP)
    if source == "embedded" and "KAFKA_HOME" in embedded:
        source = "apache"  # started by its orchestrator, but it needs the time-outs of a cluster
    return Settings(
        demo=demo,
        kafka=_kafka(source, kafka, kafka_rest),
        database=_database(*_group(services_layers, lambda name: name.startswith("DB_"))),
        kafka_home=values.path("KAFKA_HOME", kafka_rest["KAFKA_HOME"], places.PROJECT) if "KAFKA_HOME" in kafka_rest else None,
        market_cap_min=band[0],
        market_cap_max=band[1],
        market_cap_currency=values.currency(rest.get("MARKET_CAP_CURRENCY", "USD")),
        scraper_source=values.choice(rest, "SCRAPER_SOURCE", "browser", ("browser", "api", "auto")),
        scraper_browser=rest.get("SCRAPER_BROWSER"),
        scraper_driver=rest.get("SCRAPER_DRIVER"),
        scraper_headless=values.boolean(rest, "SCRAPER_HEADLESS", True),
        scraper_user_agent=values.user_agent(rest.get("SCRAPER_USER_AGENT", "")),
        split_above=values.whole_number(rest, "SPLIT_ABOVE", 500, 1, 100_000),
        processor_threads=values.whole_number(rest, "PROCESSOR_THREADS", 32, 1, 256),
        max_attempts=values.whole_number(rest, "MAX_ATTEMPTS", 5, 1, 100),
        requests_per_second=values.number(rest, "REQUESTS_PER_SECOND", 0.0 if demo else 4.0, 0.0, 10_000.0),
        fundamentals_source=values.choice(rest, "FUNDAMENTALS_SOURCE", "timeseries", ("timeseries", "public")),
        statements_max_age_days=values.days(rest, "STATEMENTS_MAX_AGE", "45d", 3650),
        yahoo_base_url=values.base_url(site),
        fixed_day=values.day(site, "PIPELINE_TODAY"),
        state_dir=folder,
        log_dir=places.home(environ, from_file) / "logs",
    )


def _check_names_and_texts(from_environment: Mapping[str, str], from_file: Mapping[str, str]) -> None:
    for name in from_environment:
        problem = names.problem_in_environment(name)
        if problem:
            raise SettingsError(problem)
    for name, value in {**from_file, **from_environment}.items():
        if name in names.OURS and (not value.isprintable() or "\ufffd" in value):
            raise SettingsError(f"{name} contains a control or invisible character, or bytes that are not UTF-8: expected plain text")


def _group(layers: list[tuple[str, dict[str, str]]], belongs: Callable[[str], bool]) -> tuple[str, dict[str, str]]:
    """Name and settings of the first layer that has any setting of the group."""
    for name, layer in layers:
        found = {key: value for key, value in layer.items() if belongs(key)}
        if found:
            return name, found
    return "default", {}


def _kafka(source: str, given: Mapping[str, str], rest: Mapping[str, str]) -> Kafka:
    if source != "default" and "KAFKA_BOOTSTRAP_SERVERS" not in given:
        raise SettingsError(
            f"KAFKA_BOOTSTRAP_SERVERS is missing, but {', '.join(sorted(given))} is set ({source}): set it to host:port[,host:port…]"
        )
    protocol = values.choice(given, "KAFKA_SECURITY_PROTOCOL", "PLAINTEXT", ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"))
    mechanism = values.choice(given, "KAFKA_SASL_MECHANISM", "PLAIN", ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"))
    return Kafka(
        bootstrap_servers=values.servers(given.get("KAFKA_BOOTSTRAP_SERVERS", "")),
        security_protocol=protocol,
        sasl_mechanism=mechanism if protocol.startswith("SASL") else None,
        sasl_username=given.get("KAFKA_SASL_USERNAME"),
        sasl_password=given.get("KAFKA_SASL_PASSWORD"),
        ssl_cafile=_file(given, "KAFKA_SSL_CAFILE"),
        ssl_certfile=_file(given, "KAFKA_SSL_CERTFILE"),
        ssl_keyfile=_file(given, "KAFKA_SSL_KEYFILE"),
        task_partitions=values.whole_number(rest, "KAFKA_TASK_PARTITIONS", 24, 1, 1000),
        replication_factor=values.whole_number(rest, "KAFKA_REPLICATION_FACTOR", 1, 1, 10),
        source=source,
    )


def _file(given: Mapping[str, str], name: str) -> str | None:
    return str(values.path(name, given[name], places.PROJECT)) if name in given else None


def _database(source: str, given: Mapping[str, str]) -> Database:
    if source == "default":
        return Database()
    for required in ("DB_DEV_NAME", "DB_USER"):
        if required not in given:
            raise SettingsError(f"{required} is missing, but {', '.join(sorted(given))} is set ({source}): set DB_DEV_NAME and DB_USER")
    return Database(
        name=given["DB_DEV_NAME"],
        user=given["DB_USER"],
        password=given.get("DB_PASSWORD", ""),
        host=values.database_host(given.get("DB_HOST", "localhost")),
        port=values.whole_number(given, "DB_PORT", 5432, 1, 65535),
        sslmode=values.choice(given, "DB_SSLMODE", "prefer", SSL_MODES),
        source=source,
    )
