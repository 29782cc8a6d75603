"""What several controllers need: ownership, readiness, hashes, conditions, events."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from healer.lab.kube.copying import clone
from healer.lab.kube.eviction import grace_of, is_ready
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore, stamp, unstamp

HASH_LABEL = "pod-template-hash"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
EVENT_SERIES = timedelta(minutes=10)


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that controls `obj`."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            found: Obj = ref
            return found
    return None


def by_controller(objects: Iterable[Obj]) -> Mapping[str, list[Obj]]:
    """Objects under the UID of their controller."""
    found: dict[str, list[Obj]] = defaultdict(list)
    for obj in objects:
        ref = controller_of(obj)
        if ref is not None:
            found[ref["uid"]].append(obj)
    return found


def owner_reference(owner: Obj) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pods_of(store: ObjectStore) -> Mapping[str, list[Obj]]:
    """All pods, for reading only, under the UID of their controller."""
    return by_controller(record.obj for record in store.records("pods"))


def is_active(pod: Obj) -> bool:
    """Counts as a replica: neither finished nor on its way out."""
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get(
        "phase"
    ) not in ("Succeeded", "Failed")


def is_available(pod: Obj, min_ready_s: float, now: datetime) -> bool:
    if not is_ready(pod):
        return False
    since = next(
        c.get("lastTransitionTime") for c in pod["status"]["conditions"] if c["type"] == "Ready"
    )
    if not min_ready_s or not since:
        return not min_ready_s
    return now - unstamp(since) >= timedelta(seconds=min_ready_s)


def template_hash(template: Obj) -> str:
    """Ten letters that depend on the template alone, without its own hash label."""
    text = json.dumps(bare_template(template), sort_keys=True)
    number = int(hashlib.sha256(text.encode()).hexdigest(), 16)
    return "".join(_LETTERS[(number >> (8 * at)) % len(_LETTERS)] for at in range(10))


def bare_template(template: Obj) -> Obj:
    bare = clone(template)
    labels = bare.get("metadata", {}).get("labels") or {}
    labels.pop(HASH_LABEL, None)
    return bare


def make_pod(store: ObjectStore, owner: Obj, template: Obj, *, name: str = "") -> Obj:
    """A pod from a template; named by the owner's name unless `name` is given."""
    meta = clone(template.get("metadata") or {})
    meta["namespace"] = owner["metadata"]["namespace"]
    meta["ownerReferences"] = [owner_reference(owner)]
    if name:
        meta["name"] = name
    else:
        meta["generateName"] = f"{owner['metadata']['name']}-"
    return store.create("pods", {"metadata": meta, "spec": clone(template["spec"])})


def end_pod(store: ObjectStore, pod: Obj) -> None:
    """Asks for its end; a kubelet finishes it where one has it."""
    meta = pod["metadata"]
    store.delete("pods", meta["namespace"], meta["name"], grace_s=grace_of(pod, {}))


def share(value: Any, total: int, *, up: bool) -> int:
    """An absolute number or a percentage of `total`."""
    if isinstance(value, str) and value.endswith("%"):
        exact = total * int(value[:-1]) / 100
        return math.ceil(exact) if up else math.floor(exact)
    return int(value or 0)


def set_condition(
    conditions: list[Obj], kind: str, value: str, reason: str, message: str, now: datetime
) -> list[Obj]:
    """The list with this condition; the time of transition moves only with the value."""
    old = next((c for c in conditions if c["type"] == kind), None)
    new = {
        "type": kind,
        "status": value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": stamp(now),
    }
    if old is not None and old["status"] == value:
        new["lastTransitionTime"] = old.get("lastTransitionTime", new["lastTransitionTime"])
    return [c for c in conditions if c["type"] != kind] + [new]


def condition(obj: Obj, kind: str) -> Obj | None:
    for each in obj.get("status", {}).get("conditions") or ():
        if each["type"] == kind:
            found: Obj = each
            return found
    return None


def put_status(store: ObjectStore, resource: str, obj: Obj, status: Obj) -> None:
    """Replaces the whole status, if it changed."""
    if obj.get("status") == status:
        return
    meta = obj["metadata"]

    def change(stored: Obj) -> None:
        stored["status"] = status

    if store.record(resource, meta.get("namespace", ""), meta["name"]) is not None:
        store.modify(resource, meta.get("namespace", ""), meta["name"], change)


def tell(
    store: ObjectStore,
    about: Obj,
    reason: str,
    message: str,
    component: str,
    now: datetime,
    kind: str = "Normal",
) -> None:
    """Records an event; the same one again within ten minutes only counts up."""
    meta = about["metadata"]
    namespace = meta.get("namespace") or "default"
    mark = hashlib.sha256(f"{meta['uid']}{reason}{message}".encode()).hexdigest()[:16]
    name = f"{meta['name']}.{mark}"
    seen = store.record("events", namespace, name)
    if seen is not None and now - unstamp(seen.obj["lastTimestamp"]) < EVENT_SERIES:

        def again(event: Obj) -> None:
            event["count"] += 1
            event["lastTimestamp"] = stamp(now)

        if stamp(now) != seen.obj["lastTimestamp"]:
            store.modify("events", namespace, name, again)
        return
    if seen is not None:
        store.delete("events", namespace, name)
    store.create(
        "events",
        {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": about["kind"],
                "apiVersion": about["apiVersion"],
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "firstTimestamp": stamp(now),
            "lastTimestamp": stamp(now),
            "count": 1,
        },
    )
