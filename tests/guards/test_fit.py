"""Room is where the scheduler would find it: on one node, that admits the pod, after the queue."""

from __future__ import annotations

from typing import Any

import builders
import healing_worlds as worlds
import numpy as np
import pytest

from healer.guards.capacity import Capacity
from healer.guards.fit import Need, unplaced
from healer.model.actions import CordonNode, EvictPod, ScaleWorkload
from healer.model.plan import Plan
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.model.verdict import Decision

TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
SOFT = TAINT | {"effect": "PreferNoSchedule"}


ON_N1 = {"key": "metadata.name", "operator": "In", "values": ["n1"]}


def affinity(key: str, operator: str, *values: str) -> list[dict[str, Any]]:
    return [{"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}]


def nodes(*gpus: int, **facts: Any) -> Topology:
    found = {}
    for number, count in enumerate(gpus):
        target = Target(Kind.NODE, f"n{number}", uid=f"uid-n{number}")
        given = {"ready": True, "gpus_capacity": count, "gpus_allocatable": count} | facts
        found[target] = Entity(target, {"zone": f"z{number}"}, facts=given)
    return Topology(found)


def waiting(world: Topology, gpus: int, **facts: Any) -> Topology:
    pod = builders.pod("waits", uid="uid-w")
    given = {"phase": "Pending", "gpus_requested": gpus} | facts
    return Topology({**world.entities, pod: Entity(pod, facts=given)}, world.edges)


@pytest.mark.parametrize(
    ("wants", "has", "left"),
    [
        ([4, 2, 2], [4, 4], 0),
        ([8], [4, 4], 1),
        ([3, 3, 2], [4, 4], 1),
        ([1], [], 1),
        ([2, 4], [2, 4], 0),
    ],
)
def test_room_is_found_by_packing_not_by_sums(wants: list[int], has: list[int], left: int) -> None:
    assert unplaced([Need(gpus) for gpus in wants], nodes(*has)) == left


@pytest.mark.parametrize(
    ("pod", "left"),
    [
        ({"node_selector": {"zone": "z1"}}, 0),
        ({"node_selector": {"zone": "z9"}}, 1),
        ({"node_affinity": affinity("zone", "In", "z0")}, 1),
        ({"node_affinity": affinity("zone", "NotIn", "z0")}, 0),
        ({"node_affinity": affinity("zone", "Near", "z1")}, 1),
        ({"node_affinity": affinity("zone", "Exists")}, 0),
        ({"node_affinity": [{"matchFields": [ON_N1]}]}, 0),
        ({"node_affinity": [{}]}, 1),
    ],
)
def test_selectors_and_required_affinity_narrow_the_room(pod: dict[str, Any], left: int) -> None:
    """Only n1 has a GPU free."""
    assert unplaced([Need(1, pod)], nodes(0, 1)) == left


@pytest.mark.parametrize(
    ("tolerations", "taint", "left"),
    [
        (None, TAINT, 0),
        ([], TAINT, 1),
        ([], SOFT, 0),
        ([{"operator": "Exists"}], TAINT, 0),
        ([{"key": "nvidia.com/gpu", "operator": "Exists"}], TAINT, 0),
        ([{"key": "nvidia.com/gpu", "value": "present"}], TAINT, 0),
        ([{"key": "nvidia.com/gpu", "value": "absent"}], TAINT, 1),
        ([{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}], TAINT, 1),
    ],
)
def test_taints_keep_out_what_does_not_tolerate_them(
    tolerations: list[dict[str, str]] | None, taint: dict[str, str], left: int
) -> None:
    pod = {} if tolerations is None else {"tolerations": tolerations}
    assert unplaced([Need(1, pod)], nodes(1, taints=[taint])) == left


def test_pods_that_wait_already_come_first() -> None:
    assert unplaced([Need(1)], nodes(2)) == 0
    assert unplaced([Need(1)], waiting(nodes(2), 2)) == 1
    assert unplaced([Need(1)], waiting(nodes(2), 8)) == 0, "that one takes no place anywhere"
    assert unplaced([Need(1)], waiting(nodes(2), 2, terminating=True)) == 0


def drain() -> Plan:
    node, pod = worlds.NODES[0], worlds.PODS[0]
    actions = (CordonNode(node, node.uid, "7"), EvictPod(pod, worlds.WORKLOAD, pod.uid))
    return builders.plan(
        remediation="drain_node", target=node, actions=actions, affected_pods=(pod,)
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [(0.5, Decision.ALLOW), (0.7, Decision.ALLOW), (0.8, Decision.DEFER), (np.nan, Decision.ALLOW)],
)
def test_those_who_stay_have_to_carry_the_load(usage: float, expected: Decision) -> None:
    frame = builders.frame(np.full((4, 8), usage), worlds.PODS, name="kv_usage")
    case = worlds.case(snapshot=worlds.snapshot(frames={"kv_usage": frame}))
    verdict = Capacity().judge(drain(), case)
    assert verdict.decision is expected, verdict


def test_a_pod_that_serves_nothing_takes_no_load_with_it() -> None:
    frame = builders.frame(np.full((4, 8), 0.8), worlds.PODS, name="kv_usage")
    world = worlds.topology({worlds.PODS[0]: {"ready": False}})
    case = worlds.case(snapshot=worlds.snapshot(world, frames={"kv_usage": frame}))
    assert Capacity().judge(drain(), case).decision is Decision.ALLOW


def test_a_drained_pod_of_unknown_size_is_not_moved() -> None:
    world = worlds.topology({worlds.PODS[0]: {"gpus_requested": None}})
    assert Capacity().judge(drain(), worlds.case(world)).decision is Decision.DEFER


def test_a_scale_up_counts_the_queue_too() -> None:
    action = ScaleWorkload(worlds.WORKLOAD, 5, 4, "uid-w")
    plan = builders.plan(remediation="scale", target=worlds.WORKLOAD, actions=(action,))
    tight = {n: {"gpus_allocatable": 1} for n in worlds.NODES[1:]}
    world = worlds.topology({worlds.NODES[0]: {"gpus_allocatable": 2}, **tight})
    assert Capacity().judge(plan, worlds.case(world)).decision is Decision.ALLOW
    verdict = Capacity().judge(plan, worlds.case(waiting(world, 1)))
    assert verdict.decision is Decision.DENY
    assert "no room for 1 of 1 more replicas" in verdict.reasons[0]
