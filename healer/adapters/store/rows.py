"""What every table's statements are made with, on either database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def utc(moment: datetime) -> str:
    """Sorts as text on every database."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def insert_into(connection: Connection, table: Table) -> Any:
    """An insert that knows `on_conflict_…`: both databases do, each by a construct of its own."""
    own = postgresql if connection.dialect.name == "postgresql" else sqlite
    return own.insert(table)


def upsert(
    connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]
) -> None:
    """One statement: of two replicas that put the same new key, none fails."""
    row = insert_into(connection, table).values(**key, **values)
    connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=values))
