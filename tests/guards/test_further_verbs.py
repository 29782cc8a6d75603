"""The guards and the undo of what came after the first five verbs."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.guards.blast_radius import BlastRadius
from healer.guards.capacity import Capacity
from healer.guards.common import disruptive
from healer.guards.scope import Scope
from healer.model.actions import (
    Action,
    DeletePod,
    EvictPod,
    QuarantinePod,
    RestartWorkload,
    RollbackWorkload,
    SetFloor,
)
from healer.model.intent import Effect, Receipt, State, Step
from healer.model.plan import Plan, Success
from healer.model.target import Target
from healer.model.verdict import Decision
from healer.settings import RemediationSettings
from healer.stages.undo import due
from healer.stages.verify import verify

POD, WORKLOAD = worlds.PODS[0], worlds.WORKLOAD
ARMED = worlds.armed()
SCALER = "horizontalpodautoscaler/llama"


def plan(action: Action, *pods: Target, **changes: Any) -> Plan:
    given = {"target": action.target, "actions": (action,), "affected_pods": pods}
    return builders.plan(**(given | changes))


def floor(to: int) -> Plan:
    return plan(SetFloor(WORKLOAD, SCALER, to, 2, "uid-h"), remediation="scale")


def full(free_gpus: int) -> Any:
    """Each node has that many GPUs besides the one in use; one replica needs one."""
    nodes = {node: {"gpus_allocatable": 1 + free_gpus} for node in worlds.NODES}
    return worlds.case(worlds.topology(nodes))


def test_a_higher_minimum_needs_room_for_the_replicas_it_brings() -> None:
    assert Capacity().judge(floor(6), full(1)).decision is Decision.ALLOW
    assert Capacity().judge(floor(6), full(0)).decision is Decision.DENY
    assert Capacity().judge(floor(4), full(0)).decision is Decision.ALLOW


def test_a_minimum_that_goes_down_again_needs_none() -> None:
    back = plan(SetFloor(WORKLOAD, SCALER, 9, 2, "uid-h", takes_back="i1"))
    assert Capacity().judge(back, full(0)).decision is Decision.ALLOW


def test_a_quarantined_pod_keeps_its_gpus_so_its_replacement_needs_others() -> None:
    taken = plan(QuarantinePod(POD, ("app",), WORKLOAD, "uid-p1"), POD)
    assert Capacity().judge(taken, full(1)).decision is Decision.ALLOW
    assert Capacity().judge(taken, full(0)).decision is Decision.DENY


@pytest.mark.parametrize(
    "action",
    [DeletePod(POD, WORKLOAD, "uid-p1"), QuarantinePod(POD, ("app",), WORKLOAD, "uid-p1")],
)
def test_a_pod_that_stops_serving_counts_however_it_stops(action: Action) -> None:
    one_out = worlds.topology({worlds.PODS[1]: {"ready": False}})
    guard = BlastRadius(ARMED)
    assert guard.judge(plan(action, POD), worlds.case()).decision is Decision.ALLOW
    assert guard.judge(plan(action, POD), worlds.case(one_out)).decision is Decision.DEFER


def test_a_rollback_counts_only_the_broken_pods_that_it_ends() -> None:
    sick = worlds.PODS[3]
    broken = worlds.topology({pod: {"ready": False} for pod in worlds.PODS[2:]})
    back = RollbackWorkload(WORKLOAD, worlds.GOOD, "uid-r1", "d1", {}, uid="uid-w")
    found = plan(back, *worlds.PODS)
    found = dataclasses.replace(found, actions=(back, EvictPod(sick, WORKLOAD, sick.uid)))
    assert BlastRadius(ARMED).judge(found, worlds.case(broken)).decision is Decision.ALLOW


@pytest.mark.parametrize(
    "action",
    [
        DeletePod(POD, WORKLOAD, "uid-p1"),
        QuarantinePod(POD, ("app",), WORKLOAD, "uid-p1"),
        RestartWorkload(WORKLOAD, "now", "uid-w"),
    ],
)
def test_what_takes_pods_out_of_service_is_what_a_storm_stops(action: Action) -> None:
    assert disruptive(plan(action))
    assert not disruptive(floor(6))


def test_a_minimum_of_ours_goes_down_after_its_time_signed_with_its_intent() -> None:
    raised = SetFloor(WORKLOAD, SCALER, 6, 2, "uid-h")
    undo = SetFloor(WORKLOAD, SCALER, 2, 6, "uid-h")
    intent = builders.intent(
        State.SUCCEEDED,
        plan=plan(raised, remediation="scale", undo=(undo,)),
        updated_at=builders.NOW - timedelta(hours=1),
    )
    world = worlds.snapshot(worlds.topology())
    settings = RemediationSettings(scale_back_after=timedelta(minutes=30))
    (found,) = due((intent,), frozenset(), world, settings)
    assert found.actions == (dataclasses.replace(undo, takes_back=intent.id),)
    later = dataclasses.replace(settings, scale_back_after=timedelta(hours=2))
    assert due((intent,), frozenset(), world, later) == ()
    assert due((intent,), frozenset(), world, RemediationSettings()) == ()


def test_a_verb_that_the_api_server_denies_is_refused_before_anything_begins() -> None:
    case = worlds.case()
    lacking = dataclasses.replace(case.snapshot, denied={"evict_pod": "create pods/eviction"})
    without = dataclasses.replace(case, snapshot=lacking)
    evict = plan(EvictPod(POD, WORKLOAD, POD.uid), POD)
    verdict = Scope(ARMED).judge(evict, without)
    assert verdict.decision is Decision.DENY
    assert "we may not create pods/eviction" in verdict.reasons[0]
    assert Scope(ARMED).judge(evict, case).decision is Decision.ALLOW
    assert Scope(ARMED).judge(floor(6), without).decision is Decision.ALLOW
    assert Scope(RemediationSettings()).judge(evict, without).decision is Decision.ALLOW


def outcome(action: Action, facts: dict[Target, dict[str, Any]], late: bool = False) -> Any:
    """Of an intent that was carried out a while ago, and has no signal to wait for."""
    begun = builders.NOW - (timedelta(hours=1) if late else timedelta(minutes=1))
    success = Success((), deadline=timedelta(minutes=10), hold=timedelta(seconds=1))
    intent = builders.intent(
        State.VERIFYING,
        plan=plan(action, success=success),
        steps=(Step(action, begun, Receipt(True, begun)),),
        executed_at=begun,
        updated_at=begun,
        pods_before=tuple(pod.uid for pod in worlds.PODS),
    )
    return verify(intent, worlds.snapshot(worlds.topology(facts)), None)


@pytest.mark.parametrize(
    ("action", "unmet"),
    [
        (SetFloor(WORKLOAD, SCALER, 6, 2, "uid-h"), {WORKLOAD: {"ready_replicas": 5}}),
        (RestartWorkload(WORKLOAD, "now", "uid-w"), {WORKLOAD: {"updated_replicas": 1}}),
        (QuarantinePod(POD, ("app",), WORKLOAD, "uid-p1"), {}),
        (DeletePod(POD, WORKLOAD, "uid-p1"), {}),
    ],
)
def test_an_end_state_that_is_not_there_in_time_is_no_success(
    action: Action, unmet: dict[Target, dict[str, Any]]
) -> None:
    assert outcome(action, unmet) is None
    found = outcome(action, unmet, late=True)
    assert found.effect is Effect.INEFFECTIVE


def test_a_model_service_is_back_when_it_says_so_of_its_newest_generation() -> None:
    back = RollbackWorkload(WORKLOAD, worlds.GOOD, "", "d1", {}, uid="uid-w")
    ready = {"api_kind": "InferenceService", "replicas": None, "ready": True}
    assert outcome(back, {WORKLOAD: ready}).effect is Effect.EFFECTIVE
    assert outcome(back, {WORKLOAD: ready | {"observed_generation": 2}}) is None
