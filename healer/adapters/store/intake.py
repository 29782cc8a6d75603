"""Alert episodes: taken in once each, however often they are delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from healer.adapters.store.records import utc
from healer.adapters.store.schema import EPISODES
from healer.ports import Episode
from healer.values import dump_json, load_json


def accept(connection: Connection, episodes: Sequence[Episode]) -> tuple[int, int]:
    """(new or changed, duplicates). An end is never taken back by a late `firing`."""
    fresh = 0
    for episode in episodes:
        fresh += _accept_one(connection, episode)
    return fresh, len(episodes) - fresh


def _accept_one(connection: Connection, episode: Episode) -> bool:
    table = EPISODES.c
    match = (
        table.source == episode.source,
        table.fingerprint == episode.fingerprint,
        table.starts_at == utc(episode.starts_at),
    )
    seen_at = episode.last_seen or episode.starts_at
    row = connection.execute(select(EPISODES).where(*match).with_for_update()).mappings().first()
    if row is None:
        connection.execute(
            insert(EPISODES).values(
                source=episode.source,
                fingerprint=episode.fingerprint,
                starts_at=utc(episode.starts_at),
                ends_at=utc(episode.ends_at) if episode.ends_at else None,
                first_seen=utc(episode.first_seen or seen_at),
                last_seen=utc(seen_at),
                seen=1,
                body=dump_json(dataclasses.replace(episode, first_seen=seen_at)),
            )
        )
        return True
    ended = episode.ends_at is not None and row["ends_at"] is None
    known = load_json(Episode, row["body"])
    merged = dataclasses.replace(
        known,
        ends_at=episode.ends_at or known.ends_at,
        annotations=episode.annotations or known.annotations,
        last_seen=seen_at,
    )
    connection.execute(
        update(EPISODES)
        .where(*match)
        .values(
            ends_at=utc(merged.ends_at) if merged.ends_at else None,
            last_seen=max(row["last_seen"], utc(seen_at)),
            seen=row["seen"] + 1,
            body=dump_json(merged),
        )
    )
    return ended


def episodes(connection: Connection, since: datetime) -> tuple[Episode, ...]:
    query = (
        select(EPISODES.c.body)
        .where(
            or_(
                EPISODES.c.ends_at.is_(None),
                EPISODES.c.ends_at >= utc(since),
                EPISODES.c.first_seen >= utc(since),
            )
        )
        .order_by(EPISODES.c.starts_at)
    )
    return tuple(load_json(Episode, body) for body in connection.execute(query).scalars())
