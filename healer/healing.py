"""From a diagnosis to a verified repair: plan, guard, act, verify, undo.

One intent of an incident at a time, each durable before anything is sent. What is decided here is
decided by pure stages; what is done is done by the executor.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from healer.errors import HealerError
from healer.model.actions import CordonNode
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import OPEN_STATES, Intent, Outcome, State
from healer.model.plan import Plan
from healer.model.snapshot import Problem, Snapshot
from healer.model.target import Kind
from healer.model.verdict import Decision, Judgement, Verdict
from healer.ports import Case, Guard, Remediation, Spans, Store, untraced
from healer.settings import RemediationSettings
from healer.stages import act
from healer.stages.guard import judge
from healer.stages.plan import plan
from healer.stages.undo import due, owing
from healer.stages.verify import verify

REMEMBER = timedelta(hours=24)
"""How far back the guards look. What is open, or still to be taken back, is seen at any age."""

VIEW_LAG = timedelta(minutes=1)
"""After that, the view of the cluster shows what we have done."""

SWITCH = "kill_switch"
"""Key in the store; its value is the reason, empty when the switch is not pulled."""

OWED = "undo_owed"
"""Key in the store; the ids of intents whose deed is still to be taken back, apart by spaces."""


Turn = Callable[[], Intent | None]


class Carries(Protocol):
    """The executor, as the healing needs it."""

    def start(
        self,
        plan: Plan,
        judgement: Judgement,
        approval_timeout: timedelta,
        pods_before: tuple[str, ...] = (),
    ) -> Intent | None: ...
    def rejudge(
        self, intent: Intent, judgement: Judgement, approval_timeout: timedelta
    ) -> Intent: ...
    def advance(self, intent: Intent, judgement: Judgement) -> Intent: ...
    def conclude(self, intent: Intent, outcome: Outcome) -> Intent: ...
    def resume(self, intent: Intent) -> Intent: ...
    def drop(self, intent: Intent, why: str) -> Intent: ...


@dataclass(frozen=True, slots=True)
class Healing:
    store: Store
    executor: Carries
    remediations: Mapping[str, Remediation]
    guards: Sequence[Guard]
    settings: RemediationSettings
    span: Spans = untraced

    def heal(
        self, incidents: tuple[Incident, ...], snapshot: Snapshot
    ) -> tuple[tuple[Intent, ...], tuple[Problem, ...]]:
        """(intents that changed, what could not be done). One failure stops nobody else."""
        turns = _Turns(self._history(snapshot.now), snapshot.now)
        for incident in incidents:
            turn: Turn = partial(self._one, incident, snapshot, turns.history, incidents)
            turns.take(incident.id, turn)
        for intent in _bereft(incidents, turns.history):
            turns.take(intent.id, partial(self.executor.drop, intent, "its incident has ended"))
        for intent in _undoing(turns.history):
            turn = partial(self._go_on, intent, None, snapshot, turns.history, incidents)
            turns.take(intent.id, turn)
        open_ = frozenset(i.id for i in incidents if i.phase is not Phase.RESOLVED)
        for wanted in due(turns.history, open_, snapshot, self.settings):
            turn = partial(self._take_back, wanted, snapshot, turns.history, incidents)
            turns.take(wanted.incident_id, turn)
        self._remember_owed(turns.history, snapshot)
        return tuple(turns.changed), tuple(turns.problems)

    def resume(self, now: datetime) -> tuple[Problem, ...]:
        """Once at start: what was sent when we died is read back, or is by the next tick."""
        turns = _Turns({i.id: i for i in self.store.intents(open_only=True)}, now)
        for intent in turns.history:
            turns.take(intent.id, partial(self.executor.resume, intent))
        return tuple(turns.problems)

    def switched_off(self) -> str:
        """The reason of the kill switch. A store that cannot be read counts as pulled."""
        try:
            return self.store.get(SWITCH) or ""
        except HealerError as error:
            return f"the store cannot be read: {error}"

    def owed(self) -> tuple[str, ...]:
        """Ids of intents whose deed is still to be taken back, as of the last tick."""
        return tuple((self.store.get(OWED) or "").split())

    def _history(self, now: datetime) -> dict[str, Intent]:
        """By id, oldest first: the last day, what is open, and what is still to be taken back."""
        found = {i.id: i for i in self.store.intents(since=now - REMEMBER)}
        found |= {i.id: i for i in self.store.intents(open_only=True)}
        for owed in self.owed():
            known = found.get(owed) or self.store.intent(owed)
            if known is not None and known.created_at < now - REMEMBER:
                alike = self.store.intents(incident_id=known.plan.incident_id)
                found |= {i.id: i for i in alike}
        return dict(sorted(found.items(), key=lambda item: (item[1].created_at, item[0])))

    def _remember_owed(self, history: tuple[Intent, ...], snapshot: Snapshot) -> None:
        """For the days after the guards have forgotten: a cordon of ours has no age limit."""
        owed = " ".join(sorted(owing(history, snapshot)))
        if owed != (self.store.get(OWED) or ""):
            self.store.put(OWED, owed)

    def _one(
        self,
        incident: Incident,
        snapshot: Snapshot,
        history: tuple[Intent, ...],
        incidents: tuple[Incident, ...],
    ) -> Intent | None:
        open_ = [
            i
            for i in history
            if i.plan.incident_id == incident.id and i.state in OPEN_STATES and not i.compensates
        ]
        if open_:
            return self._go_on(open_[0], incident, snapshot, history, incidents)
        with self.span("plan", incident=incident.id):
            wanted = plan(incident, snapshot, self.remediations, history, self.settings)
        if wanted is None:
            return None
        judgement = self._judge(wanted, incident, snapshot, history, None, incidents)
        return self._start(wanted, judgement, snapshot)

    def _go_on(
        self,
        intent: Intent,
        incident: Incident | None,
        snapshot: Snapshot,
        history: tuple[Intent, ...],
        incidents: tuple[Incident, ...],
    ) -> Intent:
        if intent.state is State.VERIFYING:
            with self.span("verify", intent=intent.id, remediation=intent.plan.remediation):
                outcome = verify(intent, snapshot, incident)
                return intent if outcome is None else self.executor.conclude(intent, outcome)
        if why := _overruled(intent, snapshot):
            return self.executor.drop(intent, why)
        rest = _remaining(intent)
        judgement = self._judge(rest, incident, snapshot, history, intent, incidents)
        if incident is not None and (why := _outdated(intent, incident)):
            doubt = Verdict("diagnosis", Decision.DEFER, (why,))
            judgement = dataclasses.replace(judgement, verdicts=(*judgement.verdicts, doubt))
        with self.span("act", intent=intent.id, remediation=intent.plan.remediation):
            if intent.state is State.PLANNED:
                return self.executor.rejudge(intent, judgement, self.settings.approval_timeout)
            return self.executor.advance(intent, judgement)

    def _start(self, wanted: Plan, judgement: Judgement, snapshot: Snapshot) -> Intent | None:
        before = () if wanted.compensates else _pods_before(wanted, snapshot)
        with self.span("act", intent=wanted.id, remediation=wanted.remediation):
            return self.executor.start(wanted, judgement, self.settings.approval_timeout, before)

    def _take_back(
        self,
        wanted: Plan,
        snapshot: Snapshot,
        history: tuple[Intent, ...],
        incidents: tuple[Incident, ...],
    ) -> Intent | None:
        judgement = self._judge(wanted, None, snapshot, history, None, incidents)
        return self._start(wanted, judgement, snapshot)

    def _judge(
        self,
        wanted: Plan,
        incident: Incident | None,
        snapshot: Snapshot,
        history: tuple[Intent, ...],
        intent: Intent | None,
        others: tuple[Incident, ...],
    ) -> Judgement:
        incident = incident or _bygone(wanted, snapshot.now)
        leader = incident.diagnosis.leader if incident.diagnosis else None
        own = intent.id if intent else ""
        case = Case(
            now=snapshot.now,
            incident=incident,
            hypothesis=leader or _unexplained(wanted, snapshot.now),
            snapshot=snapshot,
            history=tuple(i for i in history if i.id != own),
            switched_off=self.switched_off(),
            approved_by=intent.approved_by if intent else "",
            others=tuple(i for i in others if i.is_open and i.id != incident.id),
        )
        with self.span("guard", remediation=wanted.remediation):
            return judge(wanted, case, self.guards)


@dataclass
class _Turns:
    """Each takes its turn by itself: what goes wrong in one is reported and stops no other."""

    known: dict[str, Intent]
    now: datetime
    changed: list[Intent] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def history(self) -> tuple[Intent, ...]:
        return tuple(self.known.values())

    def take(self, name: str, turn: Turn) -> None:
        try:
            after = turn()
        except Exception as error:  # noqa: BLE001  # a plugin or an adapter
            said = f"{type(error).__name__}: {error}"
            self.problems.append(Problem(f"healing.{name}", said, self.now))
            return
        if after is not None and self.known.get(after.id) != after:
            self.changed.append(after)
            self.known[after.id] = after


def _bereft(incidents: Sequence[Incident], history: Sequence[Intent]) -> Iterator[Intent]:
    """What still waits when its incident has ended must not act later, nor be approved."""
    open_ = {i.id for i in incidents if i.is_open}
    for intent in history:
        waits = intent.state in (State.PLANNED, State.APPROVED) and not intent.compensates
        if waits and intent.plan.incident_id not in open_:
            yield intent


def _undoing(history: Sequence[Intent]) -> Iterator[Intent]:
    return (i for i in history if i.compensates and i.state in OPEN_STATES)


def _outdated(intent: Intent, incident: Incident) -> str:
    """Why what was decided on no longer stands, for an intent of which nothing has been sent."""
    if any(step.sent_at for step in intent.steps) or intent.plan.remediation == "escalate":
        return ""
    if incident.quiet_since is not None:
        return "its symptoms have ceased"
    leader = incident.diagnosis.leader if incident.diagnosis else None
    if leader is None or leader.cause != intent.plan.cause:
        return f"{leader.cause if leader else 'nothing'} leads now, not {intent.plan.cause}"
    return ""


def _overruled(intent: Intent, snapshot: Snapshot) -> str:
    """Whether somebody took back what we had done, half way: then nothing more is done."""
    at = act.next_step(intent)
    if intent.state is not State.EXECUTING or at is None or act.is_unanswered(intent.steps[at]):
        return ""
    for step in intent.steps[:at]:
        settled = step.receipt is not None and snapshot.now - step.receipt.at >= VIEW_LAG
        if settled and isinstance(step.action, CordonNode) and snapshot.cluster_ok:
            node = step.action.target
            if snapshot.topology.fact(node, "unschedulable") is False:
                return f"somebody has uncordoned {node} meanwhile"
    return ""


def _remaining(intent: Intent) -> Plan:
    """The plan from its next step on, one eviction at a time: what is judged before each call."""
    at = act.next_step(intent)
    if not at:
        return intent.plan
    action = intent.steps[at].action
    pods = tuple(p for p in intent.plan.affected_pods if p == action.target)
    return dataclasses.replace(intent.plan, actions=(action,), affected_pods=pods)


def _pods_before(wanted: Plan, snapshot: Snapshot) -> tuple[str, ...]:
    """UIDs of the owners' pods now: a replacement is one that is not among them."""
    topology = snapshot.topology
    found = {
        pod.uid
        for affected in wanted.affected_pods
        for owner in topology.related(affected, Kind.WORKLOAD)
        for pod in topology.related(owner, Kind.POD)
    }
    return tuple(sorted(found))


def _bygone(wanted: Plan, now: datetime) -> Incident:
    """Stands for the ended incident whose action is taken back."""
    return Incident(
        wanted.incident_id,
        now,
        now,
        now,
        Phase.RESOLVED,
        Severity.INFO,
        wanted.summary,
        (wanted.target,),
    )


def _unexplained(wanted: Plan, now: datetime) -> Hypothesis:
    return Hypothesis(wanted.cause, wanted.target, now, 1.0, 0.0)
