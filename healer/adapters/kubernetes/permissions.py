"""Which verbs we are allowed, asked of the API server itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import errors
from healer.errors import HealerError
from healer.model.actions import VERBS
from healer.ports import Clock

REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
ASK_AGAIN_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Permission:
    verb: str
    group: str
    resource: str
    """With its subresource: `pods/eviction`."""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


NEEDED: Mapping[str, tuple[Permission, ...]] = {
    "evict_pod": (Permission("get", "", "pods"), Permission("create", "", "pods/eviction")),
    "delete_pod": (Permission("get", "", "pods"), Permission("delete", "", "pods")),
    "cordon_node": (Permission("get", "", "nodes"), Permission("patch", "", "nodes")),
    "uncordon_node": (Permission("get", "", "nodes"), Permission("patch", "", "nodes")),
    "scale_workload": (
        Permission("get", "apps", "deployments/scale"),
        Permission("patch", "apps", "deployments/scale"),
    ),
    "set_floor": (
        Permission("get", "autoscaling", "horizontalpodautoscalers"),
        Permission("patch", "autoscaling", "horizontalpodautoscalers"),
    ),
    "rollback_workload": (
        Permission("get", "apps", "deployments"),
        Permission("get", "apps", "replicasets"),
        Permission("patch", "apps", "deployments"),
    ),
    "restart_workload": (
        Permission("get", "apps", "deployments"),
        Permission("patch", "apps", "deployments"),
    ),
    "quarantine_pod": (Permission("get", "", "pods"), Permission("patch", "", "pods")),
    "release_pod": (Permission("get", "", "pods"), Permission("patch", "", "pods")),
    "escalate": (),
}
"""By verb of `healer.model.actions`; the chart's roles grant exactly these."""

FURTHER: Mapping[str, tuple[Permission, ...]] = {
    "scale_workload": tuple(
        Permission(verb, group, f"{plural}/scale")
        for group, plural in (
            ("apps", "statefulsets"),
            ("leaderworkerset.x-k8s.io", "leaderworkersets"),
            ("argoproj.io", "rollouts"),
        )
        for verb in ("get", "patch")
    ),
    "set_floor": (
        Permission("get", "keda.sh", "scaledobjects"),
        Permission("patch", "keda.sh", "scaledobjects"),
    ),
    "rollback_workload": (
        Permission("get", "apps", "controllerrevisions"),
        *(
            Permission(verb, group, plural)
            for group, plural in (
                ("apps", "statefulsets"),
                ("apps", "daemonsets"),
                ("argoproj.io", "rollouts"),
                ("serving.kserve.io", "inferenceservices"),
            )
            for verb in ("get", "patch")
        ),
    ),
    "restart_workload": tuple(
        Permission(verb, "apps", plural)
        for plural in ("statefulsets", "daemonsets")
        for verb in ("get", "patch")
    ),
}
"""What a verb needs besides for kinds other than Deployments and HPAs. Missing ones do not disable
the verb: the API server refuses the one action, and its plan says so."""


class Permissions:
    """Remembers the answers for a few minutes. namespaces: where rights may be bound instead of
    cluster-wide."""

    def __init__(self, api: ApiClient, clock: Clock, namespaces: tuple[str, ...] = ()) -> None:
        self._api, self._clock, self._namespaces = api, clock, namespaces
        self._asked_at: datetime | None = None
        self._denied: dict[str, str] = {}

    def denied(self) -> Mapping[str, str]:
        """Verb → the permission it lacks. What cannot be asked counts as denied."""
        now = self._clock.now()
        if self._asked_at is not None and now - self._asked_at < ASK_AGAIN_AFTER:
            return self._denied
        try:
            known: dict[Permission, bool] = {}
            denied: dict[str, str] = {}
            for verb in VERBS:
                for permission in NEEDED[verb]:
                    if permission not in known:
                        known[permission] = self._allowed(permission)
                    if not known[permission]:
                        denied[verb] = str(permission)
                        break
        except HealerError as error:
            return {verb: f"could not be asked: {error}" for verb in VERBS if NEEDED[verb]}
        self._asked_at, self._denied = now, denied
        return denied

    def _allowed(self, permission: Permission) -> bool:
        if self._ask(permission, ""):
            return True
        return bool(self._namespaces) and all(
            self._ask(permission, namespace) for namespace in self._namespaces
        )

    def _ask(self, permission: Permission, namespace: str) -> bool:
        resource, _, subresource = permission.resource.partition("/")
        asked = {
            "verb": permission.verb,
            "group": permission.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
        }
        answer = errors.write(
            self._api,
            "POST",
            REVIEW,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {k: v for k, v in asked.items() if v}},
            },
        )
        return answer.ok and bool((answer.body.get("status") or {}).get("allowed"))
