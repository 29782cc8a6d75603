"""Which resources the simulated API server knows, as a table.

In process a resource is named `pods`, `apps/deployments`, `policy/poddisruptionbudgets`,
`coordination/leases`: the plural behind the first word of its API group.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    status: bool = False
    """Has a status subresource, so that plain writes leave the status alone."""
    scale: bool = False
    generation: bool = False
    """Its generation counts changes of the spec."""

    @property
    def in_all(self) -> bool:
        """Shown by `kubectl get all`."""
        return self.plural in _ALL

    @property
    def key(self) -> str:
        return f"{self.group}/{self.plural}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As error messages write it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind


_ALL = frozenset(
    {"pods", "services", "deployments", "replicasets", "statefulsets", "daemonsets", "jobs"}
    | {"horizontalpodautoscalers"}
)

TABLE: tuple[Resource, ...] = (
    Resource("", "v1", "namespaces", "Namespace", "namespace", False, ("ns",), status=True),
    Resource("", "v1", "nodes", "Node", "node", False, ("no",), status=True),
    Resource("", "v1", "pods", "Pod", "pod", short=("po",), status=True),
    Resource("", "v1", "services", "Service", "service", short=("svc",), status=True),
    Resource("", "v1", "events", "Event", "event", short=("ev",)),
    Resource("", "v1", "configmaps", "ConfigMap", "configmap", short=("cm",)),
    Resource("", "v1", "resourcequotas", "ResourceQuota", "resourcequota", short=("quota",)),
    Resource("", "v1", "limitranges", "LimitRange", "limitrange", short=("limits",)),
    Resource("", "v1", "serviceaccounts", "ServiceAccount", "serviceaccount", short=("sa",)),
    Resource(
        "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "persistentvolumeclaim"
    ),
    Resource(
        "apps", "v1", "deployments", "Deployment", "deployment", True, ("deploy",),
        status=True, scale=True, generation=True,
    ),
    Resource(
        "apps", "v1", "replicasets", "ReplicaSet", "replicaset", True, ("rs",),
        status=True, scale=True, generation=True,
    ),
    Resource(
        "apps", "v1", "statefulsets", "StatefulSet", "statefulset", True, ("sts",),
        status=True, scale=True, generation=True,
    ),
    Resource(
        "apps", "v1", "daemonsets", "DaemonSet", "daemonset", True, ("ds",),
        status=True, generation=True,
    ),
    Resource("apps", "v1", "controllerrevisions", "ControllerRevision", "controllerrevision"),
    Resource("batch", "v1", "jobs", "Job", "job", status=True, generation=True),
    Resource(
        "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "poddisruptionbudget",
        True, ("pdb",), status=True, generation=True,
    ),
    Resource(
        "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler",
        "horizontalpodautoscaler", True, ("hpa",), status=True,
    ),
    Resource("coordination.k8s.io", "v1", "leases", "Lease", "lease"),
    Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "endpointslice"),
    Resource("events.k8s.io", "v1", "events", "Event", "event", short=("ev",)),
    Resource(
        "leaderworkerset.x-k8s.io", "v1", "leaderworkersets", "LeaderWorkerSet",
        "leaderworkerset", True, ("lws",), status=True, scale=True, generation=True,
    ),
    Resource(
        "argoproj.io", "v1alpha1", "rollouts", "Rollout", "rollout", True, ("ro",),
        status=True, scale=True, generation=True,
    ),
    Resource(
        "serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService",
        "inferenceservice", True, ("isvc",), status=True, generation=True,
    ),
    Resource(
        "keda.sh", "v1alpha1", "scaledobjects", "ScaledObject", "scaledobject", True, ("so",),
        status=True, generation=True,
    ),
)  # fmt: skip

_BY_PATH = {(r.group, r.version, r.plural): r for r in TABLE}
_BY_NAME = {
    name: r for r in TABLE for name in (r.key, f"{r.group.split('.')[0]}/{r.plural}".lstrip("/"))
}
_BY_KIND = {(r.api_version, r.kind): r for r in TABLE}


def named(name: str) -> Resource:
    """The resource of an in-process name. Raises KeyError with the known ones."""
    if name not in _BY_NAME:
        raise KeyError(f"{name!r} is no resource; known: {', '.join(sorted(_BY_NAME))}")
    return _BY_NAME[name]


def at_path(group: str, version: str, plural: str) -> Resource | None:
    return _BY_PATH.get((group, version, plural))


def of_kind(api_version: str, kind: str) -> Resource | None:
    return _BY_KIND.get((api_version, kind))
