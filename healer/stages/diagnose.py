"""Diagnose: an incident and what can be seen around it in, a ranking of causes out.

Only candidates near the incident's symptoms are judged, so the cost of a finding does not
grow with the cluster. A rule that raises is reported, and the others stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from healer.model.hypothesis import Diagnosis
from healer.model.incident import Incident
from healer.model.rule import Rule, RuleBook
from healer.model.snapshot import Problem, Snapshot
from healer.model.target import Target
from healer.stages.evidence.rank import main_target, rank
from healer.stages.evidence.relations import to_kind
from healer.stages.evidence.score import Candidate, judge, sick_pods
from healer.stages.evidence.sight import Scene, Sight


def diagnose(
    incident: Incident,
    snapshot: Snapshot,
    rules: RuleBook,
    *,
    verdict_counts: Mapping[str, tuple[int, int]] | None = None,
) -> Diagnosis:
    """The ranking for one incident. `diagnose_all` also tells which rules failed."""
    found, _ = diagnose_all((incident,), snapshot, rules, verdict_counts=verdict_counts)
    return found[incident.id]


def diagnose_all(
    incidents: Iterable[Incident],
    snapshot: Snapshot,
    rules: RuleBook,
    *,
    verdict_counts: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[Mapping[str, Diagnosis], tuple[Problem, ...]]:
    """By incident id. Problems are of rules that could not be judged, each named once.

    verdict_counts: cause → (right, wrong), as people judged past diagnoses.
    """
    sight = Sight(snapshot)
    problems: dict[str, Problem] = {}
    found: dict[str, Diagnosis] = {}
    for incident in incidents:
        scene = Scene(sight, incident, _step(snapshot))
        judged = candidates(scene, rules, problems)
        found[incident.id] = rank(scene, judged, verdict_counts or {})
    return found, tuple(problems.values())


def candidates(scene: Scene, rules: RuleBook, problems: dict[str, Problem]) -> list[Candidate]:
    """Every rule on every target it could be about, near the incident's symptoms."""
    near = tuple(dict.fromkeys(s.target for s in scene.symptoms)) or scene.incident.targets
    sick = sick_pods(scene)
    found: list[Candidate] = []
    for rule in rules.rules:
        try:
            for target in _targets(rule, near, scene):
                candidate = judge(rule, target, scene, sick)
                if candidate is not None:
                    found.append(candidate)
        except Exception as error:  # noqa: BLE001  a rule that raises stops nobody else
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            where = f"rule.{rule.id}"
            problems.setdefault(where, Problem(where, said, scene.now))
    return found


def _targets(rule: Rule, near: tuple[Target, ...], scene: Scene) -> tuple[Target, ...]:
    if not rule.scope:
        return (main_target(scene),)
    topology = scene.sight.topology
    return tuple(
        dict.fromkeys(
            target
            for kind in rule.scope
            for each in near
            for target in to_kind(topology, each, kind)
        )
    )


def _step(snapshot: Snapshot) -> timedelta:
    """The scrape interval, by the finest frame."""
    steps = [frame.step_s for frame in snapshot.frames.values() if frame.step_s > 0]
    return timedelta(seconds=min(steps, default=15.0))
