"""A value unlike what this hour usually brings."""

import io
from datetime import timedelta

import numpy as np
import pytest
from builders import NOW
from detectors_fleets import DAY, daily, history_times, made, pods, window_times

from detectors.seasonal import Seasonal
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.ports import Baseline

ROWS = 20


@pytest.fixture(scope="module")
def learned():
    times = history_times(14)
    baseline = Seasonal().fit(made(daily(times, np.random.default_rng(3), ROWS), times))
    assert baseline is not None
    return baseline


def window(rng_seed=5, *, end=NOW, rows=ROWS, **changes):
    times = window_times(end=end)
    return times, daily(times, np.random.default_rng(rng_seed), rows, **changes)


def found(values, times, baseline, **changes):
    return list(Seasonal().detect(made(values, times, **changes), baseline))


def test_a_healthy_fleet_is_silent_at_every_hour(learned):
    for hour in range(0, 48, 2):
        times, values = window(hour, end=NOW + timedelta(hours=hour))
        assert not found(values, times, learned)


def test_a_change_for_the_worse_is_found_with_its_size_and_start(learned):
    times, values = window()
    values[3, -40:] += 0.5
    [one] = found(values, times, learned)
    assert one.target == pods(ROWS)[3]
    assert one.level is Level.ACT
    assert abs((NOW - one.since).total_seconds() - 39 * 15) <= 30
    assert one.expected_low <= 0.5 <= one.expected_high < one.observed
    assert "+" in one.summary


def test_the_same_value_is_normal_at_one_hour_and_not_at_another(learned):
    """0.8 is the daily peak, six hours on; at noon it is a fault."""
    times, values = window()
    values[0, -40:] = 0.8
    assert [f.target for f in found(values, times, learned)] == [pods(ROWS)[0]]
    peak = NOW + timedelta(hours=18)
    times, values = window(end=peak)
    values[0, -40:] = 0.8
    assert not found(values, times, learned)


def test_a_change_for_the_better_is_silent(learned):
    times, values = window()
    values[3, -40:] -= 0.4
    assert not found(values, times, learned)
    assert found(-values, times, learned, worse=Worse.BOTH)


def test_less_than_what_matters_is_silent(learned):
    times, values = window()
    values[3, -40:] += 0.5
    assert not found(values, times, learned, matters=0.8)


def test_a_blip_shorter_than_the_hold_is_silent(learned):
    times, values = window()
    values[3, -4:] += 5.0
    assert not found(values, times, learned)


def test_a_value_that_recovered_is_silent(learned):
    times, values = window()
    values[3, -60:-4] += 0.5
    assert not found(values, times, learned)


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_holes_in_the_window_are_no_values(learned, hole):
    times, values = window()
    values[3, -40:] = hole
    values[4] = hole
    values[5, ::3] = hole
    assert not found(values, times, learned)


def test_a_series_that_ended_is_silent_however_bad_it_was(learned):
    times, values = window()
    values[3, -60:] += 0.5
    values[3, -8:] = np.nan
    assert not found(values, times, learned)


def test_a_fault_is_found_through_a_missed_scrape(learned):
    times, values = window()
    values[3, -40:] += 0.5
    values[3, [-1, -2, -9]] = np.nan
    assert found(values, times, learned)


def test_a_row_is_judged_alike_alone_and_in_the_fleet(learned):
    times, values = window()
    values[3, -40:] += 0.5
    frame = made(values, times)
    [alone] = Seasonal().detect(frame.pick([3]), learned)
    [together] = Seasonal().detect(frame, learned)
    assert alone == together


def test_a_constant_series_is_silent_until_it_moves_by_what_matters():
    times = history_times(5)
    baseline = Seasonal().fit(made(np.full((2, len(times)), 3.0), times))
    now = window_times()
    values = np.full((2, len(now)), 3.0)
    assert not found(values, now, baseline)
    values[0, -30:] = 3.02
    assert not found(values, now, baseline)
    values[0, -30:] = 4.0
    assert [f.target for f in found(values, now, baseline)] == [pods(2)[0]]


def test_a_fault_of_hours_in_the_history_does_not_become_normal():
    times = history_times(7)
    values = daily(times, np.random.default_rng(3), 2)
    values[0, -60:] += 0.6
    baseline = Seasonal().fit(made(values, times))
    now = window_times()
    live = daily(now, np.random.default_rng(4), 2)
    live[0] += 0.6
    assert [f.target for f in found(live, now, baseline)] == [pods(2)[0]]


