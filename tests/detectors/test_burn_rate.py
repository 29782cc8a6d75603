"""The error budget: burnt over a long and a short window, or left alone."""

import numpy as np
import pytest
from builders import NOW, signal

from detectors.burn_rate import BurnRate
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.snapshot import Snapshot
from healer.model.target import Kind, Target
from healer.model.topology import Entity, Topology

PODS = tuple(Target(Kind.POD, f"llama-8b-{i}", "serving") for i in range(2))
REVISION = Target(Kind.REVISION, "llama-8b-7c9", "serving")
WORKLOAD = Target(Kind.WORKLOAD, "deployment/llama-8b", "serving")
WORLD = Topology(
    {p: Entity(p) for p in PODS}, frozenset({(p, REVISION) for p in PODS} | {(REVISION, WORKLOAD)})
)
T = 40
TIMES = NOW.timestamp() - 15.0 * np.arange(T - 1, -1, -1)


def frame(counts, scope=Kind.POD):
    """counts: (target, window, part) → requests, one number or a row."""
    values = np.array([np.broadcast_to(v, T) for v in counts.values()], np.float32)
    labels = tuple({"window": w, "part": p} for _, w, p in counts)
    made = signal("slo_errors", scope=scope, unit="requests", title="Requests failed")
    return Frame(made, TIMES, values, tuple(t for t, _, _ in counts), labels)


def rates(ratio_5m, ratio_1h, ratio_30m=0.0, ratio_6h=0.0, *, pod=PODS[0], an_hour=6000):
    shares = {"5m": (ratio_5m, 1 / 12), "1h": (ratio_1h, 1), "30m": (ratio_30m, 0.5)}
    shares["6h"] = (ratio_6h, 6)
    return {
        (pod, window, part): an_hour * length * (ratio if part == "bad" else 1)
        for window, (ratio, length) in shares.items()
        for part in ("bad", "total")
    }


def found(counts, topology=WORLD, scope=Kind.POD, **options):
    snapshot = Snapshot(NOW, {"slo_errors": frame(counts, scope)}, topology=topology)
    return list(BurnRate(**options).detect(snapshot, None))


def test_a_fast_burn_in_both_windows_is_told_of_the_workload():
    [one] = found(rates(0.3, 0.2))
    assert (one.target, one.level, one.detector) == (WORKLOAD, Level.WARN, "burn_rate")
    assert one.observed == pytest.approx(0.2)
    assert "20.0% in 1h and 30.0% in 5m, 20 times the budget of 0.01" in one.summary
    assert one.contributions == (("error_ratio", 1.0),)


def test_a_slow_leak_is_found_by_the_slow_pair():
    [one] = found(rates(0.07, 0.07, 0.07, 0.07))
    assert "7.0% in 6h" in one.summary


def test_a_service_that_keeps_its_promise_is_silent():
    assert not found(rates(0.004, 0.004, 0.004, 0.004))


def test_a_burst_that_is_over_and_one_that_has_just_begun_are_silent():
    assert not found(rates(0.0, 0.2))
    assert not found(rates(0.5, 0.04))


def test_the_replicas_of_a_workload_are_counted_together():
    sick = rates(0.2, 0.2, pod=PODS[0])
    well = rates(0.0, 0.0, pod=PODS[1], an_hour=60_000)
    assert found(sick)
    assert not found(sick | well)


def test_a_handful_of_requests_is_no_proof():
    assert not found(rates(0.5, 0.5, 0.5, 0.5, an_hour=10))
    assert found(rates(0.5, 0.5, 0.5, 0.5, an_hour=10), min_requests=5, min_bad=2)


def test_since_is_when_both_began_to_burn():
    late = np.r_[np.zeros(T - 8), np.full(8, 1200.0)]
    [one] = found(rates(0.3, 0.2) | {(PODS[0], "1h", "bad"): late})
    assert one.since.timestamp() == TIMES[-8]


def test_no_row_of_bad_requests_means_none():
    assert not found({k: v for k, v in rates(0.3, 0.2).items() if k[2] == "total"})


def test_good_requests_may_be_counted_instead_of_bad_ones():
    counts = {
        (pod, window, "good" if part == "bad" else part): total - bad if part == "bad" else total
        for (pod, window, part), bad in rates(0.3, 0.2).items()
        for total in (rates(0.3, 0.2)[pod, window, "total"],)
    }
    [one] = found(counts)
    assert one.observed == pytest.approx(0.2)


def test_missing_data_says_nothing():
    gone = np.r_[np.full(T - 8, 6000.0), np.full(8, np.nan)]
    assert not found(rates(0.3, 0.2) | {(PODS[0], "1h", "total"): gone})
    assert not found({k: v for k, v in rates(0.3, 0.2).items() if k[1] != "5m"})
    assert not list(BurnRate().detect(Snapshot(NOW), None))


def test_pods_that_are_gone_count_no_more_and_services_count_for_themselves():
    assert not found(rates(0.3, 0.2, pod=Target(Kind.POD, "old", "serving")))
    service = Target(Kind.SERVICE, "llama", "serving")
    [one] = found(rates(0.3, 0.2, pod=service), scope=Kind.SERVICE)
    assert one.target == service


def test_an_objective_that_is_none_is_refused():
    with pytest.raises(ValueError, match="expected between 0 and 1"):
        BurnRate(objectives={"slo_errors": 99.0})
