"""The window of the recent past: fed piecewise, late, twice, not at all, or from another clock."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from healer.adapters.rings import Ring
from healer.ports import Matrix

STEP = timedelta(seconds=15)
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SOURCE = "10.0.0.1:9400"


def answer(start: datetime, end: datetime, rows: dict[str, object]) -> Matrix:
    """Rows over the span; a function of the seconds, or one number."""
    times = np.arange(start.timestamp(), end.timestamp() + 1, STEP.total_seconds())
    values = [np.broadcast_to(f(times) if callable(f) else f, len(times)) for f in rows.values()]
    labels = tuple({"pod": name, "instance": SOURCE} for name in rows)
    return Matrix(times, np.array(values, float).reshape(len(rows), len(times)), labels)


def feed(ring: Ring, now: datetime, rows: dict[str, object]) -> tuple[datetime, datetime]:
    start, end = ring.missing(now)
    ring.take(answer(start, end, rows), start, end)
    return start, end


def row_of(matrix: Matrix, pod: str) -> np.ndarray:
    (at,) = (i for i, labels in enumerate(matrix.labels) if labels["pod"] == pod)
    return matrix.values[at]


def ring(minutes: float = 30) -> Ring:
    return Ring(timedelta(minutes=minutes), STEP)


def seconds(times: np.ndarray) -> np.ndarray:
    return times - NOW.timestamp()


def test_only_what_is_new_is_asked_and_the_newest_steps_again() -> None:
    one = ring()
    start, end = feed(one, NOW, {"a": 1.0})
    assert (end - start, end) == (timedelta(minutes=30), NOW)
    start, end = feed(one, NOW + STEP, {"a": 1.0})
    assert (end - start, end) == (4 * STEP, NOW + STEP)


def test_piecewise_is_the_same_as_at_once() -> None:
    piecewise, whole = ring(), ring()
    for tick in range(200):
        feed(piecewise, NOW + tick * STEP, {"a": seconds, "b": lambda t: -seconds(t)})
    feed(whole, NOW + 199 * STEP, {"a": seconds, "b": lambda t: -seconds(t)})
    ours, theirs = (each.matrix(NOW + 199 * STEP) for each in (piecewise, whole))
    for pod in "ab":
        np.testing.assert_array_equal(row_of(ours, pod), row_of(theirs, pod))
    np.testing.assert_array_equal(ours.times, theirs.times)


def test_a_late_sample_fills_its_gap_and_the_newer_answer_is_right() -> None:
    one = ring()
    missing = NOW.timestamp()
    feed(one, NOW, {"a": lambda t: np.where(t == missing, np.nan, 1.0)})
    assert np.isnan(row_of(one.matrix(NOW), "a")[-1])
    feed(one, NOW + STEP, {"a": 2.0})
    assert row_of(one.matrix(NOW + STEP), "a")[-4:].tolist() == [2.0, 2.0, 2.0, 2.0]


def test_an_outage_of_a_few_steps_stays_a_gap_until_it_is_asked_again() -> None:
    one = ring()
    feed(one, NOW, {"a": 1.0})
    later = NOW + 8 * STEP
    row = row_of(one.matrix(later), "a")
    assert np.isnan(row[-8:]).all()
    assert np.isfinite(row[:-8]).all()
    start, _ = feed(one, later, {"a": 1.0})
    assert start == NOW - 3 * STEP
    assert np.isfinite(row_of(one.matrix(later), "a")).all()


def test_series_that_come_and_go_come_and_go() -> None:
    one = ring(minutes=5)
    feed(one, NOW, {"a": 1.0})
    for tick in range(1, 30):
        feed(one, NOW + tick * STEP, {"b": 2.0})
    matrix = one.matrix(NOW + 29 * STEP)
    assert [labels["pod"] for labels in matrix.labels] == ["b"]


def test_a_clock_that_went_back_and_a_gap_as_long_as_the_window_begin_anew() -> None:
    for moved in (timedelta(hours=-1), timedelta(hours=2)):
        one = ring()
        feed(one, NOW, {"a": 1.0})
        start, end = feed(one, NOW + moved, {"b": 2.0})
        assert end - start == timedelta(minutes=30)
        assert [labels["pod"] for labels in one.matrix(NOW + moved).labels] == ["b"]


def test_the_same_series_twice_in_an_answer_is_one_row() -> None:
    one = ring()
    start, end = one.missing(NOW)
    given = answer(start, end, {"a": 1.0})
    twice = Matrix(given.times, np.repeat(given.values, 2, axis=0), given.labels * 2)
    one.take(twice, start, end)
    assert len(one.matrix(NOW).labels) == 1


def test_an_empty_answer_empties_the_newest_steps_only() -> None:
    one = ring()
    feed(one, NOW, {"a": 1.0})
    start, end = one.missing(NOW + STEP)
    one.take(Matrix(np.empty(0), np.empty((0, 0)), ()), start, end)
    row = row_of(one.matrix(NOW + STEP), "a")
    assert np.isnan(row[-4:]).all()
    assert np.isfinite(row[:-5]).all()


@pytest.mark.parametrize("minutes", [30, 60])
def test_a_series_costs_few_kilobytes(minutes: float) -> None:
    """Labels and all, as they come from JSON: every string anew in every answer."""
    count = 2000

    def given(start: datetime, end: datetime) -> Matrix:
        times = np.arange(start.timestamp(), end.timestamp() + 1, 15.0)
        labels = tuple(
            {
                "".join(["name", "space"]): "serv" + "ing"[:3],
                "pod": f"llama-8b-7c9d4b6f5-{i:05}",
                "instance": f"10.0.{i // 250}.{i % 250}:8000",
                "job": "".join(["vl", "lm"]),
                "model_name": "".join(["meta-llama/", "Llama-3.1-8B-Instruct"]),
                "exported_pod": "",
            }
            for i in range(count)
        )
        return Matrix(times, np.ones((count, len(times))), labels)

    one = ring(minutes)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for tick in range(3):
        start, end = one.missing(NOW + tick * STEP)
        one.take(given(start, end), start, end)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / count < 3_000
    assert one._values.dtype == np.float32
