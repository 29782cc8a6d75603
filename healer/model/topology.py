"""Who runs on what and belongs to whom: service → workload → revision → pod → gpu → node."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from operator import attrgetter
from typing import Any

from healer.model.target import Kind, Target


@dataclass(frozen=True, slots=True)
class Entity:
    """A target and what the API server says of it; `facts` hold plain JSON values.

    Facts by kind (absent when unknown, never invented):

    pod       phase, ready (bool), node, ip, revision, restarts (int), reason, terminating (bool),
              containers [{name, image, args, env, ready, restarts, waiting, last_terminated}],
              gpus_requested (int), owner_kind, bare (bool), mirror (bool), daemonset (bool),
              deletion_timestamp, priority, empty_dir_disk (bool), priority_class,
              node_selector, node_affinity (required terms), tolerations (as in the spec)
    workload  api_kind, replicas, ready_replicas, updated_replicas, available_replicas,
              generation, observed_generation, revision, paused (bool), managed_by, strategy,
              max_surge, max_unavailable, min_ready_seconds, selector, progress_failed (bool),
              hpa {name, min, max, current, desired}, pdb {name, min_available,
              max_unavailable, disruptions_allowed}, progressing_at (rollout start, ISO 8601)
    revision  number (int), template_digest, images, active (bool), replicas, ready_replicas,
              healthy_seen (bool), template (dict)
    node      ready (bool), unschedulable (bool), taints, gpus_capacity (int),
              gpus_allocatable (int), gpu_product, pool, rack, cordon_owner (dict or absent),
              conditions {type: status}, control_plane (bool)
    gpu       index, node, model
    service   selector, cluster_ip
    """

    target: Target
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    resource_version: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Topology:
    """Entities and the edges between them. Unknown links stay unknown.

    `edges` point from the dependent to what it needs or belongs to:
    pod → node, pod → gpu, gpu → node, node → rack, pod → revision → workload → service.
    """

    entities: Mapping[Target, Entity] = field(default_factory=dict)
    edges: frozenset[tuple[Target, Target]] = frozenset()
    complete: bool = True
    """False when a list failed or was stale: then nothing is concluded from absence."""

    @cached_property
    def _up(self) -> Mapping[Target, tuple[Target, ...]]:
        return _index(self.edges)

    @cached_property
    def _down(self) -> Mapping[Target, tuple[Target, ...]]:
        return _index((b, a) for a, b in self.edges)

    @cached_property
    def _kinds(self) -> Mapping[Kind, tuple[Entity, ...]]:
        found: dict[Kind, list[Entity]] = defaultdict(list)
        for entity in self.entities.values():
            found[entity.target.kind].append(entity)
        return {kind: tuple(each) for kind, each in found.items()}

    @cached_property
    def gpus_used(self) -> Mapping[Target, int]:
        """Node → GPUs that its pods ask for; those of ended pods are free again."""
        used: dict[Target, int] = defaultdict(int)
        for pod in self._kinds.get(Kind.POD, ()):
            wanted = int(pod.facts.get("gpus_requested") or 0)
            if wanted and pod.facts.get("phase") not in ("Succeeded", "Failed"):
                for node in self.above(pod.target):
                    if node.kind is Kind.NODE:
                        used[node] += wanted
        return used

    @cached_property
    def _related(self) -> dict[Target, Mapping[Kind, tuple[Target, ...]]]:
        """Filled by `related`: what is asked of one target is asked of it many times a tick."""
        return {}

    def grown(
        self, entities: Mapping[Target, Entity], edges: Set[tuple[Target, Target]]
    ) -> Topology:
        """With these entities, put for those of the same target, and these edges besides.

        What was worked out for this one is carried over: a tick adds a few to many thousands.
        """
        added = edges - self.edges
        if not added and all(self.entities.get(t) is e for t, e in entities.items()):
            return self
        more = Topology({**self.entities, **entities}, self.edges | added, self.complete)
        more.__dict__["_up"] = {**self._up, **_index(_beside(self._up, added))}
        down = {(b, a) for a, b in added}
        more.__dict__["_down"] = {**self._down, **_index(_beside(self._down, down))}
        return more

    def get(self, target: Target) -> Entity | None:
        return self.entities.get(target)

    def fact(self, target: Target, name: str, default: Any = None) -> Any:
        entity = self.entities.get(target)
        return default if entity is None else entity.facts.get(name, default)

    def of(self, kind: Kind) -> tuple[Entity, ...]:
        return self._kinds.get(kind, ())

    def above(self, target: Target) -> tuple[Target, ...]:
        """What `target` directly runs on or belongs to."""
        return self._up.get(target, ())

    def below(self, target: Target) -> tuple[Target, ...]:
        """What directly runs on `target` or belongs to it."""
        return self._down.get(target, ())

    def related(self, target: Target, kind: Kind) -> tuple[Target, ...]:
        """All targets of `kind` that `target` depends on, or that depend on it, nearest first.

        Goes straight up or straight down, never up and then down again: the node of a pod and
        the pods of a node are related, two pods of one node are not.
        """
        if target.kind == kind:
            return (target,)
        if target not in self._related:
            kinds: dict[Kind, list[Target]] = defaultdict(list)
            for index in (self._up, self._down):
                for found in _reach(target, index):
                    kinds[found.kind].append(found)
            self._related[target] = {each: tuple(found) for each, found in kinds.items()}
        return self._related[target].get(kind, ())

    def in_circle(self, target: Target) -> bool:
        """Whether `target` depends, by way of others, on itself: somebody's labels are wrong."""
        queue, seen = deque(self.above(target)), set(self.above(target))
        while queue:
            for goal in self.above(queue.popleft()):
                if goal == target:
                    return True
                if goal not in seen:
                    seen.add(goal)
                    queue.append(goal)
        return target in seen

    def siblings(self, target: Target) -> tuple[Target, ...]:
        """Targets of the same kind under the same direct parent, without `target` itself."""
        found = {
            other
            for parent in self.above(target)
            for other in self.below(parent)
            if other.kind == target.kind and other != target
        }
        return tuple(sorted(found))

    def connected(self, one: Target, other: Target) -> bool:
        """Whether one depends on the other, or both depend on one common thing below a rack."""
        if one == other:
            return True
        ups = set(_reach(one, self._up)), set(_reach(other, self._up))
        if other in ups[0] or one in ups[1]:
            return True
        return any(t.kind not in (Kind.RACK, Kind.CLUSTER) for t in ups[0] & ups[1])


def _index(edges: Iterable[tuple[Target, Target]]) -> Mapping[Target, tuple[Target, ...]]:
    found: dict[Target, list[Target]] = defaultdict(list)
    for source, goal in edges:
        found[source].append(goal)
    return {
        source: tuple(goals if len(goals) == 1 else sorted(goals, key=_by_name))
        for source, goals in found.items()
    }


def _beside(
    index: Mapping[Target, tuple[Target, ...]], added: Set[tuple[Target, Target]]
) -> Iterator[tuple[Target, Target]]:
    """The added edges, and those the index has from the same sources."""
    yield from added
    for source in {source for source, _ in added}:
        yield from ((source, goal) for goal in index.get(source, ()))


_by_name = attrgetter("kind", "name", "namespace")
"""The order of targets themselves; tuples compare far faster than dataclasses."""


def _reach(start: Target, index: Mapping[Target, tuple[Target, ...]]) -> Iterator[Target]:
    seen, queue = {start}, deque([start])
    while queue:
        for goal in index.get(queue.popleft(), ()):
            if goal not in seen:
                seen.add(goal)
                queue.append(goal)
                yield goal
