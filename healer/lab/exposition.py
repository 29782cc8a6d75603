"""What each exporter shows at a scrape, under its own names and labels.

vLLM V1 through a PodMonitor, dcgm-exporter and our extras with `honorLabels: false` (the workload
arrives as `exported_pod`), kube-state-metrics, node exporter, and the gateway in front.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from healer.lab.engine import Histogram
from healer.lab.gpu import Gpu
from healer.lab.kubelet import Replica
from healer.lab.objects import GPU, NAMESPACE, node_ip, node_name
from healer.lab.tsdb import Tsdb

if TYPE_CHECKING:
    from healer.lab.world import World

Labels = Mapping[str, str]
Sample = tuple[str, Labels, float]
"""Metric name, labels beyond the source's own, value."""


def hash_share(labels: Labels, seed: int) -> float:
    """Between 0 and 1, always the same for one series: whether it is one of those that miss.

    A histogram is there or not as a whole.
    """
    text = "|".join(f"{k}={v}" for k, v in sorted(labels.items()) if k != "le")
    return zlib.crc32(f"{seed}|{text}".encode()) / 2**32


@dataclass(slots=True)
class Scraper:
    """Writes scrapes into the samples; a source's series that vanish are marked stale."""

    tsdb: Tsdb
    missing: float = 0.0
    seed: int = 0
    _handles: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _live: dict[str, frozenset[int]] = field(default_factory=dict)

    def scrape(self, source: str, base: Labels, samples: Iterator[Sample], at_s: float) -> None:
        """`source` names the scrape target, `base` are the labels of all its series."""
        handles: list[int] = []
        values: list[float] = []
        for name, labels, value in samples:
            key = (source, name, "\x00".join(labels.values()))
            handle = self._handles.get(key)
            if handle is None:
                handle = self._new(key, {**base, **labels, "__name__": name})
            if handle >= 0:
                handles.append(handle)
                values.append(value)
        live = frozenset(handles)
        gone = self._live.get(source, frozenset()) - live
        self._live[source] = live
        self.tsdb.append(at_s, np.array(handles, np.int64), np.array(values, np.float64))
        if gone:
            self.tsdb.mark_stale(np.array(sorted(gone), np.int64), at_s)

    def vanish(self, source: str, at_s: float) -> None:
        """The target is gone or does not answer: all of its series end."""
        gone = self._live.pop(source, frozenset())
        if gone:
            self.tsdb.mark_stale(np.array(sorted(gone), np.int64), at_s)

    @property
    def sources(self) -> frozenset[str]:
        return frozenset(self._live)

    def _new(self, key: tuple[str, str, str], labels: dict[str, str]) -> int:
        handle = -1 if hash_share(labels, self.seed) < self.missing else self.tsdb.handle(labels)
        self._handles[key] = handle
        return handle


# --------------------------------------------------------------------------- vLLM


def engine_base(pod: str, ip: str, model: str) -> dict[str, str]:
    return {
        "namespace": NAMESPACE,
        "pod": pod,
        "container": "vllm",
        "endpoint": "http",
        "instance": f"{ip}:8000",
        "job": f"{NAMESPACE}/vllm",
        "model_name": model,
        "engine": "0",
    }


def memory(replica: Replica) -> Iterator[Sample]:
    """What the kubelet's cAdvisor says of the container's host memory."""
    limit = 64.0 * 2**30
    yield "container_memory_working_set_bytes", {}, replica.memory_share * limit
    yield "container_spec_memory_limit_bytes", {}, limit


def memory_base(replica: Replica) -> dict[str, str]:
    return {
        "namespace": replica.namespace,
        "pod": replica.name,
        "container": "vllm",
        "instance": replica.node,
        "node": replica.node,
        "job": "kubelet",
        "metrics_path": "/metrics/cadvisor",
    }


