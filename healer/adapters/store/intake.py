"""Alert episodes: taken in once each, however often they are delivered."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select, update

from healer.adapters.store.rows import insert_into, utc
from healer.adapters.store.schema import EPISODES
from healer.ports import Episode
from healer.values import dump_json, load_json

_KNOWN = (
    select(EPISODES)
    .where(
        EPISODES.c.source == bindparam("source"),
        EPISODES.c.fingerprint.in_(bindparam("fingerprints", expanding=True)),
    )
    .order_by(EPISODES.c.fingerprint, EPISODES.c.starts_at)
    .with_for_update()
)
_CHANGE = (
    update(EPISODES)
    .where(
        EPISODES.c.source == bindparam("b_source"),
        EPISODES.c.fingerprint == bindparam("b_fingerprint"),
        EPISODES.c.starts_at == bindparam("b_starts_at"),
    )
    .values({name: bindparam(f"b_{name}") for name in ("ends_at", "last_seen", "seen", "body")})
)
"""Both are built once: to put a statement together costs more than to run it."""


def accept(connection: Connection, episodes: Sequence[Episode]) -> tuple[int, int]:
    """(new or changed, duplicates). An end is never taken back by a late `firing`."""
    (counts,) = accept_all(connection, [episodes])
    return counts


def accept_all(
    connection: Connection, batches: Sequence[Sequence[Episode]]
) -> tuple[tuple[int, int], ...]:
    """`accept` of several webhooks at once: one transaction, counts for each.

    What is new goes in with one statement, for a storm of alerts is mostly new ones.
    """
    # In one order everywhere: two replicas with the same alerts wait for each other, not in a ring.
    ordered = sorted(
        ((n, each) for n, batch in enumerate(batches) for each in batch),
        key=lambda pair: _key(pair[1]),
    )
    first: dict[tuple[str, str, str], Episode] = {}
    for _, each in ordered:
        first.setdefault(_key(each), each)
    made = _insert(connection, list(first.values()))
    fresh = [0] * len(batches)
    known = []
    for number, each in ordered:
        if _key(each) in made and first[_key(each)] is each:
            fresh[number] += 1
        else:
            known.append((number, each))
    for (number, _), ended in zip(known, _merge(connection, [e for _, e in known]), strict=True):
        fresh[number] += ended
    return tuple((n, len(batch) - n) for n, batch in zip(fresh, batches, strict=True))


def _key(episode: Episode) -> tuple[str, str, str]:
    return episode.source, episode.fingerprint, utc(episode.starts_at)


def _insert(connection: Connection, episodes: Sequence[Episode]) -> set[tuple[str, str, str]]:
    """Keys of those that were not there."""
    if not episodes:
        return set()
    table = EPISODES.c
    rows = []
    for episode in episodes:
        source, fingerprint, starts_at = _key(episode)
        seen_at = episode.last_seen or episode.starts_at
        rows.append(
            {
                "source": source,
                "fingerprint": fingerprint,
                "starts_at": starts_at,
                "ends_at": utc(episode.ends_at) if episode.ends_at else None,
                "first_seen": utc(episode.first_seen or seen_at),
                "last_seen": utc(seen_at),
                "seen": 1,
                "body": dump_json(dataclasses.replace(episode, first_seen=seen_at)),
            }
        )
    query = (
        insert_into(connection, EPISODES)
        .on_conflict_do_nothing()
        .returning(table.source, table.fingerprint, table.starts_at)
    )
    return {(row[0], row[1], row[2]) for row in connection.execute(query, rows)}


def _merge(connection: Connection, episodes: Sequence[Episode]) -> list[bool]:
    """Into the rows that are there. Tells of each whether it ended one."""
    if not episodes:
        return []
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for source in sorted({each.source for each in episodes}):
        known = sorted({each.fingerprint for each in episodes if each.source == source})
        found = connection.execute(_KNOWN, {"source": source, "fingerprints": known}).mappings()
        rows |= {(source, row["fingerprint"], row["starts_at"]): dict(row) for row in found}
    ended = []
    for episode in episodes:
        row, seen_at = rows[_key(episode)], episode.last_seen or episode.starts_at
        ended.append(episode.ends_at is not None and row["ends_at"] is None)
        was = load_json(Episode, row["body"])
        merged = dataclasses.replace(
            was,
            ends_at=episode.ends_at or was.ends_at,
            annotations=episode.annotations or was.annotations,
            last_seen=seen_at,
        )
        row |= {
            "ends_at": utc(merged.ends_at) if merged.ends_at else None,
            "last_seen": max(row["last_seen"], utc(seen_at)),
            "seen": row["seen"] + 1,
            "body": dump_json(merged),
        }
    changed = sorted({_key(each) for each in episodes})
    connection.execute(_CHANGE, [{f"b_{k}": v for k, v in rows[key].items()} for key in changed])
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
