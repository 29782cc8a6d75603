"""Where things are in the API, and how its objects become targets."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from healer.errors import Permanent
from healer.model.target import Kind, Target

APPS = "/apis/apps/v1"

WORKLOADS: Mapping[str, tuple[str, str]] = {
    "deployment": (APPS, "deployments"),
    "statefulset": (APPS, "statefulsets"),
    "daemonset": (APPS, "daemonsets"),
    "replicaset": (APPS, "replicasets"),
    "leaderworkerset": ("/apis/leaderworkerset.x-k8s.io/v1", "leaderworkersets"),
    "rollout": ("/apis/argoproj.io/v1alpha1", "rollouts"),
    "inferenceservice": ("/apis/serving.kserve.io/v1beta1", "inferenceservices"),
}
"""Workload kind as target names spell it → API and resource."""

SCALABLE = ("deployment", "statefulset", "replicaset", "leaderworkerset", "rollout")

SCALERS: Mapping[str, tuple[str, str]] = {
    "horizontalpodautoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "scaledobject": ("/apis/keda.sh/v1alpha1", "scaledobjects"),
}
"""Autoscaler kind → API and resource."""

REVISIONS: Mapping[str, str] = {
    "deployment": "replicasets",
    "rollout": "replicasets",
    "statefulset": "controllerrevisions",
    "daemonset": "controllerrevisions",
}
"""Workload kind → what keeps its revisions."""


def pod(target: Target) -> str:
    return f"/api/v1/namespaces/{_in(target.namespace)}/pods/{_in(target.name)}"


def node(target: Target) -> str:
    return f"/api/v1/nodes/{_in(target.name)}"


def workload(target: Target) -> str:
    """Raises Permanent for a kind we know nothing of."""
    kind, _, name = target.name.partition("/")
    if kind not in WORKLOADS or not name:
        raise Permanent(f"{target}: no workload of a known kind ({', '.join(WORKLOADS)})")
    api, plural = WORKLOADS[kind]
    return f"{api}/namespaces/{_in(target.namespace)}/{plural}/{_in(name)}"


def revision(workload: Target, name: str) -> str:
    """Raises Permanent for a workload whose API keeps no revisions."""
    kind = kind_of(workload)
    if kind not in REVISIONS:
        raise Permanent(f"{workload} has no revisions in the API")
    return f"{APPS}/namespaces/{_in(workload.namespace)}/{REVISIONS[kind]}/{_in(name)}"


def scaler(workload: Target, scaler: str) -> str:
    """Raises Permanent for an autoscaler of a kind we know nothing of."""
    kind, _, name = scaler.partition("/")
    if kind not in SCALERS or not name:
        raise Permanent(f"{scaler}: no autoscaler of a known kind ({', '.join(SCALERS)})")
    api, plural = SCALERS[kind]
    return f"{api}/namespaces/{_in(workload.namespace)}/{plural}/{_in(name)}"


def kind_of(target: Target) -> str:
    """`deployment` of `deployment/llama-8b`."""
    return target.name.partition("/")[0]


def target_of(kind: str, namespace: str, name: str, uid: str = "") -> Target | None:
    """The target an object reference means; None for what Healer has no word for."""
    match kind:
        case "Pod":
            return Target(Kind.POD, name, namespace, uid)
        case "Node":
            return Target(Kind.NODE, name, "", uid)
        case "ReplicaSet" | "ControllerRevision":
            return Target(Kind.REVISION, name, namespace, uid)
        case (
            "Deployment" | "StatefulSet" | "DaemonSet" | "Job"
            | "LeaderWorkerSet" | "Rollout" | "InferenceService"
        ):  # fmt: skip
            return Target(Kind.WORKLOAD, f"{kind.lower()}/{name}", namespace, uid)
        case "Service":
            return Target(Kind.SERVICE, name, namespace, uid)
    return None


def _in(part: str) -> str:
    return quote(part, safe="")
