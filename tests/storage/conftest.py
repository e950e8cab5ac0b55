"""What the tests of the storage share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from config import Database
from pipeline.storage import database


@pytest.fixture
def query(tables: Database) -> Iterator[Callable[[str], list[Any] | None]]:
    """Runs a statement as the server's superuser; its rows, if it has any."""
    connection = database.connect(tables)
    connection.autocommit = True

    def run(sql: str) -> list[Any] | None:
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    yield run
    connection.close()
