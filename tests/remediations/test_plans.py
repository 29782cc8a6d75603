"""A hypothesis in, a whole plan out; what cannot be healed that way is refused with its reason."""

from __future__ import annotations

from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.model.actions import (
    CordonNode,
    Escalate,
    EvictPod,
    RollbackWorkload,
    ScaleWorkload,
    UncordonNode,
)
from healer.model.finding import Finding
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.ports import Remediation
from remediations.cordon_node import CordonNodeRemediation
from remediations.drain_node import DrainNode
from remediations.escalate import EscalateRemediation
from remediations.restart_pod import RestartPod
from remediations.rollback_model import RollbackModel
from remediations.scale import Scale

POD, NODE, WORKLOAD = worlds.PODS[0], worlds.NODES[0], worlds.WORKLOAD


def plan(
    remediation: Remediation,
    facts: dict[Target, dict[str, Any]] | None = None,
    target: Target = POD,
    findings: tuple[Finding, ...] | None = None,
) -> Plan:
    leader = worlds.hypothesis(target=target)
    given = {} if findings is None else {"findings": findings}
    return remediation.plan(worlds.incident(**given), leader, worlds.topology(facts), builders.NOW)


def test_a_hung_pod_is_evicted_by_its_uid_and_has_to_be_replaced() -> None:
    found = plan(RestartPod())
    assert found.actions == (EvictPod(POD, WORKLOAD, "uid-p1"),)
    assert found.affected_pods == (POD,)
    assert found.success.replacement
    assert found.success.signals == ("ttft_p95",)
    assert not found.refused


def test_a_node_with_one_pod_means_that_pod() -> None:
    assert plan(RestartPod(), target=NODE).target == POD


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({POD: {"terminating": True}}, "terminating"),
        ({POD: {"mirror": True}}, "static pod"),
        ({POD: {"daemonset": True}}, "DaemonSet pod"),
        ({POD: {"bare": True}}, "no controller"),
        ({POD: {"owner_kind": "Job"}}, "Job"),
        ({WORKLOAD: {"replicas": None}}, "unknown"),
        ({WORKLOAD: {"replicas": 1}}, "one replica"),
    ],
)
def test_a_pod_that_eviction_would_not_heal_is_left_alone(
    facts: dict[Target, dict[str, Any]], why: str
) -> None:
    found = plan(RestartPod(), facts)
    assert why in found.refused
    assert found.actions == ()


def test_the_only_replica_goes_where_that_was_opted_into() -> None:
    assert not plan(RestartPod(single_replica=True), {WORKLOAD: {"replicas": 1}}).refused


def test_a_workload_with_several_pods_means_no_one_pod() -> None:
    assert "not exactly one pod" in plan(RestartPod(), target=WORKLOAD).refused


def test_a_pod_that_the_api_server_does_not_know_is_not_evicted() -> None:
    assert plan(RestartPod(), target=builders.pod("stranger")).refused


def test_a_cordon_is_signed_for_its_uid_and_version_and_comes_with_its_undo() -> None:
    found = plan(CordonNodeRemediation(), target=NODE)
    assert found.actions == (CordonNode(NODE, "uid-n1", "7", "engine_hang: The engine hangs"),)
    assert found.undo == (UncordonNode(NODE, "uid-n1"),)
    assert found.risk is Risk.MEDIUM
    assert found.affected_pods == ()


def test_a_cordoned_node_is_not_cordoned_again() -> None:
    assert "already" in plan(CordonNodeRemediation(), {NODE: {"unschedulable": True}}, NODE).refused


def test_a_workload_on_four_nodes_means_no_one_node() -> None:
    assert "not exactly one node" in plan(CordonNodeRemediation(), target=WORKLOAD).refused
    assert "not exactly one node" in plan(DrainNode(), target=WORKLOAD).refused


def test_a_drain_cordons_first_and_then_moves_the_gpu_pods() -> None:
    found = plan(DrainNode(), target=NODE)
    assert [a.verb for a in found.actions] == ["cordon_node", "evict_pod"]
    assert found.affected_pods == (POD,)
    assert found.success.replacement


def test_a_drain_of_a_cordoned_node_only_moves_the_pods() -> None:
    found = plan(DrainNode(), {NODE: {"unschedulable": True}}, NODE)
    assert [a.verb for a in found.actions] == ["evict_pod"]


@pytest.mark.parametrize(
    "own", [{"daemonset": True}, {"mirror": True}, {"gpus_requested": 0}, {"terminating": True}]
)
def test_a_drain_leaves_alone_what_uses_no_gpu_or_would_not_move(own: dict[str, Any]) -> None:
    found = plan(DrainNode(), {POD: own}, NODE)
    assert [a.verb for a in found.actions] == ["cordon_node"]
    assert not found.success.replacement


@pytest.mark.parametrize(
    ("own", "why"), [({"bare": True}, "no controller"), ({"empty_dir_disk": True}, "emptyDir")]
)
def test_one_pod_that_would_be_lost_stops_the_whole_drain(own: dict[str, Any], why: str) -> None:
    found = plan(DrainNode(), {POD: own}, NODE)
    assert why in found.refused
    assert found.actions == ()


