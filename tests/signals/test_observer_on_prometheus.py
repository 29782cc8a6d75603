"""The observer reads a whole made cluster from a real Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from signals.conftest import END_S, STEP_S, Asked

from healer.adapters.observer import Observer
from healer.adapters.signal_catalogue import load_signals
from healer.model.frame import Frame
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology
from healer.ports import ClusterView, Episode
from healer.settings import LoopSettings

pytestmark = pytest.mark.server

NODE = Target(Kind.NODE, "gpu-node-1")
POD = Target(Kind.POD, "vllm-0", "serving", "uid-v")
GPU = Target(Kind.GPU, "GPU-aaaa")
END = datetime.fromtimestamp(END_S, UTC)
STEP = timedelta(seconds=STEP_S)


class Cluster:
    def view(self) -> ClusterView:
        pods = [
            Entity(POD, facts={"node": NODE.name, "ip": "10.0.3.7", "gpus_requested": 1}),
            Entity(
                Target(Kind.POD, "ne-x", "monitoring"), facts={"node": NODE.name, "ip": "10.0.0.1"}
            ),
        ]
        found = [Entity(NODE), *pods]
        return ClusterView(Topology({each.target: each for each in found}))

    def denied(self) -> Mapping[str, str]:
        return {}


class NoAlerts:
    def episodes(self, since: datetime) -> tuple[Episode, ...]:
        return ()


@pytest.fixture
def watch(backfilled: Asked) -> Observer:
    settings = LoopSettings(window=timedelta(minutes=8), step=STEP)
    return Observer(backfilled, Cluster(), load_signals(), settings, NoAlerts())  # type: ignore[arg-type]


def test_one_look_sees_every_signal(watch: Observer) -> None:
    seen = watch.snapshot(END)
    assert seen.metrics_ok
    assert not seen.problems
    on_workloads_unseen = {"workload_unavailable", "workload_hpa_maxed", "workload_rollout_stuck"}
    names = {each.name for each in load_signals()} - {"exporter_up"}
    assert names - seen.frames.keys() <= on_workloads_unseen
    assert seen.age("ttft_p95") == timedelta(0)


def test_the_gpu_stands_on_its_node_and_under_its_pod(watch: Observer) -> None:
    topology = watch.snapshot(END).topology
    assert topology.fact(GPU, "model") == "NVIDIA H100"
    assert NODE in topology.above(GPU)
    assert topology.related(POD, Kind.GPU) == (GPU,)


def test_xids_become_events_with_their_number(watch: Observer) -> None:
    xids = [event for event in watch.snapshot(END).events if event.kind == "xid"]
    assert xids
    assert {(event.target, event.attributes["xid"]) for event in xids} == {(GPU, "79")}


def test_what_was_fed_piecewise_is_what_one_query_gives(watch: Observer, backfilled: Asked) -> None:
    for tick in range(4, -1, -1):
        fed = watch.snapshot(END - tick * STEP)
    whole = Observer(
        backfilled,
        Cluster(),
        load_signals(),
        LoopSettings(window=timedelta(minutes=8), step=STEP),
        NoAlerts(),  # type: ignore[arg-type]
    ).snapshot(END)
    assert fed.frames.keys() == whole.frames.keys()
    for name, frame in whole.frames.items():
        ours, theirs = _rows(fed.frames[name]), _rows(frame)
        assert ours.keys() == theirs.keys()
        for key, row in theirs.items():
            np.testing.assert_allclose(ours[key], row, rtol=1e-5, atol=1e-6, err_msg=name)


def _rows(frame: Frame) -> dict[object, np.ndarray]:
    """By target and kept labels."""
    keep = frame.signal.keep
    return {
        (target, tuple(labels.get(label) for label in keep)): row
        for (target, row), labels in zip(frame.rows(), frame.labels, strict=True)
    }
