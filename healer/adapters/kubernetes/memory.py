"""What becomes visible only between two looks: rollouts, scalings, cordons, pods that went away.

The API server shows a state, not how it came about. A rollout is dated by the ReplicaSet it
created; one that took an old ReplicaSet up again created none, and is dated by our own looks or,
at the first look, by the Progressing condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from healer.adapters.kubernetes import cordons, facts
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.happenings import SOURCE, WINDOW
from healer.adapters.kubernetes.node_changes import (
    Versions,
    node_changes,
    short_of_gpus,
    versions,
    withheld,
)
from healer.adapters.kubernetes.topology_builder import Lists, Remembered
from healer.model.event import Event
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

PREDICTORS = 5
"""Of one InferenceService that are remembered."""


@dataclass(frozen=True, slots=True)
class _Look:
    """The parts of one view that the next is compared with."""

    at: datetime
    revisions: Mapping[str, str]
    """Workload UID → name of its newest revision."""
    replicas: Mapping[str, int]
    pods: Mapping[str, Target]


class Memory:
    def __init__(self) -> None:
        self._last: _Look | None = None
        self._healthy: set[str] = set()
        self._left: set[str] = set()
        """Revisions that were undone: whatever they looked like, they are nowhere to return to."""
        self._rollouts: dict[str, Event] = {}
        self._others: list[Event] = []
        self._cordoned: dict[str, datetime] = {}
        self._predictors: dict[str, dict[int, Obj]] = {}
        self._versions: dict[str, Versions] = {}
        """Node UID → what it ran when it was last seen, also while it is away."""
        self._short: dict[str, datetime] = {}
        """Node UID → since when it offers fewer GPUs than it has."""

    @property
    def remembered(self) -> Remembered:
        return Remembered(
            frozenset(self._healthy - self._left),
            {uid: event.at.isoformat() for uid, event in self._rollouts.items()},
            {uid: tuple(known.items()) for uid, known in self._predictors.items()},
        )

    def trust(self, uids: frozenset[str]) -> None:
        """Revisions known from elsewhere to have been healthy once."""
        self._healthy |= uids

    def look(self, topology: Topology, lists: Lists, now: datetime) -> None:
        """Compare with the last look. An incomplete topology teaches nothing about absence."""
        self._keep_predictors(lists)
        seen = _Look(
            now,
            {w.target.uid: str(w.facts["revision"]) for w in _workloads(topology)},
            {
                w.target.uid: w.facts["replicas"]
                for w in topology.of(Kind.WORKLOAD)
                if isinstance(w.facts.get("replicas"), int)
            },
            {pod.target.uid: pod.target for pod in lists.pods.values()},
        )
        self._healthy |= set(_whole(topology))
        if topology.complete:
            there = {revision.target.uid for revision in topology.of(Kind.REVISION)}
            self._healthy &= there
            self._left &= there
        for workload in _workloads(topology):
            self._watch_rollout(workload, topology, lists, now)
        self._others += node_changes(self._versions, lists.nodes, now)
        self._versions |= versions(lists.nodes)
        self._short = short_of_gpus(self._short, lists.nodes, now)
        if self._last is not None:
            self._others += _scaled(self._last, seen, topology, now)
            if topology.complete:
                self._others += _deleted(self._last, seen, now)
        self._others = [event for event in self._others if event.at >= now - WINDOW]
        self._last = seen

    def _keep_predictors(self, lists: Lists) -> None:
        """KServe's own revisions go when they are replaced: what was ready is kept here."""
        for obj in lists.workloads.get("InferenceService", ()):
            meta, status = obj["metadata"], obj.get("status") or {}
            generation = int(meta.get("generation") or 0)
            current = facts.whole(status.get("observedGeneration")) == generation
            if current and facts.condition(obj, "Ready").get("status") == "True":
                known = self._predictors.setdefault(str(meta.get("uid", "")), {})
                known[generation] = (obj.get("spec") or {}).get("predictor") or {}
                for old in sorted(known)[:-PREDICTORS]:
                    del known[old]

    def events(self, lists: Lists, now: datetime) -> Iterator[Event]:
        """Of the last hours; a cordon and withheld GPUs for as long as they last."""
        yield from (each for each in self._rollouts.values() if each.at >= now - WINDOW)
        yield from self._others
        yield from self._cordons(lists, now)
        yield from withheld(self._short, lists.nodes, now)

    def _watch_rollout(
        self, workload: Entity, topology: Topology, lists: Lists, now: datetime
    ) -> None:
        uid, name = workload.target.uid, str(workload.facts["revision"])
        known = self._rollouts.get(uid)
        if known is not None and known.attributes["revision"] == name:
            return
        before = self._last.revisions.get(uid) if self._last else None
        if before == name:
            return
        revisions = _revisions_of(topology, workload.target)
        newest = next((r for r in revisions if r.target.name == name), None)
        if newest is None or len(revisions) < 2:
            return
        others = [r for r in revisions if r is not newest]
        left = max(others, key=lambda r: r.facts.get("number") or 0)
        previous = before or left.target.name
        fresh = newest.created_at is not None and all(
            newest.created_at >= (r.created_at or newest.created_at) for r in others
        )
        if fresh:
            at = newest.created_at or now
        else:
            self._left.add(left.target.uid)
            self._left.discard(newest.target.uid)
            at = self._taken_up(workload, lists, now)
        self._rollouts[uid] = Event(
            "rollout",
            workload.target,
            at,
            f"{workload.target.name} went from {previous} to {name}",
            {
                "revision": name,
                "from": previous,
                "number": str(newest.facts.get("number", "")),
                "images": ",".join(newest.facts.get("images", ())),
            },
            SOURCE,
        )

    def _taken_up(self, workload: Entity, lists: Lists, now: datetime) -> datetime:
        """When an old revision became the newest again."""
        if self._last is not None:
            return now
        for objects in lists.workloads.values():
            for obj in objects:
                if obj["metadata"].get("uid") == workload.target.uid:
                    progress = facts.condition(obj, "Progressing")
                    at = progress.get("lastUpdateTime") or progress.get("lastTransitionTime")
                    return facts.moment(at) or now
        return now

    def _cordons(self, lists: Lists, now: datetime) -> Iterator[Event]:
        still: dict[str, datetime] = {}
        for obj in lists.nodes:
            spec, uid = obj.get("spec") or {}, obj["metadata"].get("uid", "")
            if not spec.get("unschedulable"):
                continue
            signed = cordons.signature(obj) or {}
            taint = next(
                (
                    each.get("timeAdded")
                    for each in spec.get("taints") or ()
                    if each.get("key") == "node.kubernetes.io/unschedulable"
                ),
                None,
            )
            at = facts.moment(signed.get("at")) or facts.moment(taint)
            still[uid] = at or self._cordoned.get(uid, now)
            yield Event(
                "node_cordoned",
                Target(Kind.NODE, obj["metadata"]["name"], "", uid),
                still[uid],
                f"{obj['metadata']['name']} is cordoned",
                {
                    "by": str(signed.get("owner") or "somebody else"),
                    "reason": str(signed.get("reason") or ""),
                },
                SOURCE,
            )
        self._cordoned = still


