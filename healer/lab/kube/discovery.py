"""The documents by which kubectl finds out what a server serves."""

from __future__ import annotations

from healer.lab.kube.resources import TABLE, Resource
from healer.lab.kube.status import Obj

VERSION: Obj = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "gitVersion": "v1.36.2",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-06-10T00:00:00Z",
    "goVersion": "go1.26",
    "compiler": "gc",
    "platform": "linux/amd64",
}

_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


def document(path: str) -> Obj | None:
    """The discovery document at `path`, or None where there is none."""
    parts = tuple(each for each in path.split("/") if each)
    match parts:
        case ("version",):
            return VERSION
        case ("api",):
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ("apis",):
            return {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [_group(g, v) for g, v in _groups()],
            }
        case ("api", "v1"):
            return _resources("", "v1")
        case ("apis", group):
            versions = [v for g, v in _groups() if g == group]
            if not versions:
                return None
            return {"kind": "APIGroup", "apiVersion": "v1"} | _group(group, versions[0])
        case ("apis", group, version) if (group, version) in _groups():
            return _resources(group, version)
    return None


def _groups() -> list[tuple[str, str]]:
    found = sorted({(r.group, r.version) for r in TABLE if r.group})
    return [*found, ("authorization.k8s.io", "v1")]


def _group(group: str, version: str) -> Obj:
    one = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [one], "preferredVersion": one}


def _resources(group: str, version: str) -> Obj:
    listed: list[Obj] = []
    for resource in TABLE:
        if (resource.group, resource.version) == (group, version):
            listed += _entries(resource)
    if group == "authorization.k8s.io":
        listed.append(
            {
                "name": "selfsubjectaccessreviews",
                "singularName": "selfsubjectaccessreview",
                "namespaced": False,
                "kind": "SelfSubjectAccessReview",
                "verbs": ["create"],
            }
        )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": listed,
    }


def _entries(resource: Resource) -> list[Obj]:
    base: Obj = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(_VERBS),
    }
    if resource.short:
        base["shortNames"] = list(resource.short)
    if resource.in_all:
        base["categories"] = ["all"]
    found = [base]
    common = {"singularName": "", "namespaced": resource.namespaced}
    if resource.status:
        found.append(
            common
            | {
                "name": f"{resource.plural}/status",
                "kind": resource.kind,
                "verbs": ["get", "patch", "update"],
            }
        )
    if resource.scale:
        found.append(
            common
            | {
                "name": f"{resource.plural}/scale",
                "kind": "Scale",
                "group": "autoscaling",
                "version": "v1",
                "verbs": ["get", "patch", "update"],
            }
        )
    if resource.key == "pods":
        found.append(
            common
            | {
                "name": "pods/eviction",
                "kind": "Eviction",
                "group": "policy",
                "version": "v1",
                "verbs": ["create"],
            }
        )
    return found
