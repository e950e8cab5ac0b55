"""Connects to PostgreSQL, or says what to do if that fails."""

from __future__ import annotations

from typing import Any

import psycopg2

from config import Database
from pipeline.errors import ServiceError
from pipeline.wire.text import one_line

#: Seconds in which the database must answer, or the script ends with exit code 3.
REACH_SECONDS = 8


def connect(settings: Database, reach_seconds: int = REACH_SECONDS) -> Any:
    """A new connection. Raises ServiceError with what to do; the password is never in the text."""
    try:
        connection = psycopg2.connect(
            dbname=settings.name,
            user=settings.user,
            password=settings.password,
            host=settings.host,
            port=settings.port,
            sslmode=settings.sslmode,
            connect_timeout=reach_seconds,
            application_name="stock-pipeline",
            # Independent of PGCLIENTENCODING: names need all of Unicode.
            client_encoding="UTF8",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        if connection.encoding != "UTF8":  # PGOPTIONS or the role's own setting comes after what a client asks for
            connection.set_client_encoding("UTF8")
        return connection
    except (psycopg2.Error, UnicodeError) as error:
        reason = one_line(" ".join(str(error).split()))
        if settings.password:
            reason = reason.replace(settings.password, "***")
        raise ServiceError(
            f"PostgreSQL {settings.user}@{settings.host}:{settings.port}/{settings.name} can't be used: {reason} "
            "Check DB_HOST, DB_PORT, DB_DEV_NAME, DB_USER and DB_PASSWORD (environment or .env); if no DB_* is set, "
            "run_pipeline.py starts its own database."
        ) from error
