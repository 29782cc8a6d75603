"""Prompts that are distributed unlike those of the reference days, by PSI and by KS."""

import numpy as np
import pytest
from builders import NOW, signal

from detectors.drift import Drift
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.target import Kind, Target

MODEL = Target(Kind.MODEL, "llama-8b")
LE = (10, 50, 100, 200, 500, 1000, 2000, 5000, 10000, np.inf)
TIMES = NOW.timestamp() - 15.0 * np.arange(119, -1, -1)
DAYS = NOW.timestamp() - 600.0 * np.arange(287, -1, -1)


def windows(medians, per_window=600, seed=0, sigma=0.9):
    """Cumulative buckets (B, T) of log-normal lengths, one median a column."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(np.log(medians)[:, None] + sigma * rng.normal(size=(len(medians), per_window)))
    return np.stack([(lengths <= le).sum(axis=1) for le in LE]).astype(float)


def frame(values, times=TIMES, le=LE):
    labels = tuple({"le": "+Inf" if np.isinf(each) else f"{each:g}"} for each in le)
    made = signal("prompt_lengths", scope=Kind.MODEL, unit="requests", title="Prompt length")
    return Frame(made, times, np.asarray(values, np.float32), (MODEL,) * len(le), labels)


def learned(medians=None, **options):
    medians = np.full(len(DAYS), 300.0) if medians is None else medians
    return Drift(**options).fit(frame(windows(medians, seed=1), DAYS))


def now(before=300.0, after=300.0, steps=40, **options):
    return windows(np.r_[np.full(120 - steps, before), np.full(steps, after)], **options)


def found(values, baseline=None, **options):
    given = values if isinstance(values, Frame) else frame(values)
    return list(Drift(**options).detect(given, baseline or learned()))


def test_longer_prompts_are_told_with_both_measures_and_the_median():
    [one] = found(now(after=1200.0))
    assert (one.target, one.detector, one.level) == (MODEL, "drift", Level.WARN)
    assert one.observed > 0.5
    assert one.since.timestamp() == pytest.approx(TIMES[-40], abs=30)
    assert "clear shift (PSI" in one.summary
    assert "median about 1,2" in one.summary


def test_shorter_prompts_are_a_drift_as_well():
    assert found(now(after=60.0))


def test_the_same_traffic_is_silent():
    assert not found(now())


def test_the_usual_bounds_of_the_field_are_options():
    mild = now(after=480.0)
    assert not found(mild)
    [one] = found(mild, psi=0.1)
    assert "slight shift" in one.summary or "clear shift" in one.summary
    assert found(now(after=480.0), psi=9.0, ks=0.1)


def test_a_blip_is_silent():
    assert not found(now(after=1200.0, steps=10))


def test_a_handful_of_requests_is_no_distribution():
    assert not found(now(after=1200.0, per_window=150))


def test_traffic_that_changes_between_day_and_night_is_measured_by_itself():
    hour = (DAYS % 86_400) / 3600
    day_and_night = np.where((hour > 8) & (hour < 20), 150.0, 900.0)
    baseline = learned(day_and_night)
    assert not found(now(before=900.0, after=150.0), baseline)
    assert found(now(before=900.0, after=6000.0), baseline)


def test_gaps_and_stale_rows_say_nothing():
    values = now(after=1200.0)
    values[:, -15:] = np.nan
    assert not found(values)
    values = now(after=1200.0)
    values[3, -6] = np.nan
    assert found(values)


def test_other_buckets_are_not_compared():
    other = (*LE[:-2], 20000, np.inf)
    assert not found(frame(now(after=1200.0), le=other))


def test_without_a_reference_it_is_silent():
    assert not list(Drift().detect(frame(now(after=1200.0)), None))
    assert Drift().fit(frame(windows(np.full(3, 300.0)), DAYS[:3])) is None
    assert Drift().fit(frame(np.full((len(LE), 120), np.nan))) is None
