from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.postgres_place import remove_data


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for services' state; as root the database's data is in /var/tmp, for pytest's folders are closed to others."""
    yield tmp_path
    remove_data(tmp_path / "postgres")


@pytest.fixture(autouse=True)
def _quiet_kafka(caplog: pytest.LogCaptureFixture) -> None:
    """The client logs an ERROR for every connection that ends."""
    caplog.set_level(logging.CRITICAL, "kafka")
