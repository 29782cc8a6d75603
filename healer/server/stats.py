"""How well Healer does, worked out from the record of incidents and intents.

- **acted on**: an incident for which an action that changes something was carried out.
- **recovered**: ended, with an action whose verification said effective.
- **recovery rate**: recovered / (ended or escalated incidents that were acted on).
- **wrong action**: carried out, and its verification said ineffective, or its outcome is unknown.
- **missed**: ended or escalated without any action carried out, although the leading cause
  proposed one with the confidence it asks for. In observe mode that is every such incident.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from statistics import median

from pydantic import BaseModel

from healer.model.incident import Incident, Phase
from healer.model.intent import Effect, Intent, State


class Times(BaseModel):
    """Of durations in seconds; None where there are none."""

    count: int
    median_s: float | None
    p90_s: float | None
    worst_s: float | None


class Stats(BaseModel):
    incidents: int
    open: int
    ended: int
    escalated: int
    acted_on: int
    recovered: int
    recovery_rate: float | None
    """None while nothing that was acted on has ended."""
    time_to_detect: Times
    """From the earliest symptom until Healer noticed."""
    time_to_recover: Times
    """From the earliest symptom until the end, of those recovered by an action."""
    actions: dict[str, dict[str, int]]
    """Remediation → state → how many."""
    wrong_actions: int
    missed: int
    rehearsed: int
    causes: dict[str, int]


def stats_of(incidents: Sequence[Incident], intents: Iterable[Intent]) -> Stats:
    by_incident: dict[str, list[Intent]] = defaultdict(list)
    actions: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = rehearsed = 0
    for intent in intents:
        actions[intent.plan.remediation][intent.state.value] += 1
        rehearsed += intent.state is State.REHEARSED
        if _carried_out(intent):
            by_incident[intent.plan.incident_id].append(intent)
            wrong += _was_wrong(intent)
    over = [i for i in incidents if i.phase in (Phase.RESOLVED, Phase.ESCALATED)]
    acted = [i for i in over if by_incident[i.id]]
    recovered = [
        i
        for i in acted
        if i.phase is Phase.RESOLVED and any(_helped(each) for each in by_incident[i.id])
    ]
    causes = Counter(
        i.diagnosis.leader.cause for i in incidents if i.diagnosis and i.diagnosis.leader
    )
    return Stats(
        incidents=len(incidents),
        open=sum(i.is_open for i in incidents),
        ended=sum(not i.is_open for i in incidents),
        escalated=sum(i.phase is Phase.ESCALATED for i in incidents),
        acted_on=sum(bool(by_incident[i.id]) for i in incidents),
        recovered=len(recovered),
        recovery_rate=round(len(recovered) / len(acted), 4) if acted else None,
        time_to_detect=_times(i.opened_at - i.started_at for i in incidents),
        time_to_recover=_times(i.resolved_at - i.started_at for i in recovered if i.resolved_at),
        actions={name: dict(counts) for name, counts in sorted(actions.items())},
        wrong_actions=wrong,
        missed=sum(_was_missed(i) for i in over if not by_incident[i.id]),
        rehearsed=rehearsed,
        causes=dict(causes.most_common()),
    )


def _carried_out(intent: Intent) -> bool:
    """Something was sent to the cluster in earnest. Escalating changes nothing there."""
    return intent.plan.remediation != "escalate" and any(
        step.sent_at is not None and not (step.receipt and step.receipt.dry_run)
        for step in intent.steps
    )


def _helped(intent: Intent) -> bool:
    return intent.outcome is not None and intent.outcome.effect is Effect.EFFECTIVE


def _was_wrong(intent: Intent) -> bool:
    ineffective = intent.outcome is not None and intent.outcome.effect is Effect.INEFFECTIVE
    return ineffective or intent.state is State.UNKNOWN


def _was_missed(incident: Incident) -> bool:
    leader = incident.diagnosis.leader if incident.diagnosis else None
    return (
        leader is not None
        and any(name != "escalate" for name in leader.proposes)
        and leader.confidence >= leader.min_confidence
    )


def _times(lengths: Iterable[timedelta]) -> Times:
    seconds = sorted(length.total_seconds() for length in lengths)
    if not seconds:
        return Times(count=0, median_s=None, p90_s=None, worst_s=None)
    return Times(
        count=len(seconds),
        median_s=round(median(seconds), 1),
        p90_s=round(seconds[min(len(seconds) - 1, int(0.9 * len(seconds)))], 1),
        worst_s=round(seconds[-1], 1),
    )
