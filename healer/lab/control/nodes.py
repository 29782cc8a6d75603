"""Node lifecycle: taints that follow from the node's state, and pods that must leave for them."""

from __future__ import annotations

from datetime import datetime, timedelta

from healer.lab.control.common import condition, end_pod
from healer.lab.control.scheduler import tolerates
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, stamp, unstamp

UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
STAY = timedelta(seconds=300)
"""How long pods that say nothing about it stay on a node that is not ready."""


def reconcile(store: ObjectStore, now: datetime) -> None:
    for record in store.records("nodes"):
        _taint(store, record.obj, now)
    _evict(store, now)


def _taint(store: ObjectStore, node: Obj, now: datetime) -> None:
    ready = (condition(node, "Ready") or {}).get("status", "True")
    wanted = {
        (UNSCHEDULABLE, "NoSchedule"): bool(node.get("spec", {}).get("unschedulable")),
        (NOT_READY, "NoSchedule"): ready == "False",
        (NOT_READY, "NoExecute"): ready == "False",
        (UNREACHABLE, "NoSchedule"): ready == "Unknown",
        (UNREACHABLE, "NoExecute"): ready == "Unknown",
    }
    have = node.get("spec", {}).get("taints") or []
    kept = [t for t in have if wanted.get((t["key"], t["effect"]), True)]
    there = {(t["key"], t["effect"]) for t in kept}
    added = [
        {"key": key, "effect": effect, "timeAdded": stamp(now)}
        for (key, effect), due in wanted.items()
        if due and (key, effect) not in there
    ]
    if added or kept != have:

        def change(stored: Obj) -> None:
            stored.setdefault("spec", {})["taints"] = kept + added
            if not stored["spec"]["taints"]:
                del stored["spec"]["taints"]

        store.modify("nodes", "", node["metadata"]["name"], change)


def _evict(store: ObjectStore, now: datetime) -> None:
    pressing = {
        record.obj["metadata"]["name"]: [
            taint
            for taint in record.obj.get("spec", {}).get("taints") or ()
            if taint["effect"] == "NoExecute"
        ]
        for record in store.records("nodes")
    }
    for record in store.records("pods"):
        pod = record.obj
        if "deletionTimestamp" in pod["metadata"]:
            continue
        for taint in pressing.get(pod["spec"].get("nodeName", ""), ()):
            if now - unstamp(taint.get("timeAdded", stamp(now))) >= _stay(pod["spec"], taint):
                end_pod(store, pod)
                break


def _stay(spec: Obj, taint: Obj) -> timedelta:
    """How long a pod puts up with a taint."""
    for each in spec.get("tolerations") or ():
        if tolerates({"tolerations": [each]}, taint):
            seconds = each.get("tolerationSeconds")
            return timedelta.max if seconds is None else timedelta(seconds=seconds)
    return STAY if taint["key"] in (NOT_READY, UNREACHABLE) else timedelta(0)
