"""DaemonSets: one pod on every node that lets it."""

from __future__ import annotations

from datetime import datetime

from healer.lab.control.common import end_pod, is_active, make_pod, pods_of, put_status
from healer.lab.control.scheduler import tolerates
from healer.lab.kube.copying import clone
from healer.lab.kube.eviction import is_ready
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore

_ALWAYS = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists"}
    for key in ("unschedulable", "not-ready", "unreachable")
]
"""What the genuine controller adds to its pods, so that a cordon does not stop exporters."""


def reconcile(store: ObjectStore, now: datetime) -> None:  # noqa: ARG001
    pods = pods_of(store)
    nodes = [record.obj for record in store.records("nodes")]
    for record in store.records("apps/daemonsets"):
        owner = record.obj
        template = clone(owner["spec"]["template"])
        template["spec"].setdefault("tolerations", []).extend(clone(_ALWAYS))
        wanted = {n["metadata"]["name"] for n in nodes if _may_run(template["spec"], n)}
        owned = pods.get(owner["metadata"]["uid"], [])
        active = [pod for pod in owned if is_active(pod)]
        there = {pod["spec"].get("nodeName") for pod in owned}
        for name in sorted(wanted - there):
            template["spec"]["nodeName"] = name
            make_pod(store, owner, template)
        for pod in active:
            if pod["spec"].get("nodeName") not in wanted:
                end_pod(store, pod)
        ready = sum(map(is_ready, active))
        put_status(
            store,
            "apps/daemonsets",
            owner,
            {
                "currentNumberScheduled": len(active),
                "desiredNumberScheduled": len(wanted),
                "numberMisscheduled": 0,
                "numberReady": ready,
                "numberAvailable": ready,
                "numberUnavailable": len(wanted) - ready,
                "updatedNumberScheduled": len(active),
                "observedGeneration": owner["metadata"]["generation"],
            },
        )


def _may_run(spec: Obj, node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
        return False
    return all(
        tolerates(spec, taint)
        for taint in node.get("spec", {}).get("taints") or ()
        if taint["effect"] != "PreferNoSchedule"
    )
