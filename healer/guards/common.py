"""What several guards ask of a plan and of the past."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from healer.model.actions import EvictPod
from healer.model.intent import ACTIVE_STATES, Intent, State
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.model.verdict import Decision, Verdict
from healer.settings import Arming, Mode, RemediationSettings

NOT_ARMED = Arming()

DISRUPTIVE = frozenset(
    {"evict_pod", "delete_pod", "quarantine_pod", "restart_workload", "cordon_node"}
)


def allow(guard: str, *reasons: str) -> Verdict:
    return Verdict(guard, Decision.ALLOW, reasons or ("nothing against it",))


def deny(guard: str, *reasons: str) -> Verdict:
    return Verdict(guard, Decision.DENY, reasons)


def defer(guard: str, *reasons: str, until: datetime | None = None) -> Verdict:
    return Verdict(guard, Decision.DEFER, reasons, until)


def namespaces_of(plan: Plan) -> frozenset[str]:
    """Namespaces a plan reaches: of its target and of every pod that stops serving."""
    touched = (plan.target, *plan.affected_pods, *(a.target for a in plan.actions))
    return frozenset(t.namespace for t in touched if t.namespace)


def arming_of(plan: Plan, settings: RemediationSettings) -> Arming:
    """The arming of the plan's remediation where it reaches; not armed where any place is not."""
    arming = settings.arm.get(plan.remediation, NOT_ARMED)
    reached = namespaces_of(plan)
    if "*" in arming.namespaces:
        return arming
    covered = reached <= set(arming.namespaces) if reached else bool(arming.namespaces)
    return arming if covered else NOT_ARMED


def enforced(plan: Plan, settings: RemediationSettings) -> bool:
    return settings.mode is Mode.ENFORCE and arming_of(plan, settings).mode is Mode.ENFORCE


def owners_of(plan: Plan, topology: Topology) -> frozenset[Target]:
    """Top owners a plan works on: the workloads of its pods, its nodes, else its target.

    A pod that has been evicted is not in the topology any more; its action remembers its owner.
    """
    remembered = {a.target: a.owner for a in plan.actions if isinstance(a, EvictPod) and a.owner}
    found: set[Target] = set()
    for target in (plan.target, *plan.affected_pods):
        workloads = topology.related(target, Kind.WORKLOAD) if target.kind is Kind.POD else ()
        found |= set(workloads) or {remembered.get(target, target)}
    return frozenset(found)


def was_sent(intent: Intent) -> bool:
    """Whether anything of it may have reached the cluster."""
    return any(s.sent_at is not None and s.action.verb != "escalate" for s in intent.steps)


def unseen(history: Iterable[Intent], verb: str, since: datetime) -> frozenset[Target]:
    """Targets of `verb` that were sent from `since` on: the view of the cluster may lag behind.

    An answer that was lost counts as done; one that said no does not.
    """
    return frozenset(
        step.action.target
        for intent in history
        for step in intent.steps
        if step.action.verb == verb
        and step.sent_at is not None
        and step.sent_at >= since
        and (step.receipt is None or step.receipt.ok)
    )


def active(history: Iterable[Intent]) -> list[Intent]:
    return [i for i in history if i.state in ACTIVE_STATES and i.plan.remediation != "escalate"]


def failed(intent: Intent) -> bool:
    return intent.state in (State.FAILED, State.UNKNOWN)


def disruptive(plan: Plan) -> bool:
    """Whether it takes something out of service that ran before."""
    return any(action.verb in DISRUPTIVE for action in plan.actions)
