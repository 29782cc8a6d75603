"""Where pods find room: GPUs by packing, selectors, required affinity, taints and those in line.

What is not known of a pod holds nothing against it: a fact that is absent is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

REPELS = ("NoSchedule", "NoExecute")

MATCHES: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda have, values: have in values,
    "NotIn": lambda have, values: have not in values,
    "Exists": lambda have, _values: have is not None,
    "DoesNotExist": lambda have, _values: have is None,
    "Gt": lambda have, values: _number(have) > _number(values[0] if values else None),
    "Lt": lambda have, values: _number(have) < _number(values[0] if values else None),
}


@dataclass(frozen=True, slots=True)
class Need:
    """One pod that wants a node."""

    gpus: int
    pod: Mapping[str, Any] = field(default_factory=dict)
    """Its facts, or those of one like it: `node_selector`, `node_affinity`, `tolerations`."""


def unplaced(needs: Sequence[Need], topology: Topology, without: Target | None = None) -> int:
    """How many of `needs` find no node, once all that wait already have taken theirs."""
    nodes = [
        n
        for n in topology.of(Kind.NODE)
        if n.target != without and n.facts.get("ready") and not n.facts.get("unschedulable")
    ]
    used = topology.gpus_used
    free = {
        n.target: int(n.facts.get("gpus_allocatable") or 0) - used.get(n.target, 0) for n in nodes
    }
    _pack(_waiting(topology), nodes, free)
    return _pack(needs, nodes, free)


def admits(node: Entity, pod: Mapping[str, Any]) -> bool:
    """Whether the scheduler would let a pod with these facts onto `node` at all."""
    selector = pod.get("node_selector") or {}
    if any(node.labels.get(key) != value for key, value in selector.items()):
        return False
    terms = pod.get("node_affinity") or ()
    if terms and not any(_fits_term(term, node) for term in terms):
        return False
    tolerations = pod.get("tolerations")
    return tolerations is None or all(
        _tolerates(tolerations, taint)
        for taint in node.facts.get("taints") or ()
        if taint.get("effect") in REPELS
    )


def _pack(needs: Sequence[Need], nodes: Sequence[Entity], free: dict[Target, int]) -> int:
    """First fit decreasing, the choosiest first; takes from `free`. A pod needs one node."""
    wanted = [(need, [n.target for n in nodes if admits(n, need.pod)]) for need in needs]
    left = 0
    for need, allowed in sorted(wanted, key=lambda each: (-each[0].gpus, len(each[1]))):
        room = [target for target in allowed if free[target] >= need.gpus]
        if room:
            free[min(room, key=lambda target: (free[target], target))] -= need.gpus
        else:
            left += 1
    return left


def _waiting(topology: Topology) -> tuple[Need, ...]:
    """Pods that have no node yet and want GPUs: they come before whatever we would add."""
    return tuple(
        Need(int(p.facts["gpus_requested"]), p.facts)
        for p in topology.of(Kind.POD)
        if p.facts.get("phase") == "Pending"
        and p.facts.get("gpus_requested")
        and not p.facts.get("terminating")
        and not any(above.kind is Kind.NODE for above in topology.above(p.target))
    )


def _fits_term(term: Mapping[str, Any], node: Entity) -> bool:
    """An empty term matches nothing, as the API says; an operator unknown to us neither."""
    wants = [
        (want, node.labels.get(want.get("key", ""))) for want in term.get("matchExpressions") or ()
    ]
    wants += [(want, node.target.name) for want in term.get("matchFields") or ()]
    return bool(wants) and all(
        MATCHES.get(want.get("operator", ""), _never)(have, want.get("values") or ())
        for want, have in wants
    )


def _never(_have: str | None, _values: Sequence[str]) -> bool:
    return False


def _number(text: str | None) -> float:
    """NaN compares as false with everything."""
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")


def _tolerates(tolerations: Sequence[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    for each in tolerations:
        if each.get("effect") and each["effect"] != taint.get("effect"):
            continue
        exists = each.get("operator", "Equal") == "Exists"
        if exists and not each.get("key"):
            return True
        same = (each.get("value") or "") == (taint.get("value") or "")
        if each.get("key") == taint.get("key") and (exists or same):
            return True
    return False
