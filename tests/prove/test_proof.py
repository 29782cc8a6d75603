"""A bounded sample of the proof; `make prove` runs ten thousand schedules and the mutants."""

from __future__ import annotations

import proof
import pytest
from hypothesis import HealthCheck, given, settings


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
