"""Checks that a database can hold what this pipeline writes: its encoding, schema, existing tables and rights.

A problem is reported at the start, with the statement that solves it, instead of failing one stock after the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg2
import psycopg2.errorcodes
from psycopg2.extensions import quote_ident

from pipeline.errors import ServiceError
from pipeline.storage.tables import Table
from pipeline.wire.text import one_line

#: The rights that the pipeline needs on its tables.
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def check_place(connection: Any) -> None:
    """Raises ServiceError if the database can't hold every character, or if there is no schema to create tables in."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServiceError(
            f"{place(connection)} has the encoding {encoding}, which can't hold every company's name: make another database "
            "with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and set DB_DEV_NAME to it"
        )
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_setting('search_path')")
        current, path = cursor.fetchone()
    if current is None:
        user = _quoted(connection, connection.info.user)
        raise ServiceError(
            f"{place(connection)}: the search path is {one_line(path, 200) or 'empty'!r}, in which no schema exists that may "
            f"be used: CREATE SCHEMA, GRANT USAGE ON SCHEMA … TO {user}, or ALTER ROLE {user} SET search_path TO public"
        )


def missing(cursor: Any, wanted: Mapping[str, Table]) -> list[str]:
    """What is missing of `wanted`, one text per table, column with its type, or key. Empty if everything fits."""
    # The names of types and indexes would come in quotes.
    cursor.execute("SET LOCAL quote_all_identifiers = off")
    cursor.execute(
        """
        SELECT c.relname::text, c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relname = ANY(%s) AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped
        """,
        (list(wanted),),
    )
    kinds: dict[str, str] = {}
    columns: dict[tuple[str, str], str] = {}
    for table, kind, column, type_name in cursor.fetchall():
        kinds[table] = kind
        columns[table, column] = type_name
    cursor.execute(
        """
        SELECT c.relname::text, i.indexrelid::regclass::text, i.indisunique AND i.indpred IS NULL, array_agg(a.attname::text)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey::smallint[])
        WHERE i.indisvalid AND c.relname = ANY(%s) AND pg_table_is_visible(c.oid)
        GROUP BY 1, 2, 3
        """,
        (list(wanted),),
    )
    indexes = cursor.fetchall()
    keys = {(table, frozenset(names)) for table, _, is_key, names in indexes if is_key}
    names = {index for _, index, _, _ in indexes}
    found = []
    for name, table in wanted.items():
        if kinds.get(name) not in ("r", "p"):
            found.append(f"no table {name}")
            continue
        types = {column: definition.type for column, definition in table.columns.items()}
        found += [f"no column {name}.{column} ({kind})" for column, kind in types.items() if columns.get((name, column)) != kind]
        if (name, frozenset(table.key)) not in keys:
            found.append(f"no unique key of {name} over {', '.join(sorted(table.key))}")
        found += [f"no index {index}" for index in table.indexes.keys() - names]
    return found


def check_right_to_create(connection: Any, cursor: Any) -> None:
    """Raises ServiceError with the GRANT if this user may not create tables."""
    cursor.execute("SELECT current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
    schema, may = cursor.fetchone()
    if not may:
        user = _quoted(connection, connection.info.user)
        raise ServiceError(
            f"{place(connection)}: {connection.info.user} may not create tables in schema {schema}. Its owner lets it by: "
            f"GRANT CREATE ON SCHEMA {_quoted(connection, schema)} TO {user};"
        )


def check_rights(connection: Any, cursor: Any, wanted: Mapping[str, Table]) -> None:
    """Raises ServiceError with the GRANT if this user may not read and write the existing tables."""
    cursor.execute(
        "SELECT c.relname::text, right_ FROM pg_class c, unnest(%s) AS right_ "
        "WHERE c.relname = ANY(%s) AND pg_table_is_visible(c.oid) AND NOT has_table_privilege(c.oid, right_)",
        (list(RIGHTS), list(wanted)),
    )
    lacking = cursor.fetchall()
    if lacking:
        tables = ", ".join(_quoted(connection, name) for name in sorted({name for name, _ in lacking}))
        rights = ", ".join(right for right in RIGHTS if right in {right for _, right in lacking})
        user = _quoted(connection, connection.info.user)
        raise ServiceError(
            f"{place(connection)}: {connection.info.user} may not use all tables. Their owner lets it by: "
            f"GRANT {rights} ON {tables} TO {user};"
        )


def foreign(connection: Any, faults: list[str]) -> ServiceError:
    """The error if tables of these names exist that are not this pipeline's."""
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    return ServiceError(
        f"{place(connection)} has tables of the same names that are another application's ({'; '.join(faults[:3])}{more}): "
        "give the pipeline a database of its own (CREATE DATABASE, then DB_DEV_NAME), or a schema (ALTER ROLE … SET search_path)"
    )


def hint(connection: Any, error: psycopg2.Error) -> str:
    """What to do about a server or role that only reads, with a colon before it; empty for other errors."""
    if error.pgcode != psycopg2.errorcodes.READ_ONLY_SQL_TRANSACTION:
        return ""
    try:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'")
            standby, by_default = cursor.fetchone()
    except psycopg2.Error:
        return ""
    if standby:
        return ": it is a standby, so set DB_HOST to the primary server"
    if by_default:
        user, name = _quoted(connection, connection.info.user), _quoted(connection, connection.info.dbname)
        return (
            ": default_transaction_read_only is on, for this user, this database or the whole server "
            f"(ALTER ROLE {user} RESET …, ALTER DATABASE {name} RESET …, ALTER SYSTEM RESET …; a provider sets it when the disk is full)"
        )
    return ""


def place(connection: Any) -> str:
    """Which database, for people."""
    info = connection.info
    return f"PostgreSQL {info.user}@{info.host}:{info.port}/{info.dbname}"


def _quoted(connection: Any, name: str) -> str:
    quoted: str = quote_ident(name, connection)
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else quoted
