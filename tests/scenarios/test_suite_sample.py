"""A sample of the suite: a small world of its own, warmed once, its runs forked from it."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from healer.cli import suite
from healer.cli.suite_figures import judge
from healer.lab.scenario import (
    Allowed,
    ClusterSpec,
    Expectation,
    FaultSpec,
    HistorySpec,
    ModelSpec,
    Scenario,
)

WORLD = Scenario(
    "sample",
    duration=timedelta(minutes=10),
    cluster=ClusterSpec(nodes=2, gpus=2, racks=1),
    models=(ModelSpec("mistral-7b", replicas=3),),
    history=HistorySpec(span=timedelta(days=2), step=timedelta(seconds=120)),
)


def told(name: str, **more: Any) -> Scenario:
    return dataclasses.replace(WORLD, name=name, **more)


def test_runs_forked_from_one_warmed_world_are_judged_each_by_its_own_story() -> None:
    hang = told(
        "hang",
        faults=(FaultSpec("engine_hang", timedelta(minutes=1), target="pod:mistral-7b/1"),),
        expect=(
            Expectation(
                causes=("engine_hang",),
                targets=("pod:serving/mistral-7b-*",),
                remediations=("restart_pod",),
            ),
        ),
        allowed=(Allowed("evict", "pod:serving/mistral-7b-*"),),
    )
    benign = told(
        "benign",
        duration=timedelta(minutes=5),
        negative=True,
        faults=(FaultSpec("xid_benign", timedelta(minutes=1), target="gpu:mistral-7b/0"),),
        expect=(Expectation(causes=("benign", "no_fault")),),
    )
    impossible = told(
        "impossible",
        faults=(FaultSpec("rank_death", timedelta(minutes=1), options={"rank": 9}),),
    )
    seen: list[str] = []
    results = suite.run_all(
        suite.jobs([hang, benign, impossible], ["clean"]), 2, lambda r: seen.append(r["job"])
    )
    rows = {row.job: row for row in map(judge, results)}
    assert set(seen) == {"hang/clean", "benign/clean", "impossible/clean"}
    assert rows["impossible/clean"].crashed
    assert rows["hang/clean"].first
    assert rows["hang/clean"].cited
    assert rows["hang/clean"].unsafe == 0
    assert rows["benign/clean"].left_alone
