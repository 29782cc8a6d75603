"""Names of rows, and whose sibling a pod is: looked up on the tick for whole fleets at once."""

from __future__ import annotations

from healer.model.frame import Frame
from healer.model.target import Kind, Target
from healer.model.topology import Topology


def row_names(frame: Frame) -> list[str]:
    """One a row, the same from tick to tick: the target, and the kept labels that tell its rows
    apart."""
    keep = frame.signal.keep
    if not keep or not frame.labels:
        return [str(target) for target in frame.targets]
    return [
        "|".join([str(target), *(f"{k}={labels.get(k, '')}" for k in keep)])
        for target, labels in zip(frame.targets, frame.labels, strict=True)
    ]


def workload_of(topology: Topology, pod: Target) -> Target | None:
    """Through revision or group, two steps at most: `Topology.related` costs ten times that."""
    parents = topology.above(pod)
    both = (*parents, *(each for parent in parents for each in topology.above(parent)))
    return next((each for each in both if each.kind is Kind.WORKLOAD), None)


def is_leaving(topology: Topology, pod: Target) -> bool:
    """A pod that is being deleted finishes what it holds, or is killed."""
    fact = topology.fact
    return bool(fact(pod, "terminating", default=False) or fact(pod, "deletion_timestamp"))


def is_serving(topology: Topology, pod: Target) -> bool:
    """A pod that loads or drains is unlike its siblings by its nature. Unknown counts as ready."""
    return bool(topology.fact(pod, "ready", default=True)) and not is_leaving(topology, pod)