def _workloads(topology: Topology) -> Iterator[Entity]:
    return (w for w in topology.of(Kind.WORKLOAD) if w.facts.get("revision"))


def _revisions_of(topology: Topology, workload: Target) -> list[Entity]:
    found = (topology.get(t) for t in topology.below(workload) if t.kind is Kind.REVISION)
    return [each for each in found if each is not None]


def _whole(topology: Topology) -> Iterator[str]:
    """Revisions that carry all replicas of their workload, every one available."""
    for each in topology.of(Kind.REVISION):
        available = each.facts.get("available_replicas", 0)
        for above in topology.above(each.target):
            wanted = topology.fact(above, "replicas", 0)
            if wanted and available >= wanted:
                yield each.target.uid
    for workload in topology.of(Kind.WORKLOAD):
        known = workload.facts
        if known.get("api_kind") not in ("StatefulSet", "DaemonSet") or not known.get("replicas"):
            continue
        if min(known["updated_replicas"], known["ready_replicas"]) >= known["replicas"]:
            for revision in _revisions_of(topology, workload.target):
                if revision.facts.get("active"):
                    yield revision.target.uid


def _scaled(last: _Look, seen: _Look, topology: Topology, now: datetime) -> Iterator[Event]:
    targets = {w.target.uid: w.target for w in topology.of(Kind.WORKLOAD)}
    for uid, count in seen.replicas.items():
        was = last.replicas.get(uid)
        if was is not None and was != count:
            yield Event(
                "scaled",
                targets[uid],
                now,
                f"{targets[uid].name} went from {was} to {count} replicas",
                {"from": str(was), "to": str(count)},
                SOURCE,
            )


def _deleted(last: _Look, seen: _Look, now: datetime) -> Iterator[Event]:
    for uid, pod in last.pods.items():
        if uid not in seen.pods:
            yield Event("pod_deleted", pod, now, f"{pod.name} is gone", {}, SOURCE)
