"""One that is unlike its siblings, and the many reasons for which a difference is none."""

import numpy as np
import pytest
from builders import NOW, signal

from detectors.peers import Peers
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

PODS = tuple(Target(Kind.POD, f"llama-8b-{i}", "serving") for i in range(5))
GPUS = tuple(Target(Kind.GPU, f"GPU-{i}") for i in range(5))
WORKLOAD = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving")
NODE = Target(Kind.NODE, "gpu-node-1")
T = 120
TIMES = NOW.timestamp() - 15.0 * np.arange(T - 1, -1, -1)


def noisy(level, count, seed=1, sd=0.1):
    return level * (1 + sd * np.random.default_rng(seed).normal(size=(count, T)))


def raised(values, by, steps=20, row=0):
    values = values.copy()
    values[row, -steps:] *= by
    return values


def made(name, targets, values, worse=Worse.UP, matters=0.02):
    array = np.asarray(values, np.float32)
    given = signal(name, scope=targets[0].kind, worse=worse, matters=matters)
    return Frame(given, TIMES, array, targets[: len(array)])


def world(**facts):
    entities = {p: Entity(p, facts={"ready": True}) for p in PODS}
    entities[PODS[0]] = Entity(PODS[0], facts={"ready": True} | facts)
    entities |= {g: Entity(g, facts={"model": "H100"}) for g in GPUS}
    edges = {(p, WORKLOAD) for p in PODS} | {(g, NODE) for g in GPUS}
    return Topology(entities, frozenset(edges))


def found(*frames, topology=None, **options):
    snapshot = Snapshot(NOW, {f.signal.name: f for f in frames}, topology=topology or world())
    return list(Peers(**options).detect(snapshot, None))


@pytest.mark.parametrize("count", [3, 5])
def test_a_slow_replica_is_found_among_its_siblings_as_a_warning(count):
    [one] = found(made("itl_p95", PODS, raised(noisy(0.05, count), 4)))
    assert (one.target, one.level, one.detector) == (PODS[0], Level.WARN, "peers")
    assert one.observed == pytest.approx(0.2, rel=0.2)
    assert one.expected_high < one.observed
    assert one.since.timestamp() == pytest.approx(TIMES[-20], abs=60)
    assert f"{count - 1} siblings" in one.summary


def test_a_hot_gpu_is_found_among_those_of_its_node():
    values = noisy(60, 5, sd=0.02)
    values[2, -40:] += 22
    [one] = found(made("gpu_temp", GPUS, values, matters=5))
    assert one.target == GPUS[2]


def test_siblings_that_are_alike_are_silent():
    assert not found(made("itl_p95", PODS, noisy(0.05, 5)))


def test_a_load_that_rises_for_all_is_silent():
    values = noisy(0.05, 5)
    values[:, -40:] *= 5
    assert not found(made("itl_p95", PODS, values))


def test_a_blip_is_silent():
    assert not found(made("itl_p95", PODS, raised(noisy(0.05, 5), 8, steps=3)))


def test_two_cannot_tell_which_is_the_odd_one():
    assert not found(made("itl_p95", PODS, raised(noisy(0.05, 2), 6)))


def test_missing_samples_neither_speak_nor_hide():
    values = raised(noisy(0.05, 5), 4)
    values[0, -9] = np.nan
    assert found(made("itl_p95", PODS, values))
    values[0, -5:] = np.nan
    assert not found(made("itl_p95", PODS, values))
    values[:] = np.nan
    assert not found(made("itl_p95", PODS, values))


def test_more_load_excuses_a_slower_replica():
    slow = made("itl_p95", PODS, raised(noisy(0.05, 5), 4))
    loaded = made("requests_running", PODS, raised(noisy(20, 5), 2.5), matters=4)
    even = made("requests_running", PODS, noisy(20, 5), matters=4)
    idle = made("requests_running", PODS, raised(noisy(20, 5), 0.3), matters=4)
    assert not found(slow, loaded)
    assert found(slow, even)
    assert found(slow, idle)


def test_less_load_excuses_a_clock_that_is_low():
    low = made("gpu_sm_clock", GPUS, raised(noisy(1900, 5, sd=0.01), 0.4), Worse.DOWN, 200)
    idle = made("gpu_util", GPUS, raised(noisy(90, 5, sd=0.01), 0.1), matters=20)
    busy = made("gpu_util", GPUS, noisy(90, 5, sd=0.01), matters=20)
    assert not found(low, idle)
    assert found(low, busy)


def test_the_good_side_is_silent():
    assert not found(made("itl_p95", PODS, raised(noisy(0.3, 5), 0.1)))


def test_a_difference_too_small_to_matter_is_silent():
    assert not found(made("itl_p95", PODS, raised(noisy(0.001, 5, sd=0.01), 3)))


def test_siblings_that_always_differ_much_widen_the_scale():
    values = noisy(0.05, 5) * np.array([1.2, 0.5, 2.0, 4.0, 0.8])[:, None]
    assert not found(made("itl_p95", PODS, raised(values, 1.6)))


def test_a_pod_that_loads_or_drains_is_no_member():
    slow = made("itl_p95", PODS, raised(noisy(0.05, 5), 6))
    assert not found(slow, topology=world(ready=False))
    assert not found(slow, topology=world(terminating=True))


def test_pods_of_no_known_workload_are_nobodys_siblings():
    slow = made("itl_p95", PODS, raised(noisy(0.05, 5), 6))
    assert not found(slow, topology=Topology())
