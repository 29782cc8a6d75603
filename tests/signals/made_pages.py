"""One page a source with every family its signals read, in the engine's own spelling."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from signals.signal_pages import histogram, line

Samples = Callable[[int], Iterator[str]]

MODEL = {"model_name": "llama-8b"}
TTFT_BOUNDS = (0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0)
"""Some of those that vLLM has."""
GPU = {"gpu": "0", "UUID": "GPU-aaaa", "modelName": "NVIDIA H100", "Hostname": "gpu-node-1"}
HELD = {"namespace": "serving", "pod": "vllm-0", "container": "vllm"}


def vllm(prefix: str = "vllm:", *, old: bool = False) -> Samples:
    """V1 names, or with `old` those of V0."""
    kv = "gpu_cache_usage_perc" if old else "kv_cache_usage_perc"
    itl = "time_per_output_token_seconds" if old else "inter_token_latency_seconds"
    cache = "gpu_prefix_cache" if old else "prefix_cache"

    def samples(n: int) -> Iterator[str]:
        yield line(f"{prefix}num_requests_running", 7, **MODEL, engine="0")
        yield line(f"{prefix}num_requests_waiting", 3, **MODEL, engine="0")
        yield line(f"{prefix}{kv}", 0.6, **MODEL, engine="0")
        for reason, share in (("stop", 7), ("length", 1), ("abort", 1), ("error", 1)):
            name = f"{prefix}request_success_total"
            yield line(name, share * n, **MODEL, engine="0", finished_reason=reason)
        for name, step in (
            ("generation_tokens", 900),
            ("prompt_tokens", 4000),
            ("num_preemptions", 2),
            (f"{cache}_hits", 30),
            (f"{cache}_queries", 100),
        ):
            yield line(f"{prefix}{name}_total", step * n, **MODEL, engine="0")
        name = f"{prefix}time_to_first_token_seconds"
        yield from histogram(name, n, 10, 0.4, bounds=TTFT_BOUNDS, **MODEL, engine="0")
        for name, at in (
            (itl, 0.03),
            ("e2e_request_latency_seconds", 6.4),
            ("request_queue_time_seconds", 0.2),
            ("request_prompt_tokens", 400),
            ("request_generation_tokens", 90),
        ):
            yield from histogram(f"{prefix}{name}", n, 10, at, **MODEL, engine="0")
        if not old:
            yield line(f"{prefix}admission_rejections_total", n, **MODEL, reason="queue_full")
        for status, step in (("2xx", 9), ("5xx", 1)):
            labels = {"handler": "/v1/completions", "method": "POST", "status": status}
            yield line("http_requests_total", step * n, **labels)

    return samples


def sglang(prefix: str = "sglang:") -> Samples:
    def samples(n: int) -> Iterator[str]:
        for rank in ("0", "1"):
            ranks = {**MODEL, "engine_type": "unified", "tp_rank": rank, "pp_rank": "0"}
            yield line(f"{prefix}num_running_reqs", 7, **ranks)
            yield line(f"{prefix}num_queue_reqs", 3, **ranks)
            yield line(f"{prefix}token_usage", 0.6, **ranks)
            yield line(f"{prefix}cache_hit_rate", 0.3, **ranks)
        for name, step in (
            ("num_requests", 10),
            ("generation_tokens", 900),
            ("prompt_tokens", 4000),
            ("num_retracted_requests", 2),
            ("num_aborted_requests", 1),
        ):
            yield line(f"{prefix}{name}_total", step * n, **MODEL)
        for status, step in (("200", 9), ("503", 1)):
            yield line(f"{prefix}http_responses_total", step * n, status_code=status)
        for name, at in (
            ("time_to_first_token_seconds", 0.4),
            ("inter_token_latency_seconds", 0.03),
            ("e2e_request_latency_seconds", 6.4),
            ("queue_time_seconds", 0.2),
            ("prompt_tokens_histogram", 400),
            ("generation_tokens_histogram", 90),
        ):
            yield from histogram(f"{prefix}{name}", n, 10, at, **MODEL)

    return samples


def trtllm(n: int) -> Iterator[str]:
    for name, value in (
        ("num_requests_running", 7),
        ("num_requests_waiting", 3),
        ("num_paused_requests", 1),
        ("kv_cache_utilization", 0.6),
        ("kv_cache_hit_rate", 0.3),
        ("generation_tokens_total", 900 * n),
        ("prompt_tokens_total", 4000 * n),
    ):
        yield line(f"trtllm_{name}", value, **MODEL, engine_type="trtllm")
    yield line("trtllm_request_success_total", 10 * n, **MODEL, finished_reason="stop")
    yield line("trtllm_request_error_total", n, **MODEL, http_code="500")
    for name, at in (
        ("time_to_first_token_seconds", 0.4),
        ("time_per_output_token_seconds", 0.03),
        ("e2e_request_latency_seconds", 6.4),
        ("request_queue_time_seconds", 0.2),
    ):
        yield from histogram(f"trtllm_{name}", n, 10, at, **MODEL)


def tgi(n: int) -> Iterator[str]:
    yield line("tgi_batch_current_size", 7)
    yield line("tgi_queue_size", 3)
    yield line("tgi_request_count", 10 * n)
    yield line("tgi_request_success", 9 * n)
    yield line("tgi_request_failure", n, err="overloaded")
    yield line("tgi_request_failure", n, err="validation")
    for name, at in (
        ("request_duration", 6.4),
        ("request_queue_duration", 0.2),
        ("request_mean_time_per_token_duration", 0.03),
        ("request_generated_tokens", 90.0),
        ("request_input_length", 400.0),
    ):
        yield from histogram(f"tgi_{name}", n, 10, at)


def triton(n: int) -> Iterator[str]:
    model = {"model": "tensorrt_llm", "version": "1"}
    for kind, value in (("active", 7), ("waiting", 3), ("max", 512)):
        yield line("nv_trt_llm_request_metrics", value, **model, request_type=kind)
    for kind, value in (("used", 60.0), ("max", 100.0), ("fraction", 0.6)):
        name = "nv_trt_llm_kv_cache_block_metrics"
        yield line(name, value, **model, kv_cache_block_type=kind)
    yield line("nv_inference_request_success", 9 * n, **model)
    for reason in ("BACKEND", "CANCELED"):
        yield line("nv_inference_request_failure", n, **model, reason=reason)
    yield line("nv_inference_pending_request_count", 3, **model)
    for name, value in (("request", 6.4e6), ("queue", 2e5)):
        yield line(f"nv_inference_{name}_summary_us", value, **model, quantile="0.95")
        yield line(f"nv_inference_{name}_duration_us", value * 9 * n, **model)
    yield from histogram("nv_inference_first_response_histogram_ms", n, 10, 400, **model)


def dynamo(n: int) -> Iterator[str]:
    model = {"model": "llama-8b"}
    front = "dynamo_frontend_"
    yield line(f"{front}active_requests", 7, **model)
    yield line(f"{front}queued_requests", 3, **model)
    yield line(f"{front}requests_total", 9 * n, **model, status="success")
    yield line(f"{front}requests_total", n, **model, status="error")
    yield line(f"{front}output_tokens_total", 900 * n, **model)
    yield line(f"{front}model_rejection_total", n, **model)
    for name, at in (
        ("time_to_first_token_seconds", 0.4),
        ("inter_token_latency_seconds", 0.03),
        ("request_duration_seconds", 6.4),
        ("input_sequence_tokens", 400),
        ("output_sequence_tokens", 90),
    ):
        yield from histogram(f"{front}{name}", n, 10, at, **model)
    part = {"dynamo_component": "backend", "dynamo_endpoint": "generate"}
    yield line("dynamo_component_gpu_cache_usage_percent", 0.6, **part)
    yield line("dynamo_component_kv_hit_rate", 0.3, **part)
    yield line("dynamo_component_inflight_requests", 7, **part)
    yield from histogram("dynamo_component_request_duration_seconds", n, 10, 6.4, **part)


def ray_serve(n: int) -> Iterator[str]:
    yield from (each for each in vllm("ray_vllm_")(n) if not each.startswith("http_requests_total"))
    serve = {"deployment": "LLMServer", "application": "llm"}
    yield line("ray_serve_deployment_queued_queries", 3, **serve)
    yield line("ray_serve_num_ongoing_requests_at_replicas", 7, **serve)
    yield line("ray_serve_deployment_request_counter_total", 10 * n, **serve)
    yield line("ray_serve_deployment_error_counter_total", n, **serve, exception_type="ValueError")
    yield line("ray_serve_deployment_replica_healthy", 1, **serve, replica="r1")
    name = "ray_serve_deployment_processing_latency_ms"
    yield from histogram(name, n, 10, 6400, **serve)


def llamacpp(n: int) -> Iterator[str]:
    for name, value in (
        ("requests_processing", 7),
        ("requests_deferred", 3),
        ("tokens_predicted_total", 900 * n),
        ("prompt_tokens_total", 4000 * n),
        ("kv_cache_usage_ratio", 0.6),
    ):
        yield line(f"llamacpp:{name}", value)


def gateway(n: int) -> Iterator[str]:
    model = {"model_name": "llama", "target_model_name": "llama-8b"}
    front = "llm_d_router_epp_"
    yield line(f"{front}request_total", 10 * n, **model)
    yield line(f"{front}request_error_total", n, **model, error_code="Internal")
    yield line(f"{front}request_running", 7, **model)
    for name, at in (
        ("request_ttft_seconds", 0.4),
        ("request_ntpot_seconds", 0.03),
        ("request_duration_seconds", 6.4),
        ("request_input_tokens", 400),
        ("request_output_tokens", 90),
    ):
        yield from histogram(front + name, n, 10, at, **model)
    yield line("inference_pool_average_queue_size", 3, name="pool")
    yield line("inference_pool_average_kv_cache_utilization", 0.6, name="pool")
    yield line("inference_pool_ready_pods", 2, name="pool")
    mesh = {
        "reporter": "destination",
        "destination_service_name": "llama",
        "destination_service_namespace": "serving",
    }
    yield line("istio_requests_total", 9 * n, **mesh, response_code="200")
    yield line("istio_requests_total", n, **mesh, response_code="503")
    yield from histogram("istio_request_duration_milliseconds", n, 10, 6400, **mesh)


def ai_gateway(n: int, model_name: str = "llama-8b") -> Iterator[str]:
    model = {"gen_ai_request_model": model_name, "gen_ai_operation_name": "chat"}
    for name, at in (
        ("request_duration_seconds", 6.4),
        ("time_to_first_token_seconds", 0.4),
        ("time_per_output_token_seconds", 0.03),
    ):
        yield from histogram(f"gen_ai_server_{name}", n, 9, at, **model)
        yield from histogram(f"gen_ai_server_{name}", n, 1, at, **model, error_type="500")
    for kind, at in (("input", 400), ("output", 90)):
        name = "gen_ai_client_token_usage_token"
        yield from histogram(name, n, 10, at, **model, gen_ai_token_type=kind)


def agentgateway(n: int) -> Iterator[str]:
    """The same with a prefix, and without the unit."""
    for each in ai_gateway(n, "mistral-7b"):
        name, brace, rest = each.partition("{")
        name = name.replace("_seconds", "").replace("usage_token", "usage")
        yield f"agentgateway_{name}{brace}{rest}"


def dcgm(n: int) -> Iterator[str]:
    labels = {**GPU, **HELD}
    for name, value in (
        ("DEV_GPU_UTIL", 97),
        ("DEV_POWER_USAGE", 610.5),
        ("DEV_GPU_TEMP", 63),
        ("DEV_MEMORY_TEMP", 80),
        ("DEV_SM_CLOCK", 1755),
        ("DEV_FB_USED", 70000),
        ("PROF_PIPE_TENSOR_ACTIVE", 0.4),
        ("PROF_DRAM_ACTIVE", 0.6),
        ("DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN_NS", 3e8 * n),
        ("DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN_NS", 2e8 * n),
        ("DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS", 1e8 * n),
        ("DEV_ECC_DBE_VOL_TOTAL", n),
        ("DEV_UNCORRECTABLE_REMAPPED_ROWS", n),
        ("DEV_ROW_REMAP_PENDING", 1),
        ("DEV_ROW_REMAP_FAILURE", 0),
        ("DEV_PCIE_REPLAY_COUNTER", 5 * n),
        ("DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", n),
        ("DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL", n),
        ("DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", n),
        ("DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL", n),
        ("DEV_XID_ERRORS", 79),
        ("DEV_GET_GPU_RECOVERY_ACTION", 1),
        ("DEV_GPU_TEMP_LIMIT", 24),
        ("DEV_ECC_SBE_VOL_TOTAL", n),
    ):
        yield line(f"DCGM_FI_{name}", value, **labels)
    for watch, value in (("ALL", 20), ("PCIE", 0)):
        yield line("DCGM_EXP_GPU_HEALTH_STATUS", value, **labels, health_watch=watch)


def dcgm_bits(n: int) -> Iterator[str]:
    """An exporter that knows the bit mask alone: 0x20 and 0x80 are set, and a blank value."""
    labels = {**GPU, "UUID": "GPU-bits"}
    yield line("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 0x20 | 0x80, **labels)
    yield line("DCGM_FI_DEV_MEMORY_TEMP", 9223372036854775794, **labels)
    yield line("DCGM_FI_DEV_GPU_TEMP", 70, **labels)


def healer_exporter(n: int) -> Iterator[str]:
    labels = {**GPU, **HELD}
    yield line("healer_gpu_xid_errors_total", n, **labels, xid="79")
    for reason in ("hw_thermal", "sw_thermal", "hw_power_brake"):
        name = "healer_gpu_throttle_nanoseconds_total"
        yield line(name, 1e8 * n, **labels, reason=reason)
    yield line("healer_gpu_nvlink_errors_total", n, **labels, link="0", kind="replay")
    yield line("healer_gpu_nvlink_active", 1, **labels, link="0")
    yield line("healer_gpu_nvlink_active", 0, **labels, link="1")
    yield line("healer_gpu_recovery_action", 1, **labels)
    yield line("healer_gpu_pcie_link_width", 8, **labels)
    yield line("healer_gpu_pcie_link_width_max", 16, **labels)
    yield line("healer_gpu_state", 1, **labels, state="ok")
    for name, value in (
        ("thermal_margin_celsius", 24),
        ("sram_threshold_exceeded", 1),
        ("fabric_state", 2),
    ):
        yield line(f"healer_gpu_{name}", value, **labels)
    yield line("healer_gpu_pcie_errors_total", 2 * n, **labels, kind="replay")
    yield line("healer_gpu_dcgm_health", 20, **labels, system="pcie")
    host = {"Hostname": "gpu-node-1"}
    for name, value in (("present", 7), ("expected", 8), ("driver_blocked", 0)):
        yield line(f"healer_gpu_{name}", value, **host)
    for state, value in (("ok", 0), ("mismatch", 1)):
        yield line("healer_gpu_driver_state", value, **host, state=state)
    for mode, step in (("idle", 0.5), ("user", 1.5), ("guest", 0.2)):
        yield line("healer_host_cpu_seconds_total", step * n, **host, mode=mode)
    for name, value in (
        ("memory_available_bytes", 2e9),
        ("memory_total_bytes", 8e9),
        ("disk_free_bytes", 1e9),
        ("disk_size_bytes", 1e10),
        ("load1", 3),
        ("cpus", 2),
    ):
        yield line(f"healer_host_{name}", value, **host)
    yield line("healer_host_disk_io_seconds_total", 0.5 * n, **host, disk="sda")
    for resource in ("cpu", "io", "memory"):
        labels = {**host, "resource": resource, "share": "some"}
        yield line("healer_host_pressure_seconds_total", 0.1 * n, **labels)


def kube_state_metrics(n: int) -> Iterator[str]:
    pod = {"namespace": "serving", "pod": "vllm-0", "uid": "u"}
    box = {**pod, "container": "vllm"}
    yield line("kube_pod_container_status_restarts_total", n, **box)
    yield line("kube_pod_status_ready", 0, **pod, condition="true")
    yield line("kube_pod_status_phase", 0, **pod, phase="Failed")
    done = {**pod, "pod": "job-done"}
    yield line("kube_pod_status_ready", 0, **done, condition="true")
    yield line("kube_pod_status_phase", 1, **done, phase="Succeeded")
    reason = "CrashLoopBackOff"
    yield line("kube_pod_container_status_waiting_reason", 1, **box, reason=reason)
    name = "kube_pod_container_status_last_terminated_reason"
    yield line(name, 1, **box, reason="OOMKilled")
    yield line("kube_pod_status_unschedulable", 1, **pod)
    yield line("kube_pod_status_reason", 1, **pod, reason="Evicted")
    of = {"namespace": "serving", "deployment": "llama-8b"}
    yield line("kube_deployment_spec_replicas", 3, **of)
    yield line("kube_deployment_status_replicas_available", 2, **of)
    stuck = {"condition": "Progressing", "status": "false"}
    yield line("kube_deployment_status_condition", 1, **of, **stuck)
    hpa = {"namespace": "serving", "horizontalpodautoscaler": "llama-8b"}
    yield line("kube_horizontalpodautoscaler_status_desired_replicas", 5, **hpa)
    yield line("kube_horizontalpodautoscaler_spec_max_replicas", 5, **hpa)
    yield line("kube_horizontalpodautoscaler_spec_min_replicas", 3, **hpa)
    node = {"node": "gpu-node-1"}
    for condition in ("Ready", "DiskPressure"):
        labels = {**node, "condition": condition, "status": "true"}
        yield line("kube_node_status_condition", 1, **labels)
    gpus = {**node, "resource": "nvidia_com_gpu", "unit": "integer"}
    yield line("kube_node_status_capacity", 8, **gpus)
    yield line("kube_node_status_allocatable", 7, **gpus)
    yield line("kube_node_spec_unschedulable", 0, **node)


def kubelet(n: int) -> Iterator[str]:
    box = {"namespace": "serving", "pod": "vllm-0", "container": "vllm"}
    whole = {**box, "container": ""}
    yield line("container_cpu_cfs_throttled_periods_total", 6 * n, **box)
    yield line("container_cpu_cfs_periods_total", 10 * n, **box)
    yield line("container_pressure_cpu_waiting_seconds_total", 0.3 * n, **whole)
    yield line("container_pressure_memory_waiting_seconds_total", 0.1 * n, **whole)
    yield line("container_memory_working_set_bytes", 9e9, **box)
    yield line("container_spec_memory_limit_bytes", 1e10, **box)
    yield line("container_oom_events_total", n, **box)
    claim = {"namespace": "serving", "persistentvolumeclaim": "models"}
    yield line("kubelet_volume_stats_available_bytes", 2e9, **claim)
    yield line("kubelet_volume_stats_capacity_bytes", 1e10, **claim)


def node_exporter(n: int) -> Iterator[str]:
    for cpu in ("0", "1"):
        yield line("node_cpu_seconds_total", 0.25 * n, cpu=cpu, mode="idle")
        yield line("node_cpu_seconds_total", 0.75 * n, cpu=cpu, mode="user")
    yield line("node_memory_MemAvailable_bytes", 2e9)
    yield line("node_memory_MemTotal_bytes", 8e9)
    disk = {"device": "/dev/sda1", "fstype": "ext4", "mountpoint": "/"}
    yield line("node_filesystem_avail_bytes", 1e9, **disk)
    yield line("node_filesystem_size_bytes", 1e10, **disk)
    yield line("node_filesystem_readonly", 0, **disk)
    yield line("node_load1", 3)
    yield line("node_disk_io_time_seconds_total", 0.5 * n, device="sda")
    for what in ("cpu", "io", "memory"):
        yield line(f"node_pressure_{what}_waiting_seconds_total", 0.1 * n)
    yield line("node_vmstat_pgmajfault", 10 * n)


SOURCES: dict[str, Samples] = {
    "vllm": vllm(),
    "sglang": sglang(),
    "trtllm": trtllm,
    "tgi": tgi,
    "triton": triton,
    "dynamo": dynamo,
    "ray_serve": ray_serve,
    "llamacpp": llamacpp,
    "gateway": gateway,
    "ai_gateway": ai_gateway,
    "dcgm": dcgm,
    "healer_exporter": healer_exporter,
    "kube_state_metrics": kube_state_metrics,
    "kubelet": kubelet,
    "node_exporter": node_exporter,
}
"""By the name of the signal file that reads it."""

VARIANTS: dict[str, tuple[str, Samples]] = {
    "vllm-underscore": ("vllm", vllm("vllm_")),
    "vllm-v0": ("vllm", vllm(old=True)),
    "sglang-underscore": ("sglang", sglang("sglang_")),
    "agentgateway": ("ai_gateway", agentgateway),
}
"""Other spellings of a source's page: variant → (source, page)."""
