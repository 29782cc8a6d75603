"""A topology that grows by what the metrics know answers like one built at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

TARGETS = [
    Target(kind, f"{kind}-{number}")
    for kind in (Kind.NODE, Kind.GPU, Kind.POD, Kind.WORKLOAD, Kind.MODEL)
    for number in range(3)
]
PICKED = st.frozensets(st.sampled_from(TARGETS))
EDGES = st.frozensets(
    st.tuples(st.sampled_from(TARGETS), st.sampled_from(TARGETS)).filter(lambda e: e[0] != e[1])
)


def of(targets: frozenset[Target], label: str) -> dict[Target, Entity]:
    return {target: Entity(target, {"from": label}) for target in sorted(targets)}


@given(PICKED, EDGES, PICKED, EDGES)
def test_grown_is_as_if_built_at_once(
    first: frozenset[Target],
    edges: frozenset[tuple[Target, Target]],
    more: frozenset[Target],
    added: frozenset[tuple[Target, Target]],
) -> None:
    small = Topology(of(first, "cluster"), edges)
    before = {target: small.related(target, Kind.NODE) for target in TARGETS}
    grown = small.grown(of(more, "metrics"), added)
    at_once = Topology(of(first, "cluster") | of(more, "metrics"), edges | added)
    assert grown == at_once
    for target in TARGETS:
        assert grown.above(target) == at_once.above(target)
        assert grown.below(target) == at_once.below(target)
        for kind in Kind:
            assert set(grown.related(target, kind)) == set(at_once.related(target, kind))
        assert small.related(target, Kind.NODE) == before[target], "the first is as it was"


def test_nothing_new_is_the_same_topology() -> None:
    node, gpu = TARGETS[0], TARGETS[3]
    known = {node: Entity(node), gpu: Entity(gpu)}
    topology = Topology(known, frozenset({(gpu, node)}))
    assert topology.grown({gpu: known[gpu]}, frozenset({(gpu, node)})) is topology
