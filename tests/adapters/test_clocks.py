"""Clocks: one stands still until moved, one runs fast, none goes backwards."""

from __future__ import annotations

from datetime import timedelta

import builders

from healer.adapters.clocks import AcceleratedClock, SteppedClock, SystemClock
from healer.adapters.identifiers import new_ulid


def test_a_stepped_clock_stands_still_until_it_is_moved() -> None:
    clock = SteppedClock(builders.NOW)
    assert clock.now() == clock.now() == builders.NOW
    clock.sleep(timedelta(seconds=15))
    assert clock.now() == builders.at(15)
    assert clock.monotonic() == 15.0


def test_a_stepped_clock_never_goes_back() -> None:
    clock = SteppedClock(builders.NOW)
    clock.move(timedelta(seconds=-5))
    clock.move_to(builders.at(-60))
    assert clock.now() == builders.NOW


def test_an_accelerated_clock_runs_many_times_as_fast_as_the_wall() -> None:
    wall, fast = SystemClock(), AcceleratedClock(builders.NOW, 1000.0)
    began = wall.monotonic()
    before = fast.now()
    wall.sleep(timedelta(milliseconds=20))
    gained = fast.now() - before
    took_s = wall.monotonic() - began
    assert gained.total_seconds() >= 1000 * 0.02
    assert gained.total_seconds() <= 1000 * took_s + 0.001


def test_identifiers_sort_by_time_and_never_repeat() -> None:
    ids = [new_ulid(builders.at(second)) for second in range(50)]
    assert ids == sorted(ids)
    assert len({new_ulid(builders.NOW) for _ in range(1000)}) == 1000
    assert all(len(each) == 26 for each in ids)
