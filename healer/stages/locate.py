"""Which target a row of labels means.

The same pod is `exported_pod` behind one scrape configuration, `pod` behind another and
a bare `instance` behind a third; a GPU's `Hostname` is a node here and the exporter's
own pod there. The topology decides where labels alone cannot; what stays unknown is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Topology

Labels = Mapping[str, str]

POD_LABELS: tuple[tuple[str, str], ...] = (
    # When Prometheus does not honour labels, the plain ones name the exporter itself.
    ("exported_pod", "exported_namespace"),
    ("pod", "namespace"),
    ("pod_name", "namespace"),
    ("kubernetes_pod_name", "kubernetes_namespace"),
)
NAMESPACE_LABELS = ("exported_namespace", "namespace", "kubernetes_namespace")
GPU_LABELS = ("UUID", "uuid", "gpu_uuid", "GPU_UUID")
NODE_LABELS = ("exported_node", "node", "nodename", "kubernetes_node", "node_name")
HOST_LABELS = ("Hostname", "hostname")
"""A node's name, or inside a pod without NODE_NAME that pod's name."""
WORKLOAD_LABELS = ("deployment", "statefulset", "daemonset", "leaderworkerset")
HPA_LABEL = "horizontalpodautoscaler"
MODEL_LABELS = ("model_name", "target_model_name", "model", "served_model_name")
SERVICE_LABELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("destination_service_name", ("destination_service_namespace", *NAMESPACE_LABELS)),
    ("inference_pool", NAMESPACE_LABELS),
    ("name", NAMESPACE_LABELS),
    ("exported_service", NAMESPACE_LABELS),
    ("service", NAMESPACE_LABELS),
)


@dataclass(frozen=True)
class Places:
    """Look-ups into one topology, made once a tick."""

    topology: Topology
    by_ip: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    """Pod IP → pods; several where they share their node's network."""
    by_pod_name: Mapping[str, tuple[Target, ...]] = field(default_factory=dict)
    nodes: Mapping[str, Target] = field(default_factory=dict)
    hpas: Mapping[tuple[str, str], Target] = field(default_factory=dict)
    """(namespace, autoscaler) → the workload it scales."""
    alone: bool = False
    """There is no cluster: a scraped instance stands for a pod, any host for a node."""

    @classmethod
    def of(cls, topology: Topology, *, alone: bool = False) -> Places:
        by_ip: dict[str, list[Target]] = defaultdict(list)
        by_name: dict[str, list[Target]] = defaultdict(list)
        for pod in topology.of(Kind.POD):
            by_name[pod.target.name].append(pod.target)
            # A pod that has ended no longer owns its address.
            if pod.facts.get("ip") and pod.facts.get("phase") not in ("Succeeded", "Failed"):
                by_ip[str(pod.facts["ip"])].append(pod.target)
        return cls(
            topology,
            {ip: tuple(pods) for ip, pods in by_ip.items()},
            {name: tuple(pods) for name, pods in by_name.items()},
            {node.target.name: node.target for node in topology.of(Kind.NODE)},
            {
                (each.target.namespace, str(each.facts["hpa"].get("name"))): each.target
                for each in topology.of(Kind.WORKLOAD)
                if isinstance(each.facts.get("hpa"), Mapping)
            },
            alone,
        )

    def known(self, target: Target) -> Target:
        """The same target with the UID the topology knows."""
        entity = self.topology.get(target)
        return entity.target if entity else target

    def node_of(self, pod: Target) -> Target | None:
        above = self.topology.above(pod)
        found = next((t for t in above if t.kind is Kind.NODE), None)
        name = self.topology.fact(pod, "node")
        return found or (self.nodes.get(name) if name else None)


def locate(scope: Kind, labels: Labels, places: Places) -> Target | None:
    """The target of `scope` that these labels name, or None."""
    match scope:
        case Kind.POD:
            return pod_of(labels, places)
        case Kind.GPU:
            uuid = _first(labels, GPU_LABELS)
            return places.known(Target(Kind.GPU, uuid)) if uuid else None
        case Kind.NODE:
            return node_of(labels, places)
        case Kind.WORKLOAD:
            return workload_of(labels, places)
        case Kind.MODEL:
            model = _first(labels, MODEL_LABELS)
            return Target(Kind.MODEL, model) if model else None
        case Kind.SERVICE:
            return service_of(labels, places)
        case Kind.CLUSTER:
            return CLUSTER
        case _:
            return None


