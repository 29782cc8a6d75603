"""Who looks after an incident, and whether people want to hear of it.

Somebody who takes an incident stops its escalation to the next channel; a mute holds its messages
back for a while. Both are small facts in the store, so chat links, pages and commands agree, and
both are in the audit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.errors import BadInput
from healer.model.audit import AuditEntry
from healer.model.incident import Incident
from healer.ports import Store

MOST_MUTED = timedelta(days=7)
"""Longer is forgotten about."""


@dataclass(frozen=True, slots=True)
class Attention:
    taken_by: str = ""
    taken_at: datetime | None = None
    muted_until: datetime | None = None
    muted_by: str = ""

    def muted(self, now: datetime) -> bool:
        return self.muted_until is not None and now < self.muted_until


def attention(store: Store, incident_id: str) -> Attention:
    taken, muted = _read(store, f"taken|{incident_id}"), _read(store, f"muted|{incident_id}")
    return Attention(
        taken_by=taken.get("by", ""),
        taken_at=_moment(taken.get("at")),
        muted_until=_moment(muted.get("until")),
        muted_by=muted.get("by", ""),
    )


def take(store: Store, incident: Incident, who: str, now: datetime) -> None:
    """From now on `who` looks after it: nobody else is called. The last one counts."""
    _need_open(incident)
    store.put(f"taken|{incident.id}", json.dumps({"by": who, "at": now.isoformat()}))
    store.record(
        AuditEntry("incident.taken", now, who, incident.id, message=f"{who} looks after it")
    )


def mute(store: Store, incident: Incident, who: str, now: datetime, span: timedelta) -> datetime:
    """Hold its messages back; only a call for a person still goes out. Returns until when.

    A span of nothing ends a mute. Raises BadInput for one that is too long.
    """
    _need_open(incident)
    if not timedelta(0) <= span <= MOST_MUTED:
        raise BadInput(f"expected at most {MOST_MUTED.days} days", path="for", value=str(span))
    until = now + span
    store.put(f"muted|{incident.id}", json.dumps({"by": who, "until": until.isoformat()}))
    said = f"no messages until {until:%Y-%m-%d %H:%M:%S %z}" if span else "messages again"
    store.record(AuditEntry("incident.muted", now, who, incident.id, message=said))
    return until


def _need_open(incident: Incident) -> None:
    if not incident.is_open:
        raise BadInput("expected an incident that is open", path="incident", value=incident.id)


def _read(store: Store, key: str) -> dict[str, str]:
    text = store.get(key)
    found: dict[str, str] = json.loads(text) if text else {}
    return found


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
