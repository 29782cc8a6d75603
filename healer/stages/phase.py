"""How far the healing of an incident has come, read from its intents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timedelta

from healer.model.hypothesis import Diagnosis, Hypothesis, Side
from healer.model.incident import Incident, Phase
from healer.model.intent import ACTIVE_STATES, Effect, Intent, State


def settle(
    incident: Incident, intents: Sequence[Intent], now: datetime, quiet_for: timedelta
) -> Incident:
    """`incident` in the phase its intents put it in; resolved once quiet long enough.

    It never resolves while an action is under way: what we began, we see through.
    """
    phase, resolution = _phase(incident, intents), ""
    busy = any(i.state in ACTIVE_STATES for i in intents)
    quiet = incident.quiet_since is not None and now - incident.quiet_since >= quiet_for
    if quiet and not busy:
        phase, resolution = Phase.RESOLVED, _resolution(intents)
    if phase is incident.phase:
        return incident
    return dataclasses.replace(
        incident,
        phase=phase,
        resolution=resolution,
        resolved_at=now if phase is Phase.RESOLVED else None,
        updated_at=now,
        version=incident.version + 1,
    )


def is_actionable(diagnosis: Diagnosis) -> bool:
    """Whether something could be done on its strength."""
    leader = diagnosis.leader
    return (
        leader is not None
        and not diagnosis.abstained
        and bool(leader.proposes)
        and leader.confidence >= leader.min_confidence
    )


def is_lost(old: Diagnosis | None, new: Diagnosis) -> bool:
    """Whether a known cause led, and nothing known fits any more, or it can only be seen less
    well: what it was compared with has gone out of view, and nothing speaks differently."""
    leader = old.leader if old else None
    if leader is None or leader.cause == "unknown":
        return False
    if new.leader is None or new.leader.cause == "unknown":
        return True
    return not is_actionable(new) and any(
        (each.cause, each.target) == (leader.cause, leader.target) and _has_faded(leader, each)
        for each in new.hypotheses
    )


def _has_faded(before: Hypothesis, now: Hypothesis) -> bool:
    """Whether answers to its questions are missing that were there, and none is another."""
    known = {t.asked: t.side for t in before.terms}
    sides = [(known.get(t.asked, Side.MISSING), t.side) for t in now.terms]
    missed = any(was is not Side.MISSING and is_ is Side.MISSING for was, is_ in sides)
    return missed and not any(
        is_ is not Side.MISSING and is_ is not was and (was, is_) != (Side.MISSING, Side.FOR)
        for was, is_ in sides
    )


def with_diagnosis(incident: Incident, diagnosis: Diagnosis, now: datetime) -> Incident:
    """`incident` with a new ranking; `leading_since` is kept while the same cause leads."""
    old = incident.diagnosis
    since = now
    if old is not None and old.leader is not None and diagnosis.leader is not None:
        same = (old.leader.cause, old.leader.target) == (
            diagnosis.leader.cause,
            diagnosis.leader.target,
        )
        since = old.leading_since or now if same else now
    return dataclasses.replace(
        incident,
        diagnosis=dataclasses.replace(diagnosis, leading_since=since),
        version=incident.version + 1,
        updated_at=now,
    )


def _phase(incident: Incident, intents: Sequence[Intent]) -> Phase:
    states = {i.state for i in intents}
    if states & {State.APPROVED, State.EXECUTING}:
        return Phase.ACTING
    if State.VERIFYING in states:
        return Phase.VERIFYING
    if any(i.state is State.PLANNED and i.expires_at is not None for i in intents):
        return Phase.AWAITING_APPROVAL
    if any(i.plan.remediation == "escalate" and i.state is State.SUCCEEDED for i in intents):
        return Phase.ESCALATED
    return Phase.DIAGNOSED if incident.diagnosis is not None else Phase.OPEN


def _resolution(intents: Sequence[Intent]) -> str:
    for intent in reversed(intents):
        if intent.outcome is not None and intent.outcome.effect is Effect.EFFECTIVE:
            return f"{intent.plan.remediation} was effective"
    if any(i.state is State.REHEARSED for i in intents):
        return "symptoms ceased; Healer only observed"
    return "symptoms ceased"
