"""Refusals in the API server's own words, as a genuine 1.36 control plane writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from healer.lab.kube.resources import Resource

Obj = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


class ApiError(Exception):
    """A `Status` of kind Failure on its way to the client."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Obj | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.details = details
        self.retry_after_s = retry_after_s

    def body(self) -> Obj:
        given: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            given["reason"] = self.reason
        if self.details is not None:
            given["details"] = self.details
        return given | {"code": self.code}


def success(code: int = 200, details: Obj | None = None) -> Obj:
    body: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        return body | {"details": details}
    return body | {"code": code}


def _named(name: str, group: str, kind: str, **more: Any) -> Obj:
    return {"name": name, **({"group": group} if group else {}), "kind": kind, **more}


def not_found(resource: Resource, name: str) -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f'{resource.qualified} "{name}" not found',
        _named(name, resource.group, resource.plural),
    )


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> ApiError:
    return ApiError(
        409,
        "AlreadyExists",
        f'{resource.qualified} "{name}" already exists',
        _named(name, resource.group, resource.plural),
    )


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    why = why or (
        "the object has been modified; please apply your changes to the latest version "
        "and try again"
    )
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}',
        _named(name, resource.group, resource.plural),
    )


def precondition(resource: Resource, name: str, what: str, wanted: str, found: str) -> ApiError:
    """A delete's precondition; the server names the kind here, not the resource."""
    tail = (
        "The object might have been deleted and then recreated"
        if what == "UID"
        else "The object might have been modified"
    )
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": the {what} in the '
        f"precondition ({wanted}) does not match the {what} in record ({found}). {tail}",
        _named(name, resource.group, resource.kind),
    )


def invalid(resource: Resource, name: str, causes: Sequence[tuple[str, str, str]]) -> ApiError:
    """causes: (field, reason, message), such as `spec.replicas`, FieldValueInvalid, …"""
    told = [f"{field}: {message}" for field, _, message in causes]
    said = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    return ApiError(
        422,
        "Invalid",
        f'{resource.qualified_kind} "{name}" is invalid: {said}',
        _named(
            name,
            resource.group,
            resource.kind,
            causes=[
                {"reason": reason, "message": message, "field": field}
                for field, reason, message in causes
            ],
        ),
    )


def unknown_field(patch: str, field: str) -> ApiError:
    """Strict field validation of a patch; patch is its Go rendering."""
    message = f'Invalid value: "{patch}": strict decoding error: unknown field "{field}"'
    return ApiError(
        422,
        "Invalid",
        f' "" is invalid: patch: {message}',
        {"causes": [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]},
    )


def test_failed() -> ApiError:
    """A JSON Patch whose test operation did not hold, or whose path is not there."""
    return ApiError(
        422, "Invalid", "the server rejected our request due to an error in our request", {}
    )


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(
    user: str, verb: str, resource: Resource, subresource: str, namespace: str, name: str
) -> ApiError:
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    whom = f'{resource.qualified} "{name}"' if name else resource.qualified
    details: Obj = _named(name, resource.group, resource.plural)
    if not name:
        del details["name"]
    return ApiError(
        403,
        "Forbidden",
        f'{whom} is forbidden: User "{user}" cannot {verb} resource "{what}" '
        f'in API group "{resource.group}" {where}',
        details,
    )


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource",
        {},
    )  # fmt: skip


def unsupported_media(kind: str) -> ApiError:
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        f"application/json-patch+json, application/merge-patch+json, "
        f"application/strategic-merge-patch+json, not {kind}",
    )


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_large_version(wanted: str, current: int) -> ApiError:
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
        1,
    )


def budget(cause: str, retry_after_s: int | None = None) -> ApiError:
    details: Obj = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after_s is not None:
        details["retryAfterSeconds"] = retry_after_s
    return ApiError(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details,
        retry_after_s,
    )


def throttled(retry_after_s: int | None) -> ApiError:
    return ApiError(
        429,
        "TooManyRequests",
        "The server has received too many requests and has asked us to try again later",
        {"retryAfterSeconds": retry_after_s} if retry_after_s is not None else {},
        retry_after_s,
    )


def internal(message: str) -> ApiError:
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def go_map(value: Any) -> str:
    """How Go's %v prints decoded JSON; the strict decoder's messages carry it."""
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{k}:{go_map(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_map, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)
