"""What the API server says of a target: readiness, age, rollouts, somebody at work on it."""

from __future__ import annotations

from healer.model.expression import Expression
from healer.stages.evidence import changes
from healer.stages.evidence.look import UNKNOWN, Place, Seen, name_of, plain
from healer.stages.evidence.reading import read

NONE_IS_AN_ANSWER = frozenset({"reason"})
"""Facts that a pod whose status is known lacks when there is nothing to say."""


def fact(place: Place, args: tuple[Expression, ...]) -> Seen:
    """`fact(paused) == true`: what the API server says of the target."""
    name, target = name_of(args[0]), place.targets[0]
    entity = place.scene.sight.topology.get(target)
    held = None if entity is None else entity.facts.get(name)
    if (
        held is None
        and entity is not None
        and name in NONE_IS_AN_ANSWER
        and "phase" in entity.facts
    ):
        return Seen(False, f"no {name}", "", source="topology", target=target)
    if held is None or isinstance(held, dict | list):
        return Seen(None, f"{name} not known", source="topology", target=target)
    shown = str(held).lower() if isinstance(held, bool) else held
    number = float(shown) if isinstance(shown, int | float) else str(shown)
    said = f"{name} is {plain(number)}"
    return Seen(bool(held), said, number, source="topology", target=target)


def age(place: Place, _args: tuple[Expression, ...]) -> Seen:
    """Seconds since the API server created it; compare with a duration: `age < 10m`."""
    target = place.targets[0]
    entity = place.scene.sight.topology.get(target)
    if entity is None or entity.created_at is None:
        return Seen(None, "age not known", source="topology", target=target)
    old = (place.scene.now - entity.created_at).total_seconds()
    return Seen(True, f"{target} is {old / 60:.0f} min old", old, source="topology", target=target)


def ready(place: Place, _args: tuple[Expression, ...]) -> Seen:
    """The API server's word, else kube-state-metrics'."""
    target = place.targets[0]
    held = place.scene.sight.topology.fact(target, "ready")
    if isinstance(held, bool):
        said = f"{target} is {'ready' if held else 'not ready'}"
        return Seen(held, said, float(held), source="topology", target=target)
    reading = read(place.scene, f"{target.kind}_ready", target)
    if reading.now is None:
        return Seen(None, f"readiness of {target} not known", target=target)
    truth = reading.now >= 0.5
    return Seen(truth, f"{target.kind}_ready {reading.now:.0f}", reading.now, target=target)


def unready(place: Place, _args: tuple[Expression, ...]) -> Seen:
    seen = ready(place, _args)
    return seen if seen.truth is None else Seen(not seen.truth, seen.said, target=seen.target)


def gone(place: Place, _args: tuple[Expression, ...]) -> Seen:
    """The API server no longer knows it."""
    topology, target = place.scene.sight.topology, place.targets[0]
    if target in topology.entities:
        return Seen(False, f"{target} exists", source="topology", target=target)
    if not topology.complete or not place.scene.sight.snapshot.cluster_ok:
        return UNKNOWN
    return Seen(True, f"{target} is gone", source="topology", target=target)


def cordoned_by_hand(place: Place, _args: tuple[Expression, ...]) -> Seen:
    """Unschedulable without our signature: somebody is at work on it."""
    topology, target = place.scene.sight.topology, place.targets[0]
    held = topology.fact(target, "unschedulable")
    if held is None:
        return Seen(None, "schedulability not known", source="topology", target=target)
    ours = topology.fact(target, "cordon_owner") is not None
    said = f"{target} is {'cordoned' if held else 'schedulable'}" + (" by Healer" if ours else "")
    return Seen(bool(held) and not ours, said, source="topology", target=target)


def rolling_out(place: Place, _args: tuple[Expression, ...]) -> Seen:
    """A workload that has not yet replaced all its pods by those of its newest template."""
    return changes.rolling_out(place.scene, place.targets[0])
