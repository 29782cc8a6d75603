"""From a request to the verb, resource and object it means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from healer.lab.kube import status
from healer.lab.kube.resources import Resource, at_path
from healer.lab.kube.status import Obj
from healer.lab.web import Request

TRUE = ("1", "true", "True")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a resource, parsed."""

    request: Request
    resource: Resource
    verb: str
    """As access rules spell it: get, list, watch, create, update, patch, delete, …"""
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def dry_run(self) -> bool:
        return "All" in dry_run_of(self.request)

    def body(self) -> Obj:
        """The decoded body; an empty one is an empty object. Raises ApiError (400)."""
        return decode(self.request.body)


def parse(request: Request) -> Call:
    """Raises ApiError (404, 405) for what is not served."""
    parts = [each for each in request.path.split("/") if each]
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise status.no_such_path()
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and at_path(group, version, rest[2]):
        namespace, rest = rest[1], rest[2:]
    resource = at_path(group, version, rest[0]) if rest else None
    if resource is None or (namespace and not resource.namespaced):
        raise status.no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and resource.namespaced and not namespace:
        raise status.no_such_path()
    if subresource not in _subresources(resource):
        raise status.no_such_path()
    return Call(request, resource, _verb(request, name), namespace, name, subresource)


def decode(body: bytes) -> Obj:
    if not body:
        return {}
    try:
        decoded: Any = json.loads(body)
    except ValueError as error:
        raise status.bad_request(
            f"the object provided is unrecognized (must be of type JSON): {error}"
        ) from error
    if not isinstance(decoded, dict):
        raise status.bad_request("the object provided is unrecognized: not an object")
    return decoded


def _subresources(resource: Resource) -> tuple[str, ...]:
    found = [""]
    if resource.status:
        found.append("status")
    if resource.scale:
        found.append("scale")
    if resource.key == "pods":
        found += ["eviction", "log"]
    return tuple(found)


def _verb(request: Request, name: str) -> str:
    match request.method:
        case "GET" | "HEAD":
            if request.param("watch") in TRUE:
                return "watch"
            return "get" if name else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if name else "deletecollection"
        case _:
            raise status.method_not_allowed()


def dry_run_of(request: Request) -> set[str]:
    """Asked in the query, or in the options that eviction and delete carry in their body.

    A deletion with a body is ruled by the body: the query's is not looked at.
    """
    asked = {value for key, value in request.query if key == "dryRun"}
    if request.method == "DELETE" and request.body:
        asked = set()
    if request.method in ("POST", "DELETE") and b"dryRun" in request.body:
        body = decode(request.body)
        options = body.get("deleteOptions") or body
        asked |= set(options.get("dryRun") or ())
    if asked - {"All", ""}:
        raise status.bad_request(f"invalid dryRun: {sorted(asked)}: supported values: All")
    return asked
