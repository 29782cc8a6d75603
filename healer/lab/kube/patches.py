"""The three patch types: JSON Patch, merge patch and strategic merge patch.

A strategic patch merges lists of objects by a key that Kubernetes' schema names per field;
lists without one (taints, tolerations, command) are replaced whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonpatch
import jsonpointer

from healer.lab.kube import status
from healer.lab.kube.copying import clone
from healer.lab.kube.status import Obj

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

MERGE_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "ownerReferences": "uid",
    "conditions": "type",
    "addresses": "type",
    "podIPs": "ip",
    "secrets": "name",
}
"""Field → merge key, from `x-kubernetes-patch-merge-key` in Kubernetes' schema."""

MERGED_PRIMITIVES = frozenset({"finalizers", "podCIDRs"})
"""Lists of plain values that a strategic patch joins instead of replacing."""


def apply(kind: str, obj: Obj, body: bytes) -> Obj:
    """`obj` after the patch `body` of content type `kind`. Raises ApiError (400, 415, 422)."""
    try:
        patch = json.loads(body)
    except ValueError as error:
        raise status.bad_request(f"error decoding patch: {error}") from error
    if kind == JSON_PATCH:
        return _json(obj, patch)
    if not isinstance(patch, dict):
        raise status.bad_request("error decoding patch: json: cannot unmarshal into Go value")
    if kind == MERGE_PATCH:
        merged: Obj = merge(obj, patch)
        return merged
    if kind == STRATEGIC_PATCH:
        strategic: Obj = strategic_merge(obj, patch)
        return strategic
    raise status.unsupported_media(kind)


def merge(value: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return clone(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for key, wanted in patch.items():
        if wanted is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), wanted)
    return merged


def strategic_merge(value: Any, patch: Any) -> Any:
    """`value` after one strategic patch; directives `$patch`, `$retainKeys`,
    `$deleteFromPrimitiveList` and `$setElementOrder` are honoured."""
    if not isinstance(patch, dict):
        return clone(patch)
    if patch.get("$patch") == "replace":
        return clone({k: v for k, v in patch.items() if k != "$patch"})
    if patch.get("$patch") == "delete":
        return {}
    merged: Obj = dict(value) if isinstance(value, dict) else {}
    keep = patch.get("$retainKeys")
    if keep is not None:
        merged = {k: v for k, v in merged.items() if k in keep}
    for key, wanted in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.split("/", 1)[1]
            merged[field] = [each for each in merged.get(field) or () if each not in wanted]
    for key, wanted in patch.items():
        if key.startswith("$"):
            continue
        if wanted is None:
            merged.pop(key, None)
        elif isinstance(wanted, list):
            order = patch.get(f"$setElementOrder/{key}")
            merged[key] = _list(key, merged.get(key), wanted, order)
        elif isinstance(wanted, dict) and wanted.get("$patch") == "delete":
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge(merged.get(key), wanted)
    return merged


def _list(field: str, have: Any, wanted: list[Any], order: list[Any] | None) -> list[Any]:
    if field in MERGED_PRIMITIVES:
        base = list(have or ())
        return base + [each for each in wanted if each not in base]
    key = _merge_key(field, wanted)
    if key is None or any(isinstance(w, dict) and w.get("$patch") == "replace" for w in wanted):
        replaced = [w for w in wanted if not (isinstance(w, dict) and w == {"$patch": "replace"})]
        return [strategic_merge(None, w) if isinstance(w, dict) else w for w in replaced]
    merged = list(have or ())
    for want in wanted:
        if not isinstance(want, dict) or key not in want:
            raise status.bad_request(f"map: {want!r} does not contain declared merge key: {key}")
        at = next((i for i, m in enumerate(merged) if m.get(key) == want[key]), None)
        if want.get("$patch") == "delete":
            merged = [m for m in merged if m.get(key) != want[key]]
        elif at is None:
            merged.append(strategic_merge(None, want))
        else:
            merged[at] = strategic_merge(merged[at], want)
    return _ordered(merged, key, order)


def _ordered(items: list[Any], key: str, order: list[Any] | None) -> list[Any]:
    if not order:
        return items
    rank = {each[key]: at for at, each in enumerate(order)}
    return sorted(items, key=lambda item: rank.get(item.get(key), len(rank)))


def _merge_key(field: str, wanted: list[Any]) -> str | None:
    """`ports` is the one field whose key depends on whether it is a container's or a service's."""
    if field == "ports":
        container = any(isinstance(w, dict) and "containerPort" in w for w in wanted)
        return "containerPort" if container else "port"
    return MERGE_KEYS.get(field)


def _json(obj: Obj, patch: Any) -> Obj:
    if not isinstance(patch, list):
        raise status.bad_request("error decoding patch: json: cannot unmarshal object into list")
    try:
        patched: Obj = jsonpatch.JsonPatch(patch).apply(clone(obj))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise status.test_failed() from error
    return patched
