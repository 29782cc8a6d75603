"""Every signal's query, run by a real Prometheus that scraped its source's page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from signals import made_pages
from signals.conftest import Asked

from healer.adapters.signal_catalogue import load_signals
from healer.model.signal import Signal
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.stages.locate import Places
from healer.stages.observe import plan_queries, to_frame

pytestmark = pytest.mark.server

SIGNALS = load_signals()
ON_PAGES = tuple(each for each in SIGNALS if each.name != "exporter_up")
"""Prometheus writes `up` itself, when it scrapes."""
NODE = Target(Kind.NODE, "gpu-node-1")
HPA_OWNER = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving")
TOPOLOGY = Topology(
    {
        NODE: Entity(NODE),
        HPA_OWNER: Entity(HPA_OWNER, facts={"hpa": {"name": "llama-8b"}}),
        **{
            pod: Entity(pod, facts={"node": NODE.name, "ip": "10.0.0.1"})
            for pod in (
                Target(Kind.POD, name, "monitoring") for name in ("dcgm-exporter-x", "ne-x")
            )
        },
    }
)
"""A host's exporter says nothing of its node; the API server knows where its pod runs."""

EXPECTED: dict[str, Target] = {
    "gpu": Target(Kind.GPU, "GPU-aaaa"),
    "node": NODE,
    "workload": HPA_OWNER,
}

VALUES: dict[tuple[str, str], float] = {
    ("vllm", "requests_running"): 7,
    ("vllm", "completion_rate"): 10,
    ("vllm", "arrival_rate"): 10,
    ("vllm", "error_ratio"): 0.1,
    ("vllm", "http_error_ratio"): 0.1,
    ("vllm", "generation_tokens"): 900,
    ("vllm", "prompt_length_mean"): 400,
    ("vllm", "prefix_hit_ratio"): 0.3,
    ("vllm", "kv_usage"): 0.6,
    ("sglang", "requests_running"): 7,
    ("sglang", "error_ratio"): 0.1,
    ("sglang", "prefix_hit_ratio"): 0.3,
    ("trtllm", "error_ratio"): 0.1,
    ("tgi", "error_ratio"): 0.1,
    ("tgi", "generation_tokens"): 900,
    ("triton", "error_ratio"): 0.1,
    ("triton", "kv_usage"): 0.6,
    ("triton", "queue_time_p95"): 0.2,
    ("triton", "e2e_mean"): 6.4,
    ("triton", "queue_time_mean"): 0.2,
    ("vllm", "aborts"): 1,
    ("vllm", "rejections"): 1,
    ("sglang", "aborts"): 1,
    ("dynamo", "rejections"): 1,
    ("dynamo", "error_ratio"): 0.1,
    ("ray_serve", "serve_error_ratio"): 0.1,
    ("gateway", "gateway_error_ratio"): 0.1,
    ("ai_gateway", "gateway_error_ratio"): 0.1,
    ("ai_gateway", "gateway_request_rate"): 10,
    ("gateway", "service_error_ratio"): 0.1,
    ("dcgm", "gpu_util"): 97,
    ("dcgm", "gpu_power"): 610.5,
    ("dcgm", "gpu_recovery_action"): 1,
    ("dcgm", "gpu_temp_margin"): 24,
    ("dcgm", "gpu_health"): 20,
    ("dcgm", "gpu_throttle_thermal"): 0.5,
    ("dcgm", "gpu_throttle_power_brake"): 0.1,
    ("dcgm", "gpu_row_remap_pending"): 1,
    ("dcgm", "gpu_nvlink_errors"): 4,
    ("healer_exporter", "gpu_throttle_thermal"): 0.2,
    ("healer_exporter", "gpu_nvlinks_down"): 1,
    ("healer_exporter", "gpu_pcie_width_ratio"): 0.5,
    ("healer_exporter", "node_gpus_absent"): 1,
    ("healer_exporter", "gpu_temp_margin"): 24,
    ("healer_exporter", "gpu_health"): 20,
    ("healer_exporter", "gpu_sram_worn"): 1,
    ("healer_exporter", "gpu_pcie_errors"): 2,
    ("healer_exporter", "gpu_fabric_state"): 2,
    ("healer_exporter", "node_driver_fault"): 1,
    ("healer_exporter", "node_cpu_busy"): 0.75,
    ("healer_exporter", "node_memory_available"): 0.25,
    ("healer_exporter", "node_disk_free"): 0.1,
    ("healer_exporter", "node_load"): 1.5,
    ("healer_exporter", "node_disk_io"): 0.5,
    ("healer_exporter", "node_cpu_pressure"): 0.1,
    ("kube_state_metrics", "pod_oom_killed"): 1,
    ("kube_state_metrics", "workload_unavailable"): 1,
    ("kube_state_metrics", "workload_hpa_maxed"): 1,
    ("kube_state_metrics", "node_gpus_missing"): 1,
    ("kubelet", "pod_cpu_throttled"): 0.6,
    ("kubelet", "pod_memory_used"): 0.9,
    ("kubelet", "volume_free"): 0.2,
    ("node_exporter", "node_cpu_busy"): 0.75,
    ("node_exporter", "node_memory_available"): 0.25,
    ("node_exporter", "node_disk_free"): 0.1,
    ("node_exporter", "node_load"): 1.5,
    ("node_exporter", "node_disk_io"): 0.5,
}
"""What follows from the made pages; their steps are rates a second."""

