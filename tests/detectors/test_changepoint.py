"""A level that moved and stayed; spikes, ramps and the ways of a noisy series did not."""

import numpy as np
import pytest
from builders import NOW, signal

from detectors.changepoint import Changepoint
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.target import Kind, Target

T = 120
TIMES = NOW.timestamp() - 15.0 * np.arange(T - 1, -1, -1)
LONG = NOW.timestamp() - 120.0 * np.arange(1439, -1, -1)
RNG = np.random.default_rng(3)


def frame(rows, times=TIMES, worse=Worse.UP, matters=0.02):
    array = np.atleast_2d(np.asarray(rows, np.float32))
    pods = tuple(Target(Kind.POD, f"llama-8b-{i}", "serving") for i in range(len(array)))
    return Frame(signal("itl_p95", worse=worse, matters=matters), times, array, pods)


def level(begin, end, steps, sd=0.003):
    return np.r_[np.full(T - steps, begin), np.full(steps, end)] + sd * RNG.normal(size=T)


def found(row, baseline=None, **options):
    given = row if isinstance(row, Frame) else frame(row)
    return list(Changepoint(**options).detect(given, baseline))


def learned(row):
    return Changepoint().fit(frame(row, LONG))


def test_a_level_that_moved_and_stayed_is_told_with_its_moment():
    [one] = found(level(0.05, 0.15, 40))
    assert (one.detector, one.level) == ("changepoint", Level.WARN)
    assert one.since.timestamp() == pytest.approx(TIMES[-40], abs=15)
    assert (one.observed, one.expected_high) == pytest.approx((0.15, 0.06), abs=0.005)
    assert "moved from 0.0" in one.summary
    assert "10 min ago and stayed" in one.summary


def test_a_steady_level_is_silent():
    assert not found(frame(0.05 + 0.01 * RNG.normal(size=(300, T))))


def test_a_step_that_is_still_young_is_not_yet_told():
    assert not found(level(0.05, 0.15, 12))


def test_a_spike_that_is_over_is_silent():
    row = level(0.05, 0.05, 10)
    row[50:80] = 0.2
    assert not found(row)


def test_a_ramp_is_no_step():
    assert not found(np.linspace(0.05, 0.25, T) + 0.002 * RNG.normal(size=T))


def test_the_good_side_is_silent():
    assert not found(level(0.15, 0.05, 40))
    assert found(frame(level(0.15, 0.05, 40), worse=Worse.DOWN))
    assert found(frame(level(0.15, 0.05, 40), worse=Worse.BOTH))


def test_a_step_too_small_to_matter_is_silent():
    assert not found(level(0.05, 0.06, 40, sd=0.0001))


def test_a_series_that_steps_of_its_own_every_hour_is_silent():
    """Batch work switches the level to and fro; the same step elsewhere would be news."""
    habit = np.where((LONG // 3600) % 2 == 0, 0.05, 0.15) + 0.003 * RNG.normal(size=len(LONG))
    calm = 0.05 + 0.003 * RNG.normal(size=len(LONG))
    assert not found(level(0.05, 0.15, 40), learned(habit))
    assert found(level(0.05, 0.15, 40), learned(calm))


def test_gaps_and_a_few_wild_samples_do_not_move_the_step():
    row = level(0.05, 0.15, 40)
    row[100:106] = np.nan
    row[[20, 60, 110]] = 3.0
    [one] = found(row)
    assert one.since.timestamp() == pytest.approx(TIMES[-40], abs=30)


def test_missing_and_stale_data_say_nothing():
    assert not found(np.full(T, np.nan))
    stale = level(0.05, 0.15, 40)
    stale[-8:] = np.nan
    assert not found(stale)
    assert not found(frame(level(0.05, 0.15, 10)[-20:], TIMES[-20:]))


def test_too_little_history_teaches_nothing_and_unknown_rows_are_cold():
    short = frame(np.full(60, 0.05), LONG[-60:])
    assert Changepoint().fit(short) is None
    stranger = frame(np.stack([level(0.05, 0.05, 40), level(0.05, 0.15, 40)]))
    assert [f.target.name for f in found(stranger, learned(np.full(1440, 0.05)))] == ["llama-8b-1"]
