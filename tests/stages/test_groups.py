"""Ranks of one tensor-parallel replica, over several pods, nodes and racks."""

from __future__ import annotations

import builders
import pytest

from healer.adapters.kubernetes.topology_builder import Lists, build
from healer.model.event import Event
from healer.model.finding import Finding
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import KubernetesSettings, LoopSettings
from healer.stages.correlate import correlate
from healer.stages.evidence.relations import related
from healer.stages.evidence.sight import Scene, Sight

LWS = "leaderworkerset.sigs.k8s.io"
SET = Target(Kind.WORKLOAD, "leaderworkerset/big", "serving")


def pod(called: str, node: str, /, **labels: str) -> Entity:
    marks = {f"{LWS}/{key.replace('_', '-')}": value for key, value in labels.items()}
    return Entity(builders.pod(called, uid=called), marks, facts={"node": node, "ready": True})


def rack(name: str) -> dict[str, object]:
    labels = {KubernetesSettings().rack_label: name}
    return {"metadata": {"name": f"node-{name}", "uid": name, "labels": labels}}


def topology(*pods: Entity, listed: bool = True) -> Topology:
    made = {
        "metadata": {"name": "big", "namespace": "serving", "uid": "u"},
        "spec": {"replicas": 2, "leaderWorkerTemplate": {"size": 2}},
    }
    lists = Lists(
        pods={each.target: each for each in pods},
        nodes=(rack("a"), rack("b"), rack("c"), rack("d")),
        workloads={"LeaderWorkerSet": (made,)} if listed else {},
    )
    return build(lists, KubernetesSettings())


PODS = (
    pod("big-0", "node-a", name="big", group_index="0", worker_index="0"),
    pod("big-0-1", "node-b", name="big", group_index="0", worker_index="1"),
    pod("big-1", "node-c", name="big", group_index="1", worker_index="0"),
    pod("big-1-1", "node-d", name="big", group_index="1", worker_index="1"),
)


def names(found: tuple[Target, ...]) -> list[str]:
    return sorted(each.name for each in found)


def test_the_pods_of_one_group_are_one_replica_over_two_racks():
    seen = topology(*PODS)
    group = Target(Kind.GROUP, "big-0", "serving")

    assert seen.related(PODS[1].target, Kind.GROUP) == (group,)
    assert names(seen.related(group, Kind.POD)) == ["big-0", "big-0-1"]
    assert names(seen.related(group, Kind.RACK)) == []
    assert seen.related(group, Kind.WORKLOAD) == (SET,)
    assert names(seen.related(SET, Kind.GROUP)) == ["big-0", "big-1"]
    assert names(seen.related(SET, Kind.POD)) == [p.target.name for p in PODS]


@pytest.mark.parametrize("relation", ["siblings", "others"])
def test_a_rank_is_compared_with_other_replicas_and_not_with_its_own(relation):
    scene = Scene(Sight(Snapshot(builders.NOW, {}, (), topology(*PODS))), builders.incident())

    assert names(related(scene, relation, (PODS[1].target,))) == ["big-1", "big-1-1"]
    group = Target(Kind.GROUP, "big-0", "serving")
    assert names(related(scene, "siblings", (group,))) == ["big-1"]
    assert names(related(scene, "nodes", (group,))) == ["node-a", "node-b"]
    assert names(related(scene, "rack", (group,))) == ["a", "b"]


def test_a_pod_that_does_not_say_its_group_is_of_an_unknown_one():
    odd = pod("big-9", "node-a", name="big")
    seen = topology(*PODS, odd, pod("alone", "node-a"))

    assert seen.related(odd.target, Kind.GROUP) == ()
    assert seen.related(odd.target, Kind.WORKLOAD) == (SET,)
    assert seen.related(builders.pod("alone"), Kind.GROUP) == ()


def test_a_group_of_a_set_that_was_not_listed_has_no_invented_workload():
    seen = topology(*PODS, listed=False)

    assert names(seen.related(PODS[0].target, Kind.GROUP)) == ["big-0"]
    assert seen.related(PODS[0].target, Kind.WORKLOAD) == ()
    assert SET not in seen.entities


def test_a_fault_of_one_rank_and_the_silence_of_the_other_are_one_incident():
    seen = topology(*PODS, listed=False)
    findings: tuple[Finding, ...] = (
        builders.finding(PODS[0].target, signal="generation_tokens"),
        builders.finding(PODS[1].target, signal="ttft_p95"),
        builders.finding(PODS[3].target, signal="ttft_p95"),
    )
    events: tuple[Event, ...] = ()
    numbers = iter(range(9))
    found = correlate(
        (),
        findings,
        Snapshot(builders.NOW, {}, events, seen),
        LoopSettings(),
        lambda _: f"inc-{next(numbers)}",
    )

    assert sorted(names(i.targets) for i in found) == [["big-0", "big-0-1"], ["big-1-1"]]
