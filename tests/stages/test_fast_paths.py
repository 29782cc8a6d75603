"""What is worked out for many at once is what would be worked out one by one."""

from __future__ import annotations

import itertools
from pathlib import Path

import builders
import numpy as np
import pytest

from healer.adapters.rule_tests import load_tests
from healer.adapters.rulebook import load_rules
from healer.adapters.signal_catalogue import load_signals
from healer.model.event import Event
from healer.model.incident import Severity
from healer.model.snapshot import Snapshot
from healer.model.target import CLUSTER, Kind, Target
from healer.model.topology import Entity, Topology
from healer.settings import LoopSettings
from healer.stages import diagnose as stage
from healer.stages.evidence import bonds, functions, look, many
from healer.stages.evidence.bonds import Member, bundles
from healer.stages.evidence.reading import read
from healer.stages.rehearse import rehearse

RULES = Path(__file__).parents[1] / "rules"


def one_by_one(test, scene, targets, known, ask):
    answers = [ask(test, target) for target in targets]
    return np.array([np.nan if each is None else float(each) for each in answers])


def read_alone(scene, signal, targets):
    found = [read(scene, signal, target) for target in targets]
    return many.Columns(
        np.array([many.STATES.index(r.state) for r in found], np.int8),
        np.array([np.nan if r.now is None else r.now for r in found], float),
        np.array([np.nan if r.before is None else r.before for r in found], float),
    )


@pytest.mark.parametrize("name", ["gpu", "change", "traffic", "node"])
def test_a_whole_diagnosis_is_the_same_the_plain_way(name, monkeypatch):
    book, signals = load_rules(), {s.name: s for s in load_signals()}
    given = load_tests(RULES / f"{name}.yaml")
    fast = [rehearse(test, book, signals, given.interval).diagnoses for test in given.tests]
    monkeypatch.setattr(many, "truths", one_by_one)
    monkeypatch.setattr(look, "truths", one_by_one)
    monkeypatch.setattr(many, "columns", read_alone)
    monkeypatch.setattr(stage, "_possible", lambda rule, targets, scene: targets)
    plain = [rehearse(test, book, signals, given.interval).diagnoses for test in given.tests]

    assert functions.many.truths is one_by_one
    assert plain == fast


def crowd(seed: int) -> tuple[list[Member], Snapshot]:
    """Symptoms of pods, GPUs, nodes, racks, workloads and the cluster, some told in one group."""
    rng = np.random.default_rng(seed)
    edges, entities = set(), {}
    nodes = [builders.node(f"n{i}") for i in range(6)]
    pods, gpus = [], []
    for i, host in enumerate(nodes):
        edges.add((host, Target(Kind.RACK, f"r{i // 3}")))
        for g in range(2):
            gpu, pod = Target(Kind.GPU, f"G{i}-{g}"), builders.pod(f"p{i}-{g}")
            owner = builders.workload(f"deployment/w{rng.integers(4)}")
            edges |= {(gpu, host), (pod, gpu), (pod, host), (pod, owner)}
            pods.append(pod)
            gpus.append(gpu)
    owners = [t for _, t in edges if t.kind is Kind.WORKLOAD]
    racks = [Target(Kind.RACK, f"r{i}") for i in range(2)]
    lost = builders.pod("unheard-of")
    everyone = [*pods, *gpus, *nodes, *racks, *owners, lost, CLUSTER]
    entities = {t: Entity(t) for t in everyone if t not in (lost, CLUSTER)}
    members = []
    for i in range(25):
        target = everyone[rng.integers(len(everyone))]
        group = str(rng.choice(["", "", "g1", "g2"]))
        name = str(rng.choice(["ttft_p95", "alert", "gpu_temp"]))
        event = Event(name, target, builders.NOW, group=group) if group else None
        since = builders.at(-float(rng.integers(0, 900)))
        storm = str(rng.choice(["", "", "", "storm of a"]))
        members.append(
            Member(f"k{i}", name, target, since, True, Severity.WARNING, "", event=event)
            if not storm
            else Member(f"k{i}", name, target, since, True, Severity.WARNING, "", storm=storm)
        )
    return members, Snapshot(builders.NOW, {}, (), Topology(entities, frozenset(edges)))


@pytest.mark.parametrize("seed", range(30))
def test_members_are_bundled_as_if_each_were_compared_with_all(seed):
    members, snapshot = crowd(seed)
    within = LoopSettings().quiet_for
    crowds = bonds.crowded(members, snapshot)
    group = {m.key: {m.key} for m in members}
    for one, other in itertools.combinations(members, 2):
        near = abs(one.since - other.since) <= within
        if near and bonds.together(other, one, snapshot, crowds):
            merged = group[one.key] | group[other.key]
            group.update(dict.fromkeys(merged, merged))
    plain = {frozenset(each) for each in group.values()}

    found = {frozenset(m.key for m in each) for each in bundles(members, snapshot, within)}

    assert found == plain
