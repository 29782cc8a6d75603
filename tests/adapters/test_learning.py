"""Baselines over restarts, upgrades, other scrape intervals, losses and spent budgets."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from builders import NOW, signal

from detectors.forecast import Forecast
from healer.adapters.fitter import Fitter
from healer.adapters.learning import AGAIN_AFTER, Learning
from healer.adapters.store import SqlStore, open_store
from healer.errors import Temporary
from healer.model.finding import Finding
from healer.model.frame import Frame
from healer.model.signal import Signal
from healer.model.target import Kind, Target
from healer.model.topology import Topology
from healer.ports import Baseline, Detector
from healer.settings import DetectorSettings
from healer.stages.detect import Detectors, detect
from healer.stages.detect import Snapshot as Seen

NODES = tuple(Target(Kind.NODE, f"gpu-node-{i}") for i in range(2))
DISK = signal("node_disk_free", scope=Kind.NODE, unit="ratio", matters=0.05)
FITS = {"node_disk_free": (("forecast", Forecast(limit=0.0, within=timedelta(days=1))),)}


@dataclass
class Past:
    """An observer whose history is a disk that fills, or that does not answer."""

    asked: list[tuple[str, timedelta]] = field(default_factory=list)
    fails: bool = False
    since: timedelta = timedelta(days=3)
    """How much of it there is."""

    def history(self, of: Signal, now: datetime, span: timedelta, step: timedelta) -> Frame:
        self.asked.append((of.name, step))
        if self.fails:
            raise Temporary("no answer")
        return filling(now, min(span, self.since), step)


def filling(now: datetime, span: timedelta, step: timedelta) -> Frame:
    """From 50 % to 20 % free in the last day on the first node; the other stays at 50 %."""
    step_s = step.total_seconds()
    times = now.timestamp() - step_s * np.arange(int(span / step) - 1, -1, -1)
    row = 0.2 + 0.3 * (now.timestamp() - times) / 86_400
    rng = np.random.default_rng(1)
    values = np.stack([row, np.full(len(times), 0.5)]) + rng.normal(0, 0.001, (2, len(times)))
    return Frame(DISK, times, values.astype(np.float32), NODES)


def learning(store: SqlStore, past: Past, fits: Any = None, **settings: Any) -> Learning:
    fitter = Fitter(DetectorSettings(backend="threading", **settings))
    signals = [DISK, *(signal(name) for name in fits or () if name != DISK.name)]
    detectors = Detectors(fits or FITS)
    return Learning(store, past, fitter, detectors, signals)  # type: ignore[arg-type]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/healer.db"


@pytest.fixture
def learned(url: str) -> Learning:
    """Learned and saved, then its process ended."""
    one = learning(open_store(url), Past())
    assert not one.refit(NOW, (DISK.name,), Topology())
    return one


def findings(step_s: float, baselines: Any) -> tuple[Finding, ...]:
    frame = filling(NOW, timedelta(minutes=30), timedelta(seconds=step_s))
    found, problems, _ = detect(Seen(NOW, {DISK.name: frame}), Detectors(FITS), baselines)
    assert not problems
    return found


def test_a_restart_goes_on_with_what_was_learned(url: str, learned: Learning) -> None:
    past = Past()
    again = learning(open_store(url), past)
    before, after = learned.baselines(), again.baselines()
    assert before.keys() == after.keys() == {("forecast", DISK.name)}
    for key, baseline in before.items():
        assert after[key].fitted_at == baseline.fitted_at
        for name, array in baseline.arrays.items():
            np.testing.assert_array_equal(after[key].arrays[name], array)
    assert not again.refit(NOW, (DISK.name,), Topology())
    assert not past.asked, "nothing is due"
    assert findings(15, after) == findings(15, before)


def test_an_upgrade_learns_anew_and_never_misreads(
    url: str, learned: Learning, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forecast, "version", 2)
    past = Past()
    again = learning(open_store(url), past)
    assert not findings(15, again.baselines()), "what the older version wrote is not used"
    assert not again.refit(NOW, (DISK.name,), Topology())
    assert [name for name, _ in past.asked] == [DISK.name]
    assert again.baselines()["forecast", DISK.name].version == 2
    assert findings(15, again.baselines())


@pytest.mark.parametrize("step_s", [5, 15, 30, 60])
def test_a_changed_scrape_interval_keeps_the_baseline(step_s: float, learned: Learning) -> None:
    [one] = findings(step_s, learned.baselines())
    assert one.target == NODES[0]
    assert "in 16 h" in one.summary


def test_a_lost_baseline_costs_a_relearn(url: str, learned: Learning, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "healer.db") as database:
        database.execute("delete from baselines")
    again = learning(open_store(url), Past())
    assert not findings(15, again.baselines())
    assert not again.refit(NOW, (DISK.name,), Topology())
    assert findings(15, again.baselines())


def test_a_torn_baseline_costs_a_relearn(url: str, learned: Learning, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "healer.db") as database:
        database.execute("update baselines set arrays = substr(arrays, 1, 40)")
    again = learning(open_store(url), Past())
    assert not again.baselines()
    assert not again.refit(NOW, (DISK.name,), Topology())
    assert findings(15, again.baselines())


def test_too_little_history_is_tried_again_after_a_while(url: str) -> None:
    past = Past(since=timedelta(hours=1))
    young = learning(open_store(url), past)
    for seconds in (0, 60, 120):
        assert not young.refit(NOW + timedelta(seconds=seconds), (DISK.name,), Topology())
    assert len(past.asked) == 1
    past.since = timedelta(days=1)
    young.refit(NOW + AGAIN_AFTER, (DISK.name,), Topology())
    assert len(past.asked) == 2
    assert ("forecast", DISK.name) in young.baselines()


def test_history_that_cannot_be_had_is_a_problem_and_is_tried_again(url: str) -> None:
    past = Past(fails=True)
    one = learning(open_store(url), past)
    [problem] = one.refit(NOW, (DISK.name,), Topology())
    assert (problem.where, problem.what) == (f"history.{DISK.name}", "no answer")
    past.fails = False
    assert not one.refit(NOW + AGAIN_AFTER, (DISK.name,), Topology())
    assert one.baselines()


@dataclass(frozen=True, slots=True)
class Slowly(Detector):
    """Spends the turn's whole budget."""

    history: ClassVar[timedelta | None] = timedelta(hours=1)

    def fit(self, frame: Frame) -> Baseline | None:
        return Baseline("slowly", frame.signal.name, 1, frame.end)

    def detect(self, frame: Frame, baseline: Baseline | None) -> Iterator[Finding]:
        yield from ()


def test_a_spent_budget_leaves_the_rest_for_the_next_turn(url: str) -> None:
    names = tuple(f"signal_{i:02}" for i in range(20))
    past = Past()
    one = learning(
        open_store(url),
        past,
        {name: (("slowly", Slowly()),) for name in names},
        fit_budget=timedelta(0),
    )
    asked = []
    for turn in range(4):
        one.refit(NOW + timedelta(seconds=30 * turn), names, Topology())
        asked.append(len(past.asked))
    assert asked == [8, 16, 20, 20], "a batch a turn, the rest of it later, and nothing twice"
