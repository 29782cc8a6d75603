"""The remediations besides the mission's four, and what the four do for kinds of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.model.actions import (
    DeletePod,
    EvictPod,
    QuarantinePod,
    ReleasePod,
    RestartWorkload,
    RollbackWorkload,
    SetFloor,
)
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Remediation
from remediations import delete_pod, quarantine_pod, restart_workload
from remediations.restart_pod import RestartPod
from remediations.rollback_model import RollbackModel
from remediations.scale import Scale

POD, WORKLOAD = worlds.PODS[0], worlds.WORKLOAD
HPA = {"name": "llama", "scaler": "horizontalpodautoscaler/llama", "uid": "uid-h"} | {
    "min": 2,
    "max": 8,
}


def plan(
    remediation: Remediation,
    facts: dict[Target, dict[str, Any]] | None = None,
    target: Target = POD,
    topology: Topology | None = None,
) -> Plan:
    world = topology or worlds.topology(facts)
    leader = worlds.hypothesis(target=target)
    return remediation.plan(worlds.incident(), leader, world, builders.NOW)


def labelled(labels: dict[Target, dict[str, str]], **facts: Any) -> Topology:
    """The fleet with these labels, and a service over it."""
    world = worlds.topology(**facts)
    service = Target(Kind.SERVICE, "llama", "serving")
    entities = {
        t: dataclasses.replace(e, labels=labels.get(t, {})) for t, e in world.entities.items()
    }
    entities[service] = Entity(service, facts={"selector": {"app": "llama", "tier": "gpu"}})
    return Topology(entities, world.edges | {(WORKLOAD, service)})


def test_a_deletion_is_of_high_risk_so_that_a_person_is_asked() -> None:
    found = plan(delete_pod.DeletePod())
    assert found.actions == (DeletePod(POD, WORKLOAD, "uid-p1"),)
    assert found.risk is Risk.HIGH
    assert found.success.replacement


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({POD: {"terminating": True}}, "terminating"),
        ({POD: {"mirror": True}}, "static pod"),
        ({POD: {"bare": True}}, "no controller"),
        ({POD: {"owner_kind": "Job"}}, "Job"),
    ],
)
@pytest.mark.parametrize("remediation", [delete_pod.DeletePod(), quarantine_pod.QuarantinePod()])
def test_a_pod_that_nobody_would_replace_stays(
    remediation: Remediation, facts: dict[Target, dict[str, Any]], why: str
) -> None:
    found = plan(remediation, facts)
    assert why in found.refused
    assert found.actions == ()


def test_a_pod_of_a_group_takes_its_group_with_it_and_is_counted_so() -> None:
    index = "leaderworkerset.sigs.k8s.io/group-index"
    name = "leaderworkerset.sigs.k8s.io/name"
    groups = {pod: {name: "llama", index: str(at // 2)} for at, pod in enumerate(worlds.PODS)}
    found = plan(RestartPod(), topology=labelled(groups))
    assert found.affected_pods == worlds.PODS[:2]
    assert found.risk is Risk.MEDIUM
    assert "1 other pods of its group" in found.summary


def test_a_stateful_pod_below_an_unready_one_would_not_come_back() -> None:
    sick = {"ready": False}
    found = plan(
        RestartPod(), {WORKLOAD: {"api_kind": "StatefulSet"}, worlds.PODS[1]: sick, POD: sick}
    )
    assert "might not make the pod anew" in found.refused
    assert not plan(RestartPod(), {WORKLOAD: {"api_kind": "StatefulSet"}, POD: sick}).refused


def test_an_autoscalers_minimum_is_raised_instead_of_writing_against_it() -> None:
    found = plan(Scale(), {WORKLOAD: {"hpa": HPA}}, WORKLOAD)
    assert found.actions == (SetFloor(WORKLOAD, HPA["scaler"], 6, 2, "uid-h"),)
    assert found.undo == (SetFloor(WORKLOAD, HPA["scaler"], 2, 6, "uid-h"),)
    assert found.undo_when == "quiet"


def test_the_minimum_is_never_raised_beyond_the_maximum() -> None:
    assert plan(Scale(), {WORKLOAD: {"hpa": HPA | {"max": 5}}}, WORKLOAD).actions == (
        SetFloor(WORKLOAD, HPA["scaler"], 5, 2, "uid-h"),
    )
    full = plan(Scale(), {WORKLOAD: {"hpa": HPA | {"max": 4}}}, WORKLOAD)
    assert "at most" in full.refused


def test_an_autoscaler_whose_bounds_are_unknown_is_left_alone() -> None:
    unknown = plan(Scale(), {WORKLOAD: {"hpa": {"name": "llama"}}}, WORKLOAD)
    assert "owns the replicas" in unknown.refused


@pytest.mark.parametrize("kind", ["DaemonSet", "InferenceService"])
def test_a_kind_without_a_number_is_not_scaled(kind: str) -> None:
    assert "no number to set" in plan(Scale(), {WORKLOAD: {"api_kind": kind}}, WORKLOAD).refused


def test_a_stateful_set_goes_back_and_its_broken_pods_after_it() -> None:
    facts = {
        WORKLOAD: {"api_kind": "StatefulSet"},
        worlds.PODS[3]: {"ready": False},
        worlds.PODS[2]: {"ready": False, "terminating": True},
    }
    found = plan(RollbackModel(), facts, WORKLOAD)
    back, *rest = found.actions
    assert isinstance(back, RollbackWorkload)
    assert back.from_revision == worlds.BAD.name
    assert rest == [EvictPod(worlds.PODS[3], WORKLOAD, "uid-p4")]


@pytest.mark.parametrize(
    ("kind", "left"), [("DaemonSet", worlds.BAD.name), ("Rollout", "2"), ("InferenceService", "2")]
)
def test_other_kinds_go_back_in_one_step(kind: str, left: str) -> None:
    (back,) = plan(RollbackModel(), {WORKLOAD: {"api_kind": kind}}, WORKLOAD).actions
    assert isinstance(back, RollbackWorkload)
    assert back.from_revision == left


def test_a_helm_release_goes_back_behind_its_back_only_where_that_was_opted_into() -> None:
    facts = {WORKLOAD: {"managed_by": "helm"}}
    assert "helm rollback" in plan(RollbackModel(), facts, WORKLOAD).refused
    assert not plan(RollbackModel(allow_helm=True), facts, WORKLOAD).refused


def test_a_restart_writes_its_own_moment_and_stops_no_more_than_the_workload_says() -> None:
    found = plan(restart_workload.RestartWorkload(), target=WORKLOAD)
    (restart,) = found.actions
    assert isinstance(restart, RestartWorkload)
    assert restart.at == builders.NOW.isoformat(timespec="seconds")
    assert set(found.affected_pods) == set(worlds.PODS)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"api_kind": "Rollout"}, "are restarted"),
        ({"paused": True}, "paused"),
        ({"strategy": "OnDelete"}, "on deletion only"),
        ({"managed_by": "argocd"}, "take the restart back"),
        ({"managed_by": "inferenceservice/llama"}, "take the restart back"),
    ],
)
def test_a_workload_that_would_not_stay_restarted_is_left_alone(
    facts: dict[str, Any], why: str
) -> None:
    found = plan(restart_workload.RestartWorkload(), {WORKLOAD: facts}, WORKLOAD)
    assert why in found.refused


def test_a_quarantine_changes_what_services_and_the_controller_select_by() -> None:
    own = {POD: {"app": "llama", "tier": "gpu", "pod-template-hash": "x", "team": "a"}}
    facts = {
        POD: {"owner_kind": "ReplicaSet"},
        WORKLOAD: {"selector": {"matchLabels": {"app": "llama"}}},
    }
    found = plan(quarantine_pod.QuarantinePod(), topology=labelled(own, facts=facts))
    assert found.actions == (QuarantinePod(POD, ("app", "tier"), WORKLOAD, "uid-p1"),)
    assert found.undo == (ReleasePod(POD, "uid-p1"),)


def test_a_pod_that_no_service_is_known_to_select_is_not_quarantined() -> None:
    found = plan(quarantine_pod.QuarantinePod(), {POD: {"owner_kind": "ReplicaSet"}})
    assert "no label" in found.refused
    other = plan(quarantine_pod.QuarantinePod(), {POD: {"owner_kind": "StatefulSet"}})
    assert "would not be replaced" in other.refused
