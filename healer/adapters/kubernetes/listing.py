"""Lists of one kind: page by page, consistent, slimmed as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import errors
from healer.adapters.kubernetes.errors import Obj
from healer.adapters.kubernetes.sender import denial
from healer.errors import Temporary

PAGE = 500
RESTARTS = 2
"""A continue token may expire under way; then the list starts over, this often."""


@dataclass(frozen=True, slots=True)
class Source:
    """One kind to list."""

    kind: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    matters: bool = True
    """Whether its failure makes the topology incomplete."""


SOURCES: tuple[Source, ...] = (
    Source("Node", "/api/v1/nodes"),
    Source("Pod", "/api/v1/pods"),
    Source("Deployment", "/apis/apps/v1/deployments"),
    Source("StatefulSet", "/apis/apps/v1/statefulsets"),
    Source("DaemonSet", "/apis/apps/v1/daemonsets"),
    Source("ReplicaSet", "/apis/apps/v1/replicasets"),
    Source("ControllerRevision", "/apis/apps/v1/controllerrevisions", matters=False),
    Source("Service", "/api/v1/services"),
    Source("PodDisruptionBudget", "/apis/policy/v1/poddisruptionbudgets"),
    Source("HorizontalPodAutoscaler", "/apis/autoscaling/v2/horizontalpodautoscalers"),
    Source("Event", "/api/v1/events", (("fieldSelector", "type=Warning"),), matters=False),
)


def everything(api: ApiClient, source: Source, timeout_s: tuple[float, float]) -> list[Obj]:
    """All objects of one kind. Raises Temporary or Permanent."""
    for _ in range(RESTARTS):
        try:
            return list(_pages(api, source, timeout_s))
        except _Expired:
            continue
    raise Temporary(f"{source.kind}: the list changes faster than it can be read")


class _Expired(Exception):
    pass


def _pages(api: ApiClient, source: Source, timeout_s: tuple[float, float]) -> Iterator[Obj]:
    token = ""
    while True:
        query = [*source.query, ("limit", str(PAGE))]
        if token:
            query.append(("continue", token))
        answer = errors.read(api, source.path, query, timeout_s)
        if answer.code == 410:
            raise _Expired
        if not answer.ok:
            raise denial(answer)
        for obj in answer.body.get("items") or ():
            # A list of a broken aggregated API may hold anything.
            if isinstance(obj, dict) and (obj.get("metadata") or {}).get("name"):
                obj["metadata"].pop("managedFields", None)
                yield obj
        token = (answer.body.get("metadata") or {}).get("continue") or ""
        if not token:
            return
