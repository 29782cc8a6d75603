"""Put back the pod template of the newest older revision that was seen healthy.

"Previous" is not enough: it may be a mere restart of the same template, or as bad as the present
one. The revision is pinned by UID and digest of its template, so a second rollback never returns
to the bad version. Refused for paused workloads and for those whose template somebody else owns, a
GitOps controller, Helm or another object: they would put the bad template back.

A StatefulSet that waits in order for a broken pod does not mend itself once the template is good
again; its broken pods are evicted after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import EvictPod, RollbackWorkload
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, pods_of, refused, success

OWNERS = {
    "argocd": "revert the change in the Git repository of its Argo CD Application",
    "flux": "revert the change in the Git repository that Flux applies",
    "helm": "roll its Helm release back: `helm rollback`",
}
"""Who would put the template back or miss the change, and what a person does instead."""

NUMBERED = ("Deployment", "Rollout", "InferenceService")
"""Kinds that count their changes themselves; for others the revision's name says which is left."""

KINDS = (*NUMBERED, "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class RollbackModel(Remediation):
    deadline: Span = timedelta(minutes=20)
    """Longest time until all replicas run the old revision."""

    allow_helm: bool = False
    """Whether workloads of a Helm release may be rolled back behind its back: its next upgrade
    brings the bad template again where nobody corrects its values."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        workload = nearest(topology, hypothesis, Kind.WORKLOAD)
        entity = known(topology, workload)
        if workload is None or entity is None:
            return refused(
                incident, hypothesis, "rollback_model", "not exactly one workload is meant"
            )
        if why := self._refusal(workload, entity):
            return refused(incident, hypothesis, "rollback_model", why)
        revisions = _revisions(topology, workload)
        active = next((r for r in revisions if r.facts.get("active")), None)
        if active is None:
            return refused(
                incident, hypothesis, "rollback_model", f"{workload}'s revision is unknown"
            )
        good = next((r for r in revisions if _is_candidate(r, active)), None)
        if good is None:
            return refused(
                incident,
                hypothesis,
                "rollback_model",
                f"{workload} has no older revision that was seen healthy",
            )
        return Plan(
            incident_id=incident.id,
            cause=hypothesis.cause,
            remediation="rollback_model",
            target=workload,
            actions=(
                RollbackWorkload(
                    target=workload,
                    revision=good.target,
                    revision_uid=good.target.uid,
                    template_digest=str(good.facts["template_digest"]),
                    template=dict(good.facts["template"]),
                    from_revision=_left(entity, active),
                    uid=workload.uid,
                    resource_version=entity.resource_version,
                ),
                *_stuck(topology, entity, active),
            ),
            success=success(incident, hypothesis, self.deadline),
            risk=Risk.MEDIUM,
            summary=f"Roll {workload} back from revision {active.facts.get('number')} to "
            f"{good.facts.get('number')}: {hypothesis.title or hypothesis.cause}",
            confidence=hypothesis.confidence,
            affected_pods=pods_of(topology, workload),
        )

    def _refusal(self, workload: Target, entity: Entity) -> str:
        facts = entity.facts
        if facts.get("api_kind") not in KINDS:
            return f"{workload} is a {facts.get('api_kind')}: only {', '.join(KINDS)} go back"
        if facts.get("paused"):
            return f"{workload} is paused"
        if facts.get("strategy") == "OnDelete":
            return f"{workload} updates on deletion only: its pods would stay as they are"
        managed = str(facts.get("managed_by") or "").lower()
        if "/" in managed:
            return f"{workload} is made by {managed}: roll that back"
        if managed == "helm" and self.allow_helm:
            return ""
        for owner, instead in OWNERS.items():
            if owner in managed:
                return f"{workload} is managed by {managed}: {instead}"
        return ""


def _left(workload: Entity, active: Entity) -> str:
    if workload.facts.get("api_kind") in NUMBERED:
        return str(active.facts.get("number", ""))
    return active.target.name


def _stuck(topology: Topology, workload: Entity, active: Entity) -> tuple[EvictPod, ...]:
    """Broken pods of the bad revision that an ordered StatefulSet would wait for for ever."""
    if workload.facts.get("api_kind") != "StatefulSet":
        return ()
    return tuple(
        EvictPod(pod, workload.target, pod.uid)
        for pod in pods_of(topology, active.target)
        if topology.fact(pod, "ready") is False and not topology.fact(pod, "terminating")
    )


def _revisions(topology: Topology, workload: Target) -> list[Entity]:
    """Newest first."""
    found = [
        entity
        for target in topology.below(workload)
        if target.kind is Kind.REVISION and (entity := topology.get(target)) is not None
    ]
    return sorted(found, key=lambda r: int(r.facts.get("number") or 0), reverse=True)


def _is_candidate(revision: Entity, active: Entity) -> bool:
    facts = revision.facts
    return (
        int(facts.get("number") or 0) < int(active.facts.get("number") or 0)
        and facts.get("template_digest") != active.facts.get("template_digest")
        and bool(facts.get("healthy_seen"))
        and isinstance(facts.get("template"), dict)
    )
