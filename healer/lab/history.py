"""Weeks before the first step, in closed form: what the engines would have shown in steady state.

The same formulas as the stepped engine, solved for the balance of arrivals and work (Little's
law), with the noise of Poisson arrivals. Counters end where the live part begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from healer.lab import exposition
from healer.lab.engine import E2E, ITL, ITL_SIGMA, PROMPT, TTFT, Histogram, shares
from healer.lab.gpu import signature
from healer.lab.kubelet import Replica
from healer.lab.objects import NAMESPACE, node_name
from healer.lab.scenario import ModelSpec, Scenario
from healer.lab.traffic import rate
from healer.lab.world import CPUS, World

Floats = NDArray[np.float64]
Rows = list[tuple[dict[str, str], Floats]]


@dataclass(frozen=True, slots=True)
class Steady:
    """One replica over time: each field has shape (T,)."""

    arrivals: Floats
    """Requests in each step."""
    running: Floats
    token_s: Floats
    prefill: Floats
    ttft_s: Floats


def fill(world: World) -> None:
    """Write the history that ends at `world.now`, and let the live replicas go on from it."""
    scenario = world.scenario
    step_s = scenario.history.step.total_seconds()
    count = int(scenario.history.span.total_seconds() / step_s)
    if count < 1:
        return
    end = world.now
    times: Floats = end.timestamp() - step_s * np.arange(count, 0, -1, dtype=np.float64)
    rng = np.random.default_rng(scenario.seed + 1)
    rows: Rows = []
    work: dict[str, Steady] = {}
    for model in scenario.models:
        replicas = world.kubelets.of(model.name)
        for replica in replicas:
            steady = _steady(model, times, step_s, max(len(replicas), 1), rng)
            work.update(dict.fromkeys((g.uuid for g in replica.gpus), steady))
            rows += _engine(replica, steady, rng)
            base = exposition.memory_base(replica)
            rows += [
                ({**base, "__name__": name}, np.full(count, value))
                for name, _, value in exposition.memory(replica)
            ]
    rows += _gpus(world, work, step_s, rng, count)
    rows += _hosts(scenario, times, step_s, rng, world)
    rows += _gateway(world, times, step_s, rng)
    kept = [(ls, vs) for ls, vs in rows if not _dropped(world, ls)]
    world.tsdb.add_block([ls for ls, _ in kept], times, np.array([vs for _, vs in kept]))


def _dropped(world: World, labels: dict[str, str]) -> bool:
    """A series that the scraper never gets was never there before either."""
    share = world.scenario.perturb.missing
    if not share:
        return False
    return exposition.hash_share(labels, world.scenario.seed) < share


def _steady(
    model: ModelSpec, times: Floats, step_s: float, replicas: int, rng: np.random.Generator
) -> Steady:
    spec, traffic = model.engine, model.traffic
    mean = rate(traffic, times) / replicas
    arrivals = rng.poisson(mean * step_s).astype(float)
    per_s = (arrivals / step_s + mean) / 2  # a step's own noise, less its spikes
    prompt = traffic.prompt_tokens * math.exp(traffic.prompt_sigma**2 / 2)
    output = traffic.output_tokens * math.exp(traffic.output_sigma**2 / 2)
    prefill = np.minimum(per_s * prompt * 0.65 / spec.prefill_tokens_per_s, 0.7)
    running = np.full(len(times), 4.0)
    for _ in range(30):
        token_s = (spec.token_s + spec.token_s_per_running * running) / (1 - prefill)
        running = np.minimum(per_s * output * token_s, spec.max_running)
    noisy = np.maximum(0, np.round(running + np.sqrt(running) * rng.normal(0, 1.0, len(times))))
    token_s = (spec.token_s + spec.token_s_per_running * noisy) / (1 - prefill)
    base = traffic.prompt_tokens * 0.65 / spec.prefill_tokens_per_s
    share = np.minimum(0.9, 0.3 + running / spec.max_running * 0.5)
    ttft = base / (1 - share) + token_s
    return Steady(arrivals, noisy, token_s, prefill, ttft)


def _engine(replica: Replica, steady: Steady, rng: np.random.Generator) -> Rows:
    traffic, spec = replica.model.traffic, replica.model.engine
    base = exposition.engine_base(replica.name, replica.ip, replica.model.name)
    n = steady.arrivals
    prompt = traffic.prompt_tokens * math.exp(traffic.prompt_sigma**2 / 2)
    output = traffic.output_tokens * math.exp(traffic.output_sigma**2 / 2)
    kv = steady.running * (prompt + output / 2) / spec.kv_tokens
    made = n * output * np.exp(rng.normal(0, 0.03, len(n)))
    counters = replica.engine.counters
    counters.prompt_tokens = float((n * prompt).sum())
    counters.generation_tokens = float(made.sum())
    counters.prefix_queries = counters.prompt_tokens
    counters.prefix_hits = 0.35 * counters.prompt_tokens
    counters.finished.update(stop=float(n.sum() * 0.9), length=float(n.sum() * 0.1))
    rows: Rows = [
        ({**base, "__name__": "vllm:num_requests_running"}, steady.running),
        ({**base, "__name__": "vllm:num_requests_waiting"}, np.zeros(len(n))),
        ({**base, "__name__": "vllm:kv_cache_usage_perc"}, np.minimum(kv, 1.0)),
        ({**base, "__name__": "vllm:num_preemptions_total"}, np.zeros(len(n))),
        ({**base, "__name__": "vllm:prompt_tokens_total"}, np.cumsum(n * prompt)),
        ({**base, "__name__": "vllm:generation_tokens_total"}, np.cumsum(made)),
        ({**base, "__name__": "vllm:prefix_cache_queries_total"}, np.cumsum(n * prompt)),
        ({**base, "__name__": "vllm:prefix_cache_hits_total"}, np.cumsum(0.35 * n * prompt)),
    ]
    for reason, share in (("stop", 0.9), ("length", 0.1), ("abort", 0.0), ("error", 0.0)):
        labels = {**base, "__name__": "vllm:request_success_total", "finished_reason": reason}
        rows.append((labels, np.cumsum(n * share)))
    for status, share in (("2xx", 1.0), ("5xx", 0.0)):
        labels = {
            **base,
            "__name__": "http_requests_total",
            "handler": "/v1/chat/completions",
            "method": "POST",
            "status": status,
        }
        rows.append((labels, np.cumsum(n * share)))
    seen = steady.token_s
    for name, histogram, bounds, medians, sigma, weight in (
        ("vllm:time_to_first_token_seconds", counters.ttft, TTFT, steady.ttft_s, 0.6, n),
        ("vllm:inter_token_latency_seconds", counters.itl, ITL, seen, ITL_SIGMA, made),
        (
            "vllm:e2e_request_latency_seconds",
            counters.e2e,
            E2E,
            steady.ttft_s + seen * traffic.output_tokens,
            traffic.output_sigma,
            n,
        ),
        ("vllm:request_queue_time_seconds", counters.queue, E2E, np.full(len(n), 1e-3), 0.5, n),
        (
            "vllm:request_prompt_tokens",
            counters.prompt,
            PROMPT,
            np.full(len(n), traffic.prompt_tokens),
            traffic.prompt_sigma,
            n,
        ),
    ):
        rows += _histogram(name, base, histogram, bounds, medians, sigma, weight, rng)
    return rows


def _histogram(
    name: str,
    base: dict[str, str],
    live: Histogram,
    bounds: Floats,
    medians: Floats,
    sigma: float,
    weight: Floats,
    rng: np.random.Generator,
) -> Rows:
    """Cumulative buckets over time; `live` goes on from their end."""
    drawn = rng.multinomial(np.round(weight).astype(np.int64), shares(bounds, medians, sigma))
    per_bucket = np.cumsum(drawn.astype(float), axis=0)
    live.counts += per_bucket[-1]
    mean = medians * math.exp(sigma * sigma / 2)
    total = np.cumsum(mean * weight)
    live.total += float(total[-1])
    cumulative = np.cumsum(per_bucket, axis=1)
    rows: Rows = [
        (
            {**base, "__name__": f"{name}_bucket", "le": exposition.bound_text(bound)},
            cumulative[:, at],
        )
        for at, bound in enumerate((*bounds, math.inf))
    ]
    rows.append(({**base, "__name__": f"{name}_sum"}, total))
    rows.append(({**base, "__name__": f"{name}_count"}, cumulative[:, -1]))
    return rows


def _gpus(
    world: World, work: dict[str, Steady], step_s: float, rng: np.random.Generator, count: int
) -> Rows:
    rows: Rows = []
    for gpu in world.gpus:
        spec, steady = gpu.spec, work.get(gpu.uuid)
        zero = np.zeros(count)
        if steady is None:
            util, tensor, dram, load = zero, zero, zero, zero
        else:
            model = next(r.model for r in world.kubelets.replicas.values() if gpu in r.gpus)
            batch = steady.running / model.engine.max_running
            decode = np.where(batch > 0, 1 - steady.prefill, 0.0)
            util, tensor, dram, load = signature(steady.prefill, decode, batch, zero)
        power = spec.idle_w + load * (spec.limit_w - spec.idle_w)
        temp = spec.ambient_c + spec.c_per_w * _smooth(power, spec.thermal_s / step_s)
        energy = np.cumsum(power * step_s * 1000.0)
        gpu.energy_mj, gpu.temp_c = float(energy[-1]), float(temp[-1])
        used = 0.9 * spec.memory_mib if steady is not None else 0.0
        base = {**exposition.gpu_base(gpu.node), **exposition.gpu_labels(gpu)}
        for name, values in (
            ("DCGM_FI_DEV_GPU_UTIL", np.round(util)),
            ("DCGM_FI_DEV_POWER_USAGE", power + rng.normal(0, 2.0, count)),
            ("DCGM_FI_DEV_GPU_TEMP", np.round(temp)),
            ("DCGM_FI_DEV_MEMORY_TEMP", np.round(temp + 6)),
            ("DCGM_FI_DEV_SM_CLOCK", zero + spec.sm_clock_mhz),
            ("DCGM_FI_DEV_FB_USED", zero + round(used)),
            ("DCGM_FI_DEV_FB_FREE", zero + round(spec.memory_mib - used)),
            ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", tensor),
            ("DCGM_FI_PROF_DRAM_ACTIVE", dram),
            ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", energy),
            ("DCGM_FI_DEV_XID_ERRORS", zero),
            ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", zero),
            ("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", zero),
            ("DCGM_FI_DEV_ROW_REMAP_PENDING", zero),
            ("DCGM_FI_DEV_ROW_REMAP_FAILURE", zero),
        ):
            rows.append(({**base, "__name__": name}, values))
        for reason in ("hw_thermal", "hw_power_brake"):
            labels = {**base, "__name__": "healer_gpu_throttle_nanoseconds_total", "reason": reason}
            rows.append((labels, zero))
        for kind in ("crc", "replay"):
            link = {**base, "__name__": "healer_gpu_nvlink_errors_total", "link": "0", "kind": kind}
            rows.append((link, zero))
        for number in range(exposition.NVLINKS):
            link = {**base, "__name__": "healer_gpu_nvlink_active", "link": str(number)}
            rows.append((link, zero + 1.0))
    for index in range(world.scenario.cluster.nodes):
        node = node_name(index)
        base = {**exposition.gpu_base(node), "job": "healer-exporter"}
        gpus = float(world.scenario.cluster.gpus)
        for name in ("healer_gpu_present", "healer_gpu_expected"):
            rows.append(({**base, "__name__": name}, np.full(count, gpus)))
    return rows


def _smooth(values: Floats, steps: float) -> Floats:
    """First-order lag of `steps` steps."""
    keep = math.exp(-1.0 / max(steps, 1e-3))
    found = np.empty_like(values)
    last = values[0]
    for at, value in enumerate(values):
        last = keep * last + (1 - keep) * value
        found[at] = last
    return found


def _hosts(
    scenario: Scenario,
    times: Floats,
    step_s: float,
    rng: np.random.Generator,
    world: World,
) -> Rows:
    rows: Rows = []
    boot_s = scenario.start.timestamp() - 30 * 86_400
    for index in range(scenario.cluster.nodes):
        name = node_name(index)
        busy = np.cumsum(CPUS * step_s * np.clip(rng.normal(0.055, 0.004, len(times)), 0.01, 1))
        offset = busy[-1]
        world.note_cpu(name, float(offset))
        base = exposition.node_base(index)
        pages = [
            dict(_by_key(exposition.host(float(b), CPUS, 0.08, float(t) - boot_s)))
            for b, t in ((busy[0], times[0]), (busy[-1], times[-1]))
        ]
        share = (busy - busy[0]) / max(busy[-1] - busy[0], 1e-9)
        for key, first in pages[0].items():
            metric, labels = key
            last = pages[1][key]
            rows.append(
                ({**base, **dict(labels), "__name__": metric}, first + (last - first) * share)
            )
    return rows


def _by_key(page: object) -> list[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    return [
        ((name, tuple(labels.items())), value)
        for name, labels, value in page  # type: ignore[attr-defined]
    ]


def _gateway(world: World, times: Floats, step_s: float, rng: np.random.Generator) -> Rows:
    rows: Rows = []
    for model in world.scenario.models:
        counts = np.cumsum(rng.poisson(rate(model.traffic, times) * step_s)).astype(float)
        world.note_gateway(model.name, float(counts[-1]))
        labels = {
            "__name__": "envoy_cluster_upstream_rq_xx",
            "job": "gateway",
            "instance": "10.1.0.2:9901",
            "envoy_cluster_name": model.name,
            "namespace": NAMESPACE,
            "service": model.name,
            "envoy_response_code_class": "2",
        }
        rows.append((labels, counts))
        if world.scenario.cluster.gateway:
            rows += _picker(world, model.name, counts, rng)
    return rows


def _picker(world: World, model: str, counts: Floats, rng: np.random.Generator) -> Rows:
    base = {**exposition.PICKER_BASE, "model_name": model, "target_model_name": model}
    name = "inference_objective_request_duration_seconds"
    each = np.diff(counts, prepend=0.0)
    typical = np.full(len(counts), exposition.GATEWAY_S)
    sigma = exposition.GATEWAY_SIGMA
    rows = _histogram(name, base, world.waited(model), E2E, typical, sigma, each, rng)
    return [*rows, ({**base, "__name__": "inference_objective_request_total"}, counts)]
