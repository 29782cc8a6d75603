"""Scores one candidate, a rule on a target, in capped log-odds with every term cited."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from healer.model.hypothesis import Side, Term
from healer.model.rule import Evidence, Rule
from healer.model.target import Kind, Target
from healer.stages.evidence import changes, common
from healer.stages.evidence.functions import FUNCTIONS
from healer.stages.evidence.look import Place, Seen, look
from healer.stages.evidence.relations import related, to_kind
from healer.stages.evidence.sight import Scene
from healer.stages.evidence.symptoms import Symptom

CAP = 3.0
"""No single term weighs more: one sensor is never the whole truth."""

UNEXPLAINED = -2.0
"""For a cause that explains nothing; in proportion for one that explains a part."""

EARLIER = 0.5
"""For a cause that showed before its symptoms."""

SKEW = timedelta(seconds=30)
"""How far clocks of nodes may differ."""


@dataclass(frozen=True)
class Candidate:
    """A rule on a target, judged: its terms do not depend on its rivals, its coverage does."""

    rule: Rule
    target: Target
    terms: tuple[Term, ...]
    onset: datetime
    explains: frozenset[str]
    """Keys of the symptoms it accounts for."""
    base: float = 0.0
    """Log-odds of the prior."""

    @property
    def is_null(self) -> bool:
        return self.rule.is_null

    def score(self, wanted: frozenset[str]) -> float:
        """Log-odds when `wanted` are the symptoms to be explained."""
        return self.base + self.weight + self.coverage(wanted)

    @cached_property
    def weight(self) -> float:
        return weigh(self.terms)

    def coverage(self, wanted: frozenset[str]) -> float:
        if self.is_null or not wanted:
            return 0.0
        return UNEXPLAINED * (1 - len(self.explains & wanted) / len(wanted))

    @property
    def is_decided(self) -> bool:
        """Whether a decisive term and two independent families speak for it."""
        spoken = [t for t in self.terms if t.side is Side.FOR and t.weight > 0]
        return any(t.decisive for t in spoken) and len({t.family or t.asked for t in spoken}) >= 2


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def weigh(terms: Iterable[Term]) -> float:
    """Within a family the strongest whole and the rest half, each capped."""
    families: dict[str, list[float]] = defaultdict(list)
    for term in terms:
        families[term.family or term.asked].append(max(-CAP, min(CAP, term.weight)))
    total = 0.0
    for weights in families.values():
        weights.sort(key=abs, reverse=True)
        total += weights[0] + sum(weights[1:]) / 2
    return total


@dataclass(frozen=True, slots=True)
class _Answer:
    evidence: Evidence
    seen: Seen
    decisive: bool
    """A yes that no other cause would give here."""


def _ask(evidence: Evidence, place: Place) -> _Answer:
    seen = look(evidence.test, place, FUNCTIONS)
    decisive = evidence.decisive and seen.truth is True
    if decisive and evidence.proof is not None:
        decisive = look(evidence.proof, place, FUNCTIONS).truth is True
    return _Answer(evidence, seen, decisive)


def judge(rule: Rule, target: Target, scene: Scene, sick: frozenset[Target]) -> Candidate | None:
    """The candidate with its evidence, or None where the rule does not apply to `target`.

    sick: pods that suffer, for change correlation and common cause.
    """
    base = logit(rule.prior)
    focus = (target,) if rule.scope else tuple(dict.fromkeys(s.target for s in scene.symptoms))
    place = Place(scene, focus or (target,))
    asked: list[_Answer] = []
    for evidence in rule.require:
        answer = _ask(evidence, place)
        if not answer.seen.truth:
            return None
        asked.append(answer)
    mine = explained(rule, target, scene)
    if not mine and not rule.is_null:
        return None
    if any(look(e.test, place, FUNCTIONS).truth for e in rule.exclude):
        return None
    answers = [*asked, *(_ask(evidence, place) for evidence in rule.evidence)]
    terms = [_term(answer) for answer in answers]
    began = _began(answers)
    since = began[0] if began else min((s.since for s in mine), default=scene.onset)
    if began and began[1]:
        mine = tuple(s for s in mine if s.since >= since - _tolerance(scene))
        if not mine:
            return None
    terms += _circumstances(rule, target, scene, sick, mine, began)
    return Candidate(rule, target, tuple(terms), since, frozenset(s.key for s in mine), base)


def explained(rule: Rule, target: Target, scene: Scene) -> tuple[Symptom, ...]:
    """The incident's symptoms that follow from `rule` on `target` along its relations."""
    if not rule.scope:
        return ()
    reach: set[Target] = {target}
    for relation in rule.via:
        reach.update(related(scene, relation, (target,)))
    return tuple(s for s in scene.symptoms if s.target in reach and s.is_any(rule.explains))


