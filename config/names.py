"""The names of all settings, and what a misspelled one was meant to be. Pure.

A misspelled name must not be ignored: without KAFKA_BOOTSTRAP_SERVERS another broker would be used, and without DB_PASSWORD
an empty password.
"""

from __future__ import annotations

import difflib

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
#: The settings that say how to reach PostgreSQL.
DATABASE_GROUP = ("DB_DEV_NAME", "DB_USER", "DB_PASSWORD", "DB_HOST", "DB_PORT", "DB_SSLMODE")
#: All other settings that `load` reads.
OTHERS = (
    "KAFKA_TASK_PARTITIONS",
    "KAFKA_REPLICATION_FACTOR",
    "KAFKA_HOME",
    "MARKET_CAP_MIN",
    "MARKET_CAP_MAX",
    "MARKET_CAP_CURRENCY",
    "SCRAPER_SOURCE",
    "SCRAPER_BROWSER",
    "SCRAPER_DRIVER",
    "SCRAPER_HEADLESS",
    "SCRAPER_USER_AGENT",
    "SPLIT_ABOVE",
    "PROCESSOR_THREADS",
    "MAX_ATTEMPTS",
    "REQUESTS_PER_SECOND",
    "FUNDAMENTALS_SOURCE",
    "STATEMENTS_MAX_AGE",
    "YAHOO_BASE_URL",
    "PIPELINE_TODAY",
    "PIPELINE_HOME",
)
#: Names in `.env` that only docker-compose.yml reads.
COMPOSE = ("WORKERS_KAFKA", "WORKERS_DB_HOST", "WORKERS_DB_PORT", "SPRING_SECURITY_USER_PASSWORD")
#: Names that are read from the environment alone.
ENVIRONMENT_ONLY = ("PG_BIN_DIR",)

#: Usual names of other programs for the same setting.
_SYNONYMS = dict.fromkeys(
    ("KAFKA_BROKER", "KAFKA_BROKERS", "KAFKA_BROKER_LIST", "KAFKA_SERVER", "KAFKA_SERVERS", "KAFKA_HOST", "KAFKA_URL"),
    "KAFKA_BOOTSTRAP_SERVERS",
)

OURS = frozenset((*KAFKA_GROUP, *DATABASE_GROUP, *OTHERS))

#: How alike (0 to 1) an unknown name must be to count as a misspelled one. `.env` is this program's own file; the environment
#: has other programs' names.
ALIKE_IN_FILE = 0.77
ALIKE_IN_ENVIRONMENT = 0.88


def meant(name: str, alike: float) -> str | None:
    """The setting that `name` is probably a misspelling of, or None if it is known or like no setting."""
    if name in OURS or name in COMPOSE or name in ENVIRONMENT_ONLY:
        return None
    found = difflib.get_close_matches(name.upper(), sorted((*OURS, *ENVIRONMENT_ONLY)), 1, alike)
    return found[0] if found else None


def problem_in_file(name: str) -> str:
    """What is wrong with this name in `.env`; empty if nothing is."""
    if name in ENVIRONMENT_ONLY:
        return f"{name} has no effect here: set it in the environment"
    like = meant(name, ALIKE_IN_FILE) or _SYNONYMS.get(name)
    if like is not None:
        return f"{name} is not a setting: did you mean {like}?"
    if name.startswith("DB_") and name not in OURS:
        return f"{name} is not a setting: expected one of {', '.join(DATABASE_GROUP)}"
    return ""


def problem_in_environment(name: str) -> str:
    """What is wrong with this name in the environment; empty if nothing is."""
    like = meant(name, ALIKE_IN_ENVIRONMENT)
    return f"{name} in the environment is not a setting: did you mean {like}?" if like is not None else ""
