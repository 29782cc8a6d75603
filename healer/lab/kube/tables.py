"""The columns that kubectl prints, computed by the server as a `Table`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, unstamp

Cell = Callable[[Obj], Any]


def table(resource: str, objects: list[Obj], store: ObjectStore, now: datetime) -> Obj | None:
    """None for resources that are printed by name and age alone; kubectl does that itself."""
    columns = COLUMNS.get(resource)
    if columns is None:
        return None
    named = {"Name": lambda obj: obj["metadata"]["name"], **columns}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": str(store.version)},
        "columnDefinitions": [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": name,
                "priority": 0,
            }
            for name in (*named, "Age")
        ],
        "rows": [
            {
                "cells": [*(str(cell(obj)) for cell in named.values()), _age(obj, now)],
                "object": {
                    "kind": "PartialObjectMetadata",
                    "apiVersion": "meta.k8s.io/v1",
                    "metadata": obj["metadata"],
                },
            }
            for obj in objects
        ],
    }


def _pod_ready(pod: Obj) -> str:
    states = pod.get("status", {}).get("containerStatuses") or ()
    return f"{sum(bool(s.get('ready')) for s in states)}/{len(pod['spec'].get('containers', ()))}"


def _pod_status(pod: Obj) -> str:
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    now = pod.get("status") or {}
    for state in now.get("containerStatuses") or ():
        for held in ("waiting", "terminated"):
            reason = (state.get("state") or {}).get(held, {}).get("reason")
            if reason:
                return str(reason)
    return str(now.get("reason") or now.get("phase", "Pending"))


def _restarts(pod: Obj) -> int:
    return sum(
        s.get("restartCount", 0) for s in pod.get("status", {}).get("containerStatuses") or ()
    )


def _node_status(node: Obj) -> str:
    ready = next(
        (
            c.get("status") == "True"
            for c in node.get("status", {}).get("conditions") or ()
            if c.get("type") == "Ready"
        ),
        False,
    )
    told = "Ready" if ready else "NotReady"
    return f"{told},SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else told


def _roles(node: Obj) -> str:
    mark = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(k.removeprefix(mark) for k in sorted(labels) if k.startswith(mark)) or "<none>"


def _ready_of(obj: Obj) -> str:
    ready = obj.get("status", {}).get("readyReplicas", 0)
    return f"{ready}/{obj.get('spec', {}).get('replicas', 1)}"


def _in_status(field: str) -> Cell:
    return lambda obj: obj.get("status", {}).get(field, 0)


def _in_spec(field: str, absent: str = "<none>") -> Cell:
    return lambda obj: obj.get("spec", {}).get(field, absent)


def _age(obj: Obj, now: datetime) -> str:
    span = now - unstamp(obj["metadata"]["creationTimestamp"])
    for unit, length in (("d", timedelta(days=2)), ("h", timedelta(hours=3)),
                         ("m", timedelta(minutes=2))):  # fmt: skip
        if span >= length:
            one = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
            return f"{span // one[unit]}{unit}"
    return f"{max(int(span.total_seconds()), 0)}s"


COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "pods": {
        "Ready": _pod_ready,
        "Status": _pod_status,
        "Restarts": _restarts,
        "Node": _in_spec("nodeName"),
    },
    "nodes": {
        "Status": _node_status,
        "Roles": _roles,
        "GPUs": lambda n: n.get("status", {}).get("allocatable", {}).get("nvidia.com/gpu", "0"),
    },
    "apps/deployments": {
        "Ready": _ready_of,
        "Up-to-date": _in_status("updatedReplicas"),
        "Available": _in_status("availableReplicas"),
    },
    "apps/replicasets": {
        "Desired": _in_spec("replicas"),
        "Current": _in_status("replicas"),
        "Ready": _in_status("readyReplicas"),
    },
    "apps/statefulsets": {"Ready": _ready_of},
    "policy/poddisruptionbudgets": {
        "Min available": _in_spec("minAvailable", "N/A"),
        "Max unavailable": _in_spec("maxUnavailable", "N/A"),
        "Allowed disruptions": _in_status("disruptionsAllowed"),
    },
}
