"""The shapes of the report API: model values as readers of JSON want them.

Levels, risks and decisions are words instead of numbers, targets are strings, times are UTC with
a Z. New fields and new words may be added; none is taken away within a version.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer

from healer.model.event import Event
from healer.model.finding import Finding
from healer.model.hypothesis import Diagnosis, Hypothesis, Term
from healer.model.incident import Incident
from healer.model.intent import Intent, Outcome, Receipt, Step
from healer.redaction import redact, redacted
from healer.server.charts import Chart
from healer.server.reading import MOST_TARGETS, bounded
from healer.values import dump


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[datetime, PlainSerializer(_z, return_type=str)]
Number = float | None
"""None for what is not a finite number, which JSON cannot say."""


def number(value: float) -> Number:
    return float(value) if math.isfinite(value) else None


class Summary(BaseModel):
    """One row of the list."""

    id: str
    title: str
    phase: str
    severity: str
    opened_at: Moment
    started_at: Moment
    updated_at: Moment
    resolved_at: Moment | None
    targets: list[str]
    """The first hundred."""
    target_count: int
    namespaces: list[str]
    cause: str
    confidence: Number
    resolution: str
    version: int


class SymptomView(BaseModel):
    target: str
    signal: str
    detector: str
    level: str
    since: Moment
    at: Moment
    observed: Number
    expected_low: Number
    expected_high: Number
    unit: str
    score: Number
    summary: str
    contributions: dict[str, float]


class EventView(BaseModel):
    kind: str
    target: str
    at: Moment
    ended_at: Moment | None
    message: str
    source: str
    attributes: dict[str, str]


class TermView(BaseModel):
    asked: str
    side: str
    weight: Number
    seen: str
    decisive: bool
    family: str
    source: str
    target: str | None


class HypothesisView(BaseModel):
    cause: str
    target: str
    title: str
    title_zh: str
    onset: Moment
    confidence: Number
    log_odds: Number
    terms: list[TermView]
    proposes: list[str]
    min_confidence: Number
    why_not: str
    reference: str


class Hypotheses(BaseModel):
    """The ranking, best first; empty while nothing is diagnosed."""

    at: Moment | None
    leading_since: Moment | None
    abstained: str
    would_decide: str
    items: list[HypothesisView]


class Evidence(BaseModel):
    """What was seen, a slice at a time: first all symptoms, then all events, oldest entry first."""

    symptoms: list[SymptomView]
    symptom_count: int
    """In all, whatever this slice holds."""
    events: list[EventView]
    event_count: int
    next_after: int | None
    """`after` of the next slice; None at the end."""
    evidence_for: list[TermView]
    """Of the leading hypothesis."""
    evidence_against: list[TermView]
    missing: list[TermView]


class ReceiptView(BaseModel):
    ok: bool
    at: Moment
    detail: str
    dry_run: bool
    before: dict[str, Any]
    after: dict[str, Any]


class StepView(BaseModel):
    verb: str
    target: str
    action: dict[str, Any]
    sent_at: Moment | None
    tries: int
    receipt: ReceiptView | None


class VerdictView(BaseModel):
    guard: str
    decision: str
    reasons: list[str]
    until: Moment | None


class OutcomeView(BaseModel):
    effect: str
    at: Moment
    reasons: list[str]


class ActionView(BaseModel):
    """One intent: a plan written down, and how far it got."""

    id: str
    incident_id: str
    remediation: str
    cause: str
    target: str
    summary: str
    state: str
    risk: str
    confidence: Number
    rung: int
    attempt: int
    refused: str
    steps: list[StepView]
    verdicts: list[VerdictView]
    outcome: OutcomeView | None
    digest: str
    approved_by: str
    expires_at: Moment | None
    created_at: Moment
    updated_at: Moment
    executed_at: Moment | None
    affected_pods: list[str]
    compensates: str
    compensated_by: str
    note: str


class IncidentView(Summary):
    """One incident with all that is known of it; of a storm the first two hundred symptoms and
    events, and the rest under `/evidence`."""

    quiet_since: Moment | None
    hypotheses: Hypotheses
    symptoms: list[SymptomView]
    symptom_count: int
    events: list[EventView]
    event_count: int
    actions: list[ActionView]


class SeriesView(BaseModel):
    signal: str
    target: str
    unit: str
    title: str
    times: list[float]
    values: list[Number]
    low: list[Number]
    high: list[Number]
    spans: list[tuple[float, float]]
    markers: list[tuple[float, str]]


def summary(incident: Incident) -> dict[str, Any]:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    return {
        "id": incident.id,
        "title": redact(incident.title),
        "phase": incident.phase.value,
        "severity": incident.severity.value,
        "opened_at": incident.opened_at,
        "started_at": incident.started_at,
        "updated_at": incident.updated_at,
        "resolved_at": incident.resolved_at,
        "targets": [str(t) for t in incident.targets[:MOST_TARGETS]],
        "target_count": len(incident.targets),
        "namespaces": sorted({t.namespace for t in incident.targets if t.namespace}),
        "cause": leader.cause if leader else "",
        "confidence": number(leader.confidence) if leader else None,
        "resolution": incident.resolution,
        "version": incident.version,
    }


def incident_view(incident: Incident, intents: Sequence[Intent]) -> IncidentView:
    shown = bounded(incident)
    return IncidentView(
        **summary(incident),
        quiet_since=incident.quiet_since,
        hypotheses=hypotheses_view(incident.diagnosis),
        symptoms=[symptom(f) for f in shown.findings],
        symptom_count=len(incident.findings),
        events=[event(e) for e in shown.events],
        event_count=len(incident.events),
        actions=[action(i) for i in intents],
    )


def symptom(finding: Finding) -> SymptomView:
    return SymptomView(
        target=str(finding.target),
        signal=finding.signal,
        detector=finding.detector,
        level=finding.level.name.lower(),
        since=finding.since,
        at=finding.at,
        observed=number(finding.observed),
        expected_low=number(finding.expected_low),
        expected_high=number(finding.expected_high),
        unit=finding.unit,
        score=number(finding.score),
        summary=finding.summary,
        contributions=dict(finding.contributions),
    )


def event(found: Event) -> EventView:
    return EventView(
        kind=found.kind,
        target=str(found.target),
        at=found.at,
        ended_at=found.ended_at,
        message=found.message,
        source=found.source,
        attributes=dict(found.attributes),
    )


def term(found: Term) -> TermView:
    return TermView(
        asked=found.asked,
        side=found.side.value,
        weight=number(found.weight),
        seen=found.seen,
        decisive=found.decisive,
        family=found.family,
        source=found.source,
        target=str(found.target) if found.target else None,
    )


def hypothesis(found: Hypothesis) -> HypothesisView:
    return HypothesisView(
        cause=found.cause,
        target=str(found.target),
        title=found.title,
        title_zh=found.title_zh,
        onset=found.onset,
        confidence=number(found.confidence),
        log_odds=number(found.log_odds),
        terms=[term(t) for t in found.terms],
        proposes=list(found.proposes),
        min_confidence=number(found.min_confidence),
        why_not=found.why_not,
        reference=found.reference,
    )


def hypotheses_view(diagnosis: Diagnosis | None) -> Hypotheses:
    if diagnosis is None:
        return Hypotheses(at=None, leading_since=None, abstained="", would_decide="", items=[])
    return Hypotheses(
        at=diagnosis.at,
        leading_since=diagnosis.leading_since,
        abstained=diagnosis.abstained,
        would_decide=diagnosis.would_decide,
        items=[hypothesis(h) for h in diagnosis.hypotheses],
    )


def evidence_view(incident: Incident, after: int, limit: int) -> Evidence:
    """after: how many symptoms and events, in that order, the reader has already."""
    leader = incident.diagnosis.leader if incident.diagnosis else None
    seen, heard = len(incident.findings), len(incident.events)
    findings = incident.findings[after : after + limit]
    first = max(0, after - seen)
    events = incident.events[first : first + limit - len(findings)] if after + limit > seen else ()
    shown = redacted(replace(incident, findings=findings, events=events))
    end = after + len(findings) + len(events)
    return Evidence(
        symptoms=[symptom(f) for f in shown.findings],
        symptom_count=seen,
        events=[event(e) for e in shown.events],
        event_count=heard,
        next_after=end if after < end < seen + heard else None,
        evidence_for=[term(t) for t in leader.evidence_for] if leader else [],
        evidence_against=[term(t) for t in leader.evidence_against] if leader else [],
        missing=[term(t) for t in leader.missing] if leader else [],
    )


def action(intent: Intent) -> ActionView:
    plan = intent.plan
    return ActionView(
        id=intent.id,
        incident_id=plan.incident_id,
        remediation=plan.remediation,
        cause=plan.cause,
        target=str(plan.target),
        summary=plan.summary,
        state=intent.state.value,
        risk=plan.risk.name.lower(),
        confidence=number(plan.confidence),
        rung=plan.rung,
        attempt=plan.attempt,
        refused=plan.refused,
        steps=[_step(s) for s in intent.steps],
        verdicts=[
            VerdictView(
                guard=v.guard,
                decision=v.decision.name.lower(),
                reasons=list(v.reasons),
                until=v.until,
            )
            for v in intent.verdicts
        ],
        outcome=_outcome(intent.outcome),
        digest=plan.digest,
        approved_by=intent.approved_by,
        expires_at=intent.expires_at,
        created_at=intent.created_at,
        updated_at=intent.updated_at,
        executed_at=intent.executed_at,
        affected_pods=[str(t) for t in plan.affected_pods],
        compensates=intent.compensates,
        compensated_by=intent.compensated_by,
        note=intent.note,
    )


def series_view(chart: Chart) -> SeriesView:
    return SeriesView(
        signal=chart.signal,
        target=chart.target,
        unit=chart.unit,
        title=chart.title,
        times=list(chart.times),
        values=[number(v) for v in chart.values],
        low=[number(v) for v in chart.low],
        high=[number(v) for v in chart.high],
        spans=list(chart.spans),
        markers=list(chart.markers),
    )


def _step(step: Step) -> StepView:
    return StepView(
        verb=step.action.verb,
        target=str(step.action.target),
        action=dump(step.action),
        sent_at=step.sent_at,
        tries=step.tries,
        receipt=_receipt(step.receipt),
    )


def _receipt(receipt: Receipt | None) -> ReceiptView | None:
    if receipt is None:
        return None
    return ReceiptView(
        ok=receipt.ok,
        at=receipt.at,
        detail=receipt.detail,
        dry_run=receipt.dry_run,
        before=receipt.before,
        after=receipt.after,
    )


def _outcome(outcome: Outcome | None) -> OutcomeView | None:
    if outcome is None:
        return None
    return OutcomeView(effect=outcome.effect.value, at=outcome.at, reasons=list(outcome.reasons))