def test_a_change_that_stays_is_adopted_after_a_day():
    times = history_times(7)
    values = daily(times, np.random.default_rng(3), 2)
    values[0, -int(1.2 * DAY / 300) :] += 0.6
    baseline = Seasonal().fit(made(values, times))
    now = window_times()
    live = daily(now, np.random.default_rng(4), 2)
    live[0] += 0.6
    assert not found(live, now, baseline)


def test_a_week_of_outage_in_the_history_leaves_the_rest_usable():
    times = history_times(14)
    values = daily(times, np.random.default_rng(3), 3)
    values[:, 600:2600] = np.nan
    baseline = Seasonal().fit(made(values, times))
    now = window_times()
    live = daily(now, np.random.default_rng(4), 3)
    assert not found(live, now, baseline)
    live[1, -40:] += 0.6
    assert [f.target for f in found(live, now, baseline)] == [pods(3)[1]]


def test_too_little_history_teaches_nothing():
    times = history_times(1 / 24)
    assert Seasonal().fit(made(np.ones((2, len(times))), times)) is None
    times = history_times(3)
    assert Seasonal().fit(made(np.full((2, len(times)), np.nan), times)) is None


def test_hours_of_history_are_useful_and_never_act():
    times = history_times(0.3)
    baseline = Seasonal().fit(made(daily(times, np.random.default_rng(3), 4, swing=0), times))
    now = window_times()
    live = daily(now, np.random.default_rng(4), 4, swing=0)
    assert not found(live, now, baseline)
    live[2, -40:] += 0.6
    [one] = found(live, now, baseline)
    assert (one.target, one.level) == (pods(4)[2], Level.PAGE)


def test_without_any_record_a_leap_is_still_seen_and_never_acts():
    times, values = window()
    assert not found(values, times, None)
    values[3, -12:] += 1.0
    [one] = found(values, times, None)
    assert (one.target, one.level) == (pods(ROWS)[3], Level.PAGE)


def test_a_newborn_pod_borrows_from_its_siblings_and_may_not_act(learned):
    times, values = window(rows=1)
    newborn = made(values, times)
    target = type(newborn.targets[0])(
        newborn.targets[0].kind, "llama-8b-5d8f7c9b44-zzzzz", "serving"
    )
    assert not list(
        Seasonal().detect(Frame(newborn.signal, times, newborn.values, (target,)), learned)
    )
    values[0, -40:] += 0.6
    sick = made(values, times)
    [one] = Seasonal().detect(Frame(sick.signal, times, sick.values, (target,)), learned)
    assert (one.target, one.level) == (target, Level.PAGE)


def test_a_baseline_survives_npz_to_the_bit(learned):
    box = io.BytesIO()
    np.savez_compressed(box, **learned.arrays)
    box.seek(0)
    with np.load(box, allow_pickle=False) as read:
        arrays = {name: read[name] for name in read.files}
    copy = Baseline(
        "seasonal", learned.signal, learned.version, learned.fitted_at, arrays, learned.meta
    )
    times, values = window()
    values[3, -40:] += 0.5
    assert found(values, times, copy) == found(values, times, learned)


def test_another_scrape_interval_reads_the_same_baseline(learned):
    times = window_times(step_s=60.0)
    values = daily(times, np.random.default_rng(4), ROWS)
    assert not found(values, times, learned)
    values[3, -10:] += 0.5
    assert [f.target for f in found(values, times, learned)] == [pods(ROWS)[3]]


def test_nothing_after_the_last_column_is_seen(learned):
    """The same frame cut earlier says the same as the longer one said then."""
    times, values = window()
    values[3, 60:] += 0.5
    frame = made(values, times)
    early = frame.until(float(times[89]))
    again = Frame(frame.signal, times[:90], frame.values[:, :90], frame.targets)
    assert list(Seasonal().detect(early, learned)) == list(Seasonal().detect(again, learned))


def test_state_is_small(learned):
    rows = len(learned.arrays["keys"])
    size = sum(a.nbytes for name, a in learned.arrays.items() if name != "keys")
    assert size / rows <= 12 * 1024
