"""Messages on their way, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select, update

from healer.adapters.store.rows import insert_into, utc
from healer.adapters.store.schema import PARCELS
from healer.model.message import DeliveryResult, Parcel


def enqueue(
    connection: Connection,
    channel: str,
    notice_key: str,
    incident_id: str,
    body: str,
    at: datetime,
) -> bool:
    made = connection.execute(
        insert_into(connection, PARCELS)
        .values(
            channel=channel,
            notice_key=notice_key,
            incident_id=incident_id,
            body=body,
            created_at=utc(at),
            next_try_at=None,
            settled=False,
            tries=0,
            result="waiting",
            code="",
            detail="",
            updated_at=utc(at),
        )
        .on_conflict_do_nothing()
        .returning(PARCELS.c.id)
    )
    return made.first() is not None


def due(connection: Connection, channel: str, now: datetime, limit: int) -> tuple[Parcel, ...]:
    table = PARCELS.c
    query = (
        select(PARCELS)
        .where(
            table.channel == channel,
            ~table.settled,
            or_(table.next_try_at.is_(None), table.next_try_at <= utc(now)),
        )
        .order_by(table.id)
        .limit(limit)
    )
    return tuple(
        Parcel(
            id=row["id"],
            channel=row["channel"],
            notice_key=row["notice_key"],
            incident_id=row["incident_id"],
            body=row["body"],
            created_at=datetime.fromisoformat(row["created_at"]),
            tries=row["tries"],
            next_try_at=datetime.fromisoformat(row["next_try_at"]) if row["next_try_at"] else None,
        )
        for row in connection.execute(query).mappings()
    )


def settle(
    connection: Connection,
    parcel_id: int,
    result: DeliveryResult,
    at: datetime,
    next_try_at: datetime | None,
) -> None:
    """Without a next try the parcel is done with: delivered, or given up as the log says."""
    connection.execute(
        update(PARCELS)
        .where(PARCELS.c.id == parcel_id)
        .values(
            settled=next_try_at is None,
            next_try_at=utc(next_try_at) if next_try_at else None,
            tries=PARCELS.c.tries + 1,
            result=result.delivery.value,
            code=result.code,
            detail=result.detail,
            updated_at=utc(at),
        )
    )


def deliveries(
    connection: Connection, incident_id: str, limit: int
) -> tuple[Mapping[str, Any], ...]:
    """Newest first: channel, notice_key, result, code, detail, tries, created_at, updated_at."""
    query = select(PARCELS).order_by(PARCELS.c.id.desc()).limit(limit)
    if incident_id:
        query = query.where(PARCELS.c.incident_id == incident_id)
    return tuple(dict(row) for row in connection.execute(query).mappings())
