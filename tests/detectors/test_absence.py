"""Who fell silent while the siblings go on talking, and who may be silent in peace."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
from builders import NOW, signal

from detectors.absence import Absence
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

PODS = tuple(Target(Kind.POD, f"llama-8b-{i}", "serving", f"uid-{i}") for i in range(3))
WORKLOAD = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving")
NODE = Target(Kind.NODE, "gpu-node-1")
GPUS = tuple(Target(Kind.GPU, f"GPU-{i}") for i in range(4))
TIMES = NOW.timestamp() - 15.0 * np.arange(119, -1, -1)


def rows(targets, silent_steps, heard_steps=120):
    """A row of ones each; the first row is silent for the newest steps."""
    values = np.ones((len(targets), 120), np.float32)
    if silent_steps:
        values[0, -silent_steps:] = np.nan
    values[0, : max(0, 120 - silent_steps - heard_steps)] = np.nan
    return values


def frame(name, targets, values):
    kept = np.isfinite(values).any(axis=1)
    rows = tuple(t for t, k in zip(targets, kept, strict=True) if k)
    return Frame(signal(name, scope=targets[0].kind), TIMES, values[kept], rows)


def pods_world(gpus=GPUS, **facts):
    """`facts` are those of the first pod."""
    entities = {p: Entity(p, facts={"phase": "Running", "ready": True}) for p in PODS}
    entities[PODS[0]] = Entity(PODS[0], facts=entities[PODS[0]].facts | facts)
    entities[NODE] = Entity(NODE, facts={"ready": True, "gpus_capacity": 4})
    edges = {(p, WORKLOAD) for p in PODS} | {(g, NODE) for g in gpus}
    return Topology(entities, frozenset(edges))


def pods_silent(steps=12, world=None, heard_steps=120, values=None):
    values = rows(PODS, steps, heard_steps) if values is None else values
    made = frame("requests_running", PODS, values)
    return Snapshot(NOW, {"requests_running": made}, topology=world or pods_world())


def gpu_silent(steps=12, world=None):
    made = frame("gpu_temp", GPUS, rows(GPUS, steps))
    return Snapshot(NOW, {"gpu_temp": made}, topology=world or pods_world())


def found(snapshot, baseline=None, **options):
    return list(Absence(**options).detect(snapshot, baseline))


def test_a_pod_that_falls_silent_beside_its_siblings_is_told_as_a_warning():
    [one] = found(pods_silent(12))
    assert one.target == PODS[0]
    assert (one.signal, one.level) == ("requests_running_absent", Level.WARN)
    assert one.since == NOW - timedelta(seconds=180)
    assert one.contributions == (("requests_running", 1.0),)
    assert "no sample for 3 min, while 2 siblings still report" in one.summary


def test_a_gpu_that_vanishes_beside_its_neighbours_pages():
    [one] = found(gpu_silent(12))
    assert (one.target, one.level) == (GPUS[0], Level.PAGE)


def test_a_fleet_that_is_heard_is_silent():
    assert not found(pods_silent(0))
    assert not found(gpu_silent(0))


def test_a_missed_scrape_or_two_is_no_absence():
    assert not found(pods_silent(4))
    assert not found(gpu_silent(5))


def test_a_pod_that_was_deleted_scaled_away_or_drains_is_not_missed():
    gone = pods_world()
    entities = {t: e for t, e in gone.entities.items() if t != PODS[0]}
    assert not found(pods_silent(12, Topology(entities, gone.edges)))
    assert not found(pods_silent(12, pods_world(terminating=True)))
    assert not found(pods_silent(12, pods_world(phase="Succeeded")))


def test_a_model_that_loads_is_not_missed():
    assert not found(pods_silent(12, pods_world(ready=False)))


def test_when_all_fall_silent_the_telemetry_is_the_fault():
    values = rows(PODS, 0)
    values[:, -12:] = np.nan
    assert not found(pods_silent(values=values))


def test_a_pod_alone_has_nobody_to_compare_with():
    values = rows(PODS, 12)
    values[1:] = np.nan
    assert not found(pods_silent(values=values))


def test_a_row_that_came_for_a_moment_only_is_not_missed():
    assert not found(pods_silent(12, heard_steps=6))


def test_doubt_about_cluster_or_metrics_says_nothing():
    whole = pods_silent(12)
    assert not found(replace(whole, metrics_ok=False))
    assert not found(replace(whole, cluster_ok=False))
    assert not found(replace(whole, topology=replace(whole.topology, complete=False)))


def test_the_gpus_of_a_node_that_is_down_are_not_missed():
    world = pods_world()
    entities = dict(world.entities) | {NODE: Entity(NODE, facts={"ready": False})}
    assert not found(gpu_silent(12, Topology(entities, world.edges)))


def test_a_gpu_is_missed_after_its_last_sample_has_left_the_window():
    earlier = frame("gpu_temp", GPUS, rows(GPUS, 12))
    baseline = Absence().fit({"gpu_temp": earlier}, pods_world())
    values = rows(GPUS, 0)
    values[0] = np.nan
    late = NOW + timedelta(hours=1)
    now = frame("gpu_temp", GPUS, values)
    now = Frame(now.signal, TIMES + 3600, now.values, now.targets)
    snapshot = Snapshot(late, {"gpu_temp": now}, topology=pods_world(GPUS[1:]))
    [one] = found(snapshot, baseline)
    assert one.target == GPUS[0]
    assert one.since == NOW - timedelta(seconds=180)


def test_a_gpu_that_was_swapped_for_another_is_not_missed():
    baseline = Absence().fit({"gpu_temp": frame("gpu_temp", GPUS, rows(GPUS, 12))}, pods_world())
    swapped = (*GPUS[1:], Target(Kind.GPU, "GPU-new"))
    now = frame("gpu_temp", swapped, rows(swapped, 0))
    snapshot = Snapshot(NOW, {"gpu_temp": now}, topology=pods_world(swapped))
    assert not found(snapshot, baseline)
