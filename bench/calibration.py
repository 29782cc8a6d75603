"""Is a confidence of 0.9 right nine times in ten? Fits Platt's map with scenarios held out.

    python bench/calibration.py results.json [more.json …]

Takes what `healer lab suite --json` wrote. For each scenario the map is fitted on the runs of all
others and tried on its own, so that its variants cannot teach each other. Prints the calibration
error of the map in force, of the identity, and of the held-out fits. Runs whose confidence was
capped for lack of proof are as they are: no map moves them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from healer.cli.suite_figures import Row, calibration_error, judge
from healer.stages.evidence.rank import OFFSET, SLOPE, UNDECIDED_CAP

Floats = NDArray[np.float64]

DRAWN = 1.0
"""Weight of the identity in a fit: about that of four undecided runs."""


def sigmoid(z: Floats) -> Floats:
    held: Floats = 1 / (1 + np.exp(-z))
    return held


def fit(x: Floats, right: Floats, rounds: int = 50) -> tuple[float, float]:
    """(slope, offset) by Newton's method, with Platt's targets instead of 0 and 1, drawn a little
    to the identity: where all is right, no finite map fits best."""
    hits = right.sum()
    target = np.where(right > 0, (hits + 1) / (hits + 2), 1 / (len(right) - hits + 2))
    features = np.column_stack([x, np.ones(len(x))])
    map_ = np.array([1.0, 0.0])
    for _ in range(rounds):
        p = sigmoid(features @ map_)
        slope = features.T @ (target - p) - DRAWN * (map_ - (1.0, 0.0))
        bend = (features * (p * (1 - p))[:, None]).T @ features + DRAWN * np.eye(2)
        map_ = map_ + np.linalg.solve(bend, slope)
    return float(map_[0]), float(map_[1])


def error(rows: Sequence[Row], confidences: Floats) -> float:
    told = zip(rows, confidences, strict=True)
    return calibration_error([dataclasses.replace(r, confidence=float(c)) for r, c in told])


def main(files: Sequence[str]) -> int:
    runs = {run["job"]: judge(run) for file in files for run in json.loads(Path(file).read_text())}
    rows = [row for row in runs.values() if row.confidence is not None]
    told = np.clip(np.array([row.confidence for row in rows]), 1e-4, 1 - 1e-4)
    free = np.abs(told - UNDECIDED_CAP) > 1e-6
    right = np.array([row.first for row in rows], float)
    x = (np.log(told / (1 - told)) - OFFSET) / SLOPE
    scenario = np.array([row.job.partition("/")[0] for row in rows])
    held, maps = told.copy(), []
    for name in np.unique(scenario):
        others = (scenario != name) & free
        maps.append(fit(x[others], right[others]))
        mine = (scenario == name) & free
        held[mine] = sigmoid(maps[-1][0] * x[mine] + maps[-1][1])
    slopes, offsets = np.array(maps).T
    print(f"{len(rows)} runs of {len(maps)} scenarios, {right.mean():.3f} right")
    print(f"in force (slope {SLOPE:g}, offset {OFFSET:g})  error {error(rows, told):.3f}")
    identity = np.where(free, sigmoid(x), told)
    print(f"identity                          error {error(rows, identity):.3f}")
    print(f"held out: slope {slopes.min():.2f} to {slopes.max():.2f}, offset "
          f"{offsets.min():.2f} to {offsets.max():.2f}  error {error(rows, held):.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
