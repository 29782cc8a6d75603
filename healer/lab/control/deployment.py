"""Deployments: one ReplicaSet per template, rolled over within surge and unavailability.

The numbers follow the genuine controller: surge rounds up, unavailability down; unhealthy old
replicas go first; a template seen before gets its old ReplicaSet back under a new revision.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from healer.lab.control import rollout
from healer.lab.control.common import (
    HASH_LABEL,
    bare_template,
    by_controller,
    owner_reference,
    pods_of,
    put_status,
    set_condition,
    tell,
    template_hash,
)
from healer.lab.kube.copying import clone
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, stamp, unstamp

REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
NOT_COPIED = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MAXIMUM}
)


def reconcile(store: ObjectStore, now: datetime) -> None:
    sets = by_controller(record.obj for record in store.records("apps/replicasets"))
    pods = pods_of(store)
    for deployment in store.list("apps/deployments"):
        if "deletionTimestamp" in deployment["metadata"]:
            continue
        owned = sorted(
            (clone(each) for each in sets.get(deployment["metadata"]["uid"], [])),
            key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]),
        )
        _one(store, deployment, owned, pods, now)


def _one(
    store: ObjectStore, deployment: Obj, owned: list[Obj], pods: rollout.PodsByOwner, now: datetime
) -> None:
    wanted = bare_template(deployment["spec"]["template"])
    new = next((s for s in owned if bare_template(s["spec"]["template"]) == wanted), None)
    paused = bool(deployment["spec"].get("paused"))
    if not paused:
        new = _newest(store, deployment, new, owned, now)
    old = [s for s in owned if new is None or s["metadata"]["uid"] != new["metadata"]["uid"]]
    targets = rollout.replicas(deployment, new, old, pods, paused=paused)
    for each in [*old, *([new] if new else [])]:
        _scale(store, deployment, each, targets[each["metadata"]["uid"]], now)
    if not paused:
        _forget_old(store, deployment, old)
    _status(store, deployment, new, [*old, *([new] if new else [])], now)


def _copied(deployment: Obj) -> dict[str, str]:
    """Annotations that its newest ReplicaSet takes over, such as the cause of a change."""
    notes = deployment["metadata"].get("annotations") or {}
    return {key: value for key, value in notes.items() if key not in NOT_COPIED}


def _newest(
    store: ObjectStore, deployment: Obj, new: Obj | None, owned: list[Obj], now: datetime
) -> Obj:
    """The ReplicaSet of the present template, made or renumbered so that it is the newest."""
    others = [revision_of(s) for s in owned if new is None or s is not new]
    number = max(others, default=0) + 1
    if new is None:
        new = _make(store, deployment, number)
        _progress(store, deployment, "NewReplicaSetCreated",
                  f'Created new replica set "{new["metadata"]["name"]}"', now)  # fmt: skip
    elif revision_of(new) < number:
        notes = new["metadata"].setdefault("annotations", {})
        past = [p for p in (notes.get(HISTORY, ""), notes.get(REVISION, "")) if p]
        notes[HISTORY], notes[REVISION] = ",".join(past), str(number)
        notes |= _copied(deployment)
        new = store.update("apps/replicasets", new)
        _progress(store, deployment, "FoundNewReplicaSet",
                  f'Found new replica set "{new["metadata"]["name"]}"', now)  # fmt: skip
    wanted = str(revision_of(new))
    if (deployment["metadata"].get("annotations") or {}).get(REVISION) != wanted:

        def number_it(stored: Obj) -> None:
            notes = stored["metadata"].setdefault("annotations", {})
            notes[REVISION] = wanted

        meta = deployment["metadata"]
        changed = store.modify("apps/deployments", meta["namespace"], meta["name"], number_it)
        deployment["metadata"] = changed["metadata"]
    return new


def _make(store: ObjectStore, deployment: Obj, number: int) -> Obj:
    meta, spec = deployment["metadata"], deployment["spec"]
    mark = template_hash(spec["template"])
    template = clone(spec["template"])
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels[HASH_LABEL] = mark
    selector = clone(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH_LABEL] = mark
    notes = _copied(deployment)
    return store.create(
        "apps/replicasets",
        {
            "metadata": {
                "name": f"{meta['name']}-{mark}",
                "namespace": meta["namespace"],
                "labels": dict(labels),
                "annotations": notes | {REVISION: str(number)},
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": 0,
                "selector": selector,
                "template": template,
                "minReadySeconds": spec.get("minReadySeconds", 0),
            },
        },
    )


def _scale(store: ObjectStore, deployment: Obj, target: Obj, replicas: int, now: datetime) -> None:
    """Writes replicas and the annotations by which the controller notices a scaling."""
    meta, desired = target["metadata"], deployment["spec"]["replicas"]
    surge, _ = rollout.fenceposts(deployment)
    was = target["spec"]["replicas"]

    def change(stored: Obj) -> None:
        stored["spec"]["replicas"] = replicas
        notes = stored["metadata"].setdefault("annotations", {})
        notes[DESIRED], notes[MAXIMUM] = str(desired), str(desired + surge)

    changed = store.modify("apps/replicasets", meta["namespace"], meta["name"], change)
    target["metadata"], target["spec"] = changed["metadata"], changed["spec"]
    if was != replicas:
        word = "up" if replicas > was else "down"
        tell(store, deployment, "ScalingReplicaSet",
             f"Scaled {word} replica set {meta['name']} from {was} to {replicas}",
             "deployment-controller", now)  # fmt: skip


def _forget_old(store: ObjectStore, deployment: Obj, old: list[Obj]) -> None:
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    idle = [
        each
        for each in sorted(old, key=revision_of)
        if not each["spec"]["replicas"] and not each.get("status", {}).get("replicas")
    ]
    for each in idle[: max(len(idle) - limit, 0)]:
        store.delete("apps/replicasets", each["metadata"]["namespace"], each["metadata"]["name"])
        old.remove(each)


def _status(
    store: ObjectStore, deployment: Obj, new: Obj | None, all_: list[Obj], now: datetime
) -> None:
    meta, spec = deployment["metadata"], deployment["spec"]
    stored = store.get("apps/deployments", meta["namespace"], meta["name"])
    if stored is None:
        return
    was = stored.get("status") or {}

    def total(field: str) -> int:
        return sum(each.get("status", {}).get(field, 0) for each in all_)

    counts = {
        "replicas": total("replicas"),
        "updatedReplicas": new.get("status", {}).get("replicas", 0) if new else 0,
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": total("availableReplicas"),
        "unavailableReplicas": max(
            sum(each["spec"]["replicas"] for each in all_) - total("availableReplicas"), 0
        ),
        "terminatingReplicas": total("terminatingReplicas"),
    }
    status: Obj = {"observedGeneration": stored["metadata"]["generation"]}
    status |= {field: count for field, count in counts.items() if count}
    conditions = list(was.get("conditions") or ())
    _, unavailable = rollout.fenceposts(deployment)
    enough = counts["availableReplicas"] >= spec["replicas"] - unavailable
    conditions = set_condition(
        conditions, "Available", "True" if enough else "False",
        "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        f"Deployment {'has' if enough else 'does not have'} minimum availability.", now,
    )  # fmt: skip
    if new is not None and not spec.get("paused"):
        conditions = _progressing(stored, conditions, was, counts, new, now)
    status["conditions"] = [{"lastUpdateTime": c.get("lastTransitionTime")} | c for c in conditions]
    put_status(store, "apps/deployments", stored, status)


def _progressing(
    deployment: Obj, conditions: list[Obj], was: Obj, now_: dict[str, int], new: Obj, now: datetime
) -> list[Obj]:
    desired, name = deployment["spec"]["replicas"], new["metadata"]["name"]
    complete = (
        now_["updatedReplicas"] == desired
        and now_["replicas"] == desired
        and now_["availableReplicas"] == desired
    )
    old = next((c for c in conditions if c["type"] == "Progressing"), None)
    moved = any(
        now_[field] > was.get(field, 0)
        for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    ) or now_["replicas"] - now_["updatedReplicas"] < was.get("replicas", 0) - was.get(
        "updatedReplicas", 0
    )
    deadline = timedelta(seconds=deployment["spec"].get("progressDeadlineSeconds", 600))
    since = unstamp(old.get("lastUpdateTime") or old["lastTransitionTime"]) if old else now
    if complete:
        told = ("True", "NewReplicaSetAvailable", f'ReplicaSet "{name}" has successfully '
                "progressed.")  # fmt: skip
    elif old is not None and old["reason"] == "NewReplicaSetAvailable":
        return conditions  # a pod lost after the rollout is no failed rollout
    elif moved or old is None:
        told = ("True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.')
    elif now - since > deadline:
        told = ("False", "ProgressDeadlineExceeded", f'ReplicaSet "{name}" has timed out '
                "progressing.")  # fmt: skip
    else:
        return conditions
    changed = set_condition(conditions, "Progressing", *told, now)
    same = old is not None and old["reason"] == told[1] and not moved
    updated = old.get("lastUpdateTime", stamp(now)) if same and old else stamp(now)
    changed[-1]["lastUpdateTime"] = updated
    return changed


def _progress(
    store: ObjectStore, deployment: Obj, reason: str, message: str, now: datetime
) -> None:
    """The Progressing condition at the start of a rollout."""
    meta = deployment["metadata"]

    def change(stored: Obj) -> None:
        status = stored.setdefault("status", {})
        status["conditions"] = set_condition(
            status.get("conditions") or [], "Progressing", "True", reason, message, now
        )
        status["conditions"][-1]["lastUpdateTime"] = stamp(now)

    store.modify("apps/deployments", meta["namespace"], meta["name"], change)


def revision_of(replica_set: Obj) -> int:
    notes = replica_set["metadata"].get("annotations") or {}
    return int(notes.get(REVISION, 0) or 0)
