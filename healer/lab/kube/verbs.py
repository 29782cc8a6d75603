"""What each verb does to the store."""

from __future__ import annotations

import json

from healer.lab.kube import eviction, patches, schema, status, validation
from healer.lab.kube.copying import without_nulls
from healer.lab.kube.paths import Call
from healer.lab.kube.resources import Resource
from healer.lab.kube.selectors import as_text
from healer.lab.kube.status import Obj
from healer.lab.kube.store import ObjectStore

_SCALE = Resource("autoscaling", "v1", "scales", "Scale", "scale", scale=True)
PATCH_METHODS = (patches.JSON_PATCH, patches.MERGE_PATCH, patches.STRATEGIC_PATCH)


def get(store: ObjectStore, call: Call) -> Obj:
    obj = _existing(store, call)
    return _scale_of(obj) if call.subresource == "scale" else obj


def create(store: ObjectStore, call: Call) -> Obj:
    if call.name and call.subresource != "eviction":
        raise status.method_not_allowed()
    if call.subresource == "eviction":
        return eviction.evict(store, call.namespace, call.name, call.body(), dry_run=call.dry_run)
    obj = without_nulls(call.body())
    meta = obj.setdefault("metadata", {})
    if call.resource.namespaced:
        if not call.namespace:
            raise status.bad_request("an empty namespace may not be set during creation")
        if meta.setdefault("namespace", call.namespace) != call.namespace:
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the "
                "request"
            )
        if store.record("namespaces", "", call.namespace) is None:
            raise status.not_found(_NAMESPACES, call.namespace)
    obj, unknown = schema.prune(call.resource, obj)
    if unknown and _strict(call):
        raise status.bad_request(
            f"{call.resource.kind} in version {call.resource.version!r} cannot be handled as a "
            f'{call.resource.kind}: strict decoding error: unknown field "{unknown[0]}"'
        )
    if meta.get("resourceVersion"):
        raise status.bad_request("resourceVersion should not be set on objects to be created")
    validation.check(call.resource, obj, None)
    if call.resource.status and call.resource.key != "namespaces":
        obj.pop("status", None)
    return store.create(call.resource.key, obj, dry_run=call.dry_run)


def update(store: ObjectStore, call: Call) -> Obj:
    old = _existing(store, call)
    given = call.body()
    meta = given.get("metadata") or {}
    if meta.get("name", call.name) != call.name:
        raise status.bad_request(
            f"the name of the object ({meta.get('name')}) does not match the name on the URL "
            f"({call.name})"
        )
    if not call.subresource:
        given, _ = schema.prune(call.resource, given)
    return _write(store, call, old, given)


def patch(store: ObjectStore, call: Call) -> Obj:
    kind = call.request.headers.get("content-type", "").split(";")[0].strip()
    if kind not in PATCH_METHODS:
        raise status.unsupported_media(kind)
    old = _existing(store, call)
    shown = _scale_of(old) if call.subresource == "scale" else old
    new = patches.apply(kind, shown, call.request.body)
    if call.subresource != "scale":
        new, unknown = schema.prune(call.resource, new)
        if unknown and _strict(call):
            body = status.go_map(json.loads(call.request.body))
            raise status.unknown_field(body, unknown[0])
    return _write(store, call, old, new)


def delete(store: ObjectStore, call: Call) -> Obj:
    if call.subresource:
        raise status.method_not_allowed()
    old = _existing(store, call)
    options = call.body()
    eviction.check_preconditions(call.resource.key, old, options)
    grace = call.request.param("gracePeriodSeconds")
    if grace:
        options.setdefault("gracePeriodSeconds", int(grace))
    is_pod = call.resource.key == "pods"
    seconds = eviction.grace_of(old, options) if is_pod else 0
    if options.get("propagationPolicy") == "Orphan" and not call.dry_run:
        _orphan(store, old)
    gone = store.delete(
        call.resource.key, call.namespace, call.name, grace_s=seconds, dry_run=call.dry_run
    )
    if is_pod:
        return gone
    details = {"name": call.name, "kind": call.resource.plural, "uid": old["metadata"]["uid"]}
    if call.resource.group:
        details["group"] = call.resource.group
    return status.success(200, details)


def _write(store: ObjectStore, call: Call, old: Obj, new: Obj) -> Obj:
    """One path for PUT and PATCH: which part of the object the subresource may change."""
    new = without_nulls(new)
    meta, was = new.setdefault("metadata", {}), old["metadata"]
    if call.subresource == "scale":
        validation.check(_SCALE, new, None)
        changed = old | {"spec": old["spec"] | {"replicas": new["spec"].get("replicas", 0)}}
        versions = {k: meta[k] for k in ("resourceVersion", "uid") if meta.get(k)}
        changed["metadata"] = was | versions
        stored = store.update(call.resource.key, changed, dry_run=call.dry_run)
        return _scale_of(stored)
    if meta.get("name", call.name) != call.name:
        raise status.invalid(
            call.resource,
            call.name,
            [("metadata.name", "FieldValueInvalid", f'Invalid value: "{meta.get("name")}": field '
              "is immutable")],
        )  # fmt: skip
    if call.subresource == "status":
        versions = {k: meta[k] for k in ("resourceVersion", "uid") if meta.get(k)}
        changed = old | {"status": new.get("status") or {}, "metadata": was | versions}
        return store.update(call.resource.key, changed, dry_run=call.dry_run)
    meta.setdefault("name", call.name)
    if call.resource.namespaced:
        meta["namespace"] = call.namespace
    for fixed in ("deletionTimestamp", "deletionGracePeriodSeconds"):
        if fixed in was:
            meta[fixed] = was[fixed]
    if call.resource.status:
        new["status"] = old.get("status")
        if new["status"] is None:
            del new["status"]
    validation.check(call.resource, new, old)
    return store.update(call.resource.key, new, dry_run=call.dry_run)


def _strict(call: Call) -> bool:
    return call.request.param("fieldValidation") == "Strict"


def _existing(store: ObjectStore, call: Call) -> Obj:
    found = store.get(call.resource.key, call.namespace, call.name)
    if found is None:
        raise status.not_found(call.resource, call.name)
    return found


def _scale_of(obj: Obj) -> Obj:
    meta = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {k: meta[k] for k in kept if k in meta},
        "spec": {"replicas": obj.get("spec", {}).get("replicas", 1)},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": as_text(obj.get("spec", {}).get("selector")),
        },
    }


def _orphan(store: ObjectStore, owner: Obj) -> None:
    uid = owner["metadata"]["uid"]
    for resource in ("apps/replicasets", "pods", "apps/controllerrevisions"):
        for obj in store.list(resource, owner["metadata"].get("namespace")):
            refs = obj["metadata"].get("ownerReferences") or []
            if any(ref["uid"] == uid for ref in refs):
                obj["metadata"]["ownerReferences"] = [r for r in refs if r["uid"] != uid]
                store.update(resource, obj)


_NAMESPACES = Resource("", "v1", "namespaces", "Namespace", "namespace", namespaced=False)
