"""Incidents, intents, approvals and baselines, on one connection of a transaction."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import io
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, delete, insert, or_, select, tuple_
from sqlalchemy.exc import IntegrityError

from healer.adapters.store.rows import upsert, utc
from healer.adapters.store.schema import BASELINES, EPISODES, INCIDENTS, INTENTS, PARCELS
from healer.adapters.store.tallies import forget, note_incident, note_intent
from healer.errors import BadInput
from healer.model.incident import Incident, Phase
from healer.model.intent import OPEN_STATES, Intent, State
from healer.ports import Baseline, Page
from healer.values import dump_json, load_json

# --------------------------------------------------------------------------- incidents


def put_incident(connection: Connection, incident: Incident) -> None:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    words = {str(t) for t in incident.targets} | {f"ns={t.namespace}" for t in incident.targets}
    words |= {incident.title, leader.cause if leader else ""}
    upsert(
        connection,
        INCIDENTS,
        {"id": incident.id},
        {
            "opened_at": utc(incident.opened_at),
            "phase": incident.phase.value,
            "severity": incident.severity.value,
            "cause": leader.cause if leader else "",
            "search": "\n".join(sorted(words)),
            "body": dump_json(incident),
        },
    )
    note_incident(connection, incident)


def incident(connection: Connection, incident_id: str) -> Incident | None:
    body = connection.execute(
        select(INCIDENTS.c.body).where(INCIDENTS.c.id == incident_id)
    ).scalar()
    return None if body is None else load_json(Incident, body)


def open_incidents(connection: Connection) -> tuple[Incident, ...]:
    query = (
        select(INCIDENTS.c.body)
        .where(INCIDENTS.c.phase != Phase.RESOLVED.value)
        .order_by(INCIDENTS.c.opened_at, INCIDENTS.c.id)
    )
    return tuple(load_json(Incident, body) for body in connection.execute(query).scalars())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which incidents a reader asked for."""

    phase: tuple[str, ...]
    severity: tuple[str, ...]
    cause: tuple[str, ...]
    namespace: tuple[str, ...]
    node: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    text: str
    limit: int
    cursor: str | None


def page(connection: Connection, wanted: Wanted) -> Page:
    """Newest first. Raises BadInput for a cursor that is not ours."""
    table = INCIDENTS.c
    query = select(table.body).order_by(table.opened_at.desc(), table.id.desc())
    for column, values in (
        (table.phase, wanted.phase),
        (table.severity, wanted.severity),
        (table.cause, wanted.cause),
    ):
        if values:
            query = query.where(column.in_(values))
    for prefix, values in (("ns=", wanted.namespace), ("node:", wanted.node)):
        if values:
            query = query.where(
                or_(*(table.search.contains(prefix + v, autoescape=True) for v in values))
            )
    if wanted.text:
        query = query.where(table.search.icontains(wanted.text, autoescape=True))
    if wanted.since:
        query = query.where(table.opened_at >= utc(wanted.since))
    if wanted.until:
        query = query.where(table.opened_at < utc(wanted.until))
    if wanted.cursor:
        query = query.where(tuple_(table.opened_at, table.id) < _read_cursor(wanted.cursor))
    bodies = connection.execute(query.limit(wanted.limit + 1)).scalars().all()
    items = tuple(load_json(Incident, body) for body in bodies[: wanted.limit])
    more = len(bodies) > wanted.limit
    return Page(items, _write_cursor(items[-1]) if more else None)