def test_data_in_an_empty_dir_goes_where_that_was_allowed() -> None:
    assert not plan(DrainNode(allow_empty_dir=True), {POD: {"empty_dir_disk": True}}, NODE).refused


def test_a_drained_node_has_nothing_left_to_drain() -> None:
    facts = {NODE: {"unschedulable": True}, POD: {"gpus_requested": 0}}
    assert "drained already" in plan(DrainNode(), facts, NODE).refused


def test_a_drain_is_proved_by_the_pods_not_by_the_broken_hardware() -> None:
    gpu = builders.finding(Target(Kind.GPU, "GPU-1"), signal="gpu_xid")
    found = plan(DrainNode(), target=NODE, findings=(gpu, builders.finding(POD)))
    assert found.success.signals == ("ttft_p95",)


@pytest.mark.parametrize(("was", "wanted"), [(1, 2), (2, 3), (4, 6), (20, 24), (30, 32)])
def test_replicas_grow_by_half_to_an_absolute_number_within_bounds(was: int, wanted: int) -> None:
    found = plan(Scale(), {WORKLOAD: {"replicas": was}}, WORKLOAD)
    assert found.actions == (ScaleWorkload(WORKLOAD, wanted, was, "uid-w", "7"),)
    assert found.undo == (ScaleWorkload(WORKLOAD, was, wanted, "uid-w"),)


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"replicas": None}, "are None"),
        ({"replicas": 0}, "are 0"),
        ({"replicas": 32}, "most allowed"),
        ({"hpa": {"name": "llama-hpa"}}, "llama-hpa owns"),
    ],
)
def test_a_number_that_is_not_ours_to_raise_stays(own: dict[str, Any], why: str) -> None:
    assert why in plan(Scale(), {WORKLOAD: own}, WORKLOAD).refused


def test_a_scale_up_is_proved_by_the_queue_because_the_load_stays() -> None:
    piled = builders.finding(POD, signal="requests_waiting")
    found = plan(Scale(), target=WORKLOAD, findings=(builders.finding(POD), piled))
    assert found.success.signals == ("requests_waiting",)


def test_a_node_without_a_workload_is_not_scaled() -> None:
    stranger = builders.node("stranger")
    assert "not exactly one workload" in plan(Scale(), target=stranger).refused
    assert "not exactly one workload" in plan(RollbackModel(), target=stranger).refused


def test_a_rollback_pins_the_healthy_revision_by_uid_and_digest() -> None:
    found = plan(RollbackModel(), target=WORKLOAD)
    action = found.actions[0]
    assert isinstance(action, RollbackWorkload)
    assert (action.revision, action.revision_uid) == (worlds.GOOD, "uid-r1")
    assert action.template_digest == "d1"
    assert action.template == worlds.GOOD_FACTS["template"]
    assert (action.uid, action.resource_version, action.from_revision) == ("uid-w", "7", "2")
    assert set(found.affected_pods) == set(worlds.PODS)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({WORKLOAD: {"api_kind": "Job"}}, "is a Job: only Deployment"),
        ({WORKLOAD: {"api_kind": "LeaderWorkerSet"}}, "is a LeaderWorkerSet"),
        ({WORKLOAD: {"strategy": "OnDelete"}}, "on deletion only"),
        ({WORKLOAD: {"managed_by": "inferenceservice/llama"}}, "made by inferenceservice/llama"),
        ({WORKLOAD: {"managed_by": "helm"}}, "helm rollback"),
        ({WORKLOAD: {"paused": True}}, "paused"),
        ({WORKLOAD: {"managed_by": "argocd"}}, "revert the change in the Git"),
        ({WORKLOAD: {"managed_by": "Flux"}}, "revert the change in the Git"),
        ({worlds.BAD: {"active": None}}, "revision is unknown"),
        ({worlds.GOOD: {"healthy_seen": None}}, "no older revision"),
        ({worlds.GOOD: {"template_digest": "d2"}}, "no older revision"),
        ({worlds.GOOD: {"template": None}}, "no older revision"),
        ({worlds.GOOD: {"number": 3}}, "no older revision"),
    ],
)
def test_a_template_that_would_not_help_is_not_put_back(
    facts: dict[Target, dict[str, Any]], why: str
) -> None:
    found = plan(RollbackModel(), facts, WORKLOAD)
    assert why in found.refused
    assert found.actions == ()


def test_an_escalation_names_its_reason_and_changes_nothing() -> None:
    found = plan(EscalateRemediation())
    assert isinstance(found.actions[0], Escalate)
    assert "engine_hang" in found.actions[0].reason
    assert found.risk is Risk.NONE


def test_an_escalation_says_why_the_diagnosis_abstained() -> None:
    doubt = builders.diagnosis(abstained="two causes tie")
    found = EscalateRemediation().plan(
        worlds.incident(diagnosis=doubt), worlds.hypothesis(), worlds.topology(), builders.NOW
    )
    assert "two causes tie" in found.summary


@pytest.mark.parametrize("made", [RestartPod(), CordonNodeRemediation(), DrainNode(), Scale()])
def test_the_same_case_gives_the_same_plan(made: Remediation) -> None:
    target = WORKLOAD if isinstance(made, Scale) else NODE
    assert plan(made, target=target) == plan(made, target=target)
    assert plan(made, target=target).id == plan(made, target=target).id
