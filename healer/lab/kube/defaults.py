"""What the API server fills in when an object is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from healer.lab.kube.copying import clone
from healer.lab.kube.status import Obj

_ROLLING = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
}

DEFAULTS: Mapping[str, Obj] = {
    "namespaces": {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}},
    "pods": {
        "spec": {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler",
            "dnsPolicy": "ClusterFirst",
        },
        "status": {"phase": "Pending"},
    },
    "services": {"spec": {"type": "ClusterIP", "sessionAffinity": "None"}},
    "apps/deployments": {
        "spec": {
            "replicas": 1,
            "strategy": _ROLLING,
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        }
    },
    "apps/replicasets": {"spec": {"replicas": 1}},
    "apps/statefulsets": {
        "spec": {
            "replicas": 1,
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "revisionHistoryLimit": 10,
        }
    },
    "apps/daemonsets": {
        "spec": {"updateStrategy": {"type": "RollingUpdate"}, "revisionHistoryLimit": 10}
    },
}


def fill(resource: str, obj: Obj) -> Obj:
    """`obj` with its missing fields set."""
    filled: Obj = _under(obj, DEFAULTS.get(resource, {}))
    if resource == "pods":
        filled["spec"] = _request_limits(filled["spec"])
    return filled


def _request_limits(spec: Obj) -> Obj:
    """A limit without a request is a request as well."""
    containers = [_with_requests(each) for each in spec.get("containers") or ()]
    return spec | {"containers": containers}


def _with_requests(container: Obj) -> Obj:
    resources = container.get("resources") or {}
    requests = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return container | {"resources": resources | {"requests": requests}} if requests else container


def _under(given: Any, default: Any) -> Any:
    """Alternatives stay alternatives: a `Recreate` strategy gets no rolling parameters."""
    if given is None:
        return clone(default)
    if not isinstance(given, dict) or not isinstance(default, dict):
        return given
    if given.get("type", default.get("type")) != default.get("type"):
        return given
    return given | {key: _under(given.get(key), value) for key, value in default.items()}
