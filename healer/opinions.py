"""People's word on a diagnosis: right or wrong. It makes a rule's standing, and is in the audit."""

from __future__ import annotations

from datetime import datetime

from healer.errors import BadInput
from healer.model.audit import AuditEntry
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.opinion import Opinion
from healer.ports import Store

LONGEST_NOTE = 1000


def judged(incident: Incident) -> Hypothesis | None:
    """What a verdict is about: the cause that was acted on, or else the one that leads."""
    diagnosis = incident.acted_on or incident.diagnosis
    return diagnosis.leader if diagnosis else None


def judge(
    store: Store, incident: Incident, *, right: bool, who: str, now: datetime, note: str = ""
) -> Opinion:
    """Write down what `who` thinks of the leading cause; of several people the last one counts.

    Of an incident that was acted on, the ranking that was acted on is judged: later ones see the
    traces of our own doing. Raises BadInput where no cause leads.
    """
    leader = judged(incident)
    if leader is None:
        raise BadInput("expected an incident with a diagnosis", path="incident", value=incident.id)
    if len(note) > LONGEST_NOTE:
        raise BadInput(f"expected at most {LONGEST_NOTE} characters", path="note", value=len(note))
    opinion = Opinion(incident.id, leader.cause, right, who, now, note)
    store.put_opinion(opinion)
    said = f"{leader.cause} was {'right' if right else 'wrong'}" + (f": {note}" if note else "")
    store.record(
        AuditEntry(
            kind="diagnosis.judged",
            at=now,
            actor=who,
            incident_id=incident.id,
            target=str(leader.target),
            message=said,
            detail={"cause": leader.cause, "right": right},
        )
    )
    return opinion
