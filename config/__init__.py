"""Settings: environment, then `.env`, then running embedded services, then defaults.

The `KAFKA_*` settings all come from the first of these sources that has any of them, and so do the `DB_*` settings. So a
host from one source is never combined with a password from another. `load(demo=True)` ignores the user's own Kafka,
database and site, and takes these from the running demo only.
"""

from __future__ import annotations

from config.loading import load
from config.places import PROJECT, embedded_services, lock_holder, state_dir
from config.settings import Database, Kafka, Settings, utc_today
from config.values import SettingsError

#: Of the newest section of CHANGELOG.md.
VERSION = "1.1.0"

#: Exit codes of every script.
EXIT_DONE = 0
EXIT_TASKS_FAILED = 1
EXIT_SETTINGS = 2
EXIT_SERVICE = 3
EXIT_STALLED = 4
EXIT_INTERRUPTED = 130

__all__ = [
    "EXIT_DONE",
    "EXIT_INTERRUPTED",
    "EXIT_SERVICE",
    "EXIT_SETTINGS",
    "EXIT_STALLED",
    "EXIT_TASKS_FAILED",
    "PROJECT",
    "VERSION",
    "Database",
    "Kafka",
    "Settings",
    "SettingsError",
    "embedded_services",
    "load",
    "lock_holder",
    "state_dir",
    "utc_today",
]
