"""Put back the pod template of the newest older revision that was seen healthy.

"Previous" is not enough: it may be a mere restart of the same template, or as bad as the present
one. The revision is pinned by UID and digest of its template, so a second rollback never returns
to the bad version. Refused for paused workloads and for those a GitOps controller owns: it would
put the bad template back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from healer.model.actions import RollbackWorkload
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Remediation
from healer.values import Span
from remediations._find import known, nearest, pods_of, refused, success

GITOPS = ("argocd", "argo", "flux", "helm-controller", "kustomize-controller")


@dataclass(frozen=True, slots=True)
class RollbackModel(Remediation):
    deadline: Span = timedelta(minutes=20)
    """Longest time until all replicas run the old revision."""

    def plan(
        self, incident: Incident, hypothesis: Hypothesis, topology: Topology, now: datetime
    ) -> Plan:
        workload = nearest(topology, hypothesis, Kind.WORKLOAD)
        entity = known(topology, workload)
        if workload is None or entity is None:
            return refused(
                incident, hypothesis, "rollback_model", "not exactly one workload is meant"
            )
        if why := _refusal(workload, entity):
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
                    from_revision=str(active.facts.get("number", "")),
                    uid=workload.uid,
                    resource_version=entity.resource_version,
                ),
            ),
            success=success(incident, hypothesis, self.deadline),
            risk=Risk.MEDIUM,
            summary=f"Roll {workload} back from revision {active.facts.get('number')} to "
            f"{good.facts.get('number')}: {hypothesis.title or hypothesis.cause}",
            confidence=hypothesis.confidence,
            affected_pods=pods_of(topology, workload),
        )


def _refusal(workload: Target, entity: Entity) -> str:
    facts = entity.facts
    if facts.get("api_kind") != "Deployment":
        return f"{workload} is a {facts.get('api_kind')}: only Deployments are rolled back"
    if facts.get("paused"):
        return f"{workload} is paused"
    managed = str(facts.get("managed_by") or "").lower()
    if any(owner in managed for owner in GITOPS):
        return f"{workload} is managed by {managed}: revert the change there"
    return ""


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
