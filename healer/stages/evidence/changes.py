"""Changes: what was changed lately, whom it touched, and how the others fare.

    weight = 2.5 · e^(−Δt / 15 min) · Jaccard(affected, changed)

A change that came long ago, or touched others than those who suffer, tells little. Peers it
did not touch speak strongest: healthy ones accuse the change, sick ones acquit it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from healer.model.signal import Worse
from healer.model.target import Kind, Target
from healer.stages.evidence.look import Place, Seen
from healer.stages.evidence.reading import FEWEST, NEWEST, bounds, predecessors, show
from healer.stages.evidence.relations import related, to_kind
from healer.stages.evidence.sight import Scene

WITHIN = timedelta(minutes=30)
FADES = timedelta(minutes=15)
LATE = timedelta(minutes=1)
"""How much later than the onset a change may seem to be: clocks differ, scrapes lag."""

KINDS = frozenset({"rollout", "changed"})
"""Event kinds that are changes. Scaling is a consequence of load more often than a cause."""


@dataclass(frozen=True, slots=True)
class Change:
    target: Target
    at: datetime
    said: str


def recent(scene: Scene, target: Target, span: timedelta = WITHIN) -> tuple[Change, ...]:
    """Changes of `target` from `span` before the onset until just after what lasts began, oldest
    first."""
    earliest, latest = scene.onset - span, scene.lasting_since + LATE
    found = [c for c in _changes(scene, target) if earliest <= c.at <= latest]
    return tuple(sorted(found, key=lambda c: c.at))


def _changes(scene: Scene, target: Target) -> Iterator[Change]:
    topology = scene.sight.topology
    for event in scene.events(target):
        if event.kind in KINDS:
            yield Change(target, event.at, event.message or f"{event.kind} of {target}")
    if target.kind is Kind.WORKLOAD:
        began = topology.fact(target, "progressing_at")
        if isinstance(began, str):
            yield Change(target, datetime.fromisoformat(began), f"{target} began a rollout")
        revisions = [topology.get(r) for r in topology.related(target, Kind.REVISION)]
        dated = [r for r in revisions if r is not None and r.created_at is not None]
        if len(dated) > 1:
            newest = max(dated, key=lambda r: (r.created_at or scene.now, r.target))
            assert newest.created_at is not None
            yield Change(target, newest.created_at, f"{newest.target} was created")


def split(scene: Scene, workload: Target) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
    """Pods of the newest revision that has any, and pods of all older ones."""
    topology = scene.sight.topology
    ranked = [
        (_rank(scene, revision), topology.related(revision, Kind.POD))
        for revision in topology.related(workload, Kind.REVISION)
    ]
    manned = sorted((each for each in ranked if each[1]), key=lambda each: each[0], reverse=True)
    if not manned:
        return (), ()
    older = tuple(pod for _, pods in manned[1:] for pod in pods)
    return manned[0][1], older


def _rank(scene: Scene, revision: Target) -> tuple[int, float, str]:
    topology = scene.sight.topology
    number = topology.fact(revision, "number", 0)
    entity = topology.get(revision)
    created = entity.created_at.timestamp() if entity and entity.created_at else 0.0
    return (number if isinstance(number, int) else 0, created, revision.name)


def rolling_out(scene: Scene, workload: Target) -> Seen:
    topology = scene.sight.topology
    wanted = topology.fact(workload, "replicas")
    updated = topology.fact(workload, "updated_replicas")
    if not isinstance(wanted, int) or not isinstance(updated, int):
        return Seen(None, "rollout state not known", source="topology", target=workload)
    _, older = split(scene, workload)
    going = updated < wanted or bool(older)
    said = f"{updated} of {wanted} replicas updated"
    return Seen(going, said, source="topology", target=workload)


def worse_than_previous(place: Place, signal: str) -> Seen:
    """Compares the newest revision's pods now with earlier samples of older revisions' pods."""
    scene, workload = place.scene, place.targets[0]
    frame = scene.sight.frame(signal)
    newest, _ = split(scene, workload)
    found = recent(scene, workload)
    if frame is None or not newest or not found:
        return Seen(None, f"no earlier revision to compare {signal} with", source=signal)
    revision = scene.sight.topology.related(newest[0], Kind.REVISION)
    own = f"{revision[0].name}-" if revision else ""
    rows = predecessors(scene, signal, newest[0])
    mine = scene.sight.named(signal, own, newest[0].namespace)
    before = frame.times < found[-1].at.timestamp()
    usual = rows[:, before] if len(rows) else np.empty(0)
    usual = np.sort(usual[np.isfinite(usual)])
    recently = frame.times > frame.times[-1] - max(NEWEST.total_seconds(), 3 * frame.step_s)
    now = mine[:, recently] if len(mine) else np.empty(0)
    now = now[np.isfinite(now)]
    if len(usual) < FEWEST or not len(now):
        return Seen(None, f"no earlier samples of {signal} to compare with", source=signal)
    low, middle, high = bounds(usual, frame.signal.matters)
    level = float(np.median(now))
    worse = level < low if frame.signal.worse is Worse.DOWN else level > high
    unit = frame.signal.unit
    said = f"{signal} {show(level, unit)} on the new revision, {show(middle, unit)} on the last"
    return Seen(worse, said, level, source=signal, target=workload)


def correlation(scene: Scene, target: Target, affected: frozenset[Target]) -> tuple[float, str]:
    """(log-odds, citation) of the newest change of `target`; 0 where nothing was changed."""
    found = recent(scene, target)
    if not found or not affected:
        return 0.0, ""
    last = found[-1]
    touched = _touched(scene, target)
    union = affected | touched
    overlap = len(affected & touched) / len(union) if union else 0.0
    gap = max(scene.lasting_since - last.at, timedelta())
    weight = 2.5 * math.exp(-gap / FADES) * overlap
    said = (
        f"{last.said} {gap.total_seconds() / 60:.0f} min before the onset; "
        f"{len(affected & touched)} of {len(affected)} affected pods were changed"
    )
    return weight, said


def _touched(scene: Scene, target: Target) -> frozenset[Target]:
    if target.kind is Kind.WORKLOAD:
        return frozenset(split(scene, target)[0])
    return frozenset(to_kind(scene.sight.topology, target, Kind.POD))


def peers(scene: Scene, target: Target, sick: frozenset[Target]) -> tuple[float, str]:
    """(log-odds, citation): +1.5 when pods the change did not touch are healthy, −2.5 when sick.

    Peers are pods of older revisions and pods of other workloads on the same nodes.
    """
    _, older = split(scene, target) if target.kind is Kind.WORKLOAD else ((), ())
    others = {*older, *related(scene, "neighbours", (target,))} - _touched(scene, target)
    if not others:
        return 0.0, ""
    ill = len(others & sick)
    if 2 * ill >= len(others):
        return -2.5, f"{ill} of {len(others)} unchanged pods beside it suffer as well"
    if ill == 0:
        return 1.5, f"none of {len(others)} unchanged pods beside it suffers"
    return 0.0, ""