def pod_of(labels: Labels, places: Places) -> Target | None:
    for name_label, namespace_label in POD_LABELS:
        if name := labels.get(name_label):
            namespace = labels.get(namespace_label) or _first(labels, NAMESPACE_LABELS)
            if namespace:
                return places.known(Target(Kind.POD, name, namespace))
            alike = places.by_pod_name.get(name, ())
            return alike[0] if len(alike) == 1 else None
    instance = labels.get("instance", "")
    pods = places.by_ip.get(_host(instance), ())
    if len(pods) == 1:
        return pods[0]
    if instance and places.alone:
        return Target(Kind.POD, instance, labels.get("job") or "default")
    return None


def node_of(labels: Labels, places: Places) -> Target | None:
    if name := _first(labels, NODE_LABELS):
        return places.known(Target(Kind.NODE, name))
    host = _first(labels, HOST_LABELS)
    if host and (found := _host_as_node(host, places)):
        return found
    for name_label, namespace_label in POD_LABELS[1:]:
        # The exporter's own pod: a host's exporter runs on the host it speaks of.
        pod = Target(Kind.POD, labels.get(name_label, ""), labels.get(namespace_label, ""))
        if found := places.node_of(pod):
            return found
    address = _host(labels.get("instance", ""))
    if address in places.nodes:
        return places.nodes[address]
    for pod in places.by_ip.get(address, ()):
        if found := places.node_of(pod):
            return found
    if places.alone and (host or address):
        return Target(Kind.NODE, host or address)
    return None


def _host_as_node(host: str, places: Places) -> Target | None:
    for name in (host, host.partition(".")[0]):
        if name in places.nodes:
            return places.nodes[name]
    pods = places.by_pod_name.get(host, ())
    return places.node_of(pods[0]) if len(pods) == 1 else None


def workload_of(labels: Labels, places: Places) -> Target | None:
    namespace = _first(labels, NAMESPACE_LABELS)
    if not namespace:
        return None
    for label in WORKLOAD_LABELS:
        if name := labels.get(label):
            return places.known(Target(Kind.WORKLOAD, f"{label}/{name}", namespace))
    return places.hpas.get((namespace, labels.get(HPA_LABEL, "")))


def service_of(labels: Labels, places: Places) -> Target | None:
    for name_label, namespace_labels in SERVICE_LABELS:
        if name := labels.get(name_label):
            namespace = _first(labels, namespace_labels)
            return places.known(Target(Kind.SERVICE, name, namespace)) if namespace else None
    return None


def of_alert(labels: Labels, places: Places) -> Target:
    """What an alert is about: the most particular thing its labels name, else the cluster."""
    gpu = locate(Kind.GPU, labels, places)
    if gpu:
        return gpu
    pod = pod_of(labels, places) if any(labels.get(name) for name, _ in POD_LABELS) else None
    if pod and not (labels.get("pod") == pod.name and _speaks_for_its_node(labels, pod, places)):
        return pod
    if found := workload_of(labels, places):
        return found
    behind = pod_of(labels, places) if pod is None and not _names_node(labels) else None
    known = places.topology.get(behind) if behind else None
    if known and not known.facts.get("daemonset", False):
        return known.target
    return node_of(labels, places) or pod or behind or CLUSTER


def _names_node(labels: Labels) -> bool:
    return bool(_first(labels, (*NODE_LABELS, *HOST_LABELS)))


def _speaks_for_its_node(labels: Labels, pod: Target, places: Places) -> bool:
    """An exporter's pod is where the alert was measured, not what it is about."""
    return _names_node(labels) and bool(places.topology.fact(pod, "daemonset", False))


def _first(labels: Labels, names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := labels.get(name))), "")


def _host(instance: str) -> str:
    """`10.0.0.1:9100` and `[fd00::1]:9100` without the port."""
    host, colon, port = instance.rpartition(":")
    if colon and port.isdigit() and (host.startswith("[") or ":" not in host):
        return host.strip("[]")
    return instance.strip("[]")
