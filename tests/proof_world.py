"""A small cluster, a store and hands in memory, made to go wrong: what the proof runs against.

The deciding and acting code is the genuine one; only what is outside of it stands here. Every
change that reaches the cluster is judged at that moment by `proof_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import builders
import numpy as np

from healer.adapters.store.records import may_decide
from healer.errors import Permanent, Temporary, UnknownOutcome
from healer.model.actions import Action, CordonNode, EvictPod, ScaleWorkload, UncordonNode
from healer.model.audit import AuditEntry
from healer.model.finding import Finding
from healer.model.hypothesis import Side, Term
from healer.model.incident import Incident, Phase
from healer.model.intent import OPEN_STATES, Intent, Receipt, State
from healer.model.signal import Worse
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

TICK = timedelta(seconds=15)
NODES = tuple(f"n{i}" for i in range(6))
GPUS = 4
REPLICAS = {"serving/a": 4, "serving/b": 4, "batch/c": 3}
PROPOSES = {
    "hang": ("restart_pod", "drain_node", "scale"),
    "ecc": ("drain_node",),
    "surge": ("scale",),
}
CAUSES = {"hang": "engine_hang", "ecc": "ecc_uncontained", "surge": "load_surge"}
SIGNAL = "generation_tokens"


class Crash(BaseException):
    """The process dies here."""


class Store:
    """What Healing and Executor ask of a store, in memory; it may die before or after a write."""

    def __init__(self) -> None:
        self.kept: dict[str, Intent] = {}
        self.entries: list[AuditEntry] = []
        self.values: dict[str, str] = {}
        self.crash_in: int | None = None
        """So many writes from now."""
        self.blind_cas = False
        self.meanwhile: Callable[[], None] | None = None
        """What somebody does between the reading of an intent and its next writing."""

    def _write(self) -> None:
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                raise Crash

    def claim_intent(self, intent: Intent) -> bool:
        self._write()
        return self.kept.setdefault(intent.id, intent) is intent

    def replace_intent(self, intent: Intent, was: Intent) -> bool:
        self._write()
        if self.meanwhile is not None:
            interrupt, self.meanwhile = self.meanwhile, None
            interrupt()
        if self.kept.get(intent.id) != was and not self.blind_cas:
            return False
        self.kept[intent.id] = intent
        return True

    def intents(
        self, *, incident_id: str = "", since: datetime | None = None, open_only: bool = False
    ) -> tuple[Intent, ...]:
        return tuple(
            i
            for i in self.kept.values()
            if (not incident_id or i.plan.incident_id == incident_id)
            and (since is None or i.created_at >= since)
            and (not open_only or i.state in OPEN_STATES)
        )

    def record(self, *entries: AuditEntry) -> None:
        self._write()
        self.entries += entries

    def intent(self, intent_id: str) -> Intent | None:
        return self.kept.get(intent_id)

    def get(self, key: str) -> str | None:
        return self.values.get(key)

    def put(self, key: str, value: str) -> None:
        self._write()
        self.values[key] = value

    def decide(self, intent: Intent, *, yes: bool, at: datetime) -> bool:
        found = self.kept[intent.id]
        if not may_decide(found, at, yes=yes):
            return False
        self.kept[intent.id] = replace(
            found,
            approved_by="ada" if yes else "",
            state=State.PLANNED if yes else State.ABORTED,
            updated_at=at,
        )
        return True


@dataclass
class Pod:
    name: str
    owner: str
    node: str
    uid: str
    ready_at: datetime
    hung: bool = False


@dataclass
class Fault:
    kind: str
    what: str
    """Pod UID, node or workload."""
    number: int
    since: datetime
    gone_at: datetime | None = None


@dataclass
class Commit:
    at: datetime
    intent: str
    action: Action


@dataclass
class Cluster:
    """The truth. `views` are what it looked like at the last ticks: what Healer sees lags."""

    now: datetime = builders.NOW + timedelta(minutes=15)
    pods: dict[str, Pod] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=lambda: dict(REPLICAS))
    cordoned: dict[str, str] = field(default_factory=dict)
    """Node → id of the intent that did it, or `human`."""
    down: set[str] = field(default_factory=set)
    rolling: set[str] = field(default_factory=set)
    budget_spent: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    echoes: set[int] = field(default_factory=set)
    """Numbers of faults that a second incident tells of as well."""
    newest_first: bool = False
    script: list[str] = field(default_factory=list)
    """What happens to the next calls."""
    unreadable: int = 0
    metrics_ok: bool = True
    cluster_ok: bool = True
    stale: bool = False
    rules: Sequence[Callable[[Cluster, str, Action], None]] = ()
    unanswered: list[tuple[str, Action]] = field(default_factory=list)
    """Calls of which nobody has looked what became of them."""
    blindly: Callable[[Action], None] | None = None
    """Told of a call that is sent again all the same."""
    acting: Snapshot | None = None
    """What the replica that acts now has seen."""
    _number: int = 0

    def __post_init__(self) -> None:
        for owner, count in self.replicas.items():
            for _ in range(count):
                self._add(owner, ready_at=self.now)

    # the world by itself

    def step(self, span: timedelta = TICK) -> None:
        self.now += span
        for owner, count in self.replicas.items():
            for _ in range(count - len(self.of(owner))):
                self._add(owner, ready_at=self.now + 2 * TICK)
        for fault in self.faults:
            if fault.gone_at is None and self._is_over(fault):
                fault.gone_at = self.now

    def of(self, owner: str) -> list[Pod]:
        return [p for p in self.pods.values() if p.owner == owner]

    def is_ready(self, pod: Pod) -> bool:
        return self.now >= pod.ready_at and pod.node not in self.down

    def _add(self, owner: str, ready_at: datetime) -> None:
        room = [
            n
            for n in NODES
            if n not in self.cordoned and n not in self.down and self._used(n) < GPUS
        ]
        if room:
            self._number += 1
            node = min(room, key=lambda n: (self._used(n), n))
            name = f"{owner.partition('/')[2]}-{self._number}"
            uid = f"uid-{self._number}"
            self.pods[uid] = Pod(name, owner, node, uid, ready_at)

    def _used(self, node: str) -> int:
        return sum(p.node == node for p in self.pods.values())

    def _is_over(self, fault: Fault) -> bool:
        match fault.kind:
            case "hang":
                return fault.what not in self.pods
            case "ecc":
                return not any(p.node == fault.what for p in self.pods.values())
            case _:
                return self.replicas[fault.what] > REPLICAS[fault.what]

    def break_(self, kind: str, index: int) -> None:
        if kind == "hang":
            pods = sorted(self.pods)
            what = pods[index % len(pods)] if pods else ""
        elif kind == "ecc":
            what = NODES[index % len(NODES)]
        else:
            what = sorted(REPLICAS)[index % len(REPLICAS)]
        if what and not any(f.what == what and f.gone_at is None for f in self.faults):
            self.faults.append(Fault(kind, what, len(self.faults), self.now))

    def mend(self, number: int) -> None:
        """People see to it."""
        for fault in self.faults:
            if fault.number == number and fault.gone_at is None:
                fault.gone_at = self.now

    # hands

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        fate = self.script.pop(0) if self.script else "ok"
        call = (intent_id, action)
        if call in self.unanswered and self.blindly is not None:
            self.blindly(action)
        if fate.startswith(("lost", "crash")):
            self.unanswered.append(call)
        match fate:
            case "refused":
                raise Temporary("connection refused")
            case "forbidden":
                raise Permanent("403 forbidden")
            case "busy":
                return Receipt(False, self.now, "try later", retry_after_s=20.0)
            case "lost":
                raise UnknownOutcome("no answer")
            case "crash":
                raise Crash
        receipt = self._commit(action, intent_id)
        if fate == "lost after":
            raise UnknownOutcome("no answer")
        if fate == "crash after":
            raise Crash
        return receipt

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return Receipt(True, self.now, "would be done", dry_run=True)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        if self.unreadable:
            self.unreadable -= 1
            return None
        self.unanswered = [c for c in self.unanswered if c != (intent_id, action)]
        match action:
            case EvictPod(uid=uid):
                return uid not in self.pods
            case CordonNode(target=node):
                return node.name in self.cordoned
            case UncordonNode(target=node):
                return node.name not in self.cordoned
            case ScaleWorkload(target=workload, replicas=wanted):
                return self.replicas[_owner(workload)] == wanted
        return None

    def _commit(self, action: Action, intent_id: str) -> Receipt:
        match action:
            case EvictPod(uid=uid):
                if uid not in self.pods:
                    return Receipt(False, self.now, "not found", gone=True)
                self._judge(action, intent_id)
                del self.pods[uid]
            case CordonNode(target=node):
                if node.name in self.cordoned:
                    return Receipt(True, self.now, "cordoned already")
                self._judge(action, intent_id)
                self.cordoned[node.name] = intent_id
            case UncordonNode(target=node, cordon_id=signed):
                if self.cordoned.get(node.name) != signed:
                    return Receipt(False, self.now, "not our cordon", gone=True)
                self._judge(action, intent_id)
                del self.cordoned[node.name]
            case ScaleWorkload(target=workload, replicas=wanted, was=was):
                if self.replicas[_owner(workload)] != was:
                    return Receipt(False, self.now, "changed meanwhile", gone=True)
                self._judge(action, intent_id)
                self.replicas[_owner(workload)] = wanted
        return Receipt(True, self.now)

    def _judge(self, action: Action, intent_id: str) -> None:
        for rule in self.rules:
            rule(self, intent_id, action)
        self.commits.append(Commit(self.now, intent_id, action))

    # what Healer sees

    def topology(self) -> Topology:
        entities: dict[Target, Entity] = {}
        edges: set[tuple[Target, Target]] = set()
        facts: dict[str, Any]
        for name in NODES:
            facts = {
                "ready": name not in self.down,
                "unschedulable": name in self.cordoned,
                "cordon_owner": self.cordoned.get(name) if self._ours(name) else None,
                "pool": "h200",
                "gpus_capacity": GPUS,
                "gpus_allocatable": GPUS,
            }
            known = {k: v for k, v in facts.items() if v is not None}
            entities[node(name)] = Entity(node(name), resource_version="1", facts=known)
        for owner, count in self.replicas.items():
            pods = self.of(owner)
            ready = sum(self.is_ready(p) for p in pods)
            facts = {
                "api_kind": "Deployment",
                "replicas": count,
                "ready_replicas": ready,
                "updated_replicas": count - (owner in self.rolling),
                "available_replicas": ready,
                "generation": 1,
                "observed_generation": 1,
                "gpus_per_replica": 1,
                "pdb": {"disruptions_allowed": 0 if owner in self.budget_spent else 9},
            }
            entities[workload(owner)] = Entity(workload(owner), resource_version="1", facts=facts)
            for one in pods:
                facts = {"phase": "Running", "ready": self.is_ready(one), "gpus_requested": 1}
                entities[target(one)] = Entity(target(one), facts=facts)
                edges |= {(target(one), workload(owner)), (target(one), node(one.node))}
        return Topology(entities, frozenset(edges))

    def _ours(self, name: str) -> bool:
        return self.cordoned.get(name, "human") != "human"

    def snapshot(self, seen: Topology) -> Snapshot:
        """`seen`: the topology of now, or of the tick before."""
        pods = tuple(e.target for e in seen.of(Kind.POD))
        values = np.full((len(pods), 60), 9.0, np.float32)
        frame = builders.frame(values, pods, name=SIGNAL, worse=Worse.DOWN, unit="tokens/s")
        shift = (self.now - builders.NOW).total_seconds() - (600 if self.stale else 0)
        frame = replace(frame, times=frame.times + shift)
        nodes = tuple(node(name) for name in NODES)
        there = np.full((len(nodes), 60), float(GPUS), np.float32)
        present = builders.frame(there, nodes, name="node_gpus_present", scope=Kind.NODE)
        return Snapshot(
            now=self.now,
            topology=seen,
            frames={SIGNAL: frame, "node_gpus_present": replace(present, times=frame.times)},
            metrics_ok=self.metrics_ok,
            cluster_ok=self.cluster_ok,
        )

    def incidents(self) -> tuple[Incident, ...]:
        told = [(f, f"inc-{f.number}") for f in self.faults]
        told += [(f, f"inc-{f.number}-again") for f in self.faults if f.number in self.echoes]
        return tuple(self._incident(*each) for each in told[:: -1 if self.newest_first else 1])

    def _incident(self, fault: Fault, name: str) -> Incident:
        meant = self._meant(fault)
        terms = (
            Term("a", Side.FOR, 2.0, "seen", family="one", source=SIGNAL),
            Term("b", Side.FOR, 2.0, "seen", family="two", source="topology"),
        )
        finding = _finding(meant, fault, self.now)
        leader = builders.hypothesis(
            CAUSES[fault.kind],
            target=meant,
            onset=fault.since,
            confidence=0.95,
            proposes=PROPOSES[fault.kind],
            min_confidence=0.5,
            terms=terms,
            explains=(finding.key,),
        )
        over = fault.gone_at is not None and self.now - fault.gone_at >= 4 * TICK
        return builders.incident(
            id=name,
            opened_at=fault.since,
            phase=Phase.RESOLVED if over else Phase.DIAGNOSED,
            resolved_at=self.now if over else None,
            quiet_since=fault.gone_at,
            diagnosis=builders.diagnosis(leader, leading_since=fault.since, at=self.now),
            targets=(meant,),
            findings=() if fault.gone_at else (finding,),
        )

    def _meant(self, fault: Fault) -> Target:
        if fault.kind == "ecc":
            return node(fault.what)
        if fault.kind == "surge":
            return workload(fault.what)
        known = self.pods.get(fault.what)
        return target(known) if known else builders.pod("gone", uid=fault.what)


def node(name: str) -> Target:
    return Target(Kind.NODE, name, "", f"uid-{name}")


def workload(owner: str) -> Target:
    namespace, _, name = owner.partition("/")
    return Target(Kind.WORKLOAD, f"deployment/{name}", namespace, f"uid-{name}")


def target(pod: Pod) -> Target:
    return Target(Kind.POD, pod.name, pod.owner.partition("/")[0], pod.uid)


def _owner(of: Target) -> str:
    return f"{of.namespace}/{of.name.partition('/')[2]}"


def _finding(meant: Target, fault: Fault, now: datetime) -> Finding:
    given: dict[str, Any] = {"signal": SIGNAL, "since": fault.since, "at": now}
    return builders.finding(meant, **given)
