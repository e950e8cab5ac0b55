from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import local.postgres
from local.postgres import Postgres, remove_data


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for services' state; as root the database's data is in /var/tmp, for pytest's folders are closed to others."""
    yield tmp_path
    remove_data(tmp_path / "postgres")


@pytest.fixture(scope="session")
def _initialized(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("initialized")
    server = Postgres.start(folder / "postgres", folder / "postgres.log", 15432)
    server.stop()
    yield server.data_dir
    remove_data(folder / "postgres")


@pytest.fixture
def data_folder(folder: Path, _initialized: Path) -> Path:
    """The same, with the data of a server that was used before: a copy takes a tenth of initdb's time."""
    data_dir = local.postgres._place(folder / "postgres").data_dir
    for suffix in ("", ".password"):
        source, target = (path.with_name(path.name + suffix) for path in (_initialized, data_dir))
        subprocess.run(["cp", "-a", source, target], check=True)
    return folder


@pytest.fixture(autouse=True)
def _quiet_kafka(caplog: pytest.LogCaptureFixture) -> None:
    """The client logs an ERROR for every connection that ends."""
    caplog.set_level(logging.CRITICAL, "kafka")
