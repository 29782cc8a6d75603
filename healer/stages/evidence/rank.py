"""Ranks candidates: explains away what follows from the leader, and says how sure we are.

Greedy: the best candidate takes the symptoms it explains; what it names as its consequence is
a victim, no rival. What it leaves unexplained is ranked again and opens a second fault.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from healer.model.hypothesis import Diagnosis, Hypothesis, Side, Term
from healer.model.opinion import Standings
from healer.model.rule import Rule
from healer.model.target import Kind, Target
from healer.stages.evidence.relations import related
from healer.stages.evidence.score import Candidate, logit
from healer.stages.evidence.sight import Scene

SLOPE, OFFSET = 1.0, 0.2
"""Platt's map of the softmax share, on the logit. Fitted with scenarios held out it would be far
bolder (docs/diagnosis.md); a simulated fleet is kinder than a real one, so it is taken in part."""

UNDECIDED_CAP = 0.55
"""The most without a decisive term and a second, independent family of evidence: below what any
action of ours asks for."""

MARGIN = 0.2
"""A leader closer to its rival than that is a tie: a person decides."""

SHOWN = 8
FAULTS = 3
"""Independent faults told apart in one incident."""

WIDE = frozenset({Kind.RACK, Kind.CLUSTER})
"""What breaks as a whole is for people: taking it apart node by node would make it worse."""

PRIOR_VERDICTS = (8.0, 2.0)
"""Beta prior of a rule's standing: as if eight verdicts had been right and two wrong."""


@dataclass(frozen=True, slots=True)
class _Round:
    """One fault: its leader, those that compete for the same symptoms, and its victims."""

    leader: Candidate
    rivals: tuple[Candidate, ...]
    victims: tuple[Candidate, ...]
    wanted: frozenset[str]


def rank(scene: Scene, candidates: Sequence[Candidate], verdicts: Standings) -> Diagnosis:
    """The diagnosis of one incident from its judged candidates."""
    rounds = _rounds(scene, list(candidates))
    shown: list[Hypothesis] = []
    first: list[Hypothesis] = []
    for number, one in enumerate(rounds):
        told = _tell(one, verdicts)
        first = first or told
        if number:
            note = f"explains what {shown[0].cause} does not: a second fault"
            told = [replace(told[0], why_not=note), *told[1:]]
        shown += [h for h in told if not any(_same(h, other) for other in shown)]
    leader, rest = shown[:1], sorted(shown[1:], key=lambda h: (-h.confidence, h.cause))
    ranking = (*leader, *rest[: SHOWN - 1])
    abstained, decide = _doubt(rounds[0], first) if rounds else ("no rule applies", "")
    return Diagnosis(scene.incident.id, scene.now, ranking, abstained, decide)


def _rounds(scene: Scene, pool: list[Candidate]) -> list[_Round]:
    nulls = tuple(c for c in pool if c.is_null)
    wanted = frozenset(s.key for s in scene.symptoms if s.grave)
    wanted = wanted or frozenset(s.key for s in scene.symptoms)
    open_ = [c for c in pool if not c.is_null]
    found: list[_Round] = []
    while len(found) < FAULTS:
        field = [c for c in open_ if c.explains & wanted or not found]
        if not field and found:
            break
        ordered = sorted((*field, *nulls), key=lambda c: _order(c, wanted))
        if not ordered:
            break
        leader = ordered[0]
        if leader.is_null and found:
            break
        victims = tuple(c for c in field if c is not leader and _follows(c, leader, scene))
        rivals = tuple(
            c
            for c in ordered[1:]
            if c not in victims and (c.is_null or leader.is_null or c.explains & leader.explains)
        )
        found.append(_Round(leader, rivals, victims, wanted))
        taken = {id(c) for c in (leader, *victims, *rivals)}
        open_ = [c for c in open_ if id(c) not in taken]
        wanted = wanted - leader.explains
        if leader.is_null or not wanted:
            break
    return found


def _order(candidate: Candidate, wanted: frozenset[str]) -> tuple[float, int, str, str]:
    """Best first; among equals the narrower target, for it covers everything with less."""
    width = _WIDTH.get(str(candidate.target.kind), 9)
    score = round(candidate.score(wanted), 6)
    return (-score, width, candidate.rule.id, str(candidate.target))


_WIDTH = {
    "gpu": 0,
    "pod": 1,
    "group": 2,
    "revision": 3,
    "workload": 4,
    "node": 5,
    "service": 6,
    "rack": 7,
    "cluster": 8,
}


def _follows(candidate: Candidate, leader: Candidate, scene: Scene) -> bool:
    """Whether `candidate` is a consequence of `leader`, or the same thing seen elsewhere."""
    if leader.is_null:
        return False
    reach = {leader.target}
    for relation in leader.rule.via:
        reach.update(related(scene, relation, (leader.target,)))
    if candidate.rule.id in leader.rule.explains and candidate.target in reach:
        return True
    same = candidate.rule.id == leader.rule.id
    return same and candidate.explains <= leader.explains


def shares(leader: Candidate, rivals: Sequence[Candidate], wanted: frozenset[str]) -> list[float]:
    """Softmax over the leader and its rivals, the leader's first."""
    scores = [c.score(wanted) for c in (leader, *rivals)]
    top = max(scores)
    powers = [math.exp(score - top) for score in scores]
    return [power / sum(powers) for power in powers]


def confidence(candidate: Candidate, share: float, verdicts: Standings) -> float:
    """Calibrated, weighed with how often people found the rule right, capped without proof."""
    bounded = min(max(share, 1e-6), 1 - 1e-6)
    sure = 1 / (1 + math.exp(-(SLOPE * logit(bounded) + OFFSET)))
    right, wrong = verdicts.get(candidate.rule.id, (0, 0))
    a, b = PRIOR_VERDICTS
    standing = ((a + right) / (a + b + right + wrong)) / (a / (a + b))
    sure *= min(1.0, standing)
    if not candidate.is_null and not candidate.is_decided:
        sure = min(sure, UNDECIDED_CAP)
    return round(sure, 4)


