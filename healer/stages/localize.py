"""Localises a fault without knowing what the services do: metrics, a call graph, a broken SLO.

For everything no rule covers. The same kind of evidence as the rules', by principle instead
of by knowledge: saturating robust deviations with a floor per signal, so that no jitter in a
near-constant series outshouts a real change; resources of a service's own accuse it more than
what it hands on; what the services it calls account for is explained away, in seconds and in
failed requests; the earlier onset is nearer to the root. No fault and no broken SLO: silence.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from healer.stages.shift import (
    CAP,
    FAMILIES,
    FROM,
    REQUESTS,
    VANISHED,
    MetricCase,
    Shift,
    beyond_demand,
    family_of,
    saturate,
    shift_of,
    vanished_of,
)

WEIGHT = {"other": 0.5, "traffic": 0.25, "network": 0.8}
"""How much a family accuses its own service; 1 unless said. Traffic moves with everything, while
processor, memory and disk are a service's own."""

OWN = 1.25
"""How much sooner a resource is named than the latency it causes."""

HANDED_ON = frozenset({"latency", "errors"})
"""What a service inherits from those it calls."""

OWN_FAMILIES = frozenset(name for name, _ in FAMILIES) - HANDED_ON

UNGUIDED = 0.7
"""The most where nobody knows who calls whom, and nothing but what is handed on accuses."""

OFF_FAMILY = 0.4
"""For latency where errors broke the SLO, and the other way round."""

ENOUGH = 0.3
"""Share of what the SLO lost that a cause must account for at least; several may add up."""

IRRELEVANT = 0.3
"""For latency where the SLO's latency stands and something else of it moved."""

SEEN_FROM_OUTSIDE = ("_remote", "_client")
"""Entities that are only a caller's view of something: they suffer, and are never the cause."""

OUTSIDE = -2.0

UNREACHED = -1.0
"""For a service from which the broken SLO cannot be reached along the calls."""

SHARPEST = 1.5
"""Where nobody knows who calls whom: for the service whose latency or failures grew most in
proportion. Half a second more is everything to a leaf and little to those who wait for it."""

SHARP_RANGE = 10.0
"""A service whose growth is a tenth of the sharpest gets nothing of that."""

EARLY = 0.5

STANDING = -2.5
"""For an SLO whose own series has not moved at all: nothing may be wrong."""

SURE = 1.6
"""Log-odds of the leader at which it is as likely right as not, before the SLO and the margin."""

_NONE = Shift("", "", "other", 0.0, 0.0, 0.0, None)


@dataclass(frozen=True, slots=True)
class Suspect:
    service: str
    metric: str
    """What accuses it most."""
    score: float
    """Log-odds, before any comparison with rivals."""
    terms: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Localized:
    """Suspects, best first. `confidence` is that the first is the root cause."""

    suspects: tuple[Suspect, ...] = ()
    confidence: float = 0.0
    slo_score: float | None = None
    """How far the SLO itself has moved; None where it has no series."""


@dataclass(frozen=True, slots=True)
class _Slo:
    entity: str
    family: str


@dataclass(frozen=True)
class _Graph:
    calls: Mapping[str, frozenset[str]]
    reached: frozenset[str] = field(default_factory=frozenset)
    """Services the SLO's own depends on, itself among them; empty when unknown."""

    @classmethod
    def of(cls, edges: Iterable[tuple[str, str]], start: str) -> _Graph:
        calls: dict[str, set[str]] = defaultdict(set)
        for caller, callee in edges:
            if caller != callee:
                calls[caller].add(callee)
        seen, queue = {start}, [start]
        while queue:
            for callee in calls.get(queue.pop(), ()):
                if callee not in seen:
                    seen.add(callee)
                    queue.append(callee)
        reached = frozenset(seen) if len(seen) > 1 else frozenset()
        return cls({name: frozenset(each) for name, each in calls.items()}, reached)


