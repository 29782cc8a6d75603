"""What will be full soon, and what only looks as if it would be."""

from datetime import timedelta

import numpy as np
import pytest
from builders import NOW, signal

from detectors.forecast import Forecast
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.target import Kind, Target

T = 120
TIMES = NOW.timestamp() - 15.0 * np.arange(T - 1, -1, -1)
DAY = NOW.timestamp() - 300.0 * np.arange(287, -1, -1)
RNG = np.random.default_rng(7)


def frame(values, times=TIMES, worse=Worse.DOWN, matters=0.05):
    rows = np.atleast_2d(np.asarray(values, np.float32))
    made = signal("node_disk_free", scope=Kind.NODE, unit="ratio", worse=worse, matters=matters)
    nodes = tuple(Target(Kind.NODE, f"gpu-node-{i}") for i in range(len(rows)))
    return Frame(made, times, rows, nodes)


def falling(begin, end, count=T, noise=0.001):
    return np.linspace(begin, end, count) + noise * RNG.normal(size=count)


def found(row, baseline=None, limit=0.0, **options):
    given = row if isinstance(row, Frame) else frame(row)
    return list(Forecast(limit=limit, **options).detect(given, baseline))


def test_a_disk_that_fills_within_the_hour_is_told_with_its_interval():
    """From 30 % to 15 % free in half an hour: full in another half hour."""
    [one] = found(falling(0.30, 0.15))
    assert (one.detector, one.level) == ("forecast", Level.WARN)
    assert "reaches 0 in 30 min (" in one.summary
    assert one.observed == pytest.approx(0.15, abs=0.01)
    assert one.observed < one.expected_low


def test_a_memory_that_fills_upwards_is_told_too():
    [one] = found(frame(falling(0.5, 0.8), worse=Worse.UP), limit=1.0)
    assert "reaches 1 in 20 min" in one.summary


def test_what_stands_still_or_empties_is_silent():
    assert not found(falling(0.15, 0.15))
    assert not found(falling(0.15, 0.30))


def test_what_is_full_already_is_the_business_of_a_threshold():
    assert not found(frame(falling(0.9, 1.02), worse=Worse.UP), limit=1.0)


def test_what_fills_far_beyond_what_was_watched_is_not_extrapolated():
    """4 % in half an hour, 80 % left: ten hours ahead is no matter for half an hour's data."""
    assert not found(falling(0.84, 0.80))
    assert not found(falling(0.84, 0.80), within=timedelta(days=2))


def test_a_step_and_a_saw_tooth_are_no_trend():
    step = np.r_[np.full(60, 0.5), np.full(60, 0.2)]
    assert not found(step + 0.001 * RNG.normal(size=T))
    saw = 0.2 + 0.2 * (1 - np.arange(T) % 40 / 40)
    assert not found(saw)


def test_noise_without_a_trend_is_silent():
    rows = 0.2 + 0.05 * RNG.normal(size=(200, T))
    assert not found(frame(rows))


def test_a_walk_at_random_seldom_speaks():
    rows = 0.5 + np.cumsum(0.004 * RNG.normal(size=(200, T)), axis=1)
    assert len(found(frame(rows))) <= 4


def test_gaps_do_not_silence_but_missing_data_does():
    row = falling(0.30, 0.15)
    row[20:40] = np.nan
    assert found(row)
    row[:90] = np.nan
    assert not found(row)
    assert not found(np.full(T, np.nan))
    stale = falling(0.30, 0.15)
    stale[-10:] = np.nan
    assert not found(stale)


def test_it_may_wait_until_a_value_is_passed():
    assert not found(frame(falling(0.3, 0.5), worse=Worse.UP), limit=1.0, beyond=0.7)
    assert found(frame(falling(0.6, 0.8), worse=Worse.UP), limit=1.0, beyond=0.7)


def test_a_slow_leak_is_seen_by_the_line_through_the_last_day():
    """From 50 % to 20 % free in a day: in half an hour half a percent, lost in the noise."""
    whole = frame(np.stack([falling(0.5, 0.2, 288), falling(0.5, 0.5, 288)]), DAY)
    detector = Forecast(limit=0.0, within=timedelta(days=1))
    baseline = detector.fit(whole)
    now = frame(np.stack([falling(0.2055, 0.2), falling(0.5, 0.5)]))
    [one] = detector.detect(now, baseline)
    assert one.target.name == "gpu-node-0"
    assert "in 16 h" in one.summary


def test_a_leak_that_was_mended_is_not_followed():
    detector = Forecast(limit=0.0, within=timedelta(days=1))
    baseline = detector.fit(frame(falling(0.5, 0.2, 288), DAY))
    assert not list(detector.detect(frame(falling(0.6, 0.6)), baseline))


def test_a_day_and_night_curve_is_no_leak():
    hour = (DAY - DAY[0]) / 86_400 * 2 * np.pi
    detector = Forecast(limit=0.0, within=timedelta(days=1))
    for phase in range(6):
        row = 0.4 + 0.25 * np.sin(hour + phase) + 0.01 * RNG.normal(size=288)
        baseline = detector.fit(frame(row, DAY))
        assert not list(detector.detect(frame(np.full(T, row[-1])), baseline))


def test_too_little_history_teaches_nothing():
    assert Forecast(limit=0.0).fit(frame(falling(0.5, 0.2, 30), DAY[-30:])) is None
    assert Forecast(limit=0.0).fit(frame(np.full(288, np.nan), DAY)) is None


def test_a_row_that_the_fit_did_not_see_is_measured_by_its_window_alone():
    detector = Forecast(limit=0.0)
    baseline = detector.fit(frame(falling(0.5, 0.2, 288), DAY))
    now = frame(np.stack([falling(0.2, 0.2), falling(0.3, 0.15)]))
    assert [f.target.name for f in detector.detect(now, baseline)] == ["gpu-node-1"]
