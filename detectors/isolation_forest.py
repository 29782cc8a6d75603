"""Several signals of one target that do not go together, although each alone might pass.

High latency at high load is a busy day; high latency at normal load is a fault. A forest over
all signals of a group sees the difference without being told which pairs matter. It is fitted
off the tick on the group's own past, calibrated on days it has not seen, and scored for the
whole fleet at once. A strange combination is a reason to look, never on its own a reason to
act: the level is page at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from detectors._common import moment
from detectors._forest import Forest, grow
from detectors._learned import BLOCK_S
from detectors._profile import DAY_S, Floats
from detectors._standing import Scale, Scene, scale_of, scene
from detectors._tail import Tail, evidence, fit_tail
from detectors._words import in_words
from healer.model.finding import Finding, Level
from healer.model.frame import Frame
from healer.model.signal import Worse
from healer.model.snapshot import Snapshot
from healer.model.topology import Topology
from healer.ports import Baseline, JointDetector
from healer.values import Span

_SETS: dict[str, tuple[str, ...]] = {
    "pod": (
        "ttft_p95",
        "itl_p95",
        "e2e_p95",
        "queue_time_p95",
        "requests_running",
        "requests_waiting",
        "arrival_rate",
        "error_ratio",
        "generation_tokens",
        "prompt_tokens",
        "kv_usage",
        "preemptions",
        "prefix_hit_ratio",
    ),
    "gpu": (
        "gpu_util",
        "gpu_power",
        "gpu_temp",
        "gpu_sm_clock",
        "gpu_mem_used",
        "gpu_tensor_active",
        "gpu_dram_active",
    ),
}
"""Signals that are seen together; one forest each."""
_ROWS = 20_000
"""Rows to fit on: a tree sees 256 of them, more only cost time."""
_MIN_TIMES = 36


@dataclass(frozen=True, slots=True)
class IsolationForest(JointDetector):
    """Speaks of targets whose signals together are rarer than the budget, and says which."""

    warn_per_day: float = 0.2
    """False alarms per target and day that level warn may cost."""

    page_per_day: float = 0.02
    """The same for page."""

    hold: Span = timedelta(minutes=2)
    """How long it must last before we speak."""

    pages: bool = True
    """Whether it may reach page; never more. Off: it only shows."""

    history: ClassVar[timedelta | None] = timedelta(days=7)
    history_step: ClassVar[timedelta] = timedelta(minutes=5)
    version: ClassVar[int] = 1

    @property
    def wants(self) -> tuple[str, ...]:
        return tuple(name for names in _SETS.values() for name in names)

    def fit(self, frames: Mapping[str, Frame], topology: Topology) -> Baseline | None:
        """One forest a scope. The tail comes from the last third, which its forest never saw."""
        arrays: dict[str, NDArray[Any]] = {}
        meta: dict[str, Any] = {"sets": {}}
        newest = max((f.end for f in frames.values() if len(f.times)), default=None)
        for key, names in _SETS.items():
            whole = _history(frames, names, topology)
            if whole is None or newest is None:
                continue
            step = next(frames[n].step_s for n in whole.signals)
            learned = _learn(whole, _floors(frames), step)
            if learned is None:
                continue
            scale, forest, tail = learned
            arrays |= forest.arrays(f"{key}.")
            arrays |= {
                f"{key}.middle": scale.middle,
                f"{key}.spread": scale.spread,
                f"{key}.curve": scale.curve,
                f"{key}.rest": scale.rest,
                f"{key}.tail": tail.packed(),
            }
            meta["sets"][key] = {
                "signals": list(whole.signals),
                "groups": list(scale.groups),
                "load": scale.load,
            }
        if newest is None or not meta["sets"]:
            return None
        return Baseline("isolation_forest", "joint", self.version, newest, arrays, meta)

    def detect(self, snapshot: Snapshot, baseline: Baseline | None) -> Iterator[Finding]:
        if baseline is None:
            return
        for key, known in baseline.meta["sets"].items():
            signals = tuple(known["signals"])
            if not all(name in snapshot.frames for name in signals):
                signals = tuple(name for name in signals if name in snapshot.frames)
            if not signals:
                continue
            yield from self._set(snapshot, baseline, key, signals)

    def _set(
        self, snapshot: Snapshot, baseline: Baseline, key: str, signals: tuple[str, ...]
    ) -> Iterator[Finding]:
        known = baseline.meta["sets"][key]
        step = max(snapshot.frames[signals[0]].step_s, 1.0)
        width = max(1, round(60.0 / step))
        points = 1 + max(0, round(self.hold.total_seconds() / 60.0))
        columns = [-1 - k * width for k in range(points - 1, -1, -1)]
        now = scene(snapshot.frames, signals, snapshot.topology, columns)
        if now is None:
            return
        now = _widened(now, tuple(known["signals"]))
        arrays = baseline.arrays
        scale = Scale(
            tuple(known["groups"]),
            arrays[f"{key}.middle"],
            arrays[f"{key}.spread"],
            int(known["load"]),
            arrays[f"{key}.curve"],
            arrays[f"{key}.rest"],
        )
        forest = Forest.from_arrays(arrays, f"{key}.")
        tail = Tail.unpacked(arrays[f"{key}.tail"])
        standing, member = scale.standing(now)
        fresh = np.isfinite(now.values[:, :, -1]).mean(axis=1) >= 0.5
        cuts = {Level.WARN: _cut(self.warn_per_day), Level.PAGE: _cut(self.page_per_day)}
        # The newest point first: on an ordinary tick few targets need a look at the rest.
        rarity = _rarity(forest, tail, standing[:, :, -1])
        open_ = np.flatnonzero(rarity >= cuts[Level.WARN])
        for k in range(standing.shape[2] - 1):
            rarity[open_] = np.minimum(
                rarity[open_], _rarity(forest, tail, standing[open_][:, :, k])
            )
        for i in np.flatnonzero(member & fresh & (rarity >= cuts[Level.WARN])):
            shares = _shares(forest, tail, standing[i, :, -1], now.signals)
            lead = _lead(shares, now, snapshot.frames, int(i), scale)
            if lead is None:
                continue
            high = self.pages and rarity[i] >= cuts[Level.PAGE]
            rated = (shares, float(rarity[i]), Level.PAGE if high else Level.WARN)
            yield _finding(snapshot, now, int(i), lead, scale, standing[i], rated)


def _cut(per_day: float) -> float:
    return -math.log10(min(0.5, per_day * BLOCK_S / DAY_S))


def _floors(frames: Mapping[str, Frame]) -> dict[str, float]:
    return {name: frame.signal.matters for name, frame in frames.items()}


def _history(
    frames: Mapping[str, Frame], names: tuple[str, ...], topology: Topology
) -> Scene | None:
    """The whole history of a set; None where fewer than two signals or too few times are."""
    have = [n for n in names if n in frames and len(frames[n])]
    length = min((len(frames[n].times) for n in have), default=0)
    if len(have) < 2 or length < _MIN_TIMES:
        return None
    return scene(frames, have, topology, list(range(-length, 0)))


def _learn(
    whole: Scene, floors: Mapping[str, float], step: float
) -> tuple[Scale, Forest, Tail] | None:
    """Scale and forest from all of it; the tail from a forest that saw the first two thirds."""
    length = whole.values.shape[2]
    cut = length * 2 // 3
    scale = scale_of(whole, floors)
    standing, _ = scale.standing(whole)
    lived = np.isfinite(whole.values).mean(axis=1) >= 0.5
    earlier, later = lived.copy(), lived.copy()
    earlier[:, cut:] = False
    later[:, :cut] = False
    by_time = standing.transpose(0, 2, 1)
    if earlier.sum() < _MIN_TIMES // 2 or later.sum() < _MIN_TIMES // 4:
        return None
    held_out = grow(_thinned(by_time[earlier]))
    block = max(1, round(BLOCK_S / step))
    records = []
    for channel in _channels(held_out, by_time[later]):
        unseen = np.full(lived.shape, np.nan)
        unseen[later] = channel
        starts = range(cut, length - block + 1, block)
        pooled = [_row_max(unseen[:, start : start + block]) for start in starts]
        records.append(np.concatenate(pooled) if pooled else channel)
    record = np.stack(records)
    if np.isfinite(record).sum(axis=1).min() < 4:
        return None
    tail = fit_tail(record, np.asarray([0.005, 0.25]), heaviest=0.2)
    return scale, grow(_thinned(by_time[lived])), tail


def _channels(forest: Forest, rows: Floats) -> tuple[Floats, Floats]:
    """Two ways to be strange: by the forest, and by the mean of the worst eighth of features.

    A forest never saw values beyond its record, and gives a far one no more than a near one;
    distance tells them apart. Distance alone knows nothing of combinations.
    """
    worst = max(1, rows.shape[1] // 8)
    far = np.partition(np.abs(rows), rows.shape[1] - worst, axis=1)[:, -worst:].mean(axis=1)
    return forest.score(rows), far


def _rarity(forest: Forest, tail: Tail, rows: Floats) -> Floats:
    """Mean evidence of both channels, (N, 2F) → (N,)."""
    rarity: Floats = evidence(tail, np.stack(_channels(forest, rows))).mean(axis=0)
    return rarity


def _row_max(part: Floats) -> Floats:
    worst: Floats = np.where(np.isfinite(part), part, -np.inf).max(axis=1)
    return np.where(np.isfinite(worst), worst, np.nan)


def _thinned(rows: Floats) -> Floats:
    return rows[:: max(1, len(rows) // _ROWS)]


def _widened(now: Scene, signals: tuple[str, ...]) -> Scene:
    """The scene with the baseline's signals in its order; those without data stay missing."""
    if now.signals == signals:
        return now
    values = np.full((len(now.targets), len(signals), now.values.shape[2]), np.nan)
    for f, name in enumerate(signals):
        if name in now.signals:
            values[:, f] = now.values[:, now.signals.index(name)]
    return Scene(signals, now.targets, now.groups, values)


