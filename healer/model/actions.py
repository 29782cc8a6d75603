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
class Escalate:
    """Hand the incident to a person. Changes nothing in the cluster."""

    target: Target
    reason: str
    uid: str = ""
    verb: Literal["escalate"] = "escalate"


Action = EvictPod | CordonNode | UncordonNode | ScaleWorkload | RollbackWorkload | Escalate

VERBS: tuple[str, ...] = (
    "evict_pod",
    "cordon_node",
    "uncordon_node",
    "scale_workload",
    "rollback_workload",
    "escalate",
)
"""In the order of the union; a test keeps it, the executor and the ClusterRole in step."""