QUANTILES = {
    "gateway_ttft_p95": 0.4,
    "ttft_p95": 0.4,
    "itl_p95": 0.03,
    "e2e_p95": 6.4,
    "queue_time_p95": 0.2,
}


def _id(signal: Signal) -> str:
    return f"{signal.source}.{signal.name}"


def _expected_target(signal: Signal, pod: str) -> Target:
    if signal.scope is Kind.POD:
        if signal.source in ("kubelet", "kube_state_metrics"):
            pod = "vllm-0"
        return Target(Kind.POD, pod, "serving")
    if signal.scope is Kind.SERVICE:
        mesh = signal.name.startswith("service_")
        return Target(Kind.SERVICE, *(("llama", "serving") if mesh else ("pool", "gateway")))
    if signal.scope is Kind.MODEL:
        models = {"gateway": "llama", "agentgateway": "mistral-7b"}
        return Target(Kind.MODEL, models.get(pod, "llama-8b"))
    return EXPECTED[signal.scope]


def _row(signal: Signal, asked: Asked, pod: str) -> float:
    matrix = asked.instant(signal.query)
    frame = to_frame(signal, matrix, Places.of(TOPOLOGY))
    row = frame.row(_expected_target(signal, pod))
    assert row is not None, f"{_expected_target(signal, pod)} is not among {frame.targets}"
    return float(row[-1])


@pytest.mark.parametrize("signal", SIGNALS, ids=_id)
def test_a_signal_has_data_on_its_sources_page(signal: Signal, scraped: Asked) -> None:
    assert np.isfinite(_row(signal, scraped, signal.source))


@pytest.mark.parametrize("signal", ON_PAGES, ids=_id)
def test_a_signal_says_what_its_page_holds(signal: Signal, backfilled: Asked) -> None:
    value = _row(signal, backfilled, signal.source)
    expected = VALUES.get((signal.source, signal.name))
    if expected is not None:
        assert value == pytest.approx(expected, rel=0.02)
    if signal.name in QUANTILES:
        # The bucket that holds every observation is 0.8 to 1.6 times as wide.
        assert 0.75 <= value / QUANTILES[signal.name] <= 1.6


@pytest.mark.parametrize("variant", made_pages.VARIANTS)
def test_another_spelling_of_a_page_feeds_the_same_signals(variant: str, backfilled: Asked) -> None:
    source, _ = made_pages.VARIANTS[variant]
    newer = {"rejections"} if variant == "vllm-v0" else set()
    for signal in (s for s in SIGNALS if s.source == source and s.name not in newer):
        value = _row(signal, backfilled, variant)
        assert value == pytest.approx(_row(signal, backfilled, source)), signal.name


def test_every_name_of_a_query_finds_its_signal(scraped: Asked) -> None:
    """What is skipped for want of its metric names would have had no data."""
    planned = plan_queries(SIGNALS, scraped.names())
    assert set(map(_id, planned)) == set(map(_id, SIGNALS))
    assert plan_queries(SIGNALS, frozenset()) == ()


