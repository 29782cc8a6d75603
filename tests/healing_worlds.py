"""A small serving fleet as a topology, and what else the deciding half of the loop looks at."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np

from healer.model.hypothesis import Hypothesis, Side, Term
from healer.model.incident import Incident
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import Case
from healer.settings import Arming, Mode, RemediationSettings

WORKLOAD = builders.workload()
NODES = tuple(builders.node(f"gpu-node-{n}", f"uid-n{n}") for n in range(1, 5))
PODS = tuple(builders.pod(f"llama-8b-{n}", uid=f"uid-p{n}") for n in range(1, 5))
GOOD = Target(Kind.REVISION, "llama-8b-rs1", "serving", "uid-r1")
BAD = Target(Kind.REVISION, "llama-8b-rs2", "serving", "uid-r2")

WORKLOAD_FACTS: dict[str, Any] = {
    "api_kind": "Deployment",
    "replicas": 4,
    "ready_replicas": 4,
    "updated_replicas": 4,
    "available_replicas": 4,
    "generation": 3,
    "observed_generation": 3,
}
POD_FACTS: dict[str, Any] = {"phase": "Running", "ready": True, "gpus_requested": 1}
NODE_FACTS: dict[str, Any] = {
    "ready": True,
    "unschedulable": False,
    "pool": "h200",
    "gpus_capacity": 4,
    "gpus_allocatable": 4,
}
BAD_FACTS: dict[str, Any] = {"number": 2, "template_digest": "d2", "active": True}
GOOD_FACTS: dict[str, Any] = {
    "number": 1,
    "template_digest": "d1",
    "healthy_seen": True,
    "template": {"spec": {"containers": [{"name": "vllm", "image": "vllm:good"}]}},
}


def topology(facts: dict[Target, dict[str, Any]] | None = None, **changes: Any) -> Topology:
    """Four pods of one Deployment, one on each of four nodes of four GPUs.

    `facts` are laid over those of the targets named; a fact None is absent.
    """
    given: dict[Target, dict[str, Any]] = {WORKLOAD: WORKLOAD_FACTS}
    given |= {BAD: BAD_FACTS, GOOD: GOOD_FACTS}
    given |= dict.fromkeys(PODS, POD_FACTS) | dict.fromkeys(NODES, NODE_FACTS)
    edges = {(pod, node) for pod, node in zip(PODS, NODES, strict=True)}
    edges |= {(pod, BAD) for pod in PODS} | {(BAD, WORKLOAD), (GOOD, WORKLOAD)}
    laid = {
        t: {k: v for k, v in (own | (facts or {}).get(t, {})).items() if v is not None}
        for t, own in given.items()
    }
    entities = {t: Entity(t, resource_version="7", facts=own) for t, own in laid.items()}
    return Topology(**({"entities": entities, "edges": frozenset(edges)} | changes))


def marked(world: Topology, target: Target, **annotations: str) -> Topology:
    entity = world.entities[target]
    changed = Entity(target, entity.labels, annotations, facts=entity.facts)
    return Topology({**world.entities, target: changed}, world.edges, complete=world.complete)


def hypothesis(cause: str = "engine_hang", **changes: Any) -> Hypothesis:
    terms = (
        Term("low(gpu_power)", Side.FOR, 2.0, "power 92 W", family="physics", source="gpu_power"),
        Term("stall", Side.FOR, 1.0, "no tokens", family="engine", source="generation_tokens"),
    )
    given: dict[str, Any] = {"target": PODS[0], "terms": terms}
    return builders.hypothesis(cause, **(given | changes))


def incident(cause: str = "engine_hang", **changes: Any) -> Incident:
    """Open, and diagnosed long enough ago to act on."""
    leader = hypothesis(cause, **changes.pop("leader", {}))
    known = builders.diagnosis(leader, leading_since=builders.at(-60))
    given: dict[str, Any] = {
        "diagnosis": known,
        "targets": (PODS[0],),
        "findings": (builders.finding(PODS[0]),),
    }
    return builders.incident(**(given | changes))


def snapshot(world: Topology | None = None, **changes: Any) -> Snapshot:
    """With fresh samples of what the hypothesis rests on, unless told otherwise."""
    cited = ("gpu_power", "generation_tokens")
    frames = {name: builders.frame(np.ones(60), (PODS[0],), name=name) for name in cited}
    given: dict[str, Any] = {"now": builders.NOW, "topology": world or topology(), "frames": frames}
    return Snapshot(**(given | changes))


def case(world: Topology | None = None, **changes: Any) -> Case:
    given: dict[str, Any] = {
        "now": builders.NOW,
        "incident": incident(),
        "hypothesis": hypothesis(),
        "snapshot": snapshot(world),
        "history": (),
    }
    return Case(**(given | changes))


def armed(**changes: Any) -> RemediationSettings:
    """Everything may act everywhere without asking."""
    names = ("restart_pod", "cordon_node", "drain_node", "scale", "rollback_model")
    arm = {name: Arming(Mode.ENFORCE, ("*",), approval=False) for name in names}
    given: dict[str, Any] = {"mode": Mode.ENFORCE, "arm": arm}
    return RemediationSettings(**(given | changes))
