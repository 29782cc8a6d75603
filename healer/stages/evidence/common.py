"""Common cause: do the sick have a node, a rack or a revision in common more than chance?

The share of sick under one parent is compared with the share everywhere (lift), and only
counts when Fisher's exact test finds it unlikely (p < .05). Totals come from the topology's
size, so nothing is walked through but the parent's own children.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.stages.evidence.relations import to_kind

MOST = 2.5
SIGNIFICANT = 0.05


def fisher(hit: int, group: int, sick: int, everyone: int) -> float:
    """P(at least `hit` sick in a group of `group`), drawn from `everyone` with `sick` sick."""
    most = min(group, sick)
    log_all = _log_choose(everyone, group)
    return min(
        1.0,
        sum(
            math.exp(_log_choose(sick, k) + _log_choose(everyone - sick, group - k) - log_all)
            for k in range(hit, most + 1)
            if group - k <= everyone - sick
        ),
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def sick_units(targets: Iterable[Target]) -> frozenset[Target]:
    """The sick, counted in the kind most symptoms are about: pods, GPUs or nodes."""
    found = set(targets)
    groups = [
        frozenset(t for t in found if t.kind is kind) for kind in (Kind.POD, Kind.GPU, Kind.NODE)
    ]
    return max(groups, key=len)


def lift(topology: Topology, target: Target, sick: frozenset[Target]) -> tuple[float, str]:
    """(log-odds, citation) for `target` as what the sick have in common."""
    if len(sick) < 2:
        return 0.0, ""
    kind = next(iter(sick)).kind
    if target.kind == kind:
        return 0.0, ""
    group = to_kind(topology, target, kind)
    everyone, hit = len(topology.of(kind)), len(sick & set(group))
    if hit < 2 or everyone <= len(group) or everyone < len(sick):
        return 0.0, ""
    p = fisher(hit, len(group), len(sick), everyone)
    ratio = (hit / len(group)) / (len(sick) / everyone)
    if p >= SIGNIFICANT or ratio <= 1:
        return 0.0, ""
    said = f"{hit} of {len(group)} {kind}s here are sick, {len(sick)} of {everyone} everywhere"
    return min(MOST, math.log(ratio)), f"{said} (p = {p:.2g})"
