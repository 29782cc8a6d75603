"""The audit chain: every entry carries a hash over itself and its predecessor's hash.

An edited, removed, reordered or inserted row breaks it; a chain cut short at its end no longer
matches the head that is kept apart.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from healer.adapters.store.rows import insert_into
from healer.adapters.store.schema import AUDIT, AUDIT_HEAD
from healer.model.audit import GENESIS, AuditEntry
from healer.values import dump_json, load_json


def append(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    locked = select(AUDIT_HEAD).with_for_update()
    head = connection.execute(locked).mappings().one_or_none()
    if head is None:
        first = insert_into(connection, AUDIT_HEAD).values(id=1, sequence=0, hash=GENESIS)
        connection.execute(first.on_conflict_do_nothing())
        head = connection.execute(locked).mappings().one()
    sequence, previous = head["sequence"], head["hash"]
    for entry in entries:
        stored = load_json(AuditEntry, dump_json(entry))  # hash what a reader will see
        sequence, previous = sequence + 1, stored.digest(previous)
        connection.execute(
            insert(AUDIT).values(
                sequence=sequence,
                incident_id=stored.incident_id,
                body=dump_json(stored),
                hash=previous,
            )
        )
    connection.execute(update(AUDIT_HEAD).values(sequence=sequence, hash=previous))


def entries(
    connection: Connection, incident_id: str, after: int, limit: int
) -> tuple[tuple[int, AuditEntry], ...]:
    query = (
        select(AUDIT.c.sequence, AUDIT.c.body)
        .where(AUDIT.c.sequence > after)
        .order_by(AUDIT.c.sequence)
        .limit(limit)
    )
    if incident_id:
        query = query.where(AUDIT.c.incident_id == incident_id)
    return tuple(
        (row.sequence, load_json(AuditEntry, row.body)) for row in connection.execute(query)
    )


def verify(connection: Connection) -> tuple[int, str]:
    """(entries checked, what is wrong). Stops at the first break: all after it is void."""
    previous, checked = GENESIS, 0
    for row in connection.execute(select(AUDIT).order_by(AUDIT.c.sequence)):
        if row.sequence != checked + 1:
            return checked, f"entry {checked + 1} is missing: the next one is {row.sequence}"
        try:
            entry = load_json(AuditEntry, row.body)
        except ValueError:
            return checked, f"entry {row.sequence} is not readable"
        if entry.digest(previous) != row.hash or entry.incident_id != row.incident_id:
            return checked, f"entry {row.sequence} does not match its hash: edited or reordered"
        previous, checked = row.hash, row.sequence
    head = connection.execute(select(AUDIT_HEAD)).mappings().one_or_none()
    expected = (head["sequence"], head["hash"]) if head else (0, GENESIS)
    if expected != (checked, previous):
        return checked, f"the chain ends at entry {checked}, its head says {expected[0]}"
    return checked, ""
