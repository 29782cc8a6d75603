"""What each guard lets through and what it refuses; whatever it cannot read, it refuses."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import builders
import healing_worlds as worlds
import numpy as np
import pytest

from healer.guards import standard
from healer.guards.approval import Approval
from healer.guards.blast_radius import BlastRadius
from healer.guards.breaker import Breaker, open_breakers
from healer.guards.capacity import Capacity
from healer.guards.conflicts import Conflicts
from healer.guards.cooldown import Cooldown
from healer.guards.freeze import FreezeGuard
from healer.guards.fresh_evidence import FreshEvidence
from healer.guards.kill_switch import KillSwitch
from healer.guards.ladder import Ladder
from healer.guards.locks import Locks
from healer.guards.mode import ModeGuard
from healer.guards.rate import Rate
from healer.guards.scope import Scope
from healer.guards.storm import Storm
from healer.model.actions import CordonNode, Escalate, EvictPod, RollbackWorkload, ScaleWorkload
from healer.model.hypothesis import Side, Term
from healer.model.intent import Intent, Receipt, State, Step
from healer.model.plan import Plan, Risk
from healer.model.target import Kind, Target
from healer.model.verdict import Decision, Verdict
from healer.ports import Case, Guard
from healer.settings import Arming, Freeze, Mode, RemediationSettings
from healer.stages.guard import judge

ALLOW, OBSERVE, APPROVE, DEFER, DENY = Decision
POD, NODE, WORKLOAD = worlds.PODS[0], worlds.NODES[0], worlds.WORKLOAD
ARMED = worlds.armed()


def restart(pod: Target = POD, **changes: Any) -> Plan:
    action = EvictPod(pod, WORKLOAD, pod.uid)
    given: dict[str, Any] = {"target": pod, "actions": (action,), "affected_pods": (pod,)}
    return builders.plan(**(given | changes))


def cordon(node: Target = NODE, **changes: Any) -> Plan:
    given: dict[str, Any] = {
        "remediation": "cordon_node",
        "target": node,
        "actions": (CordonNode(node, node.uid, "7"),),
    }
    return builders.plan(**(given | changes))


def drain(node: Target = NODE, pod: Target = POD) -> Plan:
    actions = (CordonNode(node, node.uid, "7"), EvictPod(pod, WORKLOAD, pod.uid))
    return cordon(node, remediation="drain_node", actions=actions, affected_pods=(pod,))


def scale(replicas: int = 6) -> Plan:
    action = ScaleWorkload(WORKLOAD, replicas, 4, "uid-w")
    return builders.plan(remediation="scale", target=WORKLOAD, actions=(action,))


def rollback() -> Plan:
    action = RollbackWorkload(WORKLOAD, worlds.GOOD, "uid-r1", "d1", {}, uid="uid-w")
    return builders.plan(remediation="rollback_model", target=WORKLOAD, actions=(action,))


def sent(wanted: Plan, state: State, ago: timedelta = timedelta(minutes=1), **step: Any) -> Intent:
    """`wanted` as it was carried out `ago`."""
    when = builders.NOW - ago
    given: dict[str, Any] = {"sent_at": when, "receipt": Receipt(True, when), "tries": 1}
    steps = tuple(Step(action, **(given | step)) for action in wanted.actions)
    made = builders.intent(state, plan=wanted, created_at=when, updated_at=when)
    return dataclasses.replace(made, steps=steps)


def decision(guard: Guard, plan: Plan, case: Case | None = None) -> Decision:
    return guard.judge(plan, case or worlds.case()).decision


def test_the_fifteen_guards_are_asked_in_their_order() -> None:
    assert [type(g).__name__ for g in standard(ARMED)] == [
        "KillSwitch",
        "ModeGuard",
        "Scope",
        "FreshEvidence",
        "Conflicts",
        "FreezeGuard",
        "Locks",
        "Rate",
        "Cooldown",
        "BlastRadius",
        "Storm",
        "Breaker",
        "Capacity",
        "Approval",
        "Ladder",
    ]


@pytest.mark.parametrize("plan", [restart(), cordon(), drain(), scale(), rollback()])
def test_a_healthy_fleet_lets_every_kind_of_plan_through(plan: Plan) -> None:
    found = judge(plan, worlds.case(), standard(ARMED))
    assert found.decision is ALLOW, found.reasons


def test_with_the_defaults_nothing_is_carried_out() -> None:
    found = judge(restart(), worlds.case(), standard(RemediationSettings()))
    assert found.decision is OBSERVE


# ----------------------------------------------------------------- switch, mode, scope


def test_a_pulled_switch_lets_nothing_new_start() -> None:
    pulled = worlds.case(switched_off="maintenance")
    verdict = KillSwitch().judge(restart(), pulled)
    assert verdict.decision is DEFER
    assert "maintenance" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("arming", "plan", "expected"),
    [
        (Arming(Mode.ENFORCE, ("serving",)), restart(), ALLOW),
        (Arming(Mode.ENFORCE, ("*",)), restart(), ALLOW),
        (Arming(Mode.ENFORCE, ("other",)), restart(), OBSERVE),
        (Arming(Mode.ENFORCE, ()), restart(), OBSERVE),
        (Arming(Mode.OBSERVE, ("*",)), restart(), OBSERVE),
        (Arming(Mode.ENFORCE, ("*",)), scale(), OBSERVE),
    ],
)
def test_a_remediation_acts_only_where_it_is_armed(
    arming: Arming, plan: Plan, expected: Decision
) -> None:
    settings = RemediationSettings(mode=Mode.ENFORCE, arm={"restart_pod": arming})
    assert decision(ModeGuard(settings), plan) is expected


def test_observe_is_a_ceiling_over_whatever_is_armed() -> None:
    assert decision(ModeGuard(worlds.armed(mode=Mode.OBSERVE)), restart()) is OBSERVE


def test_a_drain_is_armed_only_where_all_its_pods_are() -> None:
    settings = worlds.armed(arm={"drain_node": Arming(Mode.ENFORCE, ("other",))})
    assert decision(ModeGuard(settings), drain()) is OBSERVE


def test_a_node_action_needs_some_arming() -> None:
    settings = worlds.armed(arm={"cordon_node": Arming(Mode.ENFORCE, ())})
    assert decision(ModeGuard(settings), cordon()) is OBSERVE


def test_a_forbidden_namespace_is_never_touched() -> None:
    settings = worlds.armed(deny_namespaces=("serving",))
    assert decision(Scope(settings), restart()) is DENY
    assert decision(Scope(settings), drain()) is DENY
    assert decision(Scope(settings), cordon()) is ALLOW


@pytest.mark.parametrize("marked", [POD, WORKLOAD])
def test_an_opt_out_anywhere_in_the_owner_chain_wins(marked: Target) -> None:
    world = worlds.marked(worlds.topology(), marked, **{"healer.dev/ignore": "True"})
    assert decision(Scope(ARMED), restart(), worlds.case(world)) is DENY
    assert decision(Scope(ARMED), drain(), worlds.case(world)) is DENY


def test_an_opt_out_that_says_false_is_none() -> None:
    world = worlds.marked(worlds.topology(), POD, **{"healer.dev/ignore": "false"})
    assert decision(Scope(ARMED), restart(), worlds.case(world)) is ALLOW


# ----------------------------------------------------------------- evidence, conflicts


@pytest.mark.parametrize("blind", [{"metrics_ok": False}, {"cluster_ok": False}])
def test_a_world_that_cannot_be_seen_is_not_acted_on(blind: dict[str, Any]) -> None:
    blinded = worlds.case(snapshot=worlds.snapshot(**blind))
    assert decision(FreshEvidence(ARMED), restart(), blinded) is DEFER
    assert decision(FreshEvidence(ARMED), restart(compensates="x"), blinded) is DEFER


def test_an_incomplete_topology_is_not_acted_on() -> None:
    partial = worlds.case(worlds.topology(complete=False))
    assert decision(FreshEvidence(ARMED), restart(), partial) is DEFER


def test_a_hypothesis_that_cites_nothing_is_not_acted_on() -> None:
    bare = worlds.case(hypothesis=worlds.hypothesis(terms=()))
    assert decision(FreshEvidence(ARMED), restart(), bare) is DEFER


def aged(**ages_s: float) -> Case:
    """The standard case, its signals so old; a signal that is not named has no samples at all."""
    frames = {}
    for name, age_s in ages_s.items():
        frame = builders.frame(np.ones(60), (POD,), name=name)
        frames[name] = dataclasses.replace(frame, times=frame.times - age_s)
    return worlds.case(snapshot=worlds.snapshot(frames=frames))


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ({"gpu_power": 0, "generation_tokens": 0}, ALLOW),
        ({"gpu_power": 600, "generation_tokens": 600}, DEFER),
        ({"gpu_power": 600, "generation_tokens": 0}, DEFER),
        ({"gpu_power": 0, "generation_tokens": 600}, DEFER),
        ({"gpu_power": 0}, DEFER),
        ({}, DEFER),
    ],
)
def test_all_that_carries_the_case_has_to_be_fresh(
    ages: dict[str, float], expected: Decision
) -> None:
    assert decision(FreshEvidence(ARMED), restart(), aged(**ages)) is expected


def with_terms(*more: Term, first: int = 2) -> Case:
    known = worlds.hypothesis()
    terms = (*known.terms[:first], *more)
    return worlds.case(hypothesis=dataclasses.replace(known, terms=terms))


def test_a_small_piece_of_evidence_may_be_old() -> None:
    small = Term("high(gpu_temp)", Side.FOR, 0.4, "81 C", family="heat", source="gpu_temp")
    assert decision(FreshEvidence(ARMED), restart(), with_terms(small)) is ALLOW
    large = dataclasses.replace(small, weight=1.5)
    assert decision(FreshEvidence(ARMED), restart(), with_terms(large)) is DEFER


def test_silence_that_was_seen_is_not_old_evidence() -> None:
    gone = Term("missing(gpu_temp)", Side.FOR, 3.0, "silent", family="heat", source="gpu_temp")
    assert decision(FreshEvidence(ARMED), restart(), with_terms(gone)) is ALLOW


def test_what_rules_say_beforehand_is_no_sign_of_a_node() -> None:
    prior = Term("prior", Side.FOR, -4.6, "0.01 before", "prior", source="rule")
    onset = Term("onset", Side.FOR, 0.5, "showed 30 s before", "onset", source="onset")
    assert decision(FreshEvidence(ARMED), cordon(), with_terms(prior, onset, first=1)) is DEFER
    assert decision(FreshEvidence(ARMED), cordon(), with_terms(prior, onset)) is ALLOW


def test_a_node_needs_two_independent_signs_and_a_pod_one() -> None:
    one = worlds.hypothesis()
    alone = worlds.case(hypothesis=dataclasses.replace(one, terms=one.terms[:1]))
    assert decision(FreshEvidence(ARMED), cordon(), alone) is DEFER
    assert decision(FreshEvidence(ARMED), restart(), alone) is ALLOW


@pytest.mark.parametrize(
    ("plan", "facts", "expected"),
    [
        (scale(), {WORKLOAD: {"hpa": {"name": "h"}}}, DENY),
        (rollback(), {WORKLOAD: {"paused": True}}, DENY),
        (restart(), {WORKLOAD: {"observed_generation": 2}}, DEFER),
        (restart(), {WORKLOAD: {"updated_replicas": 1}}, DEFER),
        (rollback(), {WORKLOAD: {"updated_replicas": 1}}, ALLOW),
        (cordon(), {NODE: {"unschedulable": True}}, DEFER),
        (restart(), {NODE: {"unschedulable": True}}, ALLOW),
    ],
)
def test_what_others_are_at_is_left_to_them(
    plan: Plan, facts: dict[Target, dict[str, Any]], expected: Decision
) -> None:
    assert decision(Conflicts(), plan, worlds.case(worlds.topology(facts))) is expected


# ----------------------------------------------------------------- freeze


def frozen(freeze: Freeze, now: datetime) -> Verdict:
    return FreezeGuard((freeze,)).judge(restart(), worlds.case(now=now))


def test_an_open_window_defers_until_its_end_in_its_own_zone() -> None:
    nights = Freeze("0 22 * * *", timedelta(hours=8), "Europe/Berlin", "night")
    verdict = frozen(nights, datetime(2026, 1, 15, 23, 0, tzinfo=UTC))
    assert verdict.decision is DEFER
    assert verdict.until == datetime(2026, 1, 16, 5, 0, tzinfo=UTC)
    assert frozen(nights, datetime(2026, 1, 15, 12, 0, tzinfo=UTC)).decision is ALLOW


def test_a_window_is_open_from_its_very_first_minute() -> None:
    noon = Freeze("0 12 * * *", timedelta(hours=1))
    assert frozen(noon, datetime(2026, 1, 15, 12, 0, tzinfo=UTC)).decision is DEFER
    assert frozen(noon, datetime(2026, 1, 15, 13, 0, tzinfo=UTC)).decision is ALLOW


def test_summer_time_moves_the_window_with_the_wall_clock() -> None:
    noon = Freeze("0 12 * * *", timedelta(hours=1), "Europe/Berlin")
    winter, summer = datetime(2026, 1, 15, 11, 30), datetime(2026, 7, 15, 10, 30)  # noqa: DTZ001
    assert frozen(noon, winter.replace(tzinfo=UTC)).decision is DEFER
    assert frozen(noon, summer.replace(tzinfo=UTC)).decision is DEFER
    assert frozen(noon, summer.replace(hour=11, tzinfo=UTC)).decision is ALLOW


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("whenever", "UTC"),
        ("", "UTC"),
        ("61 25 * * *", "UTC"),
        ("0 22 * * *", "Mars/Olympus"),
        ("0 22 * * *", ""),
        ("0 22 * * *", "../../etc/passwd"),
        ("0 0 31 2 *", "UTC"),
    ],
)
def test_a_window_that_cannot_be_read_is_a_freeze(cron: str, zone: str) -> None:
    case = worlds.case()
    found = judge(restart(), case, (FreezeGuard((Freeze(cron, timedelta(hours=1), zone),)),))
    assert found.decision >= DEFER


# ----------------------------------------------------------------- locks, rate, cooldown


@pytest.mark.parametrize("state", [State.APPROVED, State.EXECUTING, State.VERIFYING])
def test_one_owner_is_worked_on_by_one_plan_at_a_time(state: State) -> None:
    other = sent(restart(worlds.PODS[1]), state)
    assert decision(Locks(), restart(), worlds.case(history=(other,))) is DEFER
    assert decision(Locks(), drain(), worlds.case(history=(other,))) is DEFER


def test_an_ended_plan_holds_no_lock_and_a_call_for_a_person_never_does() -> None:
    ended = sent(restart(worlds.PODS[1]), State.FAILED)
    asked = sent(restart(worlds.PODS[2], remediation="escalate"), State.EXECUTING)
    assert decision(Locks(), restart(), worlds.case(history=(ended, asked))) is ALLOW


def test_the_nodes_of_one_pool_go_one_after_the_other() -> None:
    other = sent(cordon(worlds.NODES[1]), State.VERIFYING)
    assert decision(Locks(), cordon(), worlds.case(history=(other,))) is DEFER
    elsewhere = worlds.topology({worlds.NODES[1]: {"pool": "l40"}})
    assert decision(Locks(), cordon(), worlds.case(elsewhere, history=(other,))) is ALLOW


@pytest.mark.parametrize("bucket", ["target", "namespace", "cluster"])
def test_an_empty_bucket_defers_until_its_oldest_token_is_back(bucket: str) -> None:
    settings = worlds.armed(max_per_hour={bucket: 1})
    before = sent(restart(), State.SUCCEEDED, timedelta(minutes=20))
    verdict = Rate(settings).judge(restart(), worlds.case(history=(before,)))
    assert verdict.decision is DEFER
    assert verdict.until == builders.NOW + timedelta(minutes=40)


def test_what_was_never_sent_or_is_older_than_an_hour_costs_no_token() -> None:
    settings = worlds.armed(max_per_hour={"cluster": 1})
    unsent = builders.intent(State.ABORTED)
    old = sent(restart(), State.SUCCEEDED, timedelta(minutes=61))
    assert decision(Rate(settings), restart(), worlds.case(history=(unsent, old))) is ALLOW


def test_a_call_for_a_person_costs_no_token() -> None:
    settings = worlds.armed(max_per_hour={"cluster": 1})
    call = builders.plan(remediation="escalate", actions=(Escalate(POD, "nobody knows"),))
    called = sent(call, State.SUCCEEDED)
    assert decision(Rate(settings), restart(), worlds.case(history=(called,))) is ALLOW


def test_a_bucket_of_nothing_allows_nothing() -> None:
    assert decision(Rate(worlds.armed(max_per_hour={"cluster": 0})), restart()) is DEFER


def test_recovery_is_never_rationed_rested_or_broken_off() -> None:
    back = restart(compensates="intent-1")
    failures = tuple(sent(restart(attempt=n), State.FAILED) for n in range(5))
    case = worlds.case(history=failures)
    for guard in (Rate(ARMED), Cooldown(ARMED), Breaker(ARMED), Storm(ARMED)):
        assert decision(guard, back, case) is ALLOW


@pytest.mark.parametrize(
    ("states", "minutes", "expected"),
    [
        ((State.SUCCEEDED,), 9, DEFER),
        ((State.SUCCEEDED,), 10, ALLOW),
        ((State.FAILED,), 19, DEFER),
        ((State.FAILED,), 20, ALLOW),
        ((State.UNKNOWN, State.FAILED), 39, DEFER),
        ((State.UNKNOWN, State.FAILED), 40, ALLOW),
        ((State.FAILED, State.SUCCEEDED), 10, ALLOW),
        ((State.REHEARSED,), 0, DEFER),
    ],
)
def test_rest_doubles_with_each_failure_and_resets_with_success(
    states: tuple[State, ...], minutes: int, expected: Decision
) -> None:
    history = tuple(
        sent(restart(attempt=n), state, timedelta(minutes=minutes + len(states) - 1 - n))
        for n, state in enumerate(states)
    )
    assert decision(Cooldown(ARMED), restart(), worlds.case(history=history)) is expected


def test_another_owner_or_another_remediation_needs_no_rest() -> None:
    history = (sent(restart(), State.FAILED),)
    assert decision(Cooldown(ARMED), scale(), worlds.case(history=history)) is ALLOW


# ----------------------------------------------------------------- blast radius, storm, breaker


def test_more_plans_than_allowed_wait() -> None:
    history = tuple(sent(cordon(n), State.VERIFYING) for n in worlds.NODES[1:])
    assert decision(BlastRadius(ARMED), restart(), worlds.case(history=history)) is DEFER
    assert decision(BlastRadius(ARMED), restart(), worlds.case(history=history[1:])) is ALLOW


def test_a_share_of_the_replicas_is_rounded_down() -> None:
    one_out = worlds.topology({worlds.PODS[1]: {"ready": False}})
    assert decision(BlastRadius(ARMED), restart(), worlds.case(one_out)) is DEFER
    assert decision(BlastRadius(ARMED), restart()) is ALLOW


def test_a_pod_that_serves_nothing_anyway_takes_nothing_away() -> None:
    two_out = worlds.topology({POD: {"ready": False}, worlds.PODS[1]: {"ready": False}})
    assert decision(BlastRadius(ARMED), restart(), worlds.case(two_out)) is ALLOW


def test_unknown_replicas_are_not_enough() -> None:
    blind = worlds.topology({WORKLOAD: {"replicas": None}})
    assert decision(BlastRadius(ARMED), restart(), worlds.case(blind)) is DEFER


def test_the_only_gpu_node_of_a_pool_stays() -> None:
    own = worlds.topology({NODE: {"pool": "lonely"}})
    assert decision(BlastRadius(ARMED), cordon(), worlds.case(own)) is DENY


@pytest.mark.parametrize("out", [{"unschedulable": True}, {"ready": False}])
def test_nodes_that_are_out_for_any_reason_count(out: dict[str, Any]) -> None:
    world = worlds.topology({worlds.NODES[1]: out})
    assert decision(BlastRadius(ARMED), cordon(), worlds.case(world)) is DEFER


@pytest.mark.parametrize(
    ("receipt", "expected"),
    [
        (None, DEFER),
        (Receipt(True, builders.NOW), DEFER),
        (Receipt(False, builders.NOW, "forbidden"), ALLOW),
    ],
)
def test_what_was_sent_and_is_not_seen_yet_counts_as_out(
    receipt: Receipt | None, expected: Decision
) -> None:
    lost = sent(cordon(worlds.NODES[1]), State.UNKNOWN, timedelta(seconds=5), receipt=receipt)
    gone = sent(restart(worlds.PODS[1]), State.UNKNOWN, timedelta(seconds=5), receipt=receipt)
    case = worlds.case(history=(lost, gone))
    assert decision(BlastRadius(ARMED), cordon(), case) is expected
    assert decision(BlastRadius(ARMED), restart(), case) is expected


def gpu_findings(count: int) -> tuple[Any, ...]:
    return tuple(builders.finding(Target(Kind.GPU, f"GPU-{n}")) for n in range(count))


def test_a_storm_stops_disruption_but_not_a_scale_up() -> None:
    sick = worlds.topology({n: {"ready": False} for n in worlds.NODES[:2]})
    assert decision(Storm(ARMED), cordon(), worlds.case(sick)) is DENY
    assert decision(Storm(ARMED), restart(), worlds.case(sick)) is DENY
    assert decision(Storm(ARMED), scale(), worlds.case(sick)) is ALLOW
    one = worlds.topology({NODE: {"ready": False}})
    assert decision(Storm(ARMED), cordon(), worlds.case(one)) is ALLOW


def test_what_other_incidents_tell_counts_towards_a_storm() -> None:
    others = tuple(
        builders.incident(id=f"inc-{n}", findings=(builders.finding(node),), targets=(node,))
        for n, node in enumerate(worlds.NODES[1:3])
    )
    mine = worlds.case(incident=worlds.incident(findings=()), others=others)
    alone = worlds.case(incident=worlds.incident(findings=()))
    strict = dataclasses.replace(ARMED, storm_fraction=0.5)
    assert decision(Storm(strict), cordon(), mine) is DENY
    assert decision(Storm(strict), cordon(), alone) is ALLOW


def test_a_share_of_very_few_is_no_storm() -> None:
    world = worlds.topology()
    few = {t: e for t, e in world.entities.items() if t not in worlds.NODES[2:]}
    few[NODE] = dataclasses.replace(few[NODE], facts={"ready": False})
    case = worlds.case(dataclasses.replace(world, entities=few))
    assert decision(Storm(ARMED), restart(), case) is ALLOW


def test_failures_in_a_row_open_the_breaker_until_its_reset() -> None:
    failures = tuple(
        sent(restart(attempt=n), State.FAILED, timedelta(minutes=10 + n)) for n in (0, 1)
    )
    case = worlds.case(history=failures)
    later = dataclasses.replace(case, now=builders.NOW + timedelta(hours=1))
    assert decision(Breaker(ARMED), restart(), case) is DENY
    assert decision(Breaker(ARMED), scale(), case) is ALLOW
    assert decision(Breaker(ARMED), restart(), later) is ALLOW
    assert open_breakers(failures, ARMED, case.now) == ("restart_pod",)
    assert open_breakers(failures, ARMED, later.now) == ()
    assert open_breakers(failures[:1], ARMED, case.now) == ()


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    states = (State.FAILED, State.SUCCEEDED, State.FAILED)
    history = tuple(
        sent(restart(attempt=n), state, timedelta(minutes=n + 1)) for n, state in enumerate(states)
    )
    assert decision(Breaker(ARMED), restart(), worlds.case(history=history)) is ALLOW


# ----------------------------------------------------------------- capacity, approval, ladder


def test_a_scale_up_without_room_is_denied() -> None:
    full = worlds.topology({n: {"gpus_allocatable": 1} for n in worlds.NODES})
    assert decision(Capacity(), scale(), worlds.case(full)) is DENY


def test_unknown_gpus_of_a_replica_are_not_none() -> None:
    blind = worlds.topology({worlds.PODS[3]: {"gpus_requested": None}})
    assert decision(Capacity(), scale(), worlds.case(blind)) is DEFER


def test_what_is_moved_finds_no_room_on_its_own_or_a_closed_node() -> None:
    others = {n: {"unschedulable": True} for n in worlds.NODES[1:]}
    assert decision(Capacity(), drain(), worlds.case(worlds.topology(others))) is DENY
    assert decision(Capacity(), drain()) is ALLOW


def test_a_budget_that_is_used_up_defers_an_eviction() -> None:
    used = worlds.topology({WORKLOAD: {"pdb": {"disruptions_allowed": 0}}})
    assert decision(Capacity(), restart(), worlds.case(used)) is DEFER
    open_ = worlds.topology({WORKLOAD: {"pdb": {"disruptions_allowed": 1}}})
    assert decision(Capacity(), restart(), worlds.case(open_)) is ALLOW


def test_a_budget_used_up_by_what_a_drain_moves_first_comes_back() -> None:
    used = {WORKLOAD: {"pdb": {"disruptions_allowed": 0}}}
    two = worlds.PODS[:2]
    evictions = tuple(EvictPod(pod, WORKLOAD, pod.uid) for pod in two)
    moved = cordon(remediation="drain_node", actions=evictions, affected_pods=two)
    assert decision(Capacity(), moved, worlds.case(worlds.topology(used))) is DEFER
    broken = worlds.topology(used | {worlds.PODS[0]: {"ready": False}})
    assert decision(Capacity(), moved, worlds.case(broken)) is ALLOW


def test_a_person_is_asked_where_the_arming_says_so() -> None:
    asks = worlds.armed(arm={"restart_pod": Arming(Mode.ENFORCE, ("*",))})
    assert decision(Approval(asks), restart()) is APPROVE
    assert decision(Approval(asks), restart(), worlds.case(approved_by="ann")) is ALLOW
    assert decision(Approval(asks), restart(compensates="x")) is ALLOW
    assert decision(Approval(RemediationSettings()), restart()) is ALLOW


def test_what_cannot_be_undone_always_asks() -> None:
    assert decision(Approval(ARMED), restart(risk=Risk.HIGH)) is APPROVE
    assert decision(Approval(ARMED), restart(risk=Risk.MEDIUM)) is ALLOW


def test_after_the_last_rung_a_person_is_needed() -> None:
    assert decision(Ladder(ARMED), restart(rung=2)) is ALLOW
    assert decision(Ladder(ARMED), restart(rung=3)) is DENY