def engine(replica: Replica) -> Iterator[Sample]:
    one, counters = replica.engine, replica.engine.counters
    yield "vllm:num_requests_running", {}, float(len(one.running))
    yield "vllm:num_requests_waiting", {}, float(len(one.waiting))
    yield "vllm:kv_cache_usage_perc", {}, min(1.0, one.kv_used)
    yield "vllm:num_preemptions_total", {}, counters.preemptions
    yield "vllm:prompt_tokens_total", {}, counters.prompt_tokens
    yield "vllm:generation_tokens_total", {}, counters.generation_tokens
    yield "vllm:prefix_cache_queries_total", {}, counters.prefix_queries
    yield "vllm:prefix_cache_hits_total", {}, counters.prefix_hits
    for reason, count in counters.finished.items():
        yield "vllm:request_success_total", {"finished_reason": reason}, count
    for status, count in statuses(counters.finished):
        yield "http_requests_total", _http(status), count
    for name, histogram in (
        ("vllm:time_to_first_token_seconds", counters.ttft),
        ("vllm:inter_token_latency_seconds", counters.itl),
        ("vllm:e2e_request_latency_seconds", counters.e2e),
        ("vllm:request_queue_time_seconds", counters.queue),
        ("vllm:request_prompt_tokens", counters.prompt),
    ):
        yield from buckets(name, histogram)