def localize(case: MetricCase) -> Localized:
    """Who is to blame, and how sure we are. Cheap: one pass over the columns."""
    moved = tuple(each for i in range(len(case.columns)) if (each := shift_of(case, i)))
    shifts = beyond_demand(moved)
    by_service: dict[str, list[Shift]] = defaultdict(list)
    for shift in shifts:
        by_service[shift.service].append(shift)
    entity, family = (case.slo[0], family_of(case.slo[1])) if case.slo else ("", "")
    graph = _Graph.of(case.calls, entity)
    first = min((s.onset for s in shifts if s.onset is not None), default=None)
    slo = _Slo(entity, family)
    vanished = vanished_of(case)
    watcher = entity if _only_watches(entity, by_service, graph) else ""
    growth = {} if graph.calls else _growth(by_service, slo)
    suspects = [
        _suspect(
            name,
            by_service,
            graph,
            slo,
            first,
            {
                "grew most in proportion": SHARPEST * growth.get(name, 0.0),
                "fell silent": vanished.get(name, 0.0),
                "only watches": -2 * CAP if name == watcher else 0.0,
            },
            vanished,
        )
        for name in sorted({*by_service, *vanished})
    ]
    ranked = tuple(sorted(suspects, key=lambda s: (-s.score, s.service)))
    broken = _slo_score(by_service, entity, family)
    sure = _confidence(ranked, broken)
    if ranked and not graph.calls and _only_handed_on(ranked[0]):
        sure = min(sure, UNGUIDED)
    return Localized(ranked, sure, broken)


def _only_watches(entity: str, by_service: Mapping[str, list[Shift]], graph: _Graph) -> bool:
    """Whether the SLO's entity is no part of the system: users, a probe, a load generator.

    It is in no call, or, where no calls are known, it has no resources while others do.
    """
    if graph.calls:
        return entity not in graph.calls and not any(entity in c for c in graph.calls.values())
    own = {
        name: any(s.family in OWN_FAMILIES - {"traffic"} for s in shifts)
        for name, shifts in by_service.items()
    }
    return not own.get(entity, True) and 2 * sum(own.values()) > len(own)


def _only_handed_on(suspect: Suspect) -> bool:
    families = {name for name, weight in suspect.terms if weight > 0.5}
    return bool(families & HANDED_ON) and not families & OWN_FAMILIES


def _suspect(
    name: str,
    by_service: Mapping[str, list[Shift]],
    graph: _Graph,
    slo: _Slo,
    first: float | None,
    further: Mapping[str, float],
    gone: Mapping[str, float],
) -> Suspect:
    found: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for shift in by_service[name]:
        weight = WEIGHT.get(shift.family, 1.0)
        own = 1.0
        if shift.family in HANDED_ON:
            off = slo.family in HANDED_ON and slo.family != shift.family
            weight *= (OFF_FAMILY if off else 1.0) * relevance(shift, by_service, slo)
            callees = graph.calls.get(name, frozenset())
            own = 1 - explained(shift, by_service, callees)
            # Who calls somebody that is gone waits for nobody's numbers.
            own *= 1 - max((gone.get(each, 0.0) for each in callees), default=0.0) / VANISHED
        found[shift.family].append((weight * own * saturate(shift.score), shift.metric))
    terms: list[tuple[str, float]] = []
    best = (0.0, "")
    for family, weights in found.items():
        weights.sort(reverse=True)
        # What belongs to the service says more about why than what it passes on.
        told = weights[0][0] * (1.0 if family in HANDED_ON else OWN)
        best = max(best, (told, weights[0][1]))
        terms.append((family, min(CAP, weights[0][0] + sum(w for w, _ in weights[1:]) / 4)))
    if name.endswith(SEEN_FROM_OUTSIDE):
        terms.append(("seen from outside", OUTSIDE))
    if graph.reached and name not in graph.reached:
        terms.append(("not reached from the SLO", UNREACHED))
    if not name.endswith(SEEN_FROM_OUTSIDE):
        terms += [(said, weight) for said, weight in further.items() if weight]
    onsets = [s.onset for s in by_service[name] if s.onset is not None]
    if onsets and first is not None and best[0] > 1 and min(onsets) <= first:
        terms.append(("earliest", EARLY))
    metric = best[1] or max(by_service[name], key=lambda s: s.score, default=_NONE).metric
    return Suspect(name, metric, sum(weight for _, weight in terms), tuple(terms))


