"""ReplicaSets: as many active pods as declared."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from healer.lab.control.common import (
    controller_of,
    end_pod,
    is_active,
    is_available,
    make_pod,
    owner_reference,
    pods_of,
    put_status,
    tell,
)
from healer.lab.kube.eviction import is_ready
from healer.lab.kube.selectors import matches
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, unstamp

COST = "controller.kubernetes.io/pod-deletion-cost"


def reconcile(store: ObjectStore, now: datetime) -> None:
    _claim(store)
    pods = pods_of(store)
    for record in store.records("apps/replicasets"):
        if "deletionTimestamp" in record.obj["metadata"]:
            continue
        owned = pods.get(record.obj["metadata"]["uid"], [])
        _match(store, record.obj, [pod for pod in owned if is_active(pod)], now)
    pods = pods_of(store)
    for record in store.records("apps/replicasets"):
        _status(store, record.obj, pods.get(record.obj["metadata"]["uid"], []), now)


def _claim(store: ObjectStore) -> None:
    """Let go of pods whose labels no longer match; take up those without a controller that do."""
    owners = {r.obj["metadata"]["uid"]: r.obj for r in store.records("apps/replicasets")}
    changed: list[tuple[Obj, list[Obj]]] = []
    for record in store.records("pods"):
        meta = record.obj["metadata"]
        if not is_active(record.obj):
            continue
        refs, ref = meta.get("ownerReferences") or [], controller_of(record.obj)
        if ref is None:
            owner = next((o for o in owners.values() if _selects(o, meta)), None)
            if owner is not None:
                changed.append((meta, [*refs, owner_reference(owner)]))
        elif ref["uid"] in owners and not _selects(owners[ref["uid"]], meta):
            changed.append((meta, [each for each in refs if each["uid"] != ref["uid"]]))
    for meta, refs in changed:
        store.modify("pods", meta["namespace"], meta["name"], partial(_own, refs))


def _own(refs: list[Obj], pod: Obj) -> None:
    if refs:
        pod["metadata"]["ownerReferences"] = refs
    else:
        pod["metadata"].pop("ownerReferences", None)


def _selects(owner: Obj, meta: Obj) -> bool:
    return (
        owner["metadata"]["namespace"] == meta["namespace"]
        and "deletionTimestamp" not in owner["metadata"]
        and matches(owner["spec"].get("selector"), meta.get("labels") or {})
    )


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
