"""The page's connections to the database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

import config
from config import Database
from pipeline.errors import ServiceError
from ui import places
from ui.places import Places


def test_queries_are_bounded_and_read_only_and_leave_no_setting_in_the_session(
    tables: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config.load(environ={"PIPELINE_HOME": str(tmp_path)}, env_file=tmp_path / "none")
    page = Places(lambda: replace(settings, database=tables))
    assert page.query("SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')", []) == [("15s", "on")]
    ((_, connection),) = page._idle
    assert connection.get_transaction_status() == TRANSACTION_STATUS_IDLE
    with connection.cursor() as cursor:
        # A pooler may give the session to a consumer next.
        cursor.execute(
            "SELECT current_setting('default_transaction_read_only'), reset_val FROM pg_settings WHERE name = 'statement_timeout'"
        )
        assert cursor.fetchone() == ("off", "0")
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    connection.rollback()
    monkeypatch.setattr(places, "QUERY_MS", 50)
    with pytest.raises(ServiceError, match="the database took longer than"):
        page.query("SELECT pg_sleep(5)", [])
    page.forget()