def _write_cursor(last: Incident) -> str:
    text = json.dumps([utc(last.opened_at), last.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        opened_at, incident_id = json.loads(base64.urlsafe_b64decode(padded.encode()))
        f"{opened_at}{incident_id}".encode()  # half a surrogate is JSON, and no text
    except (ValueError, TypeError, binascii.Error) as error:
        raise BadInput(
            "expected next_cursor of an earlier answer", path="cursor", value=cursor
        ) from error
    return str(opened_at), str(incident_id)


# --------------------------------------------------------------------------- intents


def claim_intent(connection: Connection, intent: Intent) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(insert(INTENTS).values(id=intent.id, **_intent_row(intent)))
            note_intent(connection, intent)
    except IntegrityError:
        return False
    return True


def put_intent(connection: Connection, intent: Intent) -> None:
    upsert(connection, INTENTS, {"id": intent.id}, _intent_row(intent))
    note_intent(connection, intent)


def replace_intent(connection: Connection, intent: Intent, was: Intent) -> bool:
    """False where the stored one is not `was` any more: somebody answered or acted meanwhile."""
    query = select(INTENTS.c.body).where(INTENTS.c.id == intent.id).with_for_update()
    body = connection.execute(query).scalar()
    if body is None or load_json(Intent, body) != was:
        return False
    put_intent(connection, intent)
    return True


def intent(connection: Connection, intent_id: str) -> Intent | None:
    body = connection.execute(select(INTENTS.c.body).where(INTENTS.c.id == intent_id)).scalar()
    return None if body is None else load_json(Intent, body)


def intents(
    connection: Connection, incident_id: str, since: datetime | None, *, open_only: bool
) -> tuple[Intent, ...]:
    query = select(INTENTS.c.body).order_by(INTENTS.c.created_at, INTENTS.c.id)
    if incident_id:
        query = query.where(INTENTS.c.incident_id == incident_id)
    if since:
        query = query.where(INTENTS.c.created_at >= utc(since))
    if open_only:
        query = query.where(INTENTS.c.is_open)
    return tuple(load_json(Intent, body) for body in connection.execute(query).scalars())


def decide(
    connection: Connection, intent_id: str, digest: str, who: str, *, yes: bool, at: datetime
) -> bool:
    query = select(INTENTS.c.body).where(INTENTS.c.id == intent_id).with_for_update()
    body = connection.execute(query).scalar()
    found = None if body is None else load_json(Intent, body)
    if found is None or found.plan.digest != digest or not may_decide(found, at, yes=yes):
        return False
    decided = dataclasses.replace(
        found,
        approved_by=who if yes else "",
        state=State.PLANNED if yes else State.ABORTED,
        note=found.note if yes else f"rejected by {who}",
        updated_at=at,
    )
    put_intent(connection, decided)
    return True


def may_decide(found: Intent, at: datetime, *, yes: bool) -> bool:
    """A yes once, while it is asked for; a no until the first call, even after somebody's yes."""
    if any(step.sent_at for step in found.steps):
        return False
    if not yes:
        return found.state in (State.PLANNED, State.APPROVED)
    waiting = found.state is State.PLANNED and not found.approved_by
    return waiting and (found.expires_at is None or at < found.expires_at)


def _intent_row(intent: Intent) -> dict[str, Any]:
    return {
        "incident_id": intent.plan.incident_id,
        "created_at": utc(intent.created_at),
        "state": intent.state.value,
        "is_open": intent.state in OPEN_STATES,
        "body": dump_json(intent),
    }


# --------------------------------------------------------------------------- baselines, pruning


def put_baseline(connection: Connection, baseline: Baseline) -> None:
    packed = io.BytesIO()
    arrays: dict[str, Any] = dict(baseline.arrays)
    np.savez_compressed(packed, **arrays)
    upsert(
        connection,
        BASELINES,
        {"detector": baseline.detector, "signal": baseline.signal},
        {
            "version": baseline.version,
            "fitted_at": utc(baseline.fitted_at),
            "meta": json.dumps(dict(baseline.meta)),
            "arrays": packed.getvalue(),
        },
    )


def baselines(connection: Connection) -> tuple[Baseline, ...]:
    found = []
    for row in connection.execute(select(BASELINES)).mappings():
        with np.load(io.BytesIO(row["arrays"]), allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
        found.append(
            Baseline(
                row["detector"],
                row["signal"],
                row["version"],
                datetime.fromisoformat(row["fitted_at"]),
                arrays,
                json.loads(row["meta"]),
            )
        )
    return tuple(found)


def prune(connection: Connection, before: datetime, keep: Collection[str]) -> int:
    """Forget what ended before: incidents with their intents, alerts, sent messages.

    keep: ids of intents whose incidents stay, for something of them is still to be done.
    """
    limit = utc(before)
    kept = select(INTENTS.c.incident_id).where(INTENTS.c.id.in_(tuple(keep)))
    ended = and_(
        INCIDENTS.c.phase == Phase.RESOLVED.value,
        INCIDENTS.c.opened_at < limit,
        INCIDENTS.c.id.not_in(kept),
    )
    theirs = INTENTS.c.incident_id.in_(select(INCIDENTS.c.id).where(ended))
    connection.execute(delete(INTENTS).where(theirs, ~INTENTS.c.is_open))
    connection.execute(delete(PARCELS).where(PARCELS.c.settled, PARCELS.c.created_at < limit))
    connection.execute(
        delete(EPISODES).where(EPISODES.c.ends_at.is_not(None), EPISODES.c.last_seen < limit)
    )
    gone = connection.execute(delete(INCIDENTS).where(ended)).rowcount
    forget(connection)
    return gone
