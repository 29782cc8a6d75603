"""What must never happen, each told independently of the guard that prevents it.

A rule is asked at the moment a change reaches the cluster; it raises Broken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import proof_world as world
from proof_world import Cluster, Store

from healer.model.actions import Action, CordonNode, EvictPod, ScaleWorkload
from healer.model.intent import ACTIVE_STATES, Intent, State
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.settings import Mode, RemediationSettings

FROZEN_MINUTES = 10
"""The freeze window of the proof: the first minutes of every hour."""


class Broken(AssertionError):
    """`name` of the property that did not hold."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name


@dataclass
class Rules:
    """The properties over one schedule."""

    store: Store
    settings: RemediationSettings
    switched_off: Callable[[], bool]
    rejected: set[str]
    approved: set[str]

    def all(self) -> tuple[Callable[[Cluster, str, Action], None], ...]:
        return (
            self.once,
            self.audited,
            self.mode,
            self.switch,
            self.answer,
            self.scope,
            self.sight,
            self.conflict,
            self.frozen,
            self.alone,
            self.rate,
            self.rest,
            self.cap,
            self.storm,
            self.breaker,
            self.room,
            self.ladder,
        )

    def _intent(self, intent_id: str) -> Intent:
        return self.store.kept[intent_id]

    def _heals(self, intent_id: str) -> bool:
        return not self._intent(intent_id).compensates

    def once(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if any(c.intent == intent_id and c.action == action for c in cluster.commits):
            raise Broken("duplicate", f"{action.verb} {action.target} twice for {intent_id}")

    def audited(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        said = f"{action.verb} {action.target}"
        if not any(
            e.kind == "step.sent" and e.intent_id == intent_id and e.message == said
            for e in self.store.entries
        ):
            raise Broken("audit", f"{said} without an entry before it")

    def mode(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if self.settings.mode is Mode.OBSERVE:
            raise Broken("mode", f"{action.verb} {action.target} while observing")

    def switch(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if self.switched_off():
            raise Broken("kill switch", f"{action.verb} {action.target} while switched off")

    def answer(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if intent_id in self.rejected:
            raise Broken("approval", f"{action.verb} {action.target} after a no")
        arming = self.settings.arm[self._intent(intent_id).plan.remediation]
        if arming.approval and self._heals(intent_id) and intent_id not in self.approved:
            raise Broken("approval", f"{action.verb} {action.target} without a yes")

    def scope(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if action.target.namespace in self.settings.deny_namespaces:
            raise Broken("scope", f"{action.verb} {action.target} is out of bounds")

    def sight(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        blind = not (cluster.metrics_ok and cluster.cluster_ok)
        if blind or (cluster.stale and self._heals(intent_id)):
            raise Broken("fresh evidence", f"{action.verb} {action.target} without seeing")

    def conflict(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        seen = _seen(cluster)
        for owner in _owners(seen, action):
            facts = seen.entities[owner].facts
            if facts["updated_replicas"] < facts["replicas"]:
                raise Broken("conflicts", f"{action.verb} {action.target} during a rollout")

    def frozen(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if self.settings.freezes and cluster.now.minute < FROZEN_MINUTES:
            raise Broken("freeze", f"{action.verb} {action.target} at {cluster.now:%H:%M}")

    def alone(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        seen = _seen(cluster)
        mine = _held(seen, self._intent(intent_id))
        for other in self.store.kept.values():
            busy = other.state in ACTIVE_STATES and other.plan.remediation != "escalate"
            if busy and other.id != intent_id and mine & _held(seen, other):
                raise Broken("locks", f"{other.id} and {intent_id} at once on one owner")

    def rate(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        hour = cluster.now - timedelta(hours=1)
        spent = {c.intent for c in cluster.commits if c.at > hour and self._heals(c.intent)}
        spent |= {intent_id} if self._heals(intent_id) else set()
        if len(spent) > self.settings.max_per_hour["cluster"]:
            raise Broken("rate", f"{len(spent)} plans within an hour")

    def rest(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if not self._heals(intent_id):
            return
        mine = self._intent(intent_id)
        for commit in cluster.commits:
            other = self._intent(commit.intent)
            alike = other.plan.remediation == mine.plan.remediation and self._heals(other.id)
            shared = other.id != intent_id and _owner_names(other) & _owner_names(mine)
            if alike and shared and cluster.now - commit.at < self.settings.cooldown:
                raise Broken("cooldown", f"{mine.plan.remediation} again after too little")

    def cap(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if isinstance(action, CordonNode):
            out = set(cluster.cordoned) | cluster.down | {action.target.name}
            most = min(
                max(1, int(len(world.NODES) * self.settings.max_unavailable_fraction)),
                self.settings.max_unavailable_nodes,
            )
            if len(out) > most:
                raise Broken("blast radius", f"{len(out)} nodes out, {most} may")
        if isinstance(action, EvictPod) and action.target.namespace:
            pod = cluster.pods[action.uid]
            count = cluster.replicas[pod.owner]
            left = sum(cluster.is_ready(p) and p.uid != pod.uid for p in cluster.of(pod.owner))
            most = max(1, int(count * self.settings.max_unavailable_fraction))
            if cluster.is_ready(pod) and count - left > most:
                raise Broken("blast radius", f"{left} of {count} replicas would be left")

    def storm(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        disruptive = isinstance(action, EvictPod | CordonNode) and self._heals(intent_id)
        sick = {e.target.name for e in _seen(cluster).of(Kind.NODE) if not e.facts["ready"]}
        sick |= {f.what for f in cluster.faults if f.kind == "ecc" and f.gone_at is None}
        if disruptive and len(sick) >= self.settings.storm_fraction * len(world.NODES):
            raise Broken("storm", f"{action.verb} while {len(sick)} nodes are sick")

    def breaker(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        mine = self._intent(intent_id)
        ended = [
            i
            for i in self.store.kept.values()
            if i.plan.remediation == mine.plan.remediation
            and any(s.sent_at for s in i.steps)
            and i.state in (State.SUCCEEDED, State.FAILED, State.UNKNOWN)
        ]
        ended.sort(key=lambda i: i.updated_at)
        last = ended[-self.settings.breaker_failures :]
        bad = len(last) == self.settings.breaker_failures and all(
            i.state is not State.SUCCEEDED for i in last
        )
        fresh = bool(last) and cluster.now - last[-1].updated_at < self.settings.breaker_reset
        first = not any(c.intent == intent_id for c in cluster.commits)
        if bad and fresh and first and self._heals(intent_id):
            raise Broken("breaker", f"{mine.plan.remediation} after {len(last)} failures")

    def room(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        if isinstance(action, EvictPod):
            owner = cluster.pods[action.uid].owner
            if owner in cluster.budget_spent and cluster.is_ready(cluster.pods[action.uid]):
                raise Broken("capacity", f"{action.target} against the budget of {owner}")
        if isinstance(action, ScaleWorkload) and action.replicas > action.was:
            used = Counter(p.node for p in cluster.pods.values())
            free = sum(
                world.GPUS - used[n]
                for n in world.NODES
                if n not in cluster.cordoned and n not in cluster.down
            )
            if free < action.replicas - action.was:
                raise Broken("capacity", f"{action.target} to {action.replicas} without room")

    def ladder(self, cluster: Cluster, intent_id: str, action: Action) -> None:
        mine = self._intent(intent_id)
        if not self._heals(intent_id):
            return
        sent = {
            i.plan.remediation
            for i in self.store.kept.values()
            if i.plan.incident_id == mine.plan.incident_id
            and self._heals(i.id)
            and any(s.sent_at and s.action.verb != "escalate" for s in i.steps)
        }
        if len(sent) > self.settings.max_rungs:
            raise Broken("ladder", f"{len(sent)} remediations for {mine.plan.incident_id}")


def no_orphans(cluster: Cluster, store: Store) -> None:
    """Every cordon of ours has its record; after all is well and rested, none is left."""
    for node, by in cluster.cordoned.items():
        if by == "human":
            continue
        intent = store.kept.get(by)
        done = intent is not None and any(
            s.action.verb == "cordon_node" and s.sent_at for s in intent.steps
        )
        if not done:
            raise Broken("orphan", f"{node} is cordoned and nothing tells why")
        raise Broken("orphan", f"{node} is still cordoned by {by} after all is well")


def _seen(cluster: Cluster) -> Topology:
    return cluster.acting.topology if cluster.acting else cluster.topology()


def _owners(seen: Topology, action: Action) -> frozenset[Target]:
    if isinstance(action, EvictPod):
        return frozenset(seen.related(action.target, Kind.WORKLOAD))
    return frozenset({action.target}) if isinstance(action, ScaleWorkload) else frozenset()


def _owner_names(intent: Intent) -> frozenset[str]:
    """By the actions alone: what a plan really works on."""
    names = set()
    for step in intent.steps:
        owner = getattr(step.action, "owner", None)
        names.add(str(owner or step.action.target))
    return frozenset(names)


def _held(seen: Topology, intent: Intent) -> frozenset[str]:
    return _owner_names(intent)
