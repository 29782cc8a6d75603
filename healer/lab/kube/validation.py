"""The checks of a real API server that a client can run into by what it writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from healer.lab.kube import status
from healer.lab.kube.resources import Resource
from healer.lab.kube.selectors import matches
from healer.lab.kube.status import Obj

Cause = tuple[str, str, str]
"""Field, reason, message."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
"""MicroTime wants its six digits."""

_MICRO_FIELDS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "leases": (("spec", "acquireTime"), ("spec", "renewTime")),
    "events": (("eventTime",), ("series", "lastObservedTime")),
}
_EVENT_REQUIRED = ("action", "reason", "reportingController", "reportingInstance", "type")


def check(resource: Resource, new: Obj, old: Obj | None) -> None:
    """Raises ApiError: 400 for what cannot be decoded, 422 for what may not be."""
    _check_times(resource, new)
    name = new.get("metadata", {}).get("name") or ""
    causes = [cause for test in _CHECKS for cause in test(resource, new, old)]
    if causes:
        raise status.invalid(resource, name, causes)


def _check_times(resource: Resource, new: Obj) -> None:
    for path in _MICRO_FIELDS.get(resource.plural, ()):
        value: Any = new
        for step in path:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None and not _MICRO.fullmatch(str(value)):
            raise status.bad_request(
                f"{resource.kind} in version {resource.version!r} cannot be handled as a "
                f'{resource.kind}: parsing time "{value}" as "2006-01-02T15:04:05.000000Z07:00": '
                f'cannot parse "{str(value)[19:]}" as ".000000"'
            )


def _name(_: Resource, new: Obj, old: Obj | None) -> list[Cause]:
    meta = new.get("metadata", {})
    name = meta.get("name")
    if name is None and meta.get("generateName"):
        return []
    if not name:
        return [("metadata.name", "FieldValueRequired", "Required value: name or generateName is "
                 "required")]  # fmt: skip
    if old is None and not _NAME.fullmatch(name):
        return [_bad("metadata.name", name, "a lowercase RFC 1123 subdomain must consist of lower "
                     "case alphanumeric characters, '-' or '.', and must start and end with an "
                     "alphanumeric character")]  # fmt: skip
    return []


def _replicas(resource: Resource, new: Obj, _: Obj | None) -> list[Cause]:
    if not resource.scale and resource.kind != "Scale":
        return []
    replicas = new.get("spec", {}).get("replicas", 1)
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        return [_bad("spec.replicas", replicas, "must be an integer")]
    return [_bad("spec.replicas", replicas, "must be greater than or equal to 0")] * (replicas < 0)


def _selector(resource: Resource, new: Obj, old: Obj | None) -> list[Cause]:
    if resource.group != "apps" or "selector" not in (new.get("spec") or {}):
        return []
    spec = new["spec"]
    found: list[Cause] = []
    labels = spec.get("template", {}).get("metadata", {}).get("labels") or {}
    if not matches(spec["selector"], labels):
        found.append(
            _bad("spec.template.metadata.labels", labels,
                 "`selector` does not match template `labels`")
        )  # fmt: skip
    if old is not None and old["spec"].get("selector") != spec["selector"]:
        found.append(_bad("spec.selector", spec["selector"], "field is immutable"))
    return found


def _pod_spec(resource: Resource, new: Obj, old: Obj | None) -> list[Cause]:
    if resource.key != "pods" or old is None or new.get("spec") == old.get("spec"):
        return []
    before, after = dict(old.get("spec") or {}), dict(new.get("spec") or {})
    for spec in (before, after):
        for field in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
            spec.pop(field, None)
        spec["containers"] = [
            {k: v for k, v in each.items() if k != "image"} for each in spec.get("containers", ())
        ]
    if before == after:
        return []
    said = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    said += "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    said += "additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
    return [("spec", "FieldValueForbidden", said)]


def _containers(resource: Resource, new: Obj, _: Obj | None) -> list[Cause]:
    if resource.group != "apps" or "template" not in (new.get("spec") or {}):
        return []
    found: list[Cause] = []
    at = "spec.template.spec.containers"
    containers = new["spec"]["template"].get("spec", {}).get("containers")
    if not containers:
        return [(at, "FieldValueRequired", "Required value")]
    for index, each in enumerate(containers):
        found += [
            (f"{at}[{index}].{field}", "FieldValueRequired", "Required value")
            for field in ("name", "image")
            if not each.get(field)
        ]
    return found


def _event(resource: Resource, new: Obj, old: Obj | None) -> list[Cause]:
    if resource.group != "events.k8s.io" or old is not None:
        return []
    found = [(f, "FieldValueRequired", "Required value") for f in _EVENT_REQUIRED if not new.get(f)]
    if not new.get("eventTime"):
        found.append(("eventTime", "FieldValueRequired", "Required value"))
    note = str(new.get("note") or "")
    if len(note.encode()) > 1024:
        found.append(_bad("note", note[:20] + "…", "can have at most 1024 characters"))
    if new.get("type") not in (None, "", "Normal", "Warning"):
        found.append(_bad("type", new["type"], "has invalid value"))
    if new.get("series") and int(new["series"].get("count", 0)) < 2:
        found.append(_bad("series.count", new["series"].get("count"), "should be at least 2"))
    meta, regarding = new.get("metadata", {}), new.get("regarding") or {}
    wanted = regarding.get("namespace") or "default"
    if meta.get("namespace") not in (wanted, "kube-system" if not regarding else wanted):
        found.append(_bad("regarding.namespace", regarding.get("namespace", ""),
                          "does not match event.namespace"))  # fmt: skip
    return found


_CHECKS: tuple[Callable[[Resource, Obj, Obj | None], list[Cause]], ...] = (
    _name,
    _replicas,
    _selector,
    _pod_spec,
    _containers,
    _event,
)


def _bad(field: str, value: Any, why: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return (field, "FieldValueInvalid", f"Invalid value: {shown}: {why}")
