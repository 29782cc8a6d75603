"""Where a pod may run is a fact, so that room is looked for where it may be found."""

from __future__ import annotations

from typing import Any

from healer.adapters.kubernetes.topology_builder import pod_entity
from healer.guards.fit import Need, unplaced
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

TERMS = [{"matchExpressions": [{"key": "gpu", "operator": "In", "values": ["h200"]}]}]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def facts(name: str = "a", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "serving", "uid": f"uid-{name}"}
    return dict(pod_entity({"metadata": meta, "spec": spec, "status": {}}).facts)


def test_what_a_pod_asks_of_its_node_is_known() -> None:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": TERMS}}}
    taint = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    found = facts(nodeSelector={"zone": "a"}, affinity=affinity, tolerations=taint)
    assert found["node_selector"] == {"zone": "a"}
    assert found["node_affinity"] == TERMS
    assert found["tolerations"] == taint


def test_a_pod_that_asks_for_nothing_tolerates_nothing() -> None:
    found = facts(affinity=None)
    assert found["tolerations"] == []
    assert "node_selector" not in found
    assert "node_affinity" not in found


def test_pods_of_one_kind_share_what_they_ask() -> None:
    one, other = (facts(name, nodeSelector={"zone": "a"}) for name in ("a", "b"))
    assert one["node_selector"] is other["node_selector"]


def test_a_node_whose_taint_it_does_not_tolerate_is_no_room_for_it() -> None:
    node = Target(Kind.NODE, "n1")
    known = {"ready": True, "gpus_allocatable": 8, "taints": [{"key": "a", "effect": "NoSchedule"}]}
    topology = Topology({node: Entity(node, facts=known)})
    assert unplaced([Need(1, facts())], topology) == 1
    assert unplaced([Need(1, facts(tolerations=[{"operator": "Exists"}]))], topology) == 0
