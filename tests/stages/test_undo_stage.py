"""What we did is taken back when its reason has gone; doubt leaves things as they are."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import numpy as np
import pytest

from healer.model.actions import CordonNode, ScaleWorkload, UncordonNode
from healer.model.intent import Intent, Receipt, State, Step
from healer.model.plan import Plan
from healer.model.snapshot import Snapshot
from healer.model.topology import Topology
from healer.settings import RemediationSettings
from healer.stages.undo import due, owing

NODE, WORKLOAD = worlds.NODES[0], worlds.WORKLOAD
BOTH = RemediationSettings(uncordon=True, scale_back_after=timedelta(minutes=30))
HOUR_AGO = builders.NOW - timedelta(hours=1)


def cordoned(**changes: Any) -> Intent:
    plan = builders.plan(
        remediation="cordon_node",
        target=NODE,
        actions=(CordonNode(NODE, "uid-n1"),),
        undo=(UncordonNode(NODE, "uid-n1"),),
    )
    return builders.intent(State.SUCCEEDED, **({"plan": plan, "updated_at": HOUR_AGO} | changes))


def scaled() -> Intent:
    plan = builders.plan(
        remediation="scale",
        target=WORKLOAD,
        actions=(ScaleWorkload(WORKLOAD, 4, 2),),
        undo=(ScaleWorkload(WORKLOAD, 2, 4, "uid-w"),),
    )
    return builders.intent(State.SUCCEEDED, plan=plan, updated_at=HOUR_AGO)


def well(gpus: float = 4, **changes: Any) -> Snapshot:
    present = builders.frame(np.full(8, gpus), (NODE,), name="node_gpus_present")
    world = worlds.topology({NODE: {"unschedulable": True} | changes.pop("node", {})})
    return worlds.snapshot(world, frames={"node_gpus_present": present}, **changes)


def load(waiting: float = 0, usage: float = 0.2, replicas: int = 4) -> Snapshot:
    frames = {
        name: builders.frame(np.full((4, 8), value), worlds.PODS, name=name)
        for name, value in (("requests_waiting", waiting), ("kv_usage", usage))
    }
    return worlds.snapshot(worlds.topology({WORKLOAD: {"replicas": replicas}}), frames=frames)


def plans(
    history: tuple[Intent, ...], seen: Snapshot, *open_: str, **changes: Any
) -> tuple[Plan, ...]:
    return due(history, frozenset(open_), seen, dataclasses.replace(BOTH, **changes))


def test_our_cordon_goes_when_the_node_is_whole_again() -> None:
    cordon = cordoned()
    (found,) = plans((cordon,), well())
    assert found.actions == (UncordonNode(NODE, "uid-n1", cordon_id=cordon.id),)
    assert found.compensates == cordon.id
    assert found.id != cordon.id


@pytest.mark.parametrize(
    "seen",
    [
        well(gpus=3),
        well(gpus=float("nan")),
        well(node={"ready": False}),
        well(node={"unschedulable": False}),
        well(node={"gpus_allocatable": 3}),
        well(metrics_ok=False),
        well(cluster_ok=False),
        dataclasses.replace(well(), frames={}),
    ],
)
def test_a_node_that_is_not_seen_to_be_whole_stays_cordoned(seen: Snapshot) -> None:
    assert plans((cordoned(),), seen) == ()


def test_nothing_is_taken_back_while_its_incident_lasts_or_unless_configured() -> None:
    assert plans((cordoned(),), well(), "inc-1") == ()
    assert plans((cordoned(),), well(), uncordon=False) == ()
    assert plans((cordoned(updated_at=builders.at(-60)),), well()) == ()


def test_a_compensation_is_planned_once_and_anew_only_after_it_was_dropped_and_rested() -> None:
    cordon = cordoned()
    (first,) = plans((cordon,), well())
    for state in (State.PLANNED, State.VERIFYING, State.SUCCEEDED, State.FAILED):
        undone = builders.intent(state, plan=first, compensates=cordon.id)
        assert plans((cordon, undone), well()) == ()
    dropped = builders.intent(State.ABORTED, plan=first, compensates=cordon.id)
    assert plans((cordon, dropped), well()) == ()
    rested = dataclasses.replace(dropped, updated_at=builders.at(-600))
    (second,) = plans((cordon, rested), well())
    assert second.id != first.id


def test_a_scale_up_goes_back_to_its_absolute_number_once_the_load_is_gone() -> None:
    (found,) = plans((scaled(),), load())
    assert found.actions == (ScaleWorkload(WORKLOAD, 2, 4, "uid-w"),)


@pytest.mark.parametrize(
    "seen",
    [
        load(waiting=1),
        load(waiting=float("nan")),
        load(usage=0.31),
        load(usage=float("nan")),
        load(replicas=5),
        worlds.snapshot(),
    ],
)
def test_a_load_that_is_there_unseen_or_on_a_number_not_ours_keeps_its_replicas(
    seen: Snapshot,
) -> None:
    assert plans((scaled(),), seen) == ()
    assert plans((scaled(),), load(), scale_back_after=timedelta(0)) == ()


@pytest.mark.parametrize("state", [State.UNKNOWN, State.ABORTED])
def test_a_cordon_of_a_drain_that_was_lost_half_way_is_taken_back_too(state: State) -> None:
    whole = cordoned()
    done = Step(whole.steps[0].action, HOUR_AGO, Receipt(ok=True, at=HOUR_AGO))
    assert len(plans((dataclasses.replace(whole, state=state, steps=(done,)),), well())) == 1
    assert plans((dataclasses.replace(whole, state=state),), well()) == ()


def test_a_cordon_that_may_have_come_although_its_answer_was_lost_is_taken_back() -> None:
    lost = dataclasses.replace(
        cordoned(),
        state=State.UNKNOWN,
        steps=(Step(CordonNode(NODE, "uid-n1"), HOUR_AGO, tries=1),),
    )
    assert len(plans((lost,), well())) == 1


@pytest.mark.parametrize("state", [State.FAILED, State.UNKNOWN])
def test_a_compensation_that_came_to_nothing_is_tried_again_after_a_longer_rest(
    state: State,
) -> None:
    cordon = cordoned()
    (wanted,) = plans((cordon,), well())

    def tried(number: int, ago: timedelta) -> Intent:
        plan = dataclasses.replace(wanted, attempt=wanted.attempt + number)
        at = builders.NOW - ago
        return builders.intent(state, plan=plan, compensates=cordon.id, updated_at=at)

    rest = BOTH.cooldown
    assert not plans((cordon, tried(0, rest / 2)), well())
    (again,) = plans((cordon, tried(0, rest)), well())
    assert again.id != wanted.id
    assert not plans((cordon, tried(0, rest * 3), tried(1, rest)), well())
    assert plans((cordon, tried(0, rest * 3), tried(1, rest * 2)), well())


def test_what_somebody_else_took_back_or_what_has_gone_is_owed_no_more() -> None:
    cordon = cordoned()
    assert owing((cordon,), well()) == {cordon.id}
    assert owing((cordon,), well(node={"unschedulable": False})) == frozenset()
    assert owing((cordon,), well(node={"unschedulable": False}, cluster_ok=False)) == {cordon.id}
    nodeless = dataclasses.replace(well(), topology=Topology())
    assert owing((cordon,), nodeless) == frozenset()


def rehearsed(**changes: Any) -> Intent:
    """As observe mode leaves it: the API server's dry run said yes, nothing was sent."""
    made = cordoned(**changes)
    said = Receipt(True, HOUR_AGO, dry_run=True)
    steps = tuple(Step(action, receipt=said) for action in made.plan.actions)
    return dataclasses.replace(made, state=State.REHEARSED, steps=steps)


def test_what_was_only_rehearsed_leaves_nothing_to_take_back() -> None:
    assert plans((rehearsed(),), well()) == ()
    assert owing((rehearsed(),), well()) == frozenset()


def test_an_uncordon_that_was_only_rehearsed_is_done_once_healer_is_armed_again() -> None:
    cordon = cordoned()
    (wanted,) = plans((cordon,), well())
    observed = rehearsed(id="intent-2", plan=wanted, compensates=cordon.id)
    assert owing((cordon, observed), well()) == {cordon.id}
    (again,) = plans((cordon, observed), well())
    assert again.actions == wanted.actions
    assert again.id != wanted.id
