"""Signals that do not go together."""

from datetime import timedelta

import numpy as np
import pytest
from builders import NOW
from detectors_fleets import DAY, history_times, made, pods, window_times
from sklearn.ensemble import IsolationForest as Sklearn

from detectors._forest import Forest, grow
from detectors.isolation_forest import IsolationForest
from healer.model.finding import Level
from healer.model.snapshot import Snapshot
from healer.model.topology import Topology

ROWS = 6
META = {
    "ttft_p95": ("s", 0.1, "TTFT p95"),
    "queue_time_p95": ("s", 0.1, "queue time p95"),
    "arrival_rate": ("requests/s", 0.5, "request rate"),
    "requests_running": ("requests", 2.0, "requests running"),
    "kv_usage": ("ratio", 0.05, "KV cache usage"),
    "generation_tokens": ("tokens/s", 50.0, "generated tokens"),
}


def engines(times, seed):
    """Load by the hour; latency, queue, cache and tokens follow from it."""
    rng = np.random.default_rng(seed)
    load = 6 + 4 * np.sin(times / DAY * 2 * np.pi) + rng.normal(0, 0.3, (ROWS, len(times)))
    busy = load / 10.0
    return {
        "arrival_rate": load,
        "requests_running": 25 * busy + rng.normal(0, 1, load.shape),
        "ttft_p95": 0.3 + 0.9 * busy**2 + rng.normal(0, 0.03, load.shape),
        "queue_time_p95": 0.05 + 0.3 * busy**3 + rng.normal(0, 0.01, load.shape),
        "kv_usage": 0.2 + 0.5 * busy + rng.normal(0, 0.02, load.shape),
        "generation_tokens": 220 * load + rng.normal(0, 40, load.shape),
    }


def frames(values, times):
    return {
        name: made(
            v, times, name=name, unit=META[name][0], matters=META[name][1], title=META[name][2]
        )
        for name, v in values.items()
    }


@pytest.fixture(scope="module")
def learned():
    times = history_times(5)
    baseline = IsolationForest().fit(frames(engines(times, 1), times), Topology())
    assert baseline is not None
    return baseline


def window(change=None, *, end=NOW, seed=7):
    times = window_times(end=end)
    values = engines(times, seed)
    if change:
        change(values)
    return Snapshot(end, frames(values, times))


def found(snapshot, baseline):
    return list(IsolationForest().detect(snapshot, baseline))


def slow_at_normal_load(values):
    values["ttft_p95"][2, -60:] *= 3.4
    values["queue_time_p95"][2, -60:] *= 4.0


def test_a_healthy_fleet_is_silent(learned):
    for hour in range(0, 24, 3):
        end = NOW + timedelta(hours=hour)
        assert not found(window(end=end, seed=hour), learned)


def test_latency_at_normal_load_is_found_in_an_operators_words(learned):
    [one] = found(window(slow_at_normal_load), learned)
    assert one.target == pods(ROWS)[2]
    assert one.level in (Level.WARN, Level.PAGE)
    assert one.summary.startswith(("TTFT p95 +", "queue time p95 +"))
    assert "at normal request rate" in one.summary
    assert {name for name, _ in one.contributions[:2]} == {"ttft_p95", "queue_time_p95"}
    assert sum(share for _, share in one.contributions) <= 1.01


def test_a_score_alone_never_acts(learned):
    def everything(values):
        for name in values:
            values[name][1, -80:] *= 20

    assert all(f.level <= Level.PAGE for f in found(window(everything), learned))


def test_a_blip_is_silent(learned):
    def blip(values):
        values["ttft_p95"][2, -3:] *= 5

    assert not found(window(blip), learned)


def test_missing_signals_and_samples_are_no_anomaly(learned):
    snapshot = window()
    part = {n: f for n, f in snapshot.frames.items() if n != "kv_usage"}
    assert not found(Snapshot(NOW, part), learned)

    def gone(values):
        for name in values:
            values[name][0, -20:] = np.nan
        values["ttft_p95"][3] = np.nan

    assert not found(window(gone), learned)
    assert not found(Snapshot(NOW), learned)


def test_without_a_baseline_it_says_nothing(learned):
    assert not found(window(slow_at_normal_load), None)


def test_too_little_history_teaches_nothing():
    times = history_times(0.1)
    assert IsolationForest().fit(frames(engines(times, 1), times), Topology()) is None
    assert IsolationForest().fit({}, Topology()) is None


def test_the_same_history_gives_the_same_baseline():
    times = history_times(1)
    one, two = (IsolationForest().fit(frames(engines(times, 1), times), Topology()) for _ in "ab")
    assert one.meta == two.meta
    assert all(np.array_equal(one.arrays[k], two.arrays[k]) for k in one.arrays)


def test_our_scores_equal_scikit_learns():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1500, 6)) * rng.choice([1, 4], (1500, 1))
    rows[:40] = rows[0]
    mine = grow(rows, seed=4)
    theirs = Sklearn(n_estimators=100, max_samples=256, random_state=4).fit(rows.astype(np.float32))
    trial = (rng.normal(size=(500, 6)) * 3).astype(np.float32)
    np.testing.assert_allclose(mine.score(trial), -theirs.score_samples(trial), rtol=1e-6)
    again = Forest.from_arrays(mine.arrays("x."), "x.")
    np.testing.assert_array_equal(again.score(trial), mine.score(trial))


def test_a_forest_of_few_rows_still_scores():
    rows = np.array([[0.0, 1.0], [0.1, 1.1], [5.0, 5.0]])
    score = grow(rows).score(np.array([[0.05, 1.05], [50.0, 50.0]]))
    assert score[1] > score[0]
