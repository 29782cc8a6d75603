"""From a diagnosis to a verified repair, and what no longer stands is not carried out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import builders
import healing_worlds as worlds
import pytest

from healer.adapters.clocks import SteppedClock
from healer.adapters.executor import Executor
from healer.adapters.store import SqlStore, open_store
from healer.guards import standard
from healer.healing import SWITCH, Healing
from healer.model.actions import Action
from healer.model.incident import Incident
from healer.model.intent import Receipt, State
from healer.model.snapshot import Snapshot
from healer.settings import Arming, Mode, RemediationSettings
from remediations.cordon_node import CordonNodeRemediation
from remediations.drain_node import DrainNode
from remediations.restart_pod import RestartPod


class Done:
    """Hands that remember."""

    def __init__(self) -> None:
        self.done: list[Action] = []

    def rehearse(self, action: Action, intent_id: str) -> Receipt:
        return Receipt(True, builders.NOW, dry_run=True)

    def carry_out(self, action: Action, intent_id: str) -> Receipt:
        self.done.append(action)
        return Receipt(True, builders.NOW)

    def holds(self, action: Action, intent_id: str) -> bool | None:
        return None


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = open_store("sqlite://")
    yield opened
    opened.close()


@pytest.fixture
def hands() -> Done:
    return Done()


def healing(store: SqlStore, hands: Done, settings: RemediationSettings) -> Healing:
    executor = Executor(hands, store, SteppedClock(builders.NOW))
    remediations = {"restart_pod": RestartPod()}
    return Healing(store, executor, remediations, standard(settings), settings)


def asks() -> RemediationSettings:
    return worlds.armed(arm={"restart_pod": Arming(Mode.ENFORCE, ("*",), approval=True)})


def state(store: SqlStore) -> State:
    (only,) = store.intents()
    return only.state


def test_an_armed_remediation_is_carried_out_and_remembers_the_pods_before(
    store: SqlStore, hands: Done
) -> None:
    healing(store, hands, worlds.armed()).heal((worlds.incident(),), worlds.snapshot())
    (only,) = store.intents()
    assert only.state is State.VERIFYING
    assert only.pods_before == tuple(sorted(p.uid for p in worlds.PODS))
    assert len(hands.done) == 1


def test_a_pulled_switch_stops_it_and_a_released_one_lets_it_go(
    store: SqlStore, hands: Done
) -> None:
    heal = healing(store, hands, worlds.armed())
    store.put(SWITCH, "maintenance")
    heal.heal((worlds.incident(),), worlds.snapshot())
    assert (state(store), hands.done) == (State.PLANNED, [])
    store.put(SWITCH, "")
    heal.heal((worlds.incident(),), worlds.snapshot())
    assert (state(store), len(hands.done)) == (State.VERIFYING, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"quiet_since": builders.NOW},
        {"diagnosis": builders.diagnosis(worlds.hypothesis("bad_revision"))},
        {"diagnosis": None},
    ],
)
def test_a_yes_to_what_no_longer_stands_moves_nothing(
    changes: dict[str, Any], store: SqlStore, hands: Done
) -> None:
    heal = healing(store, hands, asks())
    incident = worlds.incident()
    heal.heal((incident,), worlds.snapshot())
    (waiting,) = store.intents()
    assert store.decide(waiting.id, waiting.digest, "ann", yes=True, at=builders.NOW)
    heal.heal((dataclasses.replace(incident, **changes),), worlds.snapshot())
    assert (state(store), hands.done) == (State.PLANNED, [])
    heal.heal((incident,), worlds.snapshot())
    assert (state(store), len(hands.done)) == (State.VERIFYING, 1)


def test_what_still_waits_when_its_incident_ends_can_no_longer_be_approved(
    store: SqlStore, hands: Done
) -> None:
    heal = healing(store, hands, asks())
    heal.heal((worlds.incident(),), worlds.snapshot())
    (waiting,) = store.intents()
    heal.heal((), worlds.snapshot())
    assert state(store) is State.ABORTED
    assert not store.decide(waiting.id, waiting.digest, "ann", yes=True, at=builders.NOW)
    assert hands.done == []


def test_one_incident_that_breaks_a_plugin_stops_no_other(store: SqlStore, hands: Done) -> None:
    class Broken(RestartPod):
        def plan(self, incident: Incident, *given: Any) -> Any:
            if incident.id == "inc-1":
                raise ZeroDivisionError("surprise")
            return super().plan(incident, *given)

    made = healing(store, hands, worlds.armed())
    heal = dataclasses.replace(made, remediations={"restart_pod": Broken()})
    pair = (worlds.incident(), worlds.incident(incident_id="inc-2"))
    _, problems = heal.heal(pair, worlds.snapshot())
    assert [p.where for p in problems] == ["healing.inc-1"]
    assert len(hands.done) == 1


def test_two_incidents_of_one_workload_are_healed_one_after_the_other(
    store: SqlStore, hands: Done
) -> None:
    second = worlds.incident(incident_id="inc-2", leader={"target": worlds.PODS[1]})
    heal = healing(store, hands, worlds.armed(cooldown=timedelta(0)))
    heal.heal((worlds.incident(), second), worlds.snapshot())
    assert len(hands.done) == 1
    assert sorted(i.state for i in store.intents()) == [State.PLANNED, State.VERIFYING]


def draining(store: SqlStore, hands: Done) -> tuple[Healing, Incident]:
    """A drain whose cordon is done and whose first eviction is yet to come."""
    settings = worlds.armed()
    executor = Executor(hands, store, SteppedClock(builders.NOW))
    found = Healing(store, executor, {"drain_node": DrainNode()}, standard(settings), settings)
    incident = worlds.incident("ecc_uncontained", leader={"proposes": ("drain_node",)})
    found.heal((incident,), worlds.snapshot())
    assert state(store) is State.EXECUTING
    assert [action.verb for action in hands.done] == ["cordon_node"]
    return found, incident


def test_a_drain_stops_when_somebody_takes_the_cordon_back(store: SqlStore, hands: Done) -> None:
    healer, incident = draining(store, hands)
    later = worlds.snapshot(now=builders.at(90))
    healer.heal((incident,), later)
    (only,) = [i for i in store.intents() if i.plan.remediation == "drain_node"]
    assert only.state is State.ABORTED
    assert "uncordoned" in only.note
    assert [action.verb for action in hands.done] == ["cordon_node"]


def test_a_view_that_lags_behind_the_cordon_does_not_stop_the_drain(
    store: SqlStore, hands: Done
) -> None:
    healer, incident = draining(store, hands)
    healer.heal((incident,), worlds.snapshot(now=builders.at(15)))
    assert [action.verb for action in hands.done] == ["cordon_node", "evict_pod"]


def cordoned_days_ago(store: SqlStore, hands: Done, days: int) -> tuple[Healing, str]:
    """A cordon of ours that was carried out today and is looked at so many days later."""
    settings = worlds.armed(uncordon=True)
    executor = Executor(hands, store, SteppedClock(builders.NOW))
    found = Healing(
        store, executor, {"cordon_node": CordonNodeRemediation()}, standard(settings), settings
    )
    incident = worlds.incident("ecc_uncontained", leader={"proposes": ("cordon_node",)})
    found.heal((incident,), worlds.snapshot())
    (only,) = store.intents()
    assert [action.verb for action in hands.done] == ["cordon_node"]
    done = dataclasses.replace(only, state=State.SUCCEEDED)
    assert store.replace_intent(done, only)
    for day in range(days):
        found.heal((), whole(timedelta(days=day), gpus=3))
    return found, done.id


def whole(later: timedelta, gpus: int = 4) -> Snapshot:
    """The node is ours to give back, with so many of its GPUs there."""
    now = builders.NOW + later
    node = worlds.NODES[0]
    frame = builders.frame([[float(gpus)] * 8], (node,), name="node_gpus_present")
    world = worlds.topology({node: {"unschedulable": True}})
    return worlds.snapshot(world, now=now, frames={"node_gpus_present": frame})


def test_a_cordon_of_ours_is_taken_back_however_long_ago_it_was(
    store: SqlStore, hands: Done
) -> None:
    healer, cordon_id = cordoned_days_ago(store, hands, days=4)
    healer.heal((), whole(timedelta(days=4)))
    assert [action.verb for action in hands.done] == ["cordon_node", "uncordon_node"]
    (undo,) = [i for i in store.intents() if i.compensates]
    assert undo.compensates == cordon_id


def test_an_open_intent_is_gone_on_with_however_long_healer_was_away(
    store: SqlStore, hands: Done
) -> None:
    healing(store, hands, worlds.armed()).heal((worlds.incident(),), worlds.snapshot())
    away = worlds.snapshot(now=builders.NOW + timedelta(days=2))
    healing(store, hands, worlds.armed()).heal((worlds.incident(),), away)
    (only,) = store.intents()
    assert only.state is State.FAILED
    assert len(hands.done) == 1
