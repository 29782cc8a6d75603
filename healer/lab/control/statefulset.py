"""StatefulSets: numbered pods in order, updated from the highest number down.

Under OrderedReady nothing moves while one pod is unready. That includes the update that would
mend it: after a bad template is taken back, the broken pod has to be deleted by hand.
"""

from __future__ import annotations

from datetime import datetime

from healer.lab.control.common import (
    bare_template,
    by_controller,
    end_pod,
    is_active,
    is_available,
    make_pod,
    owner_reference,
    pods_of,
    put_status,
    template_hash,
)
from healer.lab.kube.copying import clone
from healer.lab.kube.eviction import is_ready
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore

HASH = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
ORDINAL = "apps.kubernetes.io/pod-index"


def reconcile(store: ObjectStore, now: datetime) -> None:
    pods = pods_of(store)
    revisions = by_controller(r.obj for r in store.records("apps/controllerrevisions"))
    for owner in store.list("apps/statefulsets"):
        if "deletionTimestamp" in owner["metadata"]:
            continue
        uid = owner["metadata"]["uid"]
        update = _revision(store, owner, revisions.get(uid, []))
        current = _current(owner, update, revisions.get(uid, []))
        owned = {pod["metadata"]["name"]: pod for pod in pods.get(uid, [])}
        _move(store, owner, current, update, owned, now)
        _status(store, owner, current, update, now)


def _revision(store: ObjectStore, owner: Obj, known: list[Obj]) -> Obj:
    """The ControllerRevision of the present template, made or renumbered to be the newest."""
    wanted = bare_template(owner["spec"]["template"]) | {"$patch": "replace"}
    newest = max((r["revision"] for r in known), default=0)
    same = next((r for r in known if r["data"]["spec"]["template"] == wanted), None)
    meta = owner["metadata"]
    if same is not None:
        if same["revision"] < newest:

            def renumber(stored: Obj) -> None:
                stored["revision"] = newest + 1

            return store.modify(
                "apps/controllerrevisions", meta["namespace"], same["metadata"]["name"], renumber
            )
        return same
    name = f"{meta['name']}-{template_hash(owner['spec']['template'])}"
    labels = dict(owner["spec"]["template"]["metadata"].get("labels") or {})
    return store.create(
        "apps/controllerrevisions",
        {
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": labels | {"controller.kubernetes.io/hash": name},
                "ownerReferences": [owner_reference(owner)],
            },
            "data": {"spec": {"template": wanted}},
            "revision": newest + 1,
        },
    )


def _current(owner: Obj, update: Obj, known: list[Obj]) -> Obj:
    name = owner.get("status", {}).get("currentRevision")
    return next((r for r in known if r["metadata"]["name"] == name), update)


def _move(
    store: ObjectStore, owner: Obj, current: Obj, update: Obj, owned: dict[str, Obj], now: datetime
) -> None:
    spec, base = owner["spec"], owner["metadata"]["name"]
    ordered = spec.get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    partition = _partition(spec)
    names = [f"{base}-{index}" for index in range(spec["replicas"])]
    for index, name in enumerate(names):
        pod = owned.get(name)
        if pod is not None and pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            end_pod(store, pod)
            return
        if pod is None:
            old = index < partition and current is not update
            _make(store, owner, current if old else update, name, index)
            if ordered:
                return
            continue
        healthy = is_active(pod) and is_available(pod, spec.get("minReadySeconds", 0), now)
        if ordered and not healthy:
            return
    extra = sorted(
        (pod for name, pod in owned.items() if name not in names),
        key=lambda pod: -int(pod["metadata"]["name"].rpartition("-")[2]),
    )
    for pod in extra:
        if is_active(pod):
            end_pod(store, pod)
        if ordered:
            return
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete":
        _roll(store, names, partition, update, owned)


def _roll(
    store: ObjectStore, names: list[str], partition: int, update: Obj, owned: dict[str, Obj]
) -> None:
    wanted = update["metadata"]["name"]
    for name in reversed(names[partition:]):
        pod = owned.get(name)
        if pod is None:
            return
        if (pod["metadata"].get("labels") or {}).get(HASH) != wanted:
            if is_active(pod):
                end_pod(store, pod)
            return
        if not is_ready(pod):
            return


def _make(store: ObjectStore, owner: Obj, revision: Obj, name: str, index: int) -> None:
    template = clone(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    template.setdefault("metadata", {}).setdefault("labels", {}).update(
        {HASH: revision["metadata"]["name"], POD_NAME: name, ORDINAL: str(index)}
    )
    template["spec"]["hostname"] = name
    make_pod(store, owner, template, name=name)


def _status(store: ObjectStore, owner: Obj, current: Obj, update: Obj, now: datetime) -> None:
    pods = [pod for pod in pods_of(store).get(owner["metadata"]["uid"], []) if is_active(pod)]
    names = current["metadata"]["name"], update["metadata"]["name"]

    def of(revision: str) -> int:
        return sum((p["metadata"].get("labels") or {}).get(HASH) == revision for p in pods)

    ready, updated = sum(map(is_ready, pods)), of(names[1])
    complete = updated == owner["spec"]["replicas"] == ready and not _partition(owner["spec"])
    if complete:
        names = names[1], names[1]
    put_status(
        store,
        "apps/statefulsets",
        owner,
        {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": sum(
                is_available(p, owner["spec"].get("minReadySeconds", 0), now) for p in pods
            ),
            "currentReplicas": of(names[0]),
            "updatedReplicas": updated,
            "currentRevision": names[0],
            "updateRevision": names[1],
            "collisionCount": 0,
        },
    )


def _partition(spec: Obj) -> int:
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition", 0))
