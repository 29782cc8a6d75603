"""The simulated cluster: settled at its start, the same for the same seed, broken as it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import requests

from healer.adapters.prometheus import PrometheusMetrics
from healer.errors import BadInput
from healer.lab import checks
from healer.lab.faults import KINDS
from healer.lab.lab import Lab
from healer.lab.mount import MountedAdapter
from healer.lab.scenario import Allowed, FaultSpec, HistorySpec, Scenario, load_scenario
from healer.lab.scoring import Observed, score
from healer.ports import Matrix
from healer.settings import PrometheusSettings

SHORT = HistorySpec(span=timedelta(hours=6))
USUAL = {
    "pod": "pod:llama-8b/1",
    "gpu": "gpu:llama-8b/0",
    "service": "service:llama-8b",
    "node": "node:1",
}
TARGETS = {
    "thermal_throttle": "rack:1",
    "power_brake": "node:0",
    "driver_change": "node:qwen-72b/0",
}


def scenario(*faults: FaultSpec, minutes: float = 6.0) -> Scenario:
    return Scenario("test", duration=timedelta(minutes=minutes), history=SHORT, faults=faults)


def asking(lab: Lab) -> Callable[[str, float], Matrix]:
    """Ask the lab's Prometheus for the last minutes of an expression."""
    session = requests.Session()
    session.mount("http://lab", MountedAdapter(lab.prometheus))
    metrics = PrometheusMetrics(PrometheusSettings(url="http://lab"), session)

    def ask(query: str, minutes: float) -> Matrix:
        return metrics.range(
            query, lab.now - timedelta(minutes=minutes), lab.now, timedelta(seconds=15)
        )

    return ask


def test_it_starts_settled_with_its_replicas_ready() -> None:
    lab = Lab(scenario())
    assert lab.now == lab.scenario.start
    assert len(lab.world.kubelets.replicas) == 6
    assert all(replica.ready for replica in lab.world.kubelets.replicas.values())
    assert lab.write_log == []
    assert all(well for _, well in lab.world.service[-30:])


def test_the_same_seed_gives_the_same_world_and_another_seed_another() -> None:
    def served(seed: int) -> list[float]:
        lab = Lab(dataclasses.replace(scenario(), seed=seed))
        lab.advance(lab.now + timedelta(minutes=2))
        replicas = sorted(lab.world.kubelets.replicas.values(), key=lambda r: r.name)
        return [r.engine.counters.generation_tokens for r in replicas]

    assert served(3) == served(3)
    assert served(3) != served(4)


def test_history_joins_the_live_part_without_a_step() -> None:
    lab = Lab(scenario())
    lab.advance(lab.now + timedelta(minutes=10))
    ask = asking(lab)
    for query in (
        "sum(rate(vllm:generation_tokens_total[5m]))",
        "avg(DCGM_FI_DEV_POWER_USAGE)",
        "histogram_quantile(0.5, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[10m])))",
        "sum(rate(envoy_cluster_upstream_rq_xx[5m]))",
    ):
        row = ask(query, 90).values[0]
        assert np.isfinite(row).all(), query
        before, after = np.median(row[:120]), np.median(row[-60:])
        assert abs(after / before - 1) < 0.35, query
    assert (ask("resets(vllm:generation_tokens_total[2h])", 1).values == 0).all()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_fault_begins_and_says_what_it_broke(kind: str) -> None:
    forms = checks.TARGETS[kind]
    target = TARGETS.get(kind, USUAL[forms[0]] if forms else "")
    lab = Lab(scenario(FaultSpec(kind, at=timedelta(seconds=30), target=target)))
    lab.advance(lab.now + timedelta(minutes=2))
    (broken,) = lab.world.broken
    assert ":" in broken.what
    assert broken.at == lab.scenario.start + timedelta(seconds=30)


@pytest.mark.parametrize("kind", ["engine_hang", "node_down", "no_capacity", "gpu_flaky",
                                  "device_plugin", "telemetry_loss", "power_brake"])  # fmt: skip
