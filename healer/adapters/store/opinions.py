"""People's word on diagnoses, on one connection of a transaction. It outlives its incidents."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, case, func, select

from healer.adapters.store.rows import upsert, utc
from healer.adapters.store.schema import OPINIONS
from healer.model.opinion import Opinion


def put(connection: Connection, opinion: Opinion) -> None:
    """In place of what was said before of the same incident and cause."""
    upsert(
        connection,
        OPINIONS,
        {"incident_id": opinion.incident_id, "cause": opinion.cause},
        {
            "is_right": opinion.right,
            "who": opinion.who,
            "at": utc(opinion.at),
            "note": opinion.note,
        },
    )


def newest(connection: Connection, incident_id: str, cause: str, limit: int) -> tuple[Opinion, ...]:
    table = OPINIONS.c
    query = select(OPINIONS).order_by(table.at.desc(), table.incident_id.desc(), table.cause)
    for column, value in ((table.incident_id, incident_id), (table.cause, cause)):
        if value:
            query = query.where(column == value)
    return tuple(
        Opinion(
            row.incident_id,
            row.cause,
            bool(row.is_right),
            row.who,
            datetime.fromisoformat(row.at),
            row.note,
        )
        for row in connection.execute(query.limit(limit))
    )


def standings(connection: Connection) -> dict[str, tuple[int, int]]:
    table = OPINIONS.c
    right = func.sum(case((table.is_right, 1), else_=0))
    query = select(table.cause, right, func.count()).group_by(table.cause)
    return {
        cause: (int(yes), int(everything - yes))
        for cause, yes, everything in connection.execute(query)
    }
