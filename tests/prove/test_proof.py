"""A bounded sample of the proof; `make prove` runs ten thousand schedules and the mutants."""

from __future__ import annotations

import proof
import pytest
from hypothesis import HealthCheck, given, settings
from proof_rules import Broken


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(proof.SCHEDULES)
def test_no_schedule_breaks_a_property(schedule: list[proof.Op]) -> None:
    proof.carry_out(schedule)


def test_a_fault_is_healed_by_either_replica() -> None:
    run = proof.carry_out([("break", "hang", 0), ("ticks", 12)])
    assert [c.action.verb for c in run.cluster.commits] == ["evict_pod"]


def test_a_broken_node_is_drained_and_given_back() -> None:
    run = proof.carry_out([("break", "ecc", 0), ("ticks", 12)])
    verbs = [c.action.verb for c in run.cluster.commits]
    assert verbs[0] == "cordon_node"
    assert verbs[-1] == "uncordon_node"
    assert not run.cluster.cordoned


@pytest.mark.parametrize(
    "schedule",
    [
        [("break", "hang", 0), ("while", "observe", 6)],
        [("break", "hang", 0), ("while", "switch", 6)],
        [("break", "hang", 0), ("while", "stale", 6)],
        [("ask", True), ("break", "hang", 0), ("ticks", 3), ("answer", False), ("ticks", 9)],
    ],
)
def test_nothing_is_touched_while_it_may_not_be(schedule: list[proof.Op]) -> None:
    run = proof.Run()
    for op in schedule:
        run.perform(op)
    assert run.cluster.commits == []


@pytest.mark.parametrize("told", proof.TOLD)
def test_no_story_that_chance_seldom_tells_breaks_a_property(told: list[proof.Op]) -> None:
    assert proof.carry_out(told).ticks


@pytest.mark.parametrize("executor", sorted(proof.EXECUTORS))
def test_an_executor_without_one_of_its_safeties_is_noticed(executor: str) -> None:
    assert any(is_broken(told, proof.Mutant(executor=executor)) for told in proof.TOLD)


def is_broken(told: list[proof.Op], mutant: proof.Mutant) -> bool:
    try:
        proof.carry_out(told, mutant)
    except Broken:
        return True
    return False