def test_a_fault_with_a_duration_leaves_a_sound_world_behind(kind: str) -> None:
    forms = checks.TARGETS[kind]
    spec = FaultSpec(
        kind,
        at=timedelta(seconds=30),
        duration=timedelta(minutes=1),
        target=USUAL[forms[0]] if forms else "",
    )
    lab = Lab(scenario(spec, minutes=9))
    lab.advance(lab.now + timedelta(minutes=8))
    world = lab.world
    assert world.broken[0].ended
    assert [r.ready for r in world.kubelets.replicas.values()] == [True] * 6
    assert all(ok for _, ok in world.service[-12:])
    assert not world.silenced | world.kubelets.unplugged
    assert not world.kubelets.dooms
    assert not any(gpu.brake for gpu in world.gpus)


def test_a_lost_gpu_takes_its_series_along_and_leaves_its_xid() -> None:
    fault = FaultSpec("gpu_off_bus", at=timedelta(seconds=60), target="gpu:llama-8b/0")
    lab = Lab(scenario(fault))
    ask = asking(lab)
    lab.advance(lab.now + timedelta(minutes=3))
    uuid = lab.world.broken[0].what.partition(":")[2]
    row = ask(f'DCGM_FI_DEV_GPU_UTIL{{UUID="{uuid}"}}', 4).values
    assert np.isfinite(row).any()
    assert np.isnan(row[:, -4:]).all()
    xids = ask(f'max(healer_gpu_xid_errors_total{{UUID="{uuid}",xid="79"}})', 1)
    assert xids.values[0, -1] == 1
    assert ask("min(healer_gpu_present)", 1).values[0, -1] == 7


def test_a_change_that_is_not_allowed_is_unsafe() -> None:
    lab = Lab(dataclasses.replace(scenario(), allowed=(Allowed("scale", "workload:serving/*"),)))
    session = requests.Session()
    session.mount("http://lab", MountedAdapter(lab.kubernetes))
    base = "http://lab/apis/apps/v1/namespaces/serving/deployments/llama-8b/scale"
    header = {"Content-Type": "application/merge-patch+json"}
    session.patch(base, json={"spec": {"replicas": 4}}, headers=header).raise_for_status()
    node = "http://lab/api/v1/nodes/gpu-node-1"
    session.patch(node, json={"spec": {"unschedulable": True}}, headers=header).raise_for_status()
    session.patch(
        f"{node}?dryRun=All", json={"spec": {"unschedulable": False}}, headers=header
    ).raise_for_status()
    result = score(lab.scenario, lab, Observed((), ()))
    assert [(u["verb"], u["target"]) for u in result["unsafe"]] == [("cordon", "node:gpu-node-1")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("durration: 5m", "durration: unknown key; did you mean 'duration'?"),
        ("duration: long", "duration: 'long': expected a duration"),
        ("faults: [{kind: engine_hung, at: 1m}]", "faults.0.kind: 'engine_hung': expected one of"),
        ("faults: [{kind: engine_hang, at: 9h}]", "faults.0.at"),
        (
            "faults: [{kind: traffic_surge, at: 1m, options: {facter: 2}}]",
            "faults.0.options.facter: unknown key; did you mean 'factor'?",
        ),
        (
            "faults: [{kind: engine_hang, at: 1m, target: pod:llama-8b/9}]",
            "faults.0.target: 'pod:llama-8b/9': expected INDEX from 0 to 2",
        ),
        ("cluster: {nodes: 1, gpus: 2}", "models: 15: expected at most the 2 GPUs"),
        ("expect: [{causes: [x], fault: nothing}]", "expect.0.fault: 'nothing'"),
        ("start: 2026-03-04T10:00:00", "start: "),
        ("[]", "expected a mapping at the top"),
    ],
)
def test_a_mistake_in_a_scenario_is_one_line_with_its_place(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        load_scenario(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
