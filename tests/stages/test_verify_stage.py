"""Did the repair work? Its own signals decide, over fresh samples; no samples are never a pass."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import numpy as np
import pytest

from healer.model.actions import CordonNode, EvictPod, RollbackWorkload, ScaleWorkload, UncordonNode
from healer.model.frame import Frame
from healer.model.incident import Incident
from healer.model.intent import Effect, Intent, Outcome, Receipt, State, Step
from healer.model.plan import Success
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.stages.verify import verify

NODE, WORKLOAD, OLD = worlds.NODES[0], worlds.WORKLOAD, builders.pod("llama-8b-old", uid="uid-old")
NEW = worlds.PODS[0]
LATE = timedelta(minutes=10)


def acted(action: Any, target: Target, **success: Any) -> Intent:
    """Carried out five minutes ago."""
    given: dict[str, Any] = {"signals": ("ttft_p95",), "deadline": LATE}
    plan = builders.plan(target=target, actions=(action,), success=Success(**(given | success)))
    sent = builders.at(-300)
    step = Step(action, sent, Receipt(True, sent), 1)
    before = tuple(p.uid for p in worlds.PODS if p != NEW)
    made = builders.intent(State.VERIFYING, plan=plan)
    return dataclasses.replace(made, steps=(step,), pods_before=(*before, "uid-old"))


EVICTED = acted(EvictPod(OLD, WORKLOAD, "uid-old"), OLD, replacement=True)


def good() -> Frame:
    return builders.frame(np.full((4, 40), 0.3), worlds.PODS)


def seen(world: Topology | None = None, frame: Frame | None = None, **changes: Any) -> Snapshot:
    frames = {"ttft_p95": good() if frame is None else frame}
    return worlds.snapshot(world, **({"frames": frames} | changes))


def calm(**changes: Any) -> Incident:
    return worlds.incident(**({"findings": ()} | changes))


def later(snapshot: Snapshot) -> Snapshot:
    return dataclasses.replace(snapshot, now=builders.at(301))


def effect(outcome: Outcome | None) -> Effect | None:
    return None if outcome is None else outcome.effect


def test_a_replaced_pod_with_fresh_good_samples_is_a_repair() -> None:
    assert effect(verify(EVICTED, seen(), calm())) is Effect.EFFECTIVE


def test_without_samples_it_is_never_a_pass() -> None:
    gap = builders.frame(np.full((4, 40), np.nan), worlds.PODS)
    assert verify(EVICTED, seen(frame=gap), calm()) is None
    assert effect(verify(EVICTED, later(seen(frame=gap)), calm())) is Effect.INCONCLUSIVE


def test_samples_from_before_the_repair_prove_nothing() -> None:
    values = np.full((4, 40), 0.3)
    values[:, -20:] = np.nan
    assert verify(EVICTED, seen(frame=builders.frame(values, worlds.PODS)), calm()) is None


def test_good_siblings_prove_nothing_about_a_replacement_that_says_nothing() -> None:
    values = np.full((4, 40), 0.3)
    values[0] = np.nan
    silent = seen(frame=builders.frame(values, worlds.PODS))
    assert verify(EVICTED, silent, calm()) is None


def test_a_symptom_of_the_replacement_waits_and_then_fails() -> None:
    sick = calm(findings=(builders.finding(NEW),))
    assert verify(EVICTED, seen(), sick) is None
    outcome = verify(
        EVICTED,
        later(seen()),
        dataclasses.replace(sick, findings=(builders.finding(NEW, at=builders.at(300)),)),
    )
    assert effect(outcome) is Effect.INEFFECTIVE


def test_a_sibling_with_troubles_of_its_own_says_nothing_about_this_repair() -> None:
    other = calm(findings=(builders.finding(worlds.PODS[1]),))
    assert effect(verify(EVICTED, seen(), other)) is Effect.EFFECTIVE


def test_a_second_fault_of_the_incident_elsewhere_says_nothing_about_this_repair() -> None:
    other = builders.pod("qwen-72b-x", uid="uid-x")
    rolled = acted(ScaleWorkload(WORKLOAD, 4, 3), WORKLOAD)
    still = calm(findings=(builders.finding(other, at=builders.at(300)),))
    assert effect(verify(rolled, later(seen()), still)) is Effect.EFFECTIVE
    mine = calm(findings=(builders.finding(worlds.PODS[1], at=builders.at(300)),))
    assert effect(verify(rolled, later(seen()), mine)) is Effect.INEFFECTIVE


@pytest.mark.parametrize("facts", [{NEW: {"ready": False}}, {WORKLOAD: {"replicas": 5}}])
def test_a_replacement_that_is_not_ready_is_waited_for(facts: dict[Target, Any]) -> None:
    world = worlds.topology(facts)
    assert verify(EVICTED, seen(world), calm()) is None
    assert effect(verify(EVICTED, later(seen(world)), calm())) is Effect.INEFFECTIVE


@pytest.mark.parametrize("blind", [{"metrics_ok": False}, {"cluster_ok": False}])
def test_a_world_that_cannot_be_seen_is_inconclusive(blind: dict[str, Any]) -> None:
    assert verify(EVICTED, seen(**blind), calm()) is None
    assert effect(verify(EVICTED, later(seen(**blind)), calm())) is Effect.INCONCLUSIVE


@pytest.mark.parametrize(
    ("action", "target", "missing", "there"),
    [
        (CordonNode(NODE, "uid-n1"), NODE, {}, {NODE: {"unschedulable": True}}),
        (UncordonNode(NODE, "uid-n1"), NODE, {NODE: {"unschedulable": True}}, {}),
        (ScaleWorkload(WORKLOAD, 6, 4), WORKLOAD, {}, {WORKLOAD: {"ready_replicas": 6}}),
        (
            RollbackWorkload(WORKLOAD, worlds.GOOD, "u", "d", {}),
            WORKLOAD,
            {WORKLOAD: {"available_replicas": 3}},
            {},
        ),
    ],
)
def test_the_end_state_of_every_verb_is_looked_for(
    action: Any, target: Target, missing: dict[Target, Any], there: dict[Target, Any]
) -> None:
    done = acted(action, target, signals=())
    assert verify(done, seen(worlds.topology(missing)), None) is None
    assert effect(verify(done, seen(worlds.topology(there)), None)) is Effect.EFFECTIVE


def with_gpus() -> tuple[Topology, tuple[Target, ...]]:
    world = worlds.topology()
    gpus = tuple(Target(Kind.GPU, f"GPU-{n}") for n in range(len(worlds.PODS)))
    entities = {**world.entities, **{gpu: Entity(gpu) for gpu in gpus}}
    edges = world.edges | set(zip(worlds.PODS, gpus, strict=True))
    return Topology(entities, edges), gpus


def test_a_signal_of_the_pods_gpus_counts_for_their_workload() -> None:
    world, gpus = with_gpus()
    watts = builders.frame(np.full((4, 40), 400.0), gpus, name="gpu_power", scope=Kind.GPU)
    both = acted(EvictPod(OLD, WORKLOAD, "uid-old"), OLD, signals=("gpu_power", "ttft_p95"))
    frames = {"ttft_p95": good(), "gpu_power": watts}
    assert effect(verify(both, seen(world, frames=frames), calm())) is Effect.EFFECTIVE


def test_one_signal_that_speaks_does_not_excuse_another_that_is_silent() -> None:
    world, gpus = with_gpus()
    dark = builders.frame(np.full((4, 40), np.nan), gpus, name="gpu_power", scope=Kind.GPU)
    both = acted(EvictPod(OLD, WORKLOAD, "uid-old"), OLD, signals=("gpu_power", "ttft_p95"))
    blind = seen(world, frames={"ttft_p95": good(), "gpu_power": dark})
    assert verify(both, blind, calm()) is None
    assert effect(verify(both, later(blind), calm())) is Effect.INCONCLUSIVE


def test_a_signal_that_is_silent_because_nobody_asks_for_anything_is_no_doubt() -> None:
    nothing = np.full((4, 40), np.nan)
    query = "histogram_quantile(0.95, sum by (le, pod) (rate(x_bucket[2m])))"
    idle = builders.frame(nothing, worlds.PODS, name="queue_time_p95", query=query)
    both = acted(EvictPod(OLD, WORKLOAD, "uid-old"), OLD, signals=("queue_time_p95", "ttft_p95"))
    frames = {"ttft_p95": good(), "queue_time_p95": idle}
    assert effect(verify(both, seen(frames=frames), calm())) is Effect.EFFECTIVE


def test_a_switch_that_is_there_only_while_it_is_on_is_off_when_its_source_speaks() -> None:
    was = np.full((4, 40), np.nan)
    was[0, :5] = 1.0
    waits = builders.frame(was, worlds.PODS, name="pod_waiting_reason", unit="bool", source="ksm")
    only = acted(EvictPod(OLD, WORKLOAD, "uid-old"), OLD, signals=("pod_waiting_reason",))
    silent = {"pod_waiting_reason": waits}
    assert verify(only, seen(frames=silent), calm()) is None
    ready = builders.frame(np.ones((4, 40)), worlds.PODS, name="pod_ready", source="ksm")
    heard = silent | {"pod_ready": ready}
    assert effect(verify(only, seen(frames=heard), calm())) is Effect.EFFECTIVE
    gone = builders.frame(
        np.where(np.arange(40) < 5, 0.0, was), worlds.PODS, name="pod_waiting_reason",
        unit="bool", source="ksm",
    )  # fmt: skip
    assert verify(only, seen(frames=heard | {"pod_waiting_reason": gone}), calm()) is None
