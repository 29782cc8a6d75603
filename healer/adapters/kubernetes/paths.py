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
}
"""Workload kind as target names spell it → API and resource."""

SCALABLE = frozenset({"deployment", "statefulset", "replicaset"})


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


def revision(target: Target) -> str:
    return f"{APPS}/namespaces/{_in(target.namespace)}/replicasets/{_in(target.name)}"


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
        case "Deployment" | "StatefulSet" | "DaemonSet" | "Job" | "LeaderWorkerSet" | "Rollout":
            return Target(Kind.WORKLOAD, f"{kind.lower()}/{name}", namespace, uid)
        case "Service":
            return Target(Kind.SERVICE, name, namespace, uid)
    return None


def _in(part: str) -> str:
    return quote(part, safe="")
