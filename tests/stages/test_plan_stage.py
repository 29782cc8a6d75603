"""The next rung for one incident, nothing, or a person."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.model.incident import Incident, Phase, Severity
from healer.model.intent import Intent, Receipt, State
from healer.model.plan import Plan
from healer.settings import RemediationSettings
from healer.stages.plan import plan
from remediations.escalate import EscalateRemediation
from remediations.restart_pod import RestartPod
from remediations.scale import Scale

REMEDIATIONS = {
    "restart_pod": RestartPod(),
    "scale": Scale(),
    "escalate": EscalateRemediation(),
}
BOTH = {"proposes": ("restart_pod", "scale")}


def wanted(incident: Incident, *history: Intent, **seen: Any) -> Plan | None:
    return plan(incident, worlds.snapshot(**seen), REMEDIATIONS, history, RemediationSettings())


def before(state: State, remediation: str = "restart_pod", **changes: Any) -> Intent:
    made = builders.plan(remediation=remediation)
    return builders.intent(state, plan=made, updated_at=builders.at(-60), **changes)


def test_a_settled_diagnosis_gets_its_first_rung() -> None:
    found = wanted(worlds.incident())
    assert found is not None
    assert (found.remediation, found.rung) == ("restart_pod", 0)


@pytest.mark.parametrize("cause", ["no_fault", "telemetry_fault"])
def test_innocent_causes_call_for_nothing(cause: str) -> None:
    assert wanted(worlds.incident(cause)) is None


@pytest.mark.parametrize(
    "changes",
    [{"quiet_since": builders.NOW}, {"phase": Phase.RESOLVED}, {"diagnosis": None}],
)
def test_what_is_quiet_ended_or_unexplained_is_left_alone(changes: dict[str, Any]) -> None:
    assert wanted(worlds.incident(**changes)) is None


def test_a_leader_that_leads_since_a_moment_is_not_acted_on() -> None:
    young = builders.diagnosis(worlds.hypothesis(), leading_since=builders.at(-29))
    assert wanted(worlds.incident(diagnosis=young)) is None


@pytest.mark.parametrize(
    "state", [State.PLANNED, State.APPROVED, State.EXECUTING, State.VERIFYING, State.REHEARSED]
)
def test_one_plan_of_an_incident_at_a_time(state: State) -> None:
    assert wanted(worlds.incident(), before(state)) is None


def test_a_verified_failure_climbs_one_rung() -> None:
    found = wanted(worlds.incident(leader=BOTH), before(State.FAILED))
    assert found is not None
    assert (found.remediation, found.rung) == ("scale", 1)


def test_after_a_success_the_incident_rests() -> None:
    assert wanted(worlds.incident(leader=BOTH), before(State.SUCCEEDED)) is None


def test_a_refusal_climbs_on_and_is_told_when_nothing_is_left() -> None:
    bare = worlds.topology({worlds.PODS[0]: {"bare": True}})
    found = wanted(worlds.incident(leader=BOTH), topology=bare)
    assert found is not None
    assert found.remediation == "scale"
    asked = wanted(worlds.incident(), topology=bare)
    assert asked is not None
    assert asked.remediation == "escalate"
    assert "no controller" in asked.summary


def test_a_person_is_asked_once_for_a_cause_and_not_for_what_is_only_shown() -> None:
    tried = before(State.FAILED)
    assert wanted(worlds.incident(), tried, before(State.SUCCEEDED, "escalate")) is None
    assert wanted(worlds.incident(severity=Severity.INFO), tried) is None
    found = wanted(worlds.incident(), tried)
    assert found is not None
    assert found.remediation == "escalate"


def test_young_doubt_is_given_time_and_old_doubt_goes_to_a_person() -> None:
    unsure = builders.diagnosis(
        worlds.hypothesis(), abstained="two causes tie", leading_since=builders.at(-60)
    )
    assert wanted(worlds.incident(diagnosis=unsure)) is None
    old = dataclasses.replace(unsure, leading_since=builders.NOW - timedelta(minutes=3))
    found = wanted(worlds.incident(diagnosis=old))
    assert found is not None
    assert "two causes tie" in found.summary


def held(seconds_ago: float, number: int = 1) -> Intent:
    made = builders.plan(remediation="restart_pod", attempt=number)
    return builders.intent(
        State.ABORTED, plan=made, updated_at=builders.at(-seconds_ago), note="capacity: no room"
    )


def test_what_the_guards_held_back_leads_to_a_person_and_to_nothing_stronger() -> None:
    found = wanted(worlds.incident(leader=BOTH), held(30))
    assert found is not None
    assert found.remediation == "escalate"
    assert "no room" in found.summary


def test_what_the_guards_held_back_is_planned_anew_after_a_while_and_not_for_ever() -> None:
    asked = before(State.SUCCEEDED, "escalate")
    anew = wanted(worlds.incident(leader=BOTH), asked, held(3600))
    assert anew is not None
    assert (anew.remediation, anew.attempt, anew.rung) == ("restart_pod", 2, 0)
    often = [held(9000, 1), held(6000, 2), held(3600, 3)]
    assert wanted(worlds.incident(leader=BOTH), asked, *often) is None


def test_a_containment_is_followed_by_what_the_rule_says_heals() -> None:
    rungs = {"proposes": ("cordon_node", "restart_pod")}
    found = wanted(worlds.incident(leader=rungs), before(State.SUCCEEDED, "cordon_node"))
    assert found is not None
    assert (found.remediation, found.rung) == ("restart_pod", 1)
    last = {"proposes": ("cordon_node",)}
    assert wanted(worlds.incident(leader=last), before(State.SUCCEEDED, "cordon_node")) is None


def test_a_target_that_was_another_by_then_is_no_failure_of_the_remediation() -> None:
    gone = Receipt(False, builders.at(-3600), "not found", gone=True)
    aborted = held(3600)
    step = dataclasses.replace(aborted.steps[0], sent_at=builders.at(-3600), receipt=gone, tries=1)
    again = wanted(worlds.incident(leader=BOTH), dataclasses.replace(aborted, steps=(step,)))
    assert again is not None
    assert (again.remediation, again.rung, again.attempt) == ("restart_pod", 0, 2)
    lost = dataclasses.replace(step, receipt=None)
    after = wanted(worlds.incident(leader=BOTH), dataclasses.replace(aborted, steps=(lost,)))
    assert after is None or after.remediation != "restart_pod"


EVERYBODY = tuple(pod.uid for pod in worlds.PODS)


def test_a_second_replica_that_fails_while_the_first_is_replaced_gets_a_repair_of_its_own() -> None:
    other = BOTH | {"target": worlds.PODS[2], "onset": builders.at(-90)}
    mended = before(State.SUCCEEDED, created_at=builders.at(-150), pods_before=EVERYBODY)
    found = wanted(worlds.incident(leader=other), mended)
    assert found is not None
    assert (found.remediation, found.target, found.rung) == ("restart_pod", worlds.PODS[2], 0)
    failed = dataclasses.replace(mended, state=State.FAILED)
    again = wanted(worlds.incident(leader=other), failed)
    assert again is not None
    assert again.remediation == "restart_pod"


def test_what_failed_already_before_the_repair_or_came_from_it_is_not_apart() -> None:
    mended = before(State.SUCCEEDED, created_at=builders.at(-150), pods_before=EVERYBODY)
    early = BOTH | {"target": worlds.PODS[2], "onset": builders.at(-200)}
    assert wanted(worlds.incident(leader=early), mended) is None
    late = BOTH | {"target": worlds.PODS[2], "onset": builders.at(-90)}
    came = dataclasses.replace(mended, pods_before=EVERYBODY[:2])
    assert wanted(worlds.incident(leader=late), came) is None


def test_replicas_that_fail_one_after_another_for_ever_are_no_coincidence() -> None:
    other = BOTH | {"target": worlds.PODS[2], "onset": builders.at(-90)}
    mended = before(
        State.SUCCEEDED,
        created_at=builders.at(-150),
        executed_at=builders.at(-140),
        pods_before=EVERYBODY,
    )
    assert wanted(worlds.incident(leader=other), mended, mended) is not None
    assert wanted(worlds.incident(leader=other), mended, mended, mended) is None


def test_what_a_repair_has_ended_is_not_treated_once_more_under_another_name() -> None:
    long_ago = {"updated_at": builders.at(-7200), "created_at": builders.at(-7260)}
    rolled = builders.plan(remediation="rollback_model", cause="bad_revision")
    healed = builders.intent(State.SUCCEEDED, plan=rolled, **long_ago)
    before_it = BOTH | {"onset": builders.at(-7400)}
    found = wanted(worlds.incident(leader=before_it), healed)
    assert found is not None
    assert found.remediation == "escalate"
    since = wanted(worlds.incident(leader=BOTH | {"onset": builders.at(-90)}), healed)
    assert since is not None
    assert since.remediation == "restart_pod"
