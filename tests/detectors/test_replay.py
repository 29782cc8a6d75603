"""A recorded table scored row by row: the engine of `healer detect`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors._discord import nearest_before
from detectors._stuck import stuck
from detectors.replay import Replay

DAY = 86_400.0
START = 1_770_000_000.0


def table(days=6.0, step=300.0, columns=1, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    times = START + step * np.arange(int(days * DAY / step))
    curve = 1.0 + 0.5 * np.sin(times / DAY * 2 * np.pi)
    return times, curve[:, None] + rng.normal(0, noise, (len(times), columns))


def pages(times, values, level="page"):
    replay = Replay()
    return np.flatnonzero(replay.flags(replay.score(times, values), level))


def test_a_healthy_series_is_silent_and_a_fault_is_found_in_minutes():
    times, values = table()
    assert len(pages(times, values)) == 0
    values[1500:1512] += 0.6
    found = pages(times, values)
    assert len(found)
    assert 1500 <= found[0] <= 1503
    assert found[-1] <= 1512 + 12  # an hour of the lasting channel


def test_levels_are_nested():
    times, values = table(seed=3)
    values[1500:1512] += 0.6
    warn, page, act = (set(pages(times, values, level)) for level in ("warn", "page", "act"))
    assert act <= page <= warn
    assert page


def test_a_job_at_the_same_hour_is_expected_after_three_days_and_not_at_another_hour():
    times, values = table(days=9)
    for day in range(9):
        at = day * 288 + 100 + (day % 3)
        values[at : at + 2] += 2.0
    found = pages(times, values)
    assert not [row for row in found if row > 4 * 288]
    values[8 * 288 + 200 : 8 * 288 + 202] += 2.0
    assert any(abs(row - (8 * 288 + 200)) <= 2 for row in pages(times, values))


def test_under_a_day_of_history_it_is_neither_blind_nor_noisy():
    rng = np.random.default_rng(2)
    times = START + 30.0 * np.arange(1000)
    values = (300 + rng.normal(0, 10, 1000))[:, None]
    assert len(pages(times, values)) == 0
    values[800:820] += 90
    found = pages(times, values)
    assert len(found)
    assert 800 <= found[0] <= 806


@pytest.mark.parametrize("seed", [0, 1])
def test_a_small_fault_is_found_though_a_large_one_is_in_the_record(seed):
    times, values = table(days=5.0, seed=seed)
    values[864:900] += 1.0  # three hours, a thirtieth of the record to come
    values[1300:1306] += 0.8
    found = pages(times, values, "warn")
    assert any(864 <= row < 900 for row in found)
    assert not [row for row in found if 960 <= row < 1300]
    assert any(1300 <= row < 1308 for row in found)


def test_a_fault_in_some_of_many_columns_is_found_and_noise_in_all_is_not():
    times, values = table(columns=16, days=4)
    assert len(pages(times, values)) == 0
    values[900:930, 3:6] += 0.7
    found = pages(times, values)
    assert len(found)
    assert set(found) <= set(range(900, 930 + 12))


def test_a_constant_series_is_silent_until_it_moves():
    times, _ = table()
    values = np.full((len(times), 1), 7.0)
    assert len(pages(times, values)) == 0
    values[1500:1510] = 9.0
    assert 1500 in pages(times, values) or 1501 in pages(times, values)


def test_a_value_that_froze_is_found_though_it_is_an_ordinary_value():
    times, values = noise()
    values[900:940] = values[900]
    found = pages(times, values)
    assert len(found)
    assert 909 <= found[0] <= 912  # ten minutes
    assert found[-1] < 940
    assert len(pages(times, values, "act")) == 0


def test_one_frozen_column_of_many_is_not_told_and_a_frozen_exporter_is():
    times, values = noise(columns=12)
    values[900:940, 0] = values[900, 0]
    assert len(pages(times, values)) == 0
    values[900:940, :3] = values[900, :3]
    assert 909 <= pages(times, values)[0] <= 912


def test_a_gauge_that_rests_or_moves_in_coarse_steps_is_not_frozen():
    times, values = noise()
    assert not len(frozen_rows(times, np.round(values * 2)))
    idle = values.copy()
    idle[900:1100] = 0.0
    full = np.minimum(values, 11.0)
    assert not len(frozen_rows(times, idle))
    assert not len(frozen_rows(times, full))


def noise(columns=1, rows=1000):
    rng = np.random.default_rng(3)
    return START + 60.0 * np.arange(rows), rng.normal(10, 1, (rows, columns))


def frozen_rows(times, values):
    return np.flatnonzero(stuck(values[:, 0], times[1] - times[0]) >= 0.5)


def test_long_stretches_are_thinned_and_still_know_each_other():
    rows = np.arange(2600)
    values = np.sin(rows / 200 * 2 * np.pi)
    values[2300:2500] = values[2300:2500] ** 2
    far = nearest_before(values, 180)
    assert np.nanmax(far[600:2300]) < 0.1
    assert far[2400:2500].min() > 0.3


def test_what_all_columns_do_together_is_no_surprise_and_what_one_does_alone_is():
    rng = np.random.default_rng(5)
    times = START + 60.0 * np.arange(900)
    load = 1.0 + 0.3 * np.sin(times / 7200 * 2 * np.pi) + 0.1 * np.sin(times / 1700)
    noise = rng.normal(0, 0.03, (900, 10))
    surge = np.where((times >= times[600]) & (times < times[630]), 1.0, 0.0)[:, None]
    burst = 50 * (load[:, None] + 0.8 * surge + noise)
    alone = 50 * (load[:, None] + 1.2 * surge * np.isin(np.arange(10), (2, 3)) + noise)
    assert len(pages(times, burst)) == 0
    found = pages(times, alone)
    assert 600 <= found[0] <= 608
    assert found[-1] < 630 + 15


def test_a_column_that_always_stood_still_may_not_jump_in_a_table():
    times, values = table(days=4, columns=4)
    values[:, 3] = 7.0
    assert len(pages(times, values)) == 0
    values[900:912, 3] = 9.0
    assert 900 <= pages(times, values)[0] <= 901


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_holes_score_nothing_and_do_not_disturb_what_follows(hole):
    times, values = table()
    values[700:760] = hole
    values[1000::7] = hole
    scores = Replay().score(times, values)
    assert np.isfinite(scores).all()
    assert not scores[~np.isfinite(values[:, 0])].any()
    assert len(pages(times, values)) == 0


def test_repeated_and_missing_times_are_ordinary():
    times, values = table()
    keep = np.r_[0:400, 380:400, 700 : len(times)]
    order = np.sort(times[keep])
    assert len(pages(order, values[np.searchsorted(times, order)])) == 0


def test_a_week_of_outage_in_the_history_is_survived():
    times, values = table(days=16)
    keep = np.r_[0 : 5 * 288, 12 * 288 : 16 * 288]
    values[15 * 288 : 15 * 288 + 12] += 0.6
    found = pages(times[keep], values[keep])
    fault = 5 * 288 + 3 * 288
    assert len(found)
    assert set(found) <= set(range(fault, fault + 24))  # an hour of the lasting channel


def test_few_rows_and_blank_tables_score_zero():
    for rows in (1, 2, 31, 33):
        times = START + 60.0 * np.arange(rows)
        assert not Replay().score(times, np.full((rows, 2), np.nan)).any()
        assert not Replay().score(times, np.ones((rows, 1))).any()
    same = Replay().score(np.full(50, START), np.arange(50.0)[:, None] % 2)
    assert (same < Replay().warn).all()


@settings(max_examples=6, deadline=None)
@given(
    cut=st.integers(1, 400),
    columns=st.integers(1, 3),
    seed=st.integers(0, 1000),
    step=st.sampled_from([60.0, 900.0, 3600.0]),
)
def test_a_row_depends_on_no_later_row(cut, columns, seed, step):
    rng = np.random.default_rng(seed)
    times = START + np.sort(rng.choice(640, 400, replace=False) * step)
    values = rng.normal(0, 1, (400, columns)) + 3 * np.sin(times / DAY * 6.28)[:, None]
    values[rng.random(values.shape) < 0.05] = np.nan
    values[rng.integers(0, 400, 5)] *= 8
    whole = Replay().score(times, values)
    part = Replay().score(times[:cut], values[:cut])
    np.testing.assert_allclose(part, whole[:cut], rtol=1e-9, atol=1e-12)
