"""Report: what has changed for an incident that a person should be told.

Level-triggered like the rest: a notice is made as long as it is true, and its key makes the
outbox tell it once. So nothing is lost when the daemon dies between deciding and telling, and
an incident that opens, is diagnosed and is acted on in one tick is one message, not three.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from healer.model.actions import Escalate
from healer.model.incident import Incident, Phase
from healer.model.intent import Intent, State
from healer.model.message import Notice, Occasion

SETTLED = timedelta(seconds=30)
"""How long one cause leads before it is called the diagnosis in chat."""

_NO_CAUSE = frozenset({"no_fault", "unknown"})
"""Leading explanations that are nothing to wake anybody with."""

_OCCASIONS = {
    State.PLANNED: Occasion.PROPOSED,
    State.REHEARSED: Occasion.PROPOSED,
    State.VERIFYING: Occasion.ACTED,
    State.FAILED: Occasion.ACTED,
    State.UNKNOWN: Occasion.ACTED,
}
"""A success is told by the incident's end, and an abortion by what follows it."""

_TRIED = (State.SUCCEEDED, State.FAILED, State.UNKNOWN, State.ABORTED)


def notices(
    before: tuple[Incident, ...],
    after: tuple[Incident, ...],
    intents: tuple[Intent, ...],
    now: datetime,
    public_url: str = "",
) -> tuple[Notice, ...]:
    """All that may be told now, in the order of `after`.

    before: the incidents as the previous tick left them; empty after a restart.
    after: open incidents, and those that ended since.
    intents: every intent of the incidents in `after`, whether it changed in this tick or not.
    """
    was = {i.id: i for i in before}
    return tuple(
        notice
        for incident in after
        for notice in _notices(incident, was.get(incident.id), intents, now, public_url)
    )


def _notices(
    incident: Incident,
    was: Incident | None,
    intents: Sequence[Intent],
    now: datetime,
    public_url: str,
) -> Iterator[Notice]:
    mine = tuple(
        i for i in intents if i.plan.incident_id == incident.id and i.plan.remediation != "escalate"
    )
    page = f"{public_url.rstrip('/')}/incidents/{incident.id}" if public_url else ""
    if incident.phase is Phase.RESOLVED:
        if was is None or was.is_open:
            yield Notice(Occasion.RESOLVED, incident, now, (), page)
        return
    told = False
    for intent in mine:
        occasion = _OCCASIONS.get(intent.state)
        if occasion is None or (intent.state is State.PLANNED and intent.expires_at is None):
            continue
        told = True
        url = page
        if public_url and intent.state is State.PLANNED:
            url = f"{public_url.rstrip('/')}/approvals/{intent.id}"
        yield Notice(occasion, incident, now, (intent,), url)
    if incident.phase is Phase.ESCALATED:
        tried = tuple(i for i in mine if i.state in _TRIED)
        yield Notice(
            Occasion.ESCALATED, incident, now, (), page, tried=tried, why=_why(incident, intents)
        )
    elif not told and incident.phase in (Phase.OPEN, Phase.DIAGNOSED):
        occasion = Occasion.DIAGNOSED if _settled(incident, now) else Occasion.OPENED
        yield Notice(occasion, incident, now, (), page)


def _why(incident: Incident, intents: Sequence[Intent]) -> str:
    """The newest reason for which a person was called."""
    for intent in reversed(intents):
        if intent.plan.incident_id == incident.id:
            for action in intent.plan.actions:
                if isinstance(action, Escalate):
                    return action.reason
    return ""


def _settled(incident: Incident, now: datetime) -> bool:
    diagnosis = incident.diagnosis
    if diagnosis is None or diagnosis.leader is None or diagnosis.abstained:
        return False
    if diagnosis.leader.cause in _NO_CAUSE:
        return False
    return now - (diagnosis.leading_since or diagnosis.at) >= SETTLED
