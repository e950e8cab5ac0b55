"""How a table is described: `schema` creates tables from these descriptions, `fitness` compares them with what exists. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

TIME = "timestamp with time zone"


class Column(NamedTuple):
    """type: as PostgreSQL's `format_type` writes it. rule: what follows it in SQL, such as `NOT NULL DEFAULT ''`."""

    type: str
    rule: str = ""


#: Kinds of columns that several tables have.
TEXT = Column("text", "NOT NULL")
TEXT_OR_EMPTY = Column("text", "NOT NULL DEFAULT ''")
NUMBER = Column("double precision")
OBJECT = Column("jsonb", "NOT NULL DEFAULT '{}'")


@dataclass(frozen=True)
class Table:
    """A table with its columns, in their order, and the columns of its primary key.

    later: columns that tables of older versions lack. indexes: name → column. storage: PostgreSQL's storage parameters.
    """

    columns: Mapping[str, Column]
    key: tuple[str, ...]
    later: tuple[str, ...] = ()
    indexes: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""

    def sql(self, name: str) -> str:
        """Statements that create the table, or what an older one lacks of it. They may run any number of times."""
        defined = {column: " ".join(filter(None, (column, *parts))) for column, parts in self.columns.items()}
        body = ", ".join([*defined.values(), f"PRIMARY KEY ({', '.join(self.key)})"])
        statements = [f"CREATE TABLE IF NOT EXISTS {name} ({body})"]
        statements += [f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {defined[column]}" for column in self.later]
        statements += [f"CREATE INDEX IF NOT EXISTS {index} ON {name} ({column})" for index, column in self.indexes.items()]
        statements += [f"ALTER TABLE {name} SET ({self.storage})"] * bool(self.storage)
        return "".join(f"{statement};\n" for statement in statements)
