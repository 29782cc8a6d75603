"""Signals on pages recorded from real engines and exporters, older names included."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from signals.conftest import Asked

from healer.adapters.signal_catalogue import load_signals
from healer.model.signal import Signal
from healer.model.topology import Topology
from healer.stages.locate import Places
from healer.stages.observe import to_frame

pytestmark = pytest.mark.server

SIGNALS = {(each.source, each.name): each for each in load_signals()}

_VLLM = (
    "arrival_rate completion_rate e2e_p95 error_ratio generation_tokens itl_p95 kv_usage "
    "output_lengths preemptions prompt_lengths slo_errors slo_ttft"
)
_SGLANG = (
    "arrival_rate completion_rate e2e_p95 generation_tokens itl_p95 kv_usage prefix_hit_ratio "
    "prompt_length_mean prompt_tokens requests_running requests_waiting slo_ttft ttft_p95"
)
_TRITON = "arrival_rate completion_rate kv_usage requests_running requests_waiting slo_errors"
"""Nobody asked these anything, so there are no ratios and no means."""
_EPP = (
    "gateway_e2e_p95 gateway_error_ratio gateway_output_lengths gateway_prompt_lengths "
    "gateway_request_rate gateway_running gateway_slo_errors gateway_tpot_p95"
)
_DCGM = (
    "gpu_dram_active gpu_held gpu_mem_temp gpu_mem_used gpu_pcie_replays gpu_power gpu_sm_clock "
    "gpu_temp gpu_tensor_active gpu_util gpu_xid_last node_gpus_present"
)

FED: tuple[tuple[str, str, str], ...] = (
    (
        "vllm/0.5-kubeai",
        "vllm",
        f"{_VLLM} prompt_length_mean prompt_tokens requests_running requests_waiting ttft_p95",
    ),
    ("sglang/0.4-2024-12", "sglang", _SGLANG),
    ("sglang/0.4-2025-03-loaded", "sglang", _SGLANG),
    ("triton/trtllm-backend-23.11", "triton", _TRITON),
    ("triton/trtllm-backend-2026", "triton", _TRITON),
    ("triton/server-docs-queue-summary", "triton", "queue_time_p95"),
    (
        "dynamo/runtime-system-metrics",
        "dynamo",
        "component_e2e_p95 component_requests_running",
    ),
    (
        "dynamo/trtllm-doc-example",
        "trtllm",
        "completion_rate error_ratio slo_errors slo_ttft",
    ),
    (
        "dynamo/vllm-doc-example",
        "vllm",
        "arrival_rate completion_rate error_ratio slo_errors slo_ttft",
    ),
    ("dynamo/sglang-doc-example", "sglang", "generation_tokens prefix_hit_ratio prompt_tokens"),
    ("epp/llm-d-router-llm_d_epp", "gateway", f"{_EPP} pool_kv_usage pool_queue_size"),
    (
        "epp/llm-d-router-inference_extension",
        "gateway",
        f"{_EPP} gateway_ttft_p95 pool_kv_usage pool_queue_size",
    ),
    ("dcgm-exporter/mig-a100-4-active", "dcgm", _DCGM),
    (
        "dcgm-exporter/a100-mig-off-idle-1",
        "dcgm",
        f"{_DCGM} gpu_ecc_corrected gpu_ecc_uncorrected gpu_row_remap_failure",
    ),
    (
        "dcgm-exporter/readme-blank-values-pod-labels",
        "dcgm",
        "gpu_sm_clock node_gpus_present",
    ),
    (
        "kube-state-metrics/k8s-1.35",
        "kube_state_metrics",
        "node_cordoned node_pressure node_ready pod_evicted pod_ready pod_restarts "
        "pod_unschedulable workload_rollout_stuck workload_unavailable",
    ),
    (
        "cadvisor/kubelet-1.35",
        "kubelet",
        "pod_cpu_pressure pod_cpu_throttled pod_memory_pressure pod_memory_used pod_oom_events",
    ),
    (
        "node-exporter/e2e-output",
        "node_exporter",
        # Its fixture has no file systems, and a kernel that does not say MemAvailable.
        "node_cpu_busy node_cpu_pressure node_disk_io node_io_pressure node_load "
        "node_memory_available node_memory_pressure node_page_faults",
    ),
)
"""Page, the file of signals that reads it, and the signals that must have data there."""


@pytest.mark.parametrize(("page", "source", "names"), FED, ids=[page for page, _, _ in FED])
def test_a_recorded_page_feeds_its_signals(
    page: str, source: str, names: str, recorded_pages: Mapping[str, Asked]
) -> None:
    asked = recorded_pages[page]
    fed = {
        name
        for (of, name), signal in SIGNALS.items()
        if of == source and name != "exporter_up" and _has_data(asked, signal)
    }
    assert fed == set(names.split())


def _has_data(asked: Asked, signal: Signal) -> bool:
    frame = to_frame(signal, asked.instant(signal.query), Places.of(Topology(), alone=True))
    return bool(np.isfinite(frame.values).any())
