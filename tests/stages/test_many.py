"""Asking many targets at once says the same as asking them one by one."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from healer.model.expression import parse
from healer.model.snapshot import Snapshot
from healer.model.topology import Entity, Topology
from healer.stages.evidence.functions import FUNCTIONS
from healer.stages.evidence.look import Place, look
from healer.stages.evidence.many import truths
from healer.stages.evidence.sight import Scene, Sight

PODS = tuple(builders.pod(f"llama-{i}", uid=f"u{i}") for i in range(40))


def scene(seed: int) -> Scene:
    """Rows that rise, fall, stay, have gaps, fall silent or were never there."""
    rng = np.random.default_rng(seed)
    frames = {}
    for name in ("ttft_p95", "generation_tokens", "gpu_power"):
        values = 1 + 0.02 * rng.standard_normal((len(PODS), 120))
        values[:, 110:] *= rng.choice([1.0, 3.0, 0.2, 0.0], (len(PODS), 1))
        values[rng.random(values.shape) < rng.choice([0, 0, 0.3], (len(PODS), 1))] = np.nan
        values[rng.random(len(PODS)) < 0.1, 100:] = np.nan
        values[rng.random(len(PODS)) < 0.1] = np.nan
        values[rng.random(len(PODS)) < 0.1] = 0.0
        frames[name] = builders.frame(values, PODS, name=name)
    mine = (
        builders.finding(PODS[0]),
        builders.finding(PODS[3], signal="generation_tokens", observed=0.0, expected_low=0.5),
    )
    topology = Topology({pod: Entity(pod, facts={"ready": True}) for pod in PODS[:30]})
    incident = builders.incident(findings=mine, targets=PODS[:1])
    return Scene(Sight(Snapshot(builders.NOW, frames, (), topology)), incident)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "question",
    [
        "high(ttft_p95)",
        "low(generation_tokens)",
        "normal(gpu_power)",
        "missing(gpu_power)",
        "gpu_power > 1.5",
        "value(gpu_power) == 0",
        "ratio(generation_tokens) < 0.5",
        "ratio(unheard_of) < 0.5",
        "not high(ttft_p95)",
        "high(ttft_p95) or low(generation_tokens) or missing(gpu_power)",
        "(high(ttft_p95) or high(gpu_power)) and not missing(generation_tokens)",
        "ready and high(ttft_p95)",
        "event(xid in [79]) within 10m or high(ttft_p95)",
        "finding(generation_tokens) or age < 10m",
    ],
)
def test_many_at_once_are_told_what_each_is_told_alone(seed, question):
    seen, test = scene(seed), parse(question)

    def alone(part, pod):
        return look(part, Place(seen, (pod,)), FUNCTIONS).truth

    together = truths(test, seen, PODS, FUNCTIONS, alone)

    told = [None if np.isnan(each) else bool(each) for each in together]
    assert told == [alone(test, pod) for pod in PODS]