def statuses(finished: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """What the HTTP server of the engine counts: errors are 5xx, what a client left is not."""
    return (("2xx", finished["stop"] + finished["length"]), ("5xx", finished["error"]))


def _http(status: str) -> dict[str, str]:
    return {"handler": "/v1/chat/completions", "method": "POST", "status": status}


def buckets(name: str, histogram: Histogram) -> Iterator[Sample]:
    total = 0.0
    for bound, count in zip((*histogram.bounds, np.inf), histogram.counts, strict=True):
        total += count
        yield f"{name}_bucket", {"le": bound_text(bound)}, total
    yield f"{name}_sum", {}, histogram.total
    yield f"{name}_count", {}, total


def bound_text(bound: float) -> str:
    return "+Inf" if np.isinf(bound) else repr(float(bound))


# --------------------------------------------------------------------------- GPU


PICKER_BASE = {
    "job": "endpoint-picker",
    "instance": "10.1.0.3:9090",
    "namespace": "gateway-system",
}
GATEWAY_S, GATEWAY_SIGMA = 1.5, 0.5
"""What a request takes in all, and how far that spreads, while everything is well."""

NVLINKS = 2
"""Shown of the eighteen: a signal counts those that are down."""


def gpu_base(node: str) -> dict[str, str]:
    return {
        "instance": f"{node}:9400",
        "job": "dcgm-exporter",
        "namespace": "gpu-operator",
        "pod": f"dcgm-exporter-{node}",
        "container": "exporter",
        "node": node,
        "Hostname": node,
    }


def gpus(devices: list[Gpu]) -> Iterator[Sample]:
    """A device that is gone has no values; what was logged of it is still counted."""
    for device in devices:
        labels = gpu_labels(device) if device.present else {"UUID": device.uuid}
        for xid, count in device.xids.items():
            yield "healer_gpu_xid_errors_total", {**labels, "xid": str(xid)}, float(count)
        if not device.present:
            continue
        for name, value in gpu_values(device):
            yield name, labels, value
        for kind, share in (("crc", 1.0), ("replay", 0.25)):
            errors = float(round(device.nvlink_errors * share))
            yield "healer_gpu_nvlink_errors_total", {**labels, "link": "0", "kind": kind}, errors
        for number in range(NVLINKS):
            up = float(number >= device.nvlinks_down)
            yield "healer_gpu_nvlink_active", {**labels, "link": str(number)}, up
        for reason, ns in (("hw_thermal", device.thermal_ns), ("hw_power_brake", device.brake_ns)):
            yield "healer_gpu_throttle_nanoseconds_total", {**labels, "reason": reason}, ns


def gpu_labels(device: Gpu) -> dict[str, str]:
    labels = {
        "gpu": str(device.index),
        "UUID": device.uuid,
        "pci_bus_id": device.pci_bus_id,
        "device": f"nvidia{device.index}",
        "modelName": device.spec.product,
        "DCGM_FI_DRIVER_VERSION": "570.86.15",
    }
    if device.holder:
        namespace, pod, container = device.holder
        labels |= {
            "exported_namespace": namespace,
            "exported_pod": pod,
            "exported_container": container,
        }
    return labels


def gpu_values(device: Gpu) -> tuple[tuple[str, float], ...]:
    spec = device.spec
    return (
        ("DCGM_FI_DEV_GPU_UTIL", round(device.util)),
        ("DCGM_FI_DEV_POWER_USAGE", round(device.power_w, 3)),
        ("DCGM_FI_DEV_GPU_TEMP", round(device.temp_c)),
        ("DCGM_FI_DEV_MEMORY_TEMP", round(device.temp_c + 6)),
        ("DCGM_FI_DEV_SM_CLOCK", round(spec.sm_clock_mhz * device.clock_share / 15) * 15),
        ("DCGM_FI_DEV_FB_USED", round(device.used_mib)),
        ("DCGM_FI_DEV_FB_FREE", round(spec.memory_mib - device.used_mib)),
        ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", round(device.tensor, 5)),
        ("DCGM_FI_PROF_DRAM_ACTIVE", round(device.dram, 5)),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", round(device.energy_mj)),
        ("DCGM_FI_DEV_XID_ERRORS", float(device.last_xid)),
        ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", device.replays),
        ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", float(device.dbe)),
        ("DCGM_FI_DEV_ROW_REMAP_PENDING", float(device.remap_pending)),
        ("DCGM_FI_DEV_ROW_REMAP_FAILURE", float(device.remap_failure)),
    )


def no_gpus(expected: int) -> Iterator[Sample]:
    """An exporter that is mistaken about its node."""
    yield "healer_gpu_present", {}, 0.0
    yield "healer_gpu_expected", {}, float(expected)


def gpu_counts(world: World, node: str) -> Iterator[Sample]:
    present = [g.present for g in world.gpus if g.node == node]
    yield "healer_gpu_present", {}, float(sum(present))
    yield "healer_gpu_expected", {}, float(len(present))


# --------------------------------------------------------------------------- host


def node_base(index: int) -> dict[str, str]:
    return {"instance": f"{node_ip(index)}:9100", "job": "node-exporter", "node": node_name(index)}


def host(cpu_busy_s: float, cpus: int, busy: float, uptime_s: float) -> Iterator[Sample]:
    """cpu_busy_s: seconds of one CPU spent busy, all CPUs together, since boot."""
    per_cpu = cpu_busy_s / cpus
    for cpu in range(min(cpus, 4)):
        labels = {"cpu": str(cpu)}
        yield "node_cpu_seconds_total", {**labels, "mode": "user"}, per_cpu
        yield "node_cpu_seconds_total", {**labels, "mode": "idle"}, uptime_s - per_cpu
    yield "node_load1", {}, busy * cpus
    yield "node_load5", {}, busy * cpus
    memory = 1024.0 * 2**30
    yield "node_memory_MemTotal_bytes", {}, memory
    yield "node_memory_MemAvailable_bytes", {}, memory * (0.75 - 0.2 * busy)
    disk = {"device": "/dev/nvme0n1p1", "fstype": "ext4", "mountpoint": "/"}
    yield "node_filesystem_size_bytes", disk, 2.0 * 2**40
    yield "node_filesystem_avail_bytes", disk, 1.1 * 2**40
    yield "node_filesystem_readonly", disk, 0.0
    yield "node_disk_io_time_seconds_total", {"device": "nvme0n1"}, 0.03 * uptime_s


# --------------------------------------------------------------------------- kube-state-metrics


KSM_BASE = {"instance": "10.1.0.1:8080", "job": "kube-state-metrics"}


def cluster(objects: Mapping[str, list[Any]]) -> Iterator[Sample]:
    for pod in objects["pods"]:
        yield from _pod(pod)
    for node in objects["nodes"]:
        yield from _node(node)
    for item in objects["apps/deployments"]:
        yield from _deployment(item)


def _pod(pod: Any) -> Iterator[Sample]:
    meta, status = pod["metadata"], pod.get("status", {})
    me = {"namespace": meta["namespace"], "pod": meta["name"], "uid": meta["uid"]}
    node = pod.get("spec", {}).get("nodeName", "")
    yield "kube_pod_info", {**me, "node": node, "pod_ip": status.get("podIP", "")}, 1.0
    for phase in ("Pending", "Running", "Succeeded", "Failed", "Unknown"):
        now = status.get("phase", "Pending") == phase
        yield "kube_pod_status_phase", {**me, "phase": phase}, float(now)
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    for value in ("true", "false", "unknown"):
        ready = conditions.get("Ready", "False").lower() == value
        yield "kube_pod_status_ready", {**me, "condition": value}, float(ready)
    if conditions.get("PodScheduled") == "False":
        yield "kube_pod_status_unschedulable", me, 1.0
    for each in status.get("containerStatuses", []):
        mine = {**me, "container": each["name"]}
        restarts = float(each.get("restartCount", 0))
        yield "kube_pod_container_status_restarts_total", mine, restarts
        waiting = each.get("state", {}).get("waiting", {}).get("reason")
        if waiting:
            yield "kube_pod_container_status_waiting_reason", {**mine, "reason": waiting}, 1.0
        last = each.get("lastState", {}).get("terminated", {}).get("reason")
        if last:
            reason = {**mine, "reason": last}
            yield "kube_pod_container_status_last_terminated_reason", reason, 1.0


def _node(node: Any) -> Iterator[Sample]:
    me = {"node": node["metadata"]["name"]}
    status = node["status"]
    for condition in status.get("conditions", []):
        for value in ("true", "false", "unknown"):
            labels = {**me, "condition": condition["type"], "status": value}
            hit = condition["status"].lower() == value
            yield "kube_node_status_condition", labels, float(hit)
    cordoned = bool(node.get("spec", {}).get("unschedulable"))
    yield "kube_node_spec_unschedulable", me, float(cordoned)
    gpu = {**me, "resource": GPU.replace(".", "_").replace("/", "_"), "unit": "integer"}
    yield "kube_node_status_capacity", gpu, float(status["capacity"][GPU])
    yield "kube_node_status_allocatable", gpu, float(status["allocatable"][GPU])


def _deployment(item: Any) -> Iterator[Sample]:
    meta, spec, status = item["metadata"], item["spec"], item.get("status", {})
    me = {"namespace": meta["namespace"], "deployment": meta["name"]}
    yield "kube_deployment_spec_replicas", me, float(spec["replicas"])
    for name, key in (
        ("kube_deployment_status_replicas", "replicas"),
        ("kube_deployment_status_replicas_available", "availableReplicas"),
        ("kube_deployment_status_replicas_updated", "updatedReplicas"),
        ("kube_deployment_status_replicas_unavailable", "unavailableReplicas"),
        ("kube_deployment_status_observed_generation", "observedGeneration"),
    ):
        yield name, me, float(status.get(key, 0))
    yield "kube_deployment_metadata_generation", me, float(meta.get("generation", 1))
    yield "kube_deployment_spec_paused", me, float(bool(spec.get("paused")))
    for condition in status.get("conditions", []):
        for value in ("true", "false", "unknown"):
            labels = {**me, "condition": condition["type"], "status": value}
            hit = condition["status"].lower() == value
            yield "kube_deployment_status_condition", labels, float(hit)
