"""What a run comes to: incidents, repairs and the truth put side by side."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import builders

from healer.lab.lab import Lab
from healer.lab.scenario import Expectation, FaultSpec, Scenario
from healer.lab.scoring import Observed, score
from healer.lab.world import Broken
from healer.model.actions import CordonNode
from healer.model.audit import AuditEntry
from healer.model.hypothesis import Hypothesis
from healer.model.incident import Incident
from healer.model.intent import Intent, State
from healer.model.target import Kind, Target

GPU = Target(Kind.GPU, "GPU-1")
POD = builders.pod()
LOST = builders.hypothesis("gpu_off_bus", target=GPU)
HANG = builders.hypothesis("engine_hang", target=POD)


class Healed:
    def healed(self, _world: object, _what: str) -> bool:
        return True


def broken(name: str, seconds: float) -> Broken:
    spec = FaultSpec(name, timedelta(0))
    return Broken(spec, cast("Any", Healed()), name, builders.at(seconds))


def lab(*faults: Broken) -> Lab:
    world = SimpleNamespace(broken=list(faults), service=[(builders.at(600), True)])
    return cast("Lab", SimpleNamespace(world=world, write_log=[], now=builders.at(600)))


TWO = Scenario(
    "two",
    start=builders.at(-60),
    faults=(FaultSpec("gpu_off_bus", timedelta(0)), FaultSpec("engine_hang", timedelta(0))),
    expect=(
        Expectation(("gpu_off_bus",), ("gpu:*",), ("drain_node",), fault="gpu_off_bus"),
        Expectation(("engine_hang",), ("pod:*",), ("restart_pod",), fault="engine_hang"),
    ),
)


def repair(cause: str, remediation: str, seconds: float) -> Intent:
    plan = builders.plan(
        cause=cause,
        remediation=remediation,
        target=builders.node(),
        actions=(CordonNode(builders.node(), "u", "1"),),
        confidence=0.9,
    )
    at = builders.at(seconds)
    made: Intent = builders.intent(State.SUCCEEDED, plan=plan, created_at=at, executed_at=at)
    return made


def diagnosed(leader: Hypothesis, seconds: float) -> AuditEntry:
    said = f"{leader.cause} on {leader.target}"
    return AuditEntry(
        "incident.diagnosed", builders.at(seconds), "healer", incident_id="inc-1", message=said
    )


def incident(leader: Hypothesis, opened: float) -> Incident:
    made: Incident = builders.incident(
        opened_at=builders.at(opened),
        findings=(builders.finding(since=builders.at(300)),),
        diagnosis=builders.diagnosis(leader),
    )
    return dataclasses.replace(made, acted_on=made.diagnosis)


def test_one_incident_that_held_two_faults_one_after_another_may_be_right_about_both() -> None:
    faults = (broken("gpu_off_bus", 0), broken("engine_hang", 240))
    seen = Observed(
        [incident(HANG, 15)],
        [repair("gpu_off_bus", "drain_node", 60), repair("engine_hang", "restart_pod", 400)],
        [diagnosed(LOST, 30), diagnosed(HANG, 390)],
    )
    lost, hang = score(TWO, lab(*faults), seen)["faults"]
    assert (lost["diagnosis"], lost["action"], lost["right_action"]) == (
        "gpu_off_bus",
        "drain_node",
        True,
    )
    assert lost["hypotheses"][0] == {
        "cause": "gpu_off_bus",
        "target": str(GPU),
        "confidence": 0.9,
    }
    assert (hang["diagnosis"], hang["action"], hang["right_action"]) == (
        "engine_hang",
        "restart_pod",
        True,
    )


def test_what_an_incident_was_only_thought_to_be_for_a_while_is_not_its_diagnosis() -> None:
    seen = Observed([incident(HANG, 15)], [], [diagnosed(LOST, 30), diagnosed(HANG, 390)])
    lost, _ = score(TWO, lab(broken("gpu_off_bus", 0), broken("engine_hang", 240)), seen)["faults"]
    assert not lost["right_cause"]


def test_a_repair_by_the_wrong_remediation_is_not_the_right_action() -> None:
    seen = Observed(
        [incident(LOST, 15)],
        [repair("gpu_off_bus", "restart_pod", 60)],
        [diagnosed(LOST, 30)],
    )
    lost, _ = score(TWO, lab(broken("gpu_off_bus", 0), broken("engine_hang", 240)), seen)["faults"]
    assert lost["right_cause"]
    assert not lost["right_action"]