def _growth(by_service: Mapping[str, list[Shift]], slo: _Slo) -> dict[str, float]:
    """By service, in [0, 1]: how much its latency or its failures grew in proportion, beside
    the service where they grew most. Callers dilute what they inherit; the root does not."""
    grown: dict[str, float] = {}
    for name, shifts in by_service.items():
        told = [
            s.worse if s.family == "errors" else s.worse / max(abs(s.level), 1e-9)
            for s in shifts
            if s.family in HANDED_ON
            and (slo.family not in HANDED_ON or s.family == slo.family)
            and saturate(s.score) * relevance(s, by_service, slo) > 1
        ]
        if told:
            grown[name] = float(np.median(told))
    most = max(grown.values(), default=0.0)
    return {
        name: max(0.0, 1 + math.log(each / most) / math.log(SHARP_RANGE))
        for name, each in grown.items()
        if each > 0
    }


def relevance(shift: Shift, by_service: Mapping[str, list[Shift]], slo: _Slo) -> float:
    """Whether a shift is large enough to account for the SLO's, in [0, 1].

    A database that takes four milliseconds longer, however unusual, has not cost the user
    two seconds. 1 where the SLO has no series to compare with.
    """
    theirs = [s for s in by_service.get(slo.entity, ()) if s.family == shift.family]
    alike = [s for s in theirs if s.metric == shift.metric] or theirs
    if not alike or shift.service == slo.entity:
        return 1.0
    moved = [s for s in alike if s.score > 1]
    if not moved:
        return IRRELEVANT if any(s.score > FROM for s in by_service[slo.entity]) else 1.0
    counted = bool(_requests(shift.service, by_service) and _requests(slo.entity, by_service))
    wanted = max(_amount(s, by_service) if counted else s.worse for s in moved)
    given = _amount(shift, by_service) if counted else shift.worse
    return min(1.0, given / (ENOUGH * wanted)) if wanted > 0 else 1.0


def explained(shift: Shift, by_service: Mapping[str, list[Shift]], callees: Iterable[str]) -> float:
    """Share of a service's extra latency or failures that those it calls account for, in [0, 1].

    In seconds and in failed requests, times the requests where both are known: a call graph
    hands on absolute amounts, never z-scores.
    """
    mine = _amount(shift, by_service)
    if mine <= 0:
        return 0.0
    handed = 0.0
    for callee in callees:
        same = [s for s in by_service.get(callee, ()) if s.family == shift.family]
        alike = [s for s in same if s.metric == shift.metric] or same
        counted = bool(_requests(shift.service, by_service)) and bool(_requests(callee, by_service))
        base = mine if counted else shift.worse
        amounts = [
            (_amount(s, by_service) if counted else s.worse) / base
            for s in alike
            if saturate(s.score) > 0
        ]
        handed += max(amounts, default=0.0)
    return min(1.0, handed)


def _amount(shift: Shift, by_service: Mapping[str, list[Shift]]) -> float:
    return shift.worse * (_requests(shift.service, by_service) or 1.0)


def _requests(service: str, by_service: Mapping[str, list[Shift]]) -> float:
    return next(
        (s.level for s in by_service[service] if s.metric.lower().startswith(REQUESTS)), 0.0
    )


def _slo_score(by_service: Mapping[str, list[Shift]], entity: str, family: str) -> float | None:
    """How far the broken SLO's own series moved."""
    mine = [s.score for s in by_service.get(entity, ()) if s.family == family]
    return max(mine) if mine else None


def _confidence(ranked: tuple[Suspect, ...], broken: float | None) -> float:
    """Low while the SLO stands, while nobody is strongly accused, or two are alike."""
    if not ranked or ranked[0].score <= 0:
        return 0.0
    score = ranked[0].score - SURE
    if broken is not None:
        score += 1.0 if saturate(broken) > 0.5 else STANDING * (1 - min(1.0, broken / FROM))
    if len(ranked) > 1:
        score += min(1.0, ranked[0].score - ranked[1].score) - 0.4
    return round(1 / (1 + math.exp(-score)), 4)