def test_names_whose_colon_the_clients_escaping_took_are_read(scraped: Asked) -> None:
    """Asked for OpenMetrics without saying how to escape, the client writes underscores."""
    query = '{pod="python-client",__name__=~"vllm.*"}'
    names = {labels["__name__"] for labels in scraped.instant(query).labels}
    assert "vllm_num_requests_waiting" in names or "vllm:num_requests_waiting" in names
    for name in ("requests_waiting", "generation_tokens", "ttft_p95"):
        (signal,) = (s for s in SIGNALS if (s.source, s.name) == ("vllm", name))
        assert np.isfinite(_row(signal, scraped, "python-client")), names


def test_throttle_bits_and_blank_values_are_read_as_meant(backfilled: Asked) -> None:
    gpu = Target(Kind.GPU, "GPU-bits")
    found: dict[str, Any] = {
        each.name: to_frame(each, backfilled.instant(each.query), Places.of(TOPOLOGY)).row(gpu)
        for each in SIGNALS
        if each.source == "dcgm"
    }
    assert found["gpu_throttle_thermal"][-1] == 1
    assert found["gpu_throttle_power_brake"][-1] == 1
    assert found["gpu_temp"][-1] == 70
    assert found["gpu_mem_temp"] is None


def test_a_pod_that_has_ended_is_not_expected_to_be_ready(backfilled: Asked) -> None:
    (ready,) = (each for each in SIGNALS if each.name == "pod_ready")
    frame = to_frame(ready, backfilled.instant(ready.query), Places.of(TOPOLOGY))
    assert frame.row(Target(Kind.POD, "vllm-0", "serving")) is not None
    assert frame.row(Target(Kind.POD, "job-done", "serving")) is None


def test_the_holder_of_a_gpu_is_the_pod_and_not_its_exporter(backfilled: Asked) -> None:
    (held,) = (each for each in SIGNALS if each.name == "gpu_held")
    frame = to_frame(held, backfilled.instant(held.query), Places.of(TOPOLOGY))
    labels = frame.labels[frame.targets.index(Target(Kind.GPU, "GPU-aaaa"))]
    assert (labels["exported_pod"], labels["pod"]) == ("vllm-0", "dcgm-exporter-x")


SLO = ("slo_errors", "slo_ttft", "gateway_slo_errors", "service_slo_errors")


@pytest.mark.parametrize("signal", [s for s in SIGNALS if s.name in SLO], ids=_id)
def test_error_budgets_are_counted_in_every_window(signal: Signal, backfilled: Asked) -> None:
    """Twelve minutes of history: the short windows hold their length of it, the long ones all."""
    frame = to_frame(signal, backfilled.instant(signal.query), Places.of(TOPOLOGY))
    target = _expected_target(signal, signal.source)
    counted = {
        (labels["window"], labels["part"]): float(row[-1])
        for (found, row), labels in zip(frame.rows(), frame.labels, strict=True)
        if found == target
    }
    for window, seconds in (("5m", 300), ("30m", 720), ("1h", 720), ("6h", 720)):
        total = counted[window, "total"]
        assert total == pytest.approx(10 * seconds, rel=0.12), window
        if signal.name != "slo_ttft":
            assert counted[window, "bad"] / total == pytest.approx(0.1, rel=0.02)
        elif signal.source in ("vllm", "ray_serve"):
            assert counted[window, "good"] == pytest.approx(total)


LENGTHS = [s for s in SIGNALS if s.name.endswith(("prompt_lengths", "output_lengths"))]


@pytest.mark.parametrize("signal", LENGTHS, ids=_id)
def test_lengths_come_as_cumulative_buckets(signal: Signal, backfilled: Asked) -> None:
    frame = to_frame(signal, backfilled.instant(signal.query), Places.of(TOPOLOGY))
    model = _expected_target(signal, signal.source)
    buckets = sorted(
        (float(labels["le"]), float(row[-1]))
        for (target, row), labels in zip(frame.rows(), frame.labels, strict=True)
        if target == model
    )
    counts = [count for _, count in buckets]
    assert buckets[-1][0] == float("inf")
    assert counts == sorted(counts)
    replicas = {"vllm": 3, "sglang": 2}.get(signal.source, 1)
    assert counts[-1] == pytest.approx(6000 * replicas, rel=0.05)
