"""What Healer keeps of one object: the facts of an entity, named as `healer.model.topology` says.

Pure: decoded JSON in, plain values out. Objects of a real cluster lack fields, carry nulls and
hold secrets; what is absent stays absent, and values that look secret are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from healer.adapters.kubernetes import cordons
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.placement import placement
from healer.settings import KubernetesSettings

GPU = "nvidia.com/gpu"
MIRROR = "kubernetes.io/config.mirror"
CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_SECRET = re.compile(r"(token|secret|passw|api_?key|credential|private)", re.IGNORECASE)


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
    found: dict[str, Any] = {
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
    return known(found | placement(spec))


def node(obj: Obj, settings: KubernetesSettings) -> dict[str, Any]:
    labels, spec, status = _meta(obj).get("labels") or {}, _spec(obj), _status(obj)
    has, offered = gpus(obj)
    found: dict[str, Any] = {
        "ready": condition(obj, "Ready").get("status") == "True",
        "unschedulable": bool(spec.get("unschedulable")),
        "taints": [
            {k: taint[k] for k in ("key", "value", "effect") if taint.get(k)}
            for taint in spec.get("taints") or ()
        ],
        "gpus_capacity": has,
        "gpus_allocatable": offered,
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
    return known(found)


def gpus(node: Obj) -> tuple[int | None, int | None]:
    """(how many GPUs it has, how many of them the scheduler may give away)."""
    status = _status(node)
    return (
        whole((status.get("capacity") or {}).get(GPU)),
        whole((status.get("allocatable") or {}).get(GPU)),
    )


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


def _containers(spec: Obj, status: Obj) -> list[dict[str, Any]]:
    states = {each.get("name"): each for each in status.get("containerStatuses") or ()}
    return [
        _container(each, states.get(each.get("name"), {})) for each in spec.get("containers") or ()
    ]


def _container(declared: Obj, state: Obj) -> dict[str, Any]:
    now = state.get("state") or {}
    ended = now.get("terminated") or (state.get("lastState") or {}).get("terminated")
    return known(
        {
            "name": declared.get("name"),
            "image": declared.get("image"),
            "args": [*(declared.get("command") or ()), *(declared.get("args") or ())],
            "env": _environment(declared.get("env") or ()),
            "ready": bool(state.get("ready")),
            "restarts": int(state.get("restartCount") or 0),
            "waiting": (now.get("waiting") or {}).get("reason"),
            "last_terminated": known(
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


def known(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}


def _meta(obj: Obj) -> Obj:
    return obj.get("metadata") or {}


def _spec(obj: Obj) -> Obj:
    return obj.get("spec") or {}


def _status(obj: Obj) -> Obj:
    return obj.get("status") or {}
