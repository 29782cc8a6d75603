"""How each target stands on several signals at once, against its group: the forest's features.

A group is what should be alike: the pods of one workload, the GPUs of one model. Each signal
counts twice: where it stands in the group's usual range, and where it stands for the load it
was seen at. Both in spreads of the group, so one pooled forest serves all groups and is scored
once for the whole fleet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors._learned import stem
from detectors._profile import Floats, quiet_median
from healer.model.frame import Frame
from healer.model.target import Kind, Target
from healer.model.topology import Topology

LIMIT = 20.0
"""Beyond that many spreads every value is equally strange; keeps splits where data is."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Several signals of one scope, row by row.

    signals: F names. values: (N, F, K), NaN where no sample was. targets: N. groups: N names.
    """

    signals: tuple[str, ...]
    targets: tuple[Target, ...]
    groups: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """What is usual in each group, by its name.

    middle, spread: (G, F). load: column of the load signal, −1 for none. curve: (G, F, 3), the
    usual value as a parabola of the load's standing; rest: (G, F), the spread around it.
    """

    groups: tuple[str, ...]
    middle: Floats
    spread: Floats
    load: int
    curve: Floats
    rest: Floats

    def standing(self, scene: Scene) -> tuple[Floats, NDArray[np.bool_]]:
        """(N, 2F, K) deviations in spreads, missing ones 0; and which rows' group is known.

        The first F are against the group's range, the others against what the load explains.
        """
        index = {group: i for i, group in enumerate(self.groups)}
        at = np.asarray([index.get(group, -1) for group in scene.groups], dtype=np.intp)
        raw = (scene.values - self.middle[at][:, :, None]) / self.spread[at][:, :, None]
        if self.load < 0:
            rest = np.zeros_like(raw)
        else:
            usual = _parabola(self.curve[at], raw[:, self.load])
            rest = (scene.values - usual) / self.rest[at][:, :, None]
            rest[:, self.load] = 0.0
        both = np.concatenate([raw, rest], axis=1)
        return np.clip(np.nan_to_num(both, nan=0.0), -LIMIT, LIMIT), at >= 0

    def usual(self, scene: Scene, row: int, signal: int) -> tuple[float, float]:
        """(value, spread) that the newest column of a row should have, given its load."""
        group = self.groups.index(scene.groups[row])
        if self.load >= 0 and signal != self.load:
            load = scene.values[row : row + 1, self.load, -1:]
            standing = (load - self.middle[group, self.load]) / self.spread[group, self.load]
            if np.isfinite(standing).all():
                value = _parabola(self.curve[group][None], standing)[0, signal, 0]
                return float(value), float(self.rest[group, signal])
        return float(self.middle[group, signal]), float(self.spread[group, signal])


def _parabola(curve: Floats, load: Floats) -> Floats:
    """(N, F, 3) and (N, K) → (N, F, K). Load beyond what was seen is held at the edge."""
    x = np.clip(load, -4.0, 4.0)[:, None, :]
    value: Floats = curve[:, :, 0:1] + curve[:, :, 1:2] * x + curve[:, :, 2:3] * x**2
    return value


def group_of(target: Target, topology: Topology, frame: Frame, row: int) -> str:
    """The workload of a pod, the model of a GPU; where unknown, what the name tells."""
    if target.kind is Kind.GPU:
        labels = frame.labels[row] if frame.labels else {}
        model = topology.fact(target, "model") or labels.get("modelName") or labels.get("model")
        return f"gpu:{model or '*'}"
    if target.kind is Kind.POD:
        workloads = topology.related(target, Kind.WORKLOAD)
        if workloads:
            return str(workloads[0])
    return stem(target)


def scene(
    frames: Mapping[str, Frame], signals: Sequence[str], topology: Topology, columns: Sequence[int]
) -> Scene | None:
    """The chosen columns (negative: from the end) of those signals that have data.

    Each column is the median of it and the samples up to a minute before. Rows of one target
    are averaged. None where no signal has data.
    """
    named = [name for name in signals if name in frames and len(frames[name])]
    if not named:
        return None
    index: dict[Target, int] = {}
    groups: list[str] = []
    for name in named:
        if frames[name].targets == tuple(index):
            continue
        for row, target in enumerate(frames[name].targets):
            if target not in index:
                index[target] = len(index)
                groups.append(group_of(target, topology, frames[name], row))
    targets = tuple(index)
    out = np.full((len(index), len(named), len(columns)), np.nan)
    for f, name in enumerate(named):
        frame = frames[name]
        picked = _columns(frame, columns)
        if frame.targets == targets:
            out[:, f] = picked
            continue
        rows = np.asarray([index[t] for t in frame.targets], dtype=np.intp)
        total = np.zeros((len(index), len(columns)))
        count = np.zeros((len(index), len(columns)))
        np.add.at(total, rows, np.nan_to_num(picked))
        np.add.at(count, rows, np.isfinite(picked))
        out[:, f] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return Scene(tuple(named), targets, tuple(groups), out)


def _columns(frame: Frame, columns: Sequence[int]) -> Floats:
    width = max(1, round(60.0 / max(frame.step_s, 1.0)))
    length = frame.values.shape[1]
    out = np.full((len(frame.values), len(columns)), np.nan)
    for k, column in enumerate(columns):
        end = length + column + 1 if column < 0 else column + 1
        if 0 < end <= length:
            part = frame.values[:, max(0, end - width) : end].astype(np.float64)
            out[:, k] = quiet_median(np.where(np.isfinite(part), part, np.nan))
    return out


LOADS = ("arrival_rate", "prompt_tokens", "gpu_util")
"""The first of these that a scene has is its load: what comes in, not what it leads to."""


def scale_of(one: Scene, floors: Mapping[str, float]) -> Scale:
    """Median, spread and load curve of every group over its rows and times.

    floors: the smallest change that matters, per signal; a spread never falls below a third
    of it, so a signal that hardly moves cannot shout.
    """
    names = tuple(sorted(set(one.groups)))
    width = len(one.signals)
    middle, curve = np.zeros((len(names), width)), np.zeros((len(names), width, 3))
    spread, rest = np.ones((len(names), width)), np.ones((len(names), width))
    floor = np.asarray([max(floors.get(s, 0.0) / 3.0, 1e-9) for s in one.signals])
    load = next((one.signals.index(s) for s in LOADS if s in one.signals), -1)
    member = np.asarray(one.groups)
    for g, name in enumerate(names):
        pooled = one.values[member == name].transpose(1, 0, 2).reshape(width, -1)
        middle[g] = np.nan_to_num(quiet_median(pooled))
        spread[g] = np.maximum(_spread(pooled - middle[g][:, None]), floor)
        if load >= 0:
            standing = (pooled[load] - middle[g, load]) / spread[g, load]
            for f in range(width):
                curve[g, f] = _curve(standing, pooled[f], middle[g, f])
            off = pooled - _parabola(curve[g][None], standing[None])[0]
            rest[g] = np.maximum(_spread(off), floor)
    return Scale(names, middle, spread, load, curve, rest)


def _spread(off: Floats) -> Floats:
    return np.nan_to_num(1.4826 * quiet_median(np.abs(off - quiet_median(off)[:, None])))


def _curve(load: Floats, values: Floats, middle: float) -> Floats:
    """Least squares of a parabola, twice: the second time without what the first left far off."""
    flat = np.asarray([middle, 0.0, 0.0])
    keep = np.isfinite(load) & np.isfinite(values)
    x = np.clip(load, -4.0, 4.0)
    found = flat
    for _ in range(2):
        if keep.sum() < 30 or np.ptp(x[keep]) < 0.5:
            return flat
        design = np.column_stack([np.ones(int(keep.sum())), x[keep], x[keep] ** 2])
        found = np.linalg.lstsq(design, values[keep], rcond=None)[0]
        off = np.abs(values - found[0] - found[1] * x - found[2] * x**2)
        keep &= off <= 5.0 * 1.4826 * np.median(off[keep]) + 1e-12
    return found
