"""What holds for every set of samples, found by trying many."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from healer.lab.promql import Evaluator, PromqlError, Vector
from healer.lab.tsdb import Tsdb

T0 = 1_772_600_000
STEP_S = 15
WIDTH = 40

numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32)
matrices = arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(WIDTH)), elements=numbers)
holes = arrays.arrays(np.bool_, (5, WIDTH), elements=st.booleans())
common = settings(max_examples=40, deadline=None)


def evaluator(values: np.ndarray, absent: np.ndarray | None = None) -> Evaluator:
    """`m` with one row per pod; two namespaces."""
    tsdb = Tsdb()
    rows = values if absent is None else np.where(absent[: len(values)], np.nan, values)
    labels = [
        {"__name__": "m", "pod": str(i), "namespace": "ab"[i % 2]} for i in range(len(values))
    ]
    tsdb.add_block(labels, T0 + STEP_S * np.arange(WIDTH, dtype=float), rows)
    return Evaluator(tsdb)


def ranged(one: Evaluator, query: str, step_s: float = 22) -> Vector:
    found = one.range(query, T0, T0 + STEP_S * WIDTH + 400, step_s).value
    assert isinstance(found, Vector)
    return found


def table(vector: Vector) -> dict[object, list[float | None]]:
    return {
        labels: [float(v) if there else None for v, there in zip(row, alive, strict=True)]
        for labels, row, alive in zip(vector.labels, vector.values, vector.present, strict=True)
    }


QUERIES = (
    "m",
    "rate(m[1m])",
    "max_over_time(m[70s]) - min_over_time(m[70s])",
    "quantile_over_time(0.3, m[2m])",
    "sum by (namespace) (m)",
    "topk(2, m)",
    "m > 0",
    "m offset 1m",
    "deriv(m[2m])",
    "avg_over_time(sum by (namespace) (m)[2m:20s])",
    "m and on (namespace) (m > 10)",
    'absent(m{pod="1"})',
)


@common
@given(matrices, holes, st.sampled_from(QUERIES))
def test_a_range_query_is_its_instant_queries_in_a_row(
    values: np.ndarray, absent: np.ndarray, query: str
) -> None:
    one = evaluator(values, absent)
    whole = table(ranged(one, query, 75))
    for number in range(0, 13, 3):
        answer = one.instant(query, T0 + 75 * number).value
        assert isinstance(answer, Vector)
        at = {labels: row[number] for labels, row in whole.items() if row[number] is not None}
        expected = {labels: row[0] for labels, row in table(answer).items()}
        assert at.keys() == expected.keys()
        for labels, value in at.items():
            assert value == pytest.approx(expected[labels], rel=1e-12, abs=1e-9)


@common
@given(matrices, holes)
def test_a_counter_never_falls_so_its_increase_is_never_negative(
    values: np.ndarray, absent: np.ndarray
) -> None:
    found = ranged(evaluator(np.abs(values), absent), "increase(m[1m])")
    assert (found.values[found.present] >= 0).all()


@common
@given(matrices, holes)
def test_the_sum_of_groups_is_the_sum_of_all(values: np.ndarray, absent: np.ndarray) -> None:
    one = evaluator(values, absent)
    whole, parts = ranged(one, "sum(m)"), ranged(one, "sum(sum by (namespace) (m))")
    np.testing.assert_array_equal(whole.present, parts.present)
    np.testing.assert_allclose(
        whole.values[whole.present], parts.values[parts.present], rtol=1e-9, atol=1e-6
    )


@common
@given(matrices, holes)
def test_and_and_unless_share_out_the_left_side(values: np.ndarray, absent: np.ndarray) -> None:
    one = evaluator(values, absent)
    both = ranged(one, "(m and (m > 0)) or (m unless (m > 0))")
    assert table(both) == table(ranged(one, "m"))


@common
@given(matrices, holes)
def test_min_avg_max_are_in_order(values: np.ndarray, absent: np.ndarray) -> None:
    one = evaluator(values, absent)
    low, mean, high = (ranged(one, f"{f}_over_time(m[2m])") for f in ("min", "avg", "max"))
    there = low.present
    slack = 1e-9 * (1 + np.abs(mean.values))
    assert ((low.values <= mean.values + slack) & (mean.values <= high.values + slack))[there].all()


@common
@given(matrices, holes)
def test_absent_says_so_exactly_where_nothing_is(values: np.ndarray, absent: np.ndarray) -> None:
    one = evaluator(values, absent)
    there = ranged(one, "vector(1) and on () m").present.any(axis=0)
    missing = ranged(one, "absent(m)").present.any(axis=0)
    np.testing.assert_array_equal(there, ~missing)


@common
@given(
    arrays.arrays(np.float64, (6,), elements=st.integers(0, 1000)),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
)
def test_a_quantile_grows_with_its_rank_and_stays_within_the_buckets(
    added: np.ndarray, one_q: float, other_q: float
) -> None:
    tsdb = Tsdb()
    bounds = ["0.1", "0.5", "1", "5", "10", "+Inf"]
    labels = [{"__name__": "h", "le": le} for le in bounds]
    tsdb.add_block(labels, np.array([float(T0)]), np.cumsum(added)[:, None])
    one = Evaluator(tsdb)
    low, high = (
        float(one.instant(f"histogram_quantile({q!r}, h)", T0).value.values[0, 0])  # type: ignore[union-attr]
        for q in sorted((one_q, other_q))
    )
    if np.cumsum(added)[-1] > 0:
        assert 0 <= low <= high + 1e-9 <= 10 + 1e-9
    else:
        assert np.isnan([low, high]).all()


def test_a_query_sees_nothing_after_until() -> None:
    one = evaluator(np.arange(WIDTH, dtype=float)[None])
    now_s = T0 + 10 * STEP_S
    answer = one.range("m", T0, T0 + 1000, 15, until_s=now_s).value
    assert isinstance(answer, Vector)
    assert answer.values[answer.present].max() == 10
    late = one.instant("m", now_s + 301, until_s=now_s).value
    assert isinstance(late, Vector)
    assert len(late) == 0


@pytest.mark.parametrize(
    "query", ["limitk(2, m)", 'sort_by_label(m, "pod")', 'm{pod="1" or pod="2"}', "m @ -5"]
)
def test_what_is_not_supported_is_told_as_bad_data(query: str) -> None:
    with pytest.raises(PromqlError) as error:
        evaluator(np.ones((1, WIDTH))).instant(query, T0)
    assert error.value.kind == "bad_data"
