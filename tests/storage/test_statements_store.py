"""Table `company_statements`: versions of what a company has published."""

from __future__ import annotations

import json
from typing import Any

import pytest

from config import Database
from pipeline.storage import database, statements_store
from pipeline.storage.rows import Write, write
from pipeline.storage.statements_store import Fetched

JUNE, JULY, FAR = "2026-06-30T22:00:00+00:00", "2026-07-01T22:00:00+00:00", "2030-01-01T22:00:00+00:00"


def fetched(seen_at: str, content: str, **evidence: Any) -> Fetched:
    return Fetched("ABC", seen_at, content, json.dumps({"content": content}), evidence)


def versions(connection: Any) -> list[tuple[str, str, str]]:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT content_hash, first_seen::date::text, last_seen::date::text FROM company_statements s ORDER BY s.first_seen")
        return list(cursor.fetchall())


@pytest.fixture
def connection(tables: Database) -> Any:
    found = database.connect(tables)
    yield found
    found.close()


def newest(connection: Any) -> tuple[str, str, Any]:
    stored = statements_store.newest(connection, ["ABC"])["ABC"]
    return stored.payload, stored.fetched_at.date().isoformat(), stored.evidence


def test_a_new_version_is_stored_only_for_new_content(connection: Any) -> None:
    for seen_at, content in ((JUNE, "one"), (JULY, "one"), ("2026-07-02T22:00:00+00:00", "two")):
        write(connection, [Write(statements=[fetched(seen_at, content, night=seen_at)])])
    assert versions(connection) == [("one", "2026-06-30", "2026-07-01"), ("two", "2026-07-02", "2026-07-02")]


@pytest.mark.parametrize("content", ["far", "new"])
def test_a_version_dated_far_ahead_by_a_wrong_clock_yields_to_the_next_fetch(connection: Any, content: str) -> None:
    for seen_at, first in ((JUNE, "one"), (FAR, "ahead"), ("2030-01-02T22:00:00+00:00", "far")):
        write(connection, [Write(statements=[fetched(seen_at, first)])])
    write(connection, [Write(statements=[fetched(JULY, content, night="July")])])
    assert newest(connection) == (f'{{"content": "{content}"}}', "2026-07-01", {"night": "July"})
    assert [name for name, _, _ in versions(connection)] == ["one", "ahead", "far", *(["new"] if content == "new" else [])]
    assert max(last for _, _, last in versions(connection)) == "2026-07-01"
