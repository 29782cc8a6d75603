"""What is counted of incidents and of the actions for them: a few facts each, then their sums.

- **carried out**: something that changes the cluster was sent in earnest.
- **wrong**: carried out, and its verification said ineffective, or its outcome is unknown.
- **curable**: the leading cause proposed a remedy with the confidence that it asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from healer.model.incident import Incident
from healer.model.intent import Effect, Intent, State


@dataclass(frozen=True, slots=True)
class IncidentFacts:
    """Of one incident; durations in seconds."""

    cause: str
    detect_s: float
    """From the earliest symptom until Healer noticed."""
    lasted_s: float | None
    """From the earliest symptom until the end; None while it is open."""
    curable: bool


@dataclass(frozen=True, slots=True)
class IntentFacts:
    remediation: str
    carried_out: bool
    helped: bool
    wrong: bool


@dataclass(frozen=True, slots=True)
class Tally:
    """The sums over incidents opened since a moment, and over the actions for them."""

    incidents: int = 0
    open: int = 0
    escalated: int = 0
    acted_on: int = 0
    """For which something was carried out."""
    acted_on_and_over: int = 0
    """Of those, ended or escalated."""
    recovered: int = 0
    """Ended, with an action whose verification said effective."""
    missed: int = 0
    """Ended or escalated, curable, and nothing was carried out."""
    wrong_actions: int = 0
    detect_s: tuple[float, ...] = ()
    """One an incident, rising."""
    recover_s: tuple[float, ...] = ()
    """One for each that an action of ours ended, rising."""
    actions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Remediation → state → how many."""
    causes: Mapping[str, int] = field(default_factory=dict)


def facts_of(incident: Incident) -> IncidentFacts:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    end = incident.resolved_at
    return IncidentFacts(
        cause=leader.cause if leader else "",
        detect_s=(incident.opened_at - incident.started_at).total_seconds(),
        lasted_s=None if end is None else (end - incident.started_at).total_seconds(),
        curable=leader is not None
        and any(name != "escalate" for name in leader.proposes)
        and leader.confidence >= leader.min_confidence,
    )


def facts_of_intent(intent: Intent) -> IntentFacts:
    effect = intent.outcome.effect if intent.outcome else None
    carried_out = intent.plan.remediation != "escalate" and any(
        step.sent_at is not None and not (step.receipt and step.receipt.dry_run)
        for step in intent.steps
    )
    return IntentFacts(
        remediation=intent.plan.remediation,
        carried_out=carried_out,
        helped=carried_out and effect is Effect.EFFECTIVE,
        wrong=carried_out and (effect is Effect.INEFFECTIVE or intent.state is State.UNKNOWN),
    )