def _tell(one: _Round, verdicts: Standings) -> list[Hypothesis]:
    parts = shares(one.leader, one.rivals, one.wanted)
    told = [_hypothesis(one.leader, parts[0], one, verdicts)]
    for rival, share in zip(one.rivals, parts[1:], strict=True):
        told.append(_hypothesis(rival, share, one, verdicts, _why_not(rival, one)))
    for victim in one.victims:
        note = f"follows from {one.leader.rule.id} on {one.leader.target}"
        told.append(_hypothesis(victim, 0.0, one, verdicts, note))
    return told


def _hypothesis(
    candidate: Candidate, share: float, one: _Round, verdicts: Standings, why_not: str = ""
) -> Hypothesis:
    rule = candidate.rule
    return Hypothesis(
        cause=rule.id,
        target=candidate.target,
        onset=candidate.onset,
        confidence=confidence(candidate, share, verdicts) if share else 0.0,
        log_odds=round(candidate.score(one.wanted), 3),
        title=rule.title,
        title_zh=rule.title_zh,
        terms=_terms(candidate, one.wanted),
        explains=tuple(sorted(candidate.explains)),
        proposes=_proposes(candidate, verdicts),
        min_confidence=rule.min_confidence,
        why_not=why_not,
        reference=rule.reference,
    )


def _proposes(candidate: Candidate, verdicts: Standings) -> tuple[str, ...]:
    rule = candidate.rule
    if rule.is_shadow(verdicts.get(rule.id, (0, 0))):
        return ()
    return ("escalate",) if rule.proposes and candidate.target.kind in WIDE else rule.proposes


def _terms(candidate: Candidate, wanted: frozenset[str]) -> tuple[Term, ...]:
    """All terms, the prior and the coverage among them: they add up to the log-odds."""
    rule = candidate.rule
    terms = sorted(candidate.terms, key=lambda t: -abs(t.weight))
    base = Term(
        "prior",
        Side.FOR,
        logit(rule.prior),
        f"{rule.prior:.3g} before any evidence",
        "prior",
        source="rule",
    )
    cover = candidate.coverage(wanted)
    if not cover:
        return (*terms, base)
    left = len(wanted - candidate.explains)
    said = f"leaves {left} of {len(wanted)} symptoms unexplained"
    return (
        *terms,
        Term("coverage", Side.AGAINST, cover, said, "coverage", source="topology"),
        base,
    )


def _why_not(rival: Candidate, one: _Round) -> str:
    """What cost the rival the lead, in one clause."""
    gap = one.leader.score(one.wanted) - rival.score(one.wanted)
    worst = min(rival.terms, key=lambda t: t.weight, default=None)
    if worst is not None and worst.weight < 0:
        return f"{worst.seen or 'no'} ({worst.weight:+.1f} for {worst.asked})"
    lost = rival.coverage(one.wanted)
    if lost < 0:
        return (
            f"leaves {len(one.wanted - rival.explains)} of {len(one.wanted)} symptoms unexplained"
        )
    best = max(one.leader.terms, key=lambda t: t.weight, default=None)
    if best is not None and best.weight > 0:
        return f"nothing like what the leader has, {best.seen} (behind by {gap:.1f})"
    return f"less likely beforehand (behind by {gap:.1f})"


def _doubt(one: _Round, told: Sequence[Hypothesis]) -> tuple[str, str]:
    """(why nothing may be done on this diagnosis, what would decide); both empty if it may."""
    leader = told[0]
    if leader.cause == "unknown":
        best = next((c for c in one.rivals if not c.is_null), None)
        return "no known cause fits well enough", _would_decide(best, None) or _look_there(leader)
    rival = max(told[1:], key=lambda h: h.confidence, default=None)
    if rival is None or leader.confidence - rival.confidence >= MARGIN:
        return "", ""
    second = next(c for c in one.rivals if _is(c, rival))
    said = (
        f"{leader.cause} on {leader.target} ({leader.confidence:.2f}) and {rival.cause} on "
        f"{rival.target} ({rival.confidence:.2f}) are too close to call"
    )
    decide = _would_decide(one.leader, second) or _would_decide(second, one.leader)
    return said, decide or _canary(one.leader.rule, second.rule) or _look_there(leader)


def _would_decide(candidate: Candidate | None, other: Candidate | None) -> str:
    """The weightiest question of `candidate` that could not be answered."""
    if candidate is None:
        return ""
    weights = {e.text: e.weight - e.against for e in candidate.rule.evidence}
    known = {t.asked for t in other.terms} if other is not None else set()
    open_ = [t for t in candidate.terms if t.side is Side.MISSING and t.asked not in known]
    if not open_:
        return ""
    first = max(open_, key=lambda t: weights.get(t.asked, 0.0))
    return f"{first.asked} on {first.target or candidate.target}"


def _canary(one: Rule, other: Rule) -> str:
    if one.change and other.change:
        return "take back one of the two changes on a single replica and compare"
    return ""


def _look_there(leader: Hypothesis) -> str:
    return f"a person's look at {leader.target}"


def _same(one: Hypothesis, other: Hypothesis) -> bool:
    return (one.cause, one.target) == (other.cause, other.target)


def _is(candidate: Candidate, told: Hypothesis) -> bool:
    return (candidate.rule.id, candidate.target) == (told.cause, told.target)


def main_target(scene: Scene) -> Target:
    """What the incident is about, for causes that concern it as a whole."""
    return scene.incident.targets[0]
