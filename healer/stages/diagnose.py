"""Diagnose: an incident and what can be seen around it in, a ranking of causes out.

Only candidates near the incident's symptoms are judged, so the cost of a finding does not
grow with the cluster. A rule that raises is reported, and the others stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import numpy as np

from healer.model.hypothesis import Diagnosis
from healer.model.incident import Incident
from healer.model.opinion import Standings
from healer.model.rule import Rule, RuleBook
from healer.model.snapshot import Problem, Snapshot
from healer.model.target import Kind, Target
from healer.stages.evidence.functions import truths
from healer.stages.evidence.look import Place
from healer.stages.evidence.rank import main_target, rank
from healer.stages.evidence.relations import to_kind
from healer.stages.evidence.score import Candidate, judge, sick_pods
from healer.stages.evidence.sight import Scene, Sight

SEVERAL = 2
"""From so many targets on a question is asked of all at once."""


def diagnose(
    incident: Incident,
    snapshot: Snapshot,
    rules: RuleBook,
    *,
    verdict_counts: Standings | None = None,
) -> Diagnosis:
    """The ranking for one incident. `diagnose_all` also tells which rules failed."""
    found, _ = diagnose_all((incident,), snapshot, rules, verdict_counts=verdict_counts)
    return found[incident.id]


def diagnose_all(
    incidents: Iterable[Incident],
    snapshot: Snapshot,
    rules: RuleBook,
    *,
    verdict_counts: Standings | None = None,
) -> tuple[Mapping[str, Diagnosis], tuple[Problem, ...]]:
    """By incident id. Problems are of rules that could not be judged, each named once.

    verdict_counts: cause → (right, wrong), as people judged past diagnoses.
    """
    sight, step = Sight(snapshot), _step(snapshot)
    problems: dict[str, Problem] = {}
    found: dict[str, Diagnosis] = {}
    for incident in incidents:
        scene = Scene(sight, incident, step)
        try:
            judged = candidates(scene, rules, problems)
            found[incident.id] = rank(scene, judged, verdict_counts or {})
        except Exception as error:  # noqa: BLE001  one incident's trouble is not the others'
            where = f"diagnosis.{incident.id}"
            problems[where] = Problem(where, _said(error), scene.now)
    return found, tuple(problems.values())


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def candidates(scene: Scene, rules: RuleBook, problems: dict[str, Problem]) -> list[Candidate]:
    """Every rule on every target it could be about, near the incident's symptoms."""
    near = tuple(dict.fromkeys(s.target for s in scene.symptoms)) or scene.incident.targets
    sick = sick_pods(scene)
    _check_circles(near, scene, problems)
    kinds = tuple({(s.name, s.parts): s for s in scene.symptoms}.values())
    found: list[Candidate] = []
    for rule in rules.rules:
        if rule.scope and not any(symptom.is_any(rule.explains) for symptom in kinds):
            continue
        for target in _possible(rule, _targets(rule, near, scene), scene):
            try:
                candidate = judge(rule, target, scene, sick)
            except Exception as error:  # noqa: BLE001  a rule that raises stops nobody else
                where = f"rule.{rule.id}"
                problems.setdefault(where, Problem(where, _said(error), scene.now))
                continue
            if candidate is not None:
                found.append(candidate)
    return found


def _check_circles(near: tuple[Target, ...], scene: Scene, problems: dict[str, Problem]) -> None:
    """Something that depends on itself is said once; the diagnosis walks round it once."""
    for target in near:
        if scene.sight.topology.in_circle(target):
            said = f"{target} depends on itself by way of others: its links are not to be trusted"
            problems.setdefault("topology", Problem("topology", said, scene.now))


def _targets(rule: Rule, near: tuple[Target, ...], scene: Scene) -> tuple[Target, ...]:
    if not rule.scope:
        return (main_target(scene),)
    found = [_near(kind, near, scene) for kind in rule.scope]
    return found[0] if len(found) == 1 else tuple(dict.fromkeys(t for each in found for t in each))


def _near(kind: Kind, near: tuple[Target, ...], scene: Scene) -> tuple[Target, ...]:
    """One tuple a kind for all rules: what is worked out for it is found again by identity."""
    if kind not in scene.near:
        topology = scene.sight.topology
        found = (target for each in near for target in to_kind(topology, each, kind))
        scene.near[kind] = tuple(dict.fromkeys(found))
    return scene.near[kind]


def _possible(rule: Rule, targets: tuple[Target, ...], scene: Scene) -> tuple[Target, ...]:
    """Those of several targets on which all that the rule requires holds, in one pass each.

    The same as asking one by one, which `judge` does with the few that are left.
    """
    for evidence in rule.require:
        if len(targets) < SEVERAL:
            break
        try:
            held = truths(Place(scene, targets), targets, evidence.test)
        except Exception:  # noqa: BLE001  `judge` meets it again, and it is said there
            break
        if not (held == 1).all():
            targets = tuple(targets[i] for i in np.flatnonzero(held == 1))
    return targets


def _step(snapshot: Snapshot) -> timedelta:
    """The scrape interval, by the finest frame."""
    steps = [frame.step_s for frame in snapshot.frames.values() if frame.step_s > 0]
    return timedelta(seconds=min(steps, default=15.0))
