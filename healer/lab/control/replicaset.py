"""ReplicaSets: as many active pods as declared."""

from __future__ import annotations

from datetime import datetime

from healer.lab.control.common import (
    end_pod,
    is_active,
    is_available,
    make_pod,
    pods_of,
    put_status,
    tell,
)
from healer.lab.kube.eviction import is_ready
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, unstamp

COST = "controller.kubernetes.io/pod-deletion-cost"


def reconcile(store: ObjectStore, now: datetime) -> None:
    pods = pods_of(store)
    for record in store.records("apps/replicasets"):
        if "deletionTimestamp" in record.obj["metadata"]:
            continue
        owned = pods.get(record.obj["metadata"]["uid"], [])
        _match(store, record.obj, [pod for pod in owned if is_active(pod)], now)
    pods = pods_of(store)
    for record in store.records("apps/replicasets"):
        _status(store, record.obj, pods.get(record.obj["metadata"]["uid"], []), now)


def _match(store: ObjectStore, owner: Obj, active: list[Obj], now: datetime) -> None:
    missing = owner["spec"]["replicas"] - len(active)
    for _ in range(max(missing, 0)):
        made = make_pod(store, owner, owner["spec"]["template"])
        tell(store, owner, "SuccessfulCreate", f"Created pod: {made['metadata']['name']}",
             "replicaset-controller", now)  # fmt: skip
    for pod in sorted(active, key=_worth)[: max(-missing, 0)]:
        end_pod(store, pod)
        tell(store, owner, "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}",
             "replicaset-controller", now)  # fmt: skip


def _worth(pod: Obj) -> tuple[object, ...]:
    """Least worth keeping first: unscheduled, pending, unready, cheap, young."""
    meta = pod["metadata"]
    return (
        bool(pod["spec"].get("nodeName")),
        pod.get("status", {}).get("phase") == "Running",
        is_ready(pod),
        int((meta.get("annotations") or {}).get(COST, 0)),
        -unstamp(meta["creationTimestamp"]).timestamp(),
        meta["name"],
    )


def _status(store: ObjectStore, owner: Obj, owned: list[Obj], now: datetime) -> None:
    active = [pod for pod in owned if is_active(pod)]
    min_ready_s = owner["spec"].get("minReadySeconds", 0)
    counts = {
        "fullyLabeledReplicas": len(active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": sum(is_available(pod, min_ready_s, now) for pod in active),
        "terminatingReplicas": sum("deletionTimestamp" in p["metadata"] for p in owned),
    }
    put_status(
        store,
        "apps/replicasets",
        owner,
        {"replicas": len(active), "observedGeneration": owner["metadata"]["generation"]}
        | {field: count for field, count in counts.items() if count},
    )
