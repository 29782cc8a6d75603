"""When Python looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from healer.adapters.clocks import SteppedClock
from healer.adapters.garbage import Garbage


@pytest.fixture
def searches() -> Iterator[list[int]]:
    """Generations that were looked through since."""
    seen: list[int] = []

    def note(phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            seen.append(info["generation"])

    gc.callbacks.append(note)
    yield seen
    gc.callbacks.remove(note)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(datetime(2026, 3, 4, tzinfo=UTC))


@pytest.fixture
def garbage(clock: SteppedClock) -> Iterator[Garbage]:
    before = gc.get_threshold()
    made = Garbage(clock)
    made.start()
    yield made
    made.stop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_however_much_is_made_in_a_tick_not_everything_is_looked_through(
    garbage: Garbage, searches: list[int]
) -> None:
    held = [[number] for number in range(400_000)]
    assert len(held) == 400_000
    assert searches, "the young were looked through"
    assert 2 not in searches


def test_between_two_ticks_all_is_looked_through(garbage: Garbage, searches: list[int]) -> None:
    knot: list[object] = []
    knot.append(knot)
    del knot
    garbage.sweep(pressed=False)
    assert searches == [2]


def test_while_alerts_press_it_waits_but_not_for_ever(
    garbage: Garbage, clock: SteppedClock, searches: list[int]
) -> None:
    garbage.sweep(pressed=True)
    assert searches == []
    clock.move(timedelta(minutes=1))
    garbage.sweep(pressed=True)
    garbage.sweep(pressed=True)
    assert searches == [2]
