"""Finds out whether a statement waits for another session's lock, and who that is."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2

from pipeline.wire.text import one_line

#: What this program's sessions are called in pg_stat_activity.
APPLICATION = "stock-pipeline"
#: Seconds in which the question must be answered.
_ASK_SECONDS = 3
# A pooler does not tell the server's process: then any session of this program's user in this database that waits is meant. Advisory
# locks are left out: processes of this program wait for each other by them, as long as the site takes to answer.
_BLOCKERS = """
SELECT l.relation::regclass::text, b.pid, b.usename::text, b.application_name, b.state,
    to_char(b.xact_start AT TIME ZONE 'UTC', 'HH24:MI:SS')
FROM pg_stat_activity w JOIN pg_locks l ON l.pid = w.pid AND NOT l.granted AND l.locktype <> 'advisory'
CROSS JOIN unnest(pg_blocking_pids(w.pid)) AS blocker LEFT JOIN pg_stat_activity b ON b.pid = blocker
WHERE w.datname = current_database() AND w.usename = current_user AND w.application_name = %(name)s
AND (w.pid = %(mine)s OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %(mine)s AND application_name = %(name)s))
ORDER BY b.application_name = %(name)s, b.xact_start LIMIT 1
"""


def blocker_of(connection: Any) -> str | None:
    """Which lock the statement that runs on this connection waits for, and who holds it, for people.

    None if it waits for none, or if that can't be found out. Asked on a connection of its own.
    """
    try:
        # All but the password, which is not among them.
        same = {**connection.get_dsn_parameters(), "password": connection.info.password, "connect_timeout": _ASK_SECONDS}
        with closing(psycopg2.connect(**same)) as asking:
            asking.autocommit = True
            with asking.cursor() as cursor:
                cursor.execute(f"SET statement_timeout = '{_ASK_SECONDS}s'")
                cursor.execute(_BLOCKERS, {"name": APPLICATION, "mine": connection.info.backend_pid})
                found = cursor.fetchone()
    except psycopg2.Error:
        return None
    return _text(*found) if found else None


def _text(table: str | None, process: int | None, user: str | None, application: str | None, state: str | None, since: str | None) -> str:
    what = f"table {table}" if table else "rows"
    if process is None:
        return f"another session holds a lock on {what}"
    known = (user and f"user {user}", application, state, since and f"its transaction began {since} UTC")
    doing = ", ".join(part for part in known if part)
    return one_line(
        f"another session holds a lock on {what}: PostgreSQL's process {process} ({doing}). It goes on when that transaction ends; "
        f"SELECT pg_terminate_backend({process}) ends it",
        400,
    )