def _shares(
    forest: Forest, tail: Tail, standing: Floats, signals: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:
    """How much of the strangeness goes when one signal is put back to normal; shares of one.

    standing: (2F,). Both features of a signal go together.
    """
    width = len(signals)
    trial = np.repeat(standing[None, :], width + 1, axis=0)
    at = np.arange(width)
    trial[at, at] = trial[at, at + width] = 0.0
    scores = _rarity(forest, tail, trial)
    drop = np.maximum(scores[-1] - scores[:-1], 0.0)
    if drop.sum() <= 0:
        drop = np.maximum(np.abs(standing[:width]), np.abs(standing[width:]))
    total = float(drop.sum()) or 1.0
    order = np.argsort(-drop)
    return tuple((signals[k], round(float(drop[k]) / total, 3)) for k in order if drop[k] > 0)


def _lead(
    shares: tuple[tuple[str, float], ...],
    now: Scene,
    frames: Mapping[str, Frame],
    row: int,
    scale: Scale,
) -> int | None:
    """The signal to speak of: the largest share that is worse, and by enough to matter."""
    for name, share in shares[:4]:
        f = now.signals.index(name)
        if share < 0.05 or name not in frames:
            continue
        signal = frames[name].signal
        usual, spread = scale.usual(now, row, f)
        off = float(now.values[row, f, -1]) - usual
        good = (off < 0 and signal.worse is Worse.UP) or (off > 0 and signal.worse is Worse.DOWN)
        if np.isfinite(off) and not good and abs(off) >= max(signal.matters, 3.0 * spread):
            return f
    return None


def _finding(
    snapshot: Snapshot,
    now: Scene,
    row: int,
    lead: int,
    scale: Scale,
    standing: Floats,
    rated: tuple[tuple[tuple[str, float], ...], float, Level],
) -> Finding:
    shares, score, level = rated
    name = now.signals[lead]
    frame = snapshot.frames[name]
    middle, spread = scale.usual(now, row, lead)
    seen = float(now.values[row, lead, -1])
    since = frame.times[-1] - 60.0 * (standing.shape[1] - 1)
    return Finding(
        target=now.targets[row],
        signal=name,
        detector="isolation_forest",
        level=level,
        since=moment(max(since, frame.times[0])),
        at=frame.end,
        observed=seen,
        expected_low=middle - 3.0 * spread,
        expected_high=middle + 3.0 * spread,
        score=score,
        unit=frame.signal.unit,
        summary=in_words(snapshot.frames, now, lead, standing[:, -1], shares, seen, middle),
        contributions=shares[:6],
    )
