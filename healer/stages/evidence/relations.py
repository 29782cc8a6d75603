"""The words rules use for what stands around a target: pods, gpus, node, siblings, …"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.stages.evidence.sight import Scene


def to_kind(topology: Topology, target: Target, kind: Kind) -> tuple[Target, ...]:
    """Targets of `kind` that go with `target`: by dependency, else through its pods.

    A workload does not depend on GPUs, its pods do; so the GPUs of a workload are those of
    its pods, and the workloads of a node are those with pods on it.
    """
    direct = topology.related(target, kind)
    if direct or target.kind is Kind.POD or kind is Kind.POD:
        return direct
    found = {
        each for pod in topology.related(target, Kind.POD) for each in topology.related(pod, kind)
    }
    return tuple(sorted(found))


def _kind(kind: Kind) -> Callable[[Topology, Target], Iterable[Target]]:
    return lambda topology, target: to_kind(topology, target, kind)


_UNITS = {
    Kind.POD: Kind.WORKLOAD,
    Kind.GPU: Kind.NODE,
    Kind.NODE: Kind.RACK,
    Kind.REVISION: Kind.WORKLOAD,
    Kind.WORKLOAD: Kind.SERVICE,
    Kind.GROUP: Kind.WORKLOAD,
}
"""Whom a target is compared with: the others under the same …"""


def _siblings(topology: Topology, target: Target) -> Iterator[Target]:
    parent = _UNITS.get(target.kind)
    ranks = _ranks(topology, target)
    for above in topology.related(target, parent) if parent else ():
        for other in topology.related(above, target.kind):
            if other != target and other not in ranks:
                yield other


def _ranks(topology: Topology, *targets: Target) -> frozenset[Target]:
    """Pods of the same tensor-parallel groups: one replica with them, nobody to compare with."""
    pods = [target for target in targets if target.kind is Kind.POD]
    return frozenset(
        rank
        for pod in pods
        for group in topology.related(pod, Kind.GROUP)
        for rank in topology.related(group, Kind.POD)
    )


def _neighbours(topology: Topology, target: Target) -> Iterator[Target]:
    """Pods of other workloads on the same nodes: they share hardware, not software."""
    own = set(to_kind(topology, target, Kind.POD))
    owners = {w for pod in own for w in topology.related(pod, Kind.WORKLOAD)}
    for node in to_kind(topology, target, Kind.NODE):
        for pod in topology.related(node, Kind.POD):
            if pod not in own and not owners & set(topology.related(pod, Kind.WORKLOAD)):
                yield pod


def _replicas(topology: Topology, target: Target) -> Iterator[Target]:
    """All pods of the workloads that this target is a part of, its own among them."""
    own = to_kind(topology, target, Kind.POD)
    for owner in sorted({w for pod in own for w in topology.related(pod, Kind.WORKLOAD)}):
        yield from topology.related(owner, Kind.POD)


def _others(topology: Topology, target: Target) -> Iterator[Target]:
    """Pods of the same workloads that are not on this target, nor in a group with one that is."""
    own = set(to_kind(topology, target, Kind.POD))
    own |= _ranks(topology, *own)
    owners = {w for pod in own for w in topology.related(pod, Kind.WORKLOAD)}
    for owner in sorted(owners):
        for pod in topology.related(owner, Kind.POD):
            if pod not in own:
                yield pod


RELATIONS: dict[str, Callable[[Topology, Target], Iterable[Target]]] = {
    "self": lambda _, target: (target,),
    "pods": _kind(Kind.POD),
    "gpus": _kind(Kind.GPU),
    "node": _kind(Kind.NODE),
    "nodes": _kind(Kind.NODE),
    "rack": _kind(Kind.RACK),
    "revision": _kind(Kind.REVISION),
    "revisions": _kind(Kind.REVISION),
    "workload": _kind(Kind.WORKLOAD),
    "workloads": _kind(Kind.WORKLOAD),
    "service": _kind(Kind.SERVICE),
    "services": _kind(Kind.SERVICE),
    "group": _kind(Kind.GROUP),
    "siblings": _siblings,
    "neighbours": _neighbours,
    "others": _others,
    "replicas": _replicas,
    "model": _kind(Kind.MODEL),
}

KINDS: dict[str, Kind] = {
    "pods": Kind.POD,
    "gpus": Kind.GPU,
    "node": Kind.NODE,
    "nodes": Kind.NODE,
    "rack": Kind.RACK,
    "revision": Kind.REVISION,
    "revisions": Kind.REVISION,
    "workload": Kind.WORKLOAD,
    "workloads": Kind.WORKLOAD,
    "service": Kind.SERVICE,
    "services": Kind.SERVICE,
    "group": Kind.GROUP,
    "neighbours": Kind.POD,
    "others": Kind.POD,
    "replicas": Kind.POD,
    "model": Kind.MODEL,
}
"""What kind of target a relation leads to; those not named keep the kind they start from."""


def related(scene: Scene, relation: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Where `relation` leads from `targets`, each once, in a stable order."""
    if len(targets) == 1:
        return _related(scene, relation, targets[0])
    found: dict[Target, None] = {}
    for target in targets:
        found.update(dict.fromkeys(_related(scene, relation, target)))
    return tuple(found)


def _related(scene: Scene, relation: str, target: Target) -> tuple[Target, ...]:
    known = scene.sight.relations
    key = (relation, target)
    if key not in known:
        step = RELATIONS[relation](scene.sight.topology, target)
        known[key] = tuple(dict.fromkeys(step))
    return known[key]