def _tolerance(scene: Scene) -> timedelta:
    return 2 * scene.step + SKEW


def _term(answer: _Answer) -> Term:
    evidence, seen = answer.evidence, answer.seen
    side, weight = Side.MISSING, 0.0
    if seen.truth is True:
        side, weight = Side.FOR, evidence.weight
    elif seen.truth is False:
        side, weight = Side.AGAINST, evidence.against
    said = f"{evidence.says}: {seen.said}" if evidence.says and seen.truth else seen.said
    return Term(
        evidence.text,
        side,
        max(-CAP, min(CAP, weight)),
        said,
        evidence.family,
        answer.decisive,
        seen.source,
        seen.target,
    )


def _began(answers: Sequence[_Answer]) -> tuple[datetime, bool] | None:
    """(when the cause first showed, whether that is exact), by its decisive evidence if any.

    What does not decide dates nothing exactly: an event that repeats tells its last time.
    """
    held = [a for a in answers if a.seen.truth and a.seen.since and a.evidence.weight > 0]
    decisive = [answer for answer in held if answer.decisive]
    chosen = decisive or held
    if not chosen:
        return None
    dates = [(a.seen.since, a.seen.dated) for a in chosen if a.seen.since is not None]
    since, dated = min(dates, key=lambda each: each[0])
    return since, dated and bool(decisive)


def _circumstances(
    rule: Rule,
    target: Target,
    scene: Scene,
    sick: frozenset[Target],
    mine: tuple[Symptom, ...],
    began: tuple[datetime, bool] | None,
) -> list[Term]:
    """Terms every rule gets alike: time, change and common cause."""
    if rule.is_null:
        return []
    found: list[Term] = []

    def add(family: str, weight: float, said: str) -> None:
        if weight:
            side = Side.FOR if weight > 0 else Side.AGAINST
            found.append(
                Term(
                    family.replace("_", " "),
                    side,
                    weight,
                    said,
                    family,
                    source=family,
                    target=target,
                )
            )

    first = min(s.since for s in mine)
    if began and first - began[0] > scene.step:
        ahead = (first - began[0]).total_seconds()
        add("onset", EARLIER, f"showed {ahead:.0f} s before the first symptom")
    if rule.change:
        add("change", *changes.correlation(scene, target, sick))
        add("unchanged_peers", *changes.peers(scene, target, sick))
    units = common.sick_units(s.target for s in mine)
    add("common_cause", *common.lift(scene.sight.topology, target, units))
    return found


_CLOSE = frozenset({Kind.POD, Kind.GPU, Kind.GROUP, Kind.NODE})
"""What tells pods of one workload apart."""


def sick_pods(scene: Scene) -> frozenset[Target]:
    """Pods with symptoms, and pods of what they stand on; where only a workload or a service as a
    whole shows any, which does not tell its pods apart, all of its pods."""
    topology = scene.sight.topology
    close: set[Target] = set()
    wide: set[Target] = set()
    for symptom in scene.symptoms:
        if symptom.target.kind is not Kind.CLUSTER:
            found = close if symptom.target.kind in _CLOSE else wide
            found.update(to_kind(topology, symptom.target, Kind.POD))
    return frozenset(close or wide)
