"""The closed union of verbs: all that Healer can ever do to a cluster.

Adding one widens what the daemon may do. It comes with its branch in the
executor, its rule in the chart's ClusterRole, its undo and a decision record.
Every action names a concrete end state and the UID it was decided for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from healer.model.target import Target


@dataclass(frozen=True, slots=True)
class EvictPod:
    """Ask the API server to evict one pod, honouring disruption budgets."""

    target: Target
    owner: Target | None = None
    """The top workload that will replace it; None makes the pod bare, and the action refused."""
    uid: str = ""
    verb: Literal["evict_pod"] = "evict_pod"


@dataclass(frozen=True, slots=True)
class CordonNode:
    """Mark a node unschedulable and sign it as ours, in one patch."""

    target: Target
    uid: str = ""
    resource_version: str = ""
    reason: str = ""
    verb: Literal["cordon_node"] = "cordon_node"


@dataclass(frozen=True, slots=True)
class UncordonNode:
    """Take back our own cordon, and only ours."""

    target: Target
    uid: str = ""
    cordon_id: str = ""
    """Intent id written on the node when we cordoned it."""
    verb: Literal["uncordon_node"] = "uncordon_node"


@dataclass(frozen=True, slots=True)
class ScaleWorkload:
    """Set a workload's replicas to an absolute number through its scale subresource."""

    target: Target
    replicas: int
    was: int
    uid: str = ""
    resource_version: str = ""
    verb: Literal["scale_workload"] = "scale_workload"


@dataclass(frozen=True, slots=True)
class RollbackWorkload:
    """Put back the pod template of a pinned, once healthy revision."""

    target: Target
    revision: Target
    revision_uid: str
    template_digest: str
    template: dict[str, Any] = field(hash=False)
    """The pod template to restore, without `pod-template-hash`."""
    from_revision: str = ""
    uid: str = ""
    resource_version: str = ""
    verb: Literal["rollback_workload"] = "rollback_workload"


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete one pod whatever disruption budgets say. By approval only."""

    target: Target
    owner: Target | None = None
    """The top workload that will replace it; None makes the pod bare, and the action refused."""
    uid: str = ""
    verb: Literal["delete_pod"] = "delete_pod"


@dataclass(frozen=True, slots=True)
class RestartWorkload:
    """Replace all pods of a workload by its own rolling update, as `kubectl rollout restart`."""

    target: Target
    at: str
    """The end state: the moment that is written on the pod template, ISO 8601."""
    uid: str = ""
    resource_version: str = ""
    verb: Literal["restart_workload"] = "restart_workload"


@dataclass(frozen=True, slots=True)
class SetFloor:
    """Set the lower bound of an autoscaler instead of writing against it, signed as ours."""

    target: Target
    """The workload that it scales."""
    scaler: str
    """`horizontalpodautoscaler/NAME` or `scaledobject/NAME`, in the workload's namespace."""
    floor: int
    was: int
    uid: str = ""
    """Of the autoscaler."""
    takes_back: str = ""
    """Intent id that was signed when the floor was raised; empty when it is raised."""
    verb: Literal["set_floor"] = "set_floor"


@dataclass(frozen=True, slots=True)
class QuarantinePod:
    """Take one pod out of its services and its controller by its labels, and keep it running."""

    target: Target
    labels: tuple[str, ...]
    """Keys whose values are replaced: those that services and the controller select by."""
    owner: Target | None = None
    uid: str = ""
    verb: Literal["quarantine_pod"] = "quarantine_pod"


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Give a pod in our quarantine its labels back."""

    target: Target
    uid: str = ""
    quarantine_id: str = ""
    """Intent id written on the pod when we took it out."""
    verb: Literal["release_pod"] = "release_pod"


@dataclass(frozen=True, slots=True)
class Escalate:
    """Hand the incident to a person. Changes nothing in the cluster."""

    target: Target
    reason: str
    uid: str = ""
    verb: Literal["escalate"] = "escalate"


Action = (
    EvictPod
    | DeletePod
    | CordonNode
    | UncordonNode
    | ScaleWorkload
    | SetFloor
    | RollbackWorkload
    | RestartWorkload
    | QuarantinePod
    | ReleasePod
    | Escalate
)

VERBS: tuple[str, ...] = (
    "evict_pod",
    "delete_pod",
    "cordon_node",
    "uncordon_node",
    "scale_workload",
    "set_floor",
    "rollback_workload",
    "restart_workload",
    "quarantine_pod",
    "release_pod",
    "escalate",
)
"""In the order of the union; a test keeps it, the executor and the ClusterRole in step."""
