"""What is meant: one gpu, pod, workload, node, service or the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    GPU = "gpu"
    """Named by its NVML UUID; an index is never identity."""
    POD = "pod"
    GROUP = "group"
    """Pods that live and die together: a tensor-parallel group, a LeaderWorkerSet replica."""
    REVISION = "revision"
    """A ReplicaSet or ControllerRevision of a workload."""
    WORKLOAD = "workload"
    """Named with its kind, as kubectl does: `deployment/llama-8b`."""
    SERVICE = "service"
    """A model service: a Kubernetes Service in front of workloads."""
    MODEL = "model"
    NODE = "node"
    RACK = "rack"
    CLUSTER = "cluster"

    __hash__ = str.__hash__
    """An enum's own is written in Python, and every look-up of a target asks for it."""


NAMESPACED = frozenset({Kind.POD, Kind.GROUP, Kind.REVISION, Kind.WORKLOAD, Kind.SERVICE})


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """One thing in the cluster. Two targets are equal when kind, namespace and name are.

    `uid` is the Kubernetes UID where one is known. It tells a pod from its
    successor of the same name, so every action carries it, but a metric row
    without it still means the same target.
    """

    kind: Kind
    name: str
    namespace: str = ""
    uid: str = field(default="", compare=False)

    def __str__(self) -> str:
        name = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind}:{name}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The inverse of `str()`. Raises ValueError where `text` is no target."""
        kind, _, name = text.partition(":")
        if not name:
            raise ValueError(f"{text!r} is no target: expected KIND:[NAMESPACE/]NAME")
        if Kind(kind) in NAMESPACED:
            namespace, slash, rest = name.partition("/")
            if not slash:
                raise ValueError(f"{text!r} lacks a namespace: expected {kind}:NAMESPACE/NAME")
            return cls(Kind(kind), rest, namespace)
        return cls(Kind(kind), name)


CLUSTER = Target(Kind.CLUSTER, "cluster")
