"""Lists of one kind: page by page, consistent, slimmed as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kubernetes.client import ApiClient

from healer.adapters.kubernetes import errors, workload_facts
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
    optional: bool = False
    """An add-on's: where it is not installed, or not ours to see, there are none."""


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
    *(
        Source(kind, path, matters=False, optional=True)
        for kind, path in (
            ("Rollout", "/apis/argoproj.io/v1alpha1/rollouts"),
            ("LeaderWorkerSet", "/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets"),
            ("InferenceService", "/apis/serving.kserve.io/v1beta1/inferenceservices"),
        )
    ),
    Source("Event", "/api/v1/events", (("fieldSelector", "type=Warning"),), matters=False),
)


def everything(api: ApiClient, source: Source, timeout_s: tuple[float, float]) -> list[Obj]:
    """All objects of one kind. Raises Temporary or Permanent."""
    return listed(api, source, timeout_s)[0]


def listed(api: ApiClient, source: Source, timeout_s: tuple[float, float]) -> tuple[list[Obj], str]:
    """All objects of one kind, and the version a watch goes on from. Raises as `everything`."""
    for _ in range(RESTARTS):
        try:
            pages = list(_pages(api, source, timeout_s))
        except _Expired:
            continue
        return [obj for page, _ in pages for obj in page], pages[-1][1]
    raise Temporary(f"{source.kind}: the list changes faster than it can be read")


def slim(obj: Obj) -> Obj:
    """Without its managedFields, often half of its size; who wrote the pod template is kept."""
    meta = obj["metadata"]
    managers = workload_facts.template_managers(obj)
    meta.pop("managedFields", None)
    if managers:
        meta[workload_facts.MANAGERS] = managers
    return obj


class _Expired(Exception):
    pass


def _pages(
    api: ApiClient, source: Source, timeout_s: tuple[float, float]
) -> Iterator[tuple[list[Obj], str]]:
    """Page by page, each with the version of the whole list."""
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
        meta = answer.body.get("metadata") or {}
        # A list of a broken aggregated API may hold anything.
        yield (
            [
                slim(obj)
                for obj in answer.body.get("items") or ()
                if isinstance(obj, dict) and (obj.get("metadata") or {}).get("name")
            ],
            str(meta.get("resourceVersion", "")),
        )
        token = meta.get("continue") or ""
        if not token:
            return
