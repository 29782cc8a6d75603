"""What Healer keeps of one object: the facts of an entity, named as `healer.model.topology` says.

Pure: decoded JSON in, plain values out. Objects of a real cluster lack fields, carry nulls and
hold secrets; what is absent stays absent, and values that look secret are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from healer.adapters.kubernetes import cordons, templates
from healer.adapters.kubernetes.errors import Obj
from healer.settings import KubernetesSettings

GPU = "nvidia.com/gpu"
MIRROR = "kubernetes.io/config.mirror"
CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
REVISION = "deployment.kubernetes.io/revision"
ROLLOUT_REVISION = "rollout.argoproj.io/revision"
MANAGERS = "managers"
"""Where a slimmed object keeps who manages its pod template, out of its managedFields."""
_SECRET = re.compile(r"(token|secret|passw|api_?key|credential|private)", re.IGNORECASE)

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
    for each in _meta(obj).get("managedFields") or ():
        spec = ((each or {}).get("fieldsV1") or {}).get("f:spec") or {}
        if spec.keys() & {"f:template", "f:predictor", "f:leaderWorkerTemplate"}:
            found.append(str(each.get("manager", "")))
    return sorted(set(found))


def moment(text: Any) -> datetime | None:
    """A time of the API server; None for none and for what is no time."""
    try:
        return datetime.fromisoformat(str(text)) if text else None
    except ValueError:
        return None


def controller(obj: Obj) -> Obj | None:
    for ref in _meta(obj).get("ownerReferences") or ():
        if ref.get("controller"):
            found: Obj = ref
            return found
    return None


def condition(obj: Obj, kind: str) -> Obj:
    for each in _status(obj).get("conditions") or ():
        if each.get("type") == kind:
            found: Obj = each
            return found
    return {}


def pod(obj: Obj) -> dict[str, Any]:
    meta, spec, status = _meta(obj), _spec(obj), _status(obj)
    owner = controller(obj) or {}
    labels = meta.get("labels") or {}
    containers = _containers(spec, status)
    known: dict[str, Any] = {
        "phase": status.get("phase"),
        "ready": condition(obj, "Ready").get("status") == "True",
        "node": spec.get("nodeName"),
        "ip": status.get("podIP"),
        "revision": _pod_revision(owner, labels),
        "restarts": sum(each["restarts"] for each in containers),
        "reason": _pod_reason(obj, containers),
        "terminating": "deletionTimestamp" in meta,
        "deletion_timestamp": meta.get("deletionTimestamp"),
        "containers": containers,
        "gpus_requested": gpus_requested(spec),
        "owner_kind": owner.get("kind"),
        "owner_name": owner.get("name"),
        "owner_uid": owner.get("uid"),
        "bare": not owner,
        "mirror": MIRROR in (meta.get("annotations") or {}),
        "daemonset": owner.get("kind") == "DaemonSet",
        "priority": spec.get("priority"),
        "priority_class": spec.get("priorityClassName"),
        "empty_dir_disk": any(
            (volume.get("emptyDir") or {}).get("medium", "") != "Memory"
            for volume in spec.get("volumes") or ()
            if "emptyDir" in volume
        ),
    }
    return _known(known)


def node(obj: Obj, settings: KubernetesSettings) -> dict[str, Any]:
    labels, spec, status = _meta(obj).get("labels") or {}, _spec(obj), _status(obj)
    known: dict[str, Any] = {
        "ready": condition(obj, "Ready").get("status") == "True",
        "unschedulable": bool(spec.get("unschedulable")),
        "taints": [
            {k: taint[k] for k in ("key", "value", "effect") if taint.get(k)}
            for taint in spec.get("taints") or ()
        ],
        "gpus_capacity": whole((status.get("capacity") or {}).get(GPU)),
        "gpus_allocatable": whole((status.get("allocatable") or {}).get(GPU)),
        "gpu_product": labels.get("nvidia.com/gpu.product"),
        "pool": next((labels[k] for k in settings.pool_labels if labels.get(k)), None),
        "rack": labels.get(settings.rack_label),
        "cordon_owner": cordons.signature(obj),
        "conditions": {
            each["type"]: each.get("status", "Unknown")
            for each in status.get("conditions") or ()
            if each.get("type")
        },
        "control_plane": any(mark in labels for mark in CONTROL_PLANE),
    }
    return _known(known)


def workload(obj: Obj, kind: str) -> dict[str, Any]:
    """Of a workload or bare ReplicaSet; without autoscaler, budget and revision, which are other
    objects."""
    if kind == "InferenceService":
        return _inference_service(obj)
    spec, status, meta = _spec(obj), _status(obj), _meta(obj)
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    by_node = kind == "DaemonSet"
    known: dict[str, Any] = {
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
    return _known(known)


def _inference_service(obj: Obj) -> dict[str, Any]:
    """Replicas are its child's to count; what is asked here is whether it may be rolled back."""
    meta, status = _meta(obj), _status(obj)
    return _known(
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
    return _known(
        {
            "number": number,
            "template": bare,
            "template_digest": templates.digest(template),
            "images": templates.images(template),
        }
    )


def autoscaler(obj: Obj) -> dict[str, Any]:
    spec, status = _spec(obj), _status(obj)
    return _known(
        {
            "name": _meta(obj).get("name"),
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
    meta = _meta(obj)
    return {"scaler": f"horizontalpodautoscaler/{meta.get('name')}", "uid": meta.get("uid")}


def budget(obj: Obj) -> dict[str, Any]:
    spec = _spec(obj)
    return _known(
        {
            "name": _meta(obj).get("name"),
            "min_available": spec.get("minAvailable"),
            "max_unavailable": spec.get("maxUnavailable"),
            "disruptions_allowed": _status(obj).get("disruptionsAllowed"),
        }
    )


def managed_by(obj: Obj) -> str | None:
    """Who would undo a change of the template: a GitOps controller, Helm, or an owner."""
    meta = _meta(obj)
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


def gpus_requested(spec: Mapping[str, Any]) -> int:
    """Of all containers; limits stand in for requests, as the scheduler has it."""
    return sum(_gpus(container) for container in spec.get("containers") or ())


def whole(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None


def _gpus(container: Mapping[str, Any]) -> int:
    resources = container.get("resources") or {}
    for place in ("requests", "limits"):
        found = whole((resources.get(place) or {}).get(GPU))
        if found is not None:
            return found
    return 0


def _updated(status: Mapping[str, Any], kind: str) -> int:
    match kind:
        case "DaemonSet":
            return int(status.get("updatedNumberScheduled") or 0)
        case "ReplicaSet":
            return int(status.get("replicas") or 0)
        case _:
            return int(status.get("updatedReplicas") or 0)


def _containers(spec: Obj, status: Obj) -> list[dict[str, Any]]:
    states = {each.get("name"): each for each in status.get("containerStatuses") or ()}
    return [
        _container(each, states.get(each.get("name"), {})) for each in spec.get("containers") or ()
    ]


def _container(declared: Obj, state: Obj) -> dict[str, Any]:
    now = state.get("state") or {}
    ended = now.get("terminated") or (state.get("lastState") or {}).get("terminated")
    return _known(
        {
            "name": declared.get("name"),
            "image": declared.get("image"),
            "args": [*(declared.get("command") or ()), *(declared.get("args") or ())],
            "env": _environment(declared.get("env") or ()),
            "ready": bool(state.get("ready")),
            "restarts": int(state.get("restartCount") or 0),
            "waiting": (now.get("waiting") or {}).get("reason"),
            "last_terminated": _known(
                {
                    "reason": ended.get("reason"),
                    "exit_code": ended.get("exitCode"),
                    "at": ended.get("finishedAt"),
                }
            )
            if ended
            else None,
        }
    )


def _environment(declared: Iterable[Obj]) -> dict[str, str]:
    """Plain values only; what comes from a secret is not here, what looks like one is masked."""
    return {
        each["name"]: "***" if _SECRET.search(each["name"]) else str(each["value"])
        for each in declared
        if each.get("name") and each.get("value") is not None
    }


def _pod_revision(owner: Obj, labels: Mapping[str, str]) -> str | None:
    match owner.get("kind"):
        case "ReplicaSet":
            return str(owner.get("name"))
        case "StatefulSet":
            return labels.get("controller-revision-hash")
        case "DaemonSet" if labels.get("controller-revision-hash"):
            return f"{owner.get('name')}-{labels['controller-revision-hash']}"
    return None


def _pod_reason(obj: Obj, containers: Iterable[Mapping[str, Any]]) -> str | None:
    """The word kubectl would show beside it: why it waits, ended, or cannot be placed."""
    for each in containers:
        if each.get("waiting"):
            return str(each["waiting"])
    if _status(obj).get("reason"):
        return str(_status(obj)["reason"])
    placed = condition(obj, "PodScheduled")
    return str(placed.get("reason") or "") or None if placed.get("status") == "False" else None


def _known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _meta(obj: Obj) -> Obj:
    return obj.get("metadata") or {}


def _spec(obj: Obj) -> Obj:
    return obj.get("spec") or {}


def _status(obj: Obj) -> Obj:
    return obj.get("status") or {}
