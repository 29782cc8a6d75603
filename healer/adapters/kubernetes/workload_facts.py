"""What Healer keeps of a workload, and of what governs it: revision, autoscaler, budget, manager.

Pure, like `facts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healer.adapters.kubernetes import templates
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.facts import condition, controller, gpus_requested, known, whole

REVISION = "deployment.kubernetes.io/revision"
ROLLOUT_REVISION = "rollout.argoproj.io/revision"
MANAGERS = "managers"
"""Where a slimmed object keeps who manages its pod template, out of its managedFields."""

GITOPS: tuple[tuple[str, str, str], ...] = (
    ("annotations", "argocd.argoproj.io/tracking-id", "argocd"),
    ("labels", "kustomize.toolkit.fluxcd.io/name", "flux"),
    ("labels", "helm.toolkit.fluxcd.io/name", "flux"),
)
"""Where a mark of a GitOps controller is looked for, and whose it is."""

GITOPS_MANAGERS: tuple[tuple[str, str], ...] = (
    ("argocd", "argocd"),
    ("kustomize-controller", "flux"),
    ("helm-controller", "flux"),
    ("flux", "flux"),
)
"""A part of a field manager's name, and whose it is."""


def template_managers(obj: Obj) -> list[str]:
    """Field managers that wrote something of the pod template."""
    found = []
    for each in (obj.get("metadata") or {}).get("managedFields") or ():
        spec = ((each or {}).get("fieldsV1") or {}).get("f:spec") or {}
        if spec.keys() & {"f:template", "f:predictor", "f:leaderWorkerTemplate"}:
            found.append(str(each.get("manager", "")))
    return sorted(set(found))


def workload(obj: Obj, kind: str) -> dict[str, Any]:
    """Of a workload or bare ReplicaSet; without autoscaler, budget and revision, which are other
    objects."""
    if kind == "InferenceService":
        return _inference_service(obj)
    spec, status, meta = (
        (obj.get("spec") or {}),
        (obj.get("status") or {}),
        (obj.get("metadata") or {}),
    )
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    by_node = kind == "DaemonSet"
    found: dict[str, Any] = {
        "api_kind": kind,
        "replicas": status.get("desiredNumberScheduled", 0)
        if by_node
        else whole(spec.get("replicas", 1)),
        "ready_replicas": status.get("numberReady" if by_node else "readyReplicas") or 0,
        "updated_replicas": _updated(status, kind),
        "available_replicas": status.get("numberAvailable" if by_node else "availableReplicas")
        or 0,
        "generation": meta.get("generation"),
        "observed_generation": whole(status.get("observedGeneration")),
        "revision_number": whole((meta.get("annotations") or {}).get(REVISION)),
        "paused": bool(spec.get("paused")),
        "managed_by": managed_by(obj),
        "strategy": strategy.get("type"),
        "max_surge": rolling.get("maxSurge"),
        "max_unavailable": rolling.get("maxUnavailable"),
        "min_ready_seconds": spec.get("minReadySeconds") or 0,
        "selector": spec.get("selector"),
        "progress_failed": condition(obj, "Progressing").get("reason")
        == "ProgressDeadlineExceeded",
        "gpus_per_replica": _gpus_per_replica(spec),
    }
    return known(found)


def _inference_service(obj: Obj) -> dict[str, Any]:
    """Replicas are its child's to count; what is asked here is whether it may be rolled back."""
    meta, status = (obj.get("metadata") or {}), (obj.get("status") or {})
    return known(
        {
            "api_kind": "InferenceService",
            "ready": condition(obj, "Ready").get("status") == "True",
            "generation": meta.get("generation"),
            "observed_generation": whole(status.get("observedGeneration")),
            "managed_by": managed_by(obj),
            "deployment_mode": status.get("deploymentMode"),
        }
    )


def worker_template(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The pod template of a LeaderWorkerSet's workers; empty for other kinds."""
    found: dict[str, Any] = (spec.get("leaderWorkerTemplate") or {}).get("workerTemplate") or {}
    return found


def _gpus_per_replica(spec: Mapping[str, Any]) -> int:
    """A replica of a LeaderWorkerSet is a group of pods."""
    group = spec.get("leaderWorkerTemplate") or {}
    worker = gpus_requested(worker_template(spec).get("spec") or {})
    if not group:
        return gpus_requested((spec.get("template") or {}).get("spec") or {})
    leader = group.get("leaderTemplate")
    first = gpus_requested(leader.get("spec") or {}) if leader else worker
    return first + worker * ((whole(group.get("size")) or 1) - 1)


def revision(template: Mapping[str, Any], number: int | None) -> dict[str, Any]:
    """Of the pod template that a ReplicaSet or ControllerRevision pins."""
    bare = templates.bare(template)
    return known(
        {
            "number": number,
            "template": bare,
            "template_digest": templates.digest(template),
            "images": templates.images(template),
        }
    )


def autoscaler(obj: Obj) -> dict[str, Any]:
    spec, status = (obj.get("spec") or {}), (obj.get("status") or {})
    return known(
        {
            "name": (obj.get("metadata") or {}).get("name"),
            **_scaler(obj),
            "min": spec.get("minReplicas", 1),
            "max": spec.get("maxReplicas"),
            "current": status.get("currentReplicas"),
            "desired": status.get("desiredReplicas"),
        }
    )


def _scaler(obj: Obj) -> dict[str, Any]:
    """Whose lower bound counts: the HPA's own, or that of the ScaledObject which made it."""
    owner = controller(obj) or {}
    if owner.get("kind") == "ScaledObject":
        return {"scaler": f"scaledobject/{owner.get('name')}", "uid": owner.get("uid")}
    meta = obj.get("metadata") or {}
    return {"scaler": f"horizontalpodautoscaler/{meta.get('name')}", "uid": meta.get("uid")}


def budget(obj: Obj) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    return known(
        {
            "name": (obj.get("metadata") or {}).get("name"),
            "min_available": spec.get("minAvailable"),
            "max_unavailable": spec.get("maxUnavailable"),
            "disruptions_allowed": (obj.get("status") or {}).get("disruptionsAllowed"),
        }
    )


def managed_by(obj: Obj) -> str | None:
    """Who would undo a change of the template: a GitOps controller, Helm, or an owner."""
    meta = obj.get("metadata") or {}
    for place, key, who in GITOPS:
        if (meta.get(place) or {}).get(key):
            return who
    for manager in meta.get(MANAGERS) or ():
        for mark, who in GITOPS_MANAGERS:
            if mark in manager.lower():
                return who
    owner = controller(obj)
    if owner:
        return f"{str(owner.get('kind')).lower()}/{owner.get('name')}"
    return str((meta.get("labels") or {}).get("app.kubernetes.io/managed-by") or "").lower() or None


def _updated(status: Mapping[str, Any], kind: str) -> int:
    match kind:
        case "DaemonSet":
            return int(status.get("updatedNumberScheduled") or 0)
        case "ReplicaSet":
            return int(status.get("replicas") or 0)
        case _:
            return int(status.get("updatedReplicas") or 0)
