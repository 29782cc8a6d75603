"""The cluster as it was at a moment of the past, for backtests: a Cluster without hands.

The API server knows the present only. What ran where is read from kube-state-metrics' history in
Prometheus, what was changed when from the ages of the revisions and the events that the API
server still has. Present facts that change (ready, cordoned, replicas) are left out, and the
topology never claims to be complete: what is not known stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from healer.errors import HealerError
from healer.model.actions import Action
from healer.model.event import Event
from healer.model.intent import Receipt
from healer.model.snapshot import Problem
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Clock, Cluster, ClusterView, Metrics

KNOWN_FOR = timedelta(minutes=5)
"""How long one look at who ran where is used."""

CHANGES_FOR = timedelta(hours=2)

LASTING = frozenset(
    {"api_kind", "number", "images", "gpu_product", "pool", "rack", "node", "ip", "revision",
     "gpus_requested", "owner_kind", "selector", "control_plane", "daemonset"}
)  # fmt: skip
"""Facts that were as true then as they are now."""

PODS = "kube_pod_info"
OWNERS = "kube_replicaset_owner"
_HASH = re.compile(r"-[a-z0-9]{5,10}$")


class PastCluster:
    """`present` may be the real cluster or none; it is looked at once."""

    def __init__(self, metrics: Metrics, clock: Clock, present: Cluster) -> None:
        self._metrics, self._clock = metrics, clock
        self._present = present.view()
        self._seen: tuple[datetime, Topology, tuple[Problem, ...]] | None = None

    def view(self) -> ClusterView:
        now = self._clock.now()
        if self._seen is None or not timedelta(0) <= now - self._seen[0] < KNOWN_FOR:
            self._seen = (now, *self._look(now))
        _, topology, problems = self._seen
        changes = (*self._present.events, *_rollouts(self._present.topology))
        events = tuple(e for e in changes if now - CHANGES_FOR <= e.at <= now)
        return ClusterView(topology, events, problems, ok=bool(topology.entities))

    def denied(self) -> Mapping[str, str]:
        return {}

    def healthy_revisions(self) -> frozenset[str]:
        return frozenset()

    def trust_revisions(self, uids: frozenset[str]) -> None:
        """Nothing is rolled back in the past."""

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return Receipt(
            ok=True, at=self._clock.now(), detail="backtest: nothing is sent", dry_run=True
        )

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        """Of a call for a person alone: the rest is rehearsed, for a backtest only observes."""
        return replace(self.rehearse(action, intent_id), dry_run=False)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        return False

    def _look(self, now: datetime) -> tuple[Topology, tuple[Problem, ...]]:
        problems: list[Problem] = []
        answers: dict[str, tuple[Mapping[str, str], ...]] = {}
        for query in (PODS, OWNERS):
            try:
                answers[query] = tuple(self._metrics.instant(query, now).labels)
            except HealerError as error:
                problems.append(Problem(f"backtest.{query}", str(error), now))
                answers[query] = ()
        entities = {
            target: _as_it_was(entity)
            for target, entity in self._present.topology.entities.items()
            if entity.created_at is None or entity.created_at <= now
        }
        edges = {(a, b) for a, b in self._present.topology.edges if a in entities and b in entities}
        for a, b in _from_history(answers[PODS], answers[OWNERS], entities):
            for target in (a, b):
                entities.setdefault(target, Entity(target))
            edges.add((entities[a].target, entities[b].target))
        _count_replicas(entities, edges)
        return Topology(entities, frozenset(edges), complete=False), tuple(problems)


def _as_it_was(entity: Entity) -> Entity:
    facts = {name: value for name, value in entity.facts.items() if name in LASTING}
    return replace(entity, facts=facts)


def _from_history(
    pods: Iterable[Mapping[str, str]],
    owners: Iterable[Mapping[str, str]],
    entities: dict[Target, Entity],
) -> Iterator[tuple[Target, Target]]:
    """Edges of the pods that ran then; facts of those that are gone are put into `entities`."""
    owner_of = {
        (row.get("namespace", ""), row.get("replicaset", "")): row.get("owner_name", "")
        for row in owners
        if row.get("owner_kind") == "Deployment"
    }
    for row in pods:
        name, space = row.get("exported_pod") or row.get("pod", ""), _space(row)
        if not name or not space:
            continue
        pod = Target(Kind.POD, name, space, row.get("uid", ""))
        facts = {
            fact: row[label]
            for fact, label in (("node", "node"), ("ip", "pod_ip"))
            if row.get(label)
        }
        entities.setdefault(pod, Entity(pod, facts=facts))
        if row.get("node"):
            yield pod, Target(Kind.NODE, row["node"])
        kind, made_by = row.get("created_by_kind", ""), row.get("created_by_name", "")
        if kind == "ReplicaSet":
            owner = owner_of.get((space, made_by)) or _HASH.sub("", made_by)
            revision = Target(Kind.REVISION, made_by, space)
            yield pod, revision
            yield revision, Target(Kind.WORKLOAD, f"deployment/{owner}", space)
        elif kind in ("StatefulSet", "DaemonSet"):
            yield pod, Target(Kind.WORKLOAD, f"{kind.lower()}/{made_by}", space)


def _count_replicas(entities: dict[Target, Entity], edges: Iterable[tuple[Target, Target]]) -> None:
    """A workload had as many replicas as pods ran of it."""
    topology = Topology(entities, frozenset(edges))
    for workload in topology.of(Kind.WORKLOAD):
        running = len(topology.related(workload.target, Kind.POD))
        kind, _, _ = workload.target.name.partition("/")
        known = {"api_kind": _API_KINDS[kind]} if kind in _API_KINDS else {}
        facts = {**known, **workload.facts, "replicas": running}
        entities[workload.target] = replace(workload, facts=facts)


_API_KINDS = {
    "deployment": "Deployment", "statefulset": "StatefulSet", "daemonset": "DaemonSet"
}  # fmt: skip


def _space(row: Mapping[str, str]) -> str:
    return row.get("exported_namespace") or row.get("namespace", "")


def _rollouts(topology: Topology) -> Iterator[Event]:
    """Each revision of a workload but its first began a rollout when it was made."""
    for workload in topology.of(Kind.WORKLOAD):
        made = [topology.get(r) for r in topology.related(workload.target, Kind.REVISION)]
        dated = sorted((r.created_at, r.target) for r in made if r and r.created_at)
        for at, revision in dated[1:]:
            said = f"{revision.name} was created"
            yield Event("rollout", workload.target, at, said, {"revision": revision.name})
