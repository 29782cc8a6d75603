"""The lab's samples: written by scrape or in bulk, read by matchers and time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from healer.lab.matchers import Matcher
from healer.lab.tsdb import Tsdb

T0 = 1_772_600_000.0
ALL = (Matcher("__name__", "=~", ".+"),)


def named(name: str) -> tuple[Matcher, ...]:
    return (Matcher("__name__", "=", name),)


def scrape(tsdb: Tsdb, at_s: float, **values: float) -> None:
    handles = np.array([tsdb.handle({"__name__": name}) for name in values])
    tsdb.append(at_s, handles, np.array(list(values.values())))


def test_what_was_scraped_is_read_back() -> None:
    tsdb = Tsdb()
    for step in range(1000):  # several chunks
        scrape(tsdb, T0 + 15 * step, a=step, b=-step)
    (found,) = tsdb.select(named("a"), T0 + 3000, T0 + 6000)
    assert found.labels == {"__name__": "a"}
    np.testing.assert_array_equal(found.times, T0 + np.arange(3000, 6001, 15.0))
    np.testing.assert_array_equal(found.values, np.arange(200, 401.0))


def test_history_and_scrapes_are_one_series() -> None:
    tsdb = Tsdb()
    handles = tsdb.add_block([{"__name__": "a"}], T0 + np.arange(3.0), np.array([[1.0, 2.0, 3.0]]))
    assert tsdb.handle({"__name__": "a"}) == handles[0]
    tsdb.append(T0 + 10, handles, np.array([4.0]))
    (found,) = tsdb.select(named("a"), T0, T0 + 20)
    np.testing.assert_array_equal(found.values, [1, 2, 3, 4])
    np.testing.assert_array_equal(found.times - T0, [0, 1, 2, 10])


def test_a_cell_of_history_that_is_nan_holds_no_sample() -> None:
    tsdb = Tsdb()
    tsdb.add_block([{"__name__": "a"}], T0 + np.arange(3.0), np.array([[1.0, np.nan, 3.0]]))
    (found,) = tsdb.select(named("a"), T0, T0 + 20)
    np.testing.assert_array_equal(found.values, [1, 3])


def test_a_scraped_nan_is_a_sample() -> None:
    tsdb = Tsdb()
    scrape(tsdb, T0, a=float("nan"))
    (found,) = tsdb.select(named("a"), T0, T0)
    assert np.isnan(found.values).tolist() == [True]


def test_series_that_come_later_and_go_earlier_have_only_their_own_samples() -> None:
    tsdb = Tsdb()
    for step in range(10):
        scrape(tsdb, T0 + step, a=step, **({"b": step} if 3 <= step < 6 else {}))
    (found,) = tsdb.select(named("b"), T0, T0 + 20)
    np.testing.assert_array_equal(found.values, [3, 4, 5])


def test_targets_scraped_at_their_own_moments_do_not_disturb_each_other() -> None:
    tsdb = Tsdb()
    for step in range(600):
        scrape(tsdb, T0 + step, a=step)
        if step % 3 == 0:
            scrape(tsdb, T0 + step + 0.5, b=step)
    (found,) = tsdb.select(named("b"), T0, T0 + 1000)
    np.testing.assert_array_equal(found.times - T0, np.arange(0, 600, 3) + 0.5)


def test_a_vanished_series_can_come_back() -> None:
    tsdb = Tsdb()
    scrape(tsdb, T0, a=1)
    tsdb.mark_stale(np.array([tsdb.handle({"__name__": "a"})]), T0 + 15)
    scrape(tsdb, T0 + 30, a=2)
    (found,) = tsdb.select(named("a"), T0, T0 + 30)
    np.testing.assert_array_equal(found.times - T0, [0, 30])


def test_a_series_marked_at_its_last_sample_keeps_that_sample() -> None:
    tsdb = Tsdb()
    scrape(tsdb, T0, a=1, b=1)
    tsdb.mark_stale(np.array([tsdb.handle({"__name__": "a"})]), T0)
    scrape(tsdb, T0 + 15, b=2)
    assert [each.values.tolist() for each in tsdb.select(ALL, T0, T0 + 60)] == [[1], [1, 2]]


@pytest.mark.parametrize("late_s", [T0, T0 - 1])
def test_a_sample_that_is_not_newer_is_refused_with_its_series(late_s: float) -> None:
    tsdb = Tsdb()
    scrape(tsdb, T0, a=1)
    with pytest.raises(ValueError, match=r"'__name__': 'a'.* not newer"):
        scrape(tsdb, late_s, a=2)
    with pytest.raises(ValueError, match="not newer"):
        tsdb.add_block([{"__name__": "a"}], np.array([late_s]), np.array([[1.0]]))


def test_history_of_another_shape_or_order_is_refused() -> None:
    tsdb = Tsdb()
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        tsdb.add_block([{"__name__": "a"}], np.array([1.0, 2.0]), np.array([[1.0]]))
    with pytest.raises(ValueError, match="ascending"):
        tsdb.add_block([{"__name__": "a"}], np.array([2.0, 1.0]), np.array([[1.0, 2.0]]))


def test_an_empty_label_is_no_label() -> None:
    tsdb = Tsdb()
    assert tsdb.handle({"__name__": "a", "x": ""}) == tsdb.handle({"__name__": "a"})
    assert tsdb.label_names() == ["__name__"]


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (Matcher("pod", "=", "a1"), {"a1"}),
        (Matcher("pod", "!=", "a1"), {"a2", "b1", ""}),
        (Matcher("pod", "=~", "a."), {"a1", "a2"}),
        (Matcher("pod", "=~", "a"), set()),
        (Matcher("pod", "!~", "a."), {"b1", ""}),
        (Matcher("pod", "=", ""), {""}),
        (Matcher("pod", "=~", ".*"), {"a1", "a2", "b1", ""}),
        (Matcher("pod", "=~", "a1|"), {"a1", ""}),
        (Matcher("other", "=", "x"), set()),
        (Matcher("other", "!=", "x"), {"a1", "a2", "b1", ""}),
    ],
)
def test_matchers_select_as_prometheus_does(matcher: Matcher, expected: set[str]) -> None:
    tsdb = Tsdb()
    for pod in ("a1", "a2", "b1", ""):
        tsdb.handle({"__name__": "m", "pod": pod})
    found = tsdb.labels_of(tsdb.find((*named("m"), matcher)).tolist())
    assert {dict(each).get("pod", "") for each in found} == expected


@pytest.mark.parametrize("pattern", ["(?=x)", r"(a)\1", "("])
def test_a_pattern_beyond_re2_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="regex"):
        Matcher("pod", "=~", pattern).accepts("x")


def test_a_new_series_is_found_by_a_search_done_before() -> None:
    tsdb = Tsdb()
    scrape(tsdb, T0, a=1)
    assert len(tsdb.find(ALL)) == 1
    scrape(tsdb, T0 + 1, b=1)
    assert len(tsdb.find(ALL)) == 2


def test_only_series_with_samples_in_the_span_are_listed() -> None:
    tsdb = Tsdb()
    tsdb.handle({"__name__": "never"})
    scrape(tsdb, T0, early=1)
    scrape(tsdb, T0 + 100, late=1)
    assert tsdb.series(ALL, T0 + 50, T0 + 150) == [(("__name__", "late"),)]
    assert tsdb.label_values("__name__") == ["early", "late", "never"]


def test_old_columns_are_forgotten() -> None:
    tsdb = Tsdb(retention_s=3600)
    for step in range(1500):
        scrape(tsdb, T0 + 15 * step, a=step)
    (found,) = tsdb.select(named("a"), T0, T0 + 1e6)
    assert 3600 <= found.times[-1] - found.times[0] <= 2 * 3600 + 15


def test_a_reader_sees_whole_scrapes_while_another_thread_writes() -> None:
    tsdb = Tsdb()
    handles = np.array([tsdb.handle({"__name__": "m", "i": str(i)}) for i in range(200)])
    torn: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for bundle in tsdb.gather(handles, 0, 10**15):
                torn.extend(np.flatnonzero((bundle.values != bundle.values[0]).any(axis=0)))

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1000):
        tsdb.append(T0 + step, handles, np.full(200, float(step)))
    done.set()
    reader.join(120)
    assert not torn
    assert not reader.is_alive()
