"""Event F1 and false alarms of our three levels beside the usual recipes, on labelled series.

    python bench/detection.py DATA_FOLDER [--sets nab_aws,nab_adx]

DATA_FOLDER holds `detection_bench.py`, `labels.json` and the sets. Every method sees a row only
after the rows before it; each has one setting for all sets. Default folder: $HEALER_TEST_DATA/
detection.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import genpareto
from sklearn.ensemble import IsolationForest
from statsmodels.tsa.seasonal import seasonal_decompose

from detectors.replay import Replay

Floats = NDArray[np.float64]
Scored = tuple[Floats, NDArray[np.bool_]]


def textbook(times: Floats, values: Floats) -> Scored:
    """IsolationForest with contamination 0.02, or a decomposition's residual beyond 3 σ.

    Refitted once a day on the last week, as the recipe is run in practice.
    """
    step = float(np.median(np.diff(times[:32])))
    day = max(24, round(86_400 / step))
    x = pd.Series(values).ffill().fillna(0.0).to_numpy()
    score, flags = np.zeros(len(x)), np.zeros(len(x), bool)
    for start in range(day, len(x), day):
        past, new = x[max(0, start - 7 * day) : start], x[start : start + day]
        forest = IsolationForest(contamination=0.02, random_state=0).fit(past[:, None])
        score[start : start + day] = -forest.decision_function(new[:, None])
        flags[start : start + day] = forest.predict(new[:, None]) < 0
        if len(past) >= 2 * day:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parts = seasonal_decompose(past, period=day, extrapolate_trend="freq")
            season = np.resize(parts.seasonal[:day], len(new))
            if len(past) % day:
                season = np.resize(np.roll(parts.seasonal[:day], -(len(past) % day)), len(new))
            off = np.abs(new - season - parts.trend[-1])
            sigma = float(np.nanstd(parts.resid)) or 1.0
            flags[start : start + day] |= off > 3 * sigma
            score[start : start + day] = np.maximum(score[start : start + day], off / sigma / 10)
    return score, flags


def rolling_z(times: Floats, values: Floats) -> Scored:
    """More than 3 standard deviations from the last day's mean."""
    rows = _day_rows(times)
    past = pd.Series(values).shift(1).rolling(rows, min_periods=24)
    score = np.nan_to_num(np.abs(values - past.mean()) / past.std().replace(0, np.nan)).astype(
        float
    )
    return score, score > 3


def rolling_mad(times: Floats, values: Floats) -> Scored:
    """More than 6 median absolute deviations from the last day's median."""
    rows = _day_rows(times)
    series = pd.Series(values)
    middle = series.shift(1).rolling(rows, min_periods=24).median()
    spread = (series - middle).abs().shift(1).rolling(rows, min_periods=24).median()
    score = np.nan_to_num((series - middle).abs() / spread.replace(0, np.nan)).astype(float)
    return score, score > 6


def dspot(times: Floats, values: Floats) -> Scored:
    """Streaming peaks over threshold with drift (Siffer et al. 2017), risk 1e-4, refit daily."""
    rows = _day_rows(times)
    drift = pd.Series(values).shift(1).rolling(max(10, rows // 24), min_periods=5).mean()
    off = np.nan_to_num(np.abs(values - drift.to_numpy()))
    score = np.zeros(len(off))
    for start in range(rows, len(off), rows):
        past = off[max(0, start - 7 * rows) : start]
        bar = float(np.quantile(past, 0.98))
        over = past[past > bar] - bar
        new = off[start : start + rows]
        if len(over) >= 10 and over.max() > 0:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                shape, _, scale = genpareto.fit(over, floc=0)
            rare = 0.02 * genpareto.sf(new - bar, shape, 0, scale)
            score[start : start + rows] = np.where(new > bar, -np.log10(np.maximum(rare, 1e-30)), 0)
    return score, score > 4


def _day_rows(times: Floats) -> int:
    return max(24, round(86_400 / float(np.median(np.diff(times[:32])))))


def ours(level: str) -> Callable[[Floats, Floats], Scored]:
    def run(times: Floats, values: Floats) -> Scored:
        replay = Replay()
        key = (times.tobytes(), values.tobytes())
        if key not in _SCORED:
            _SCORED[key] = replay.score(times, values[:, None])
        return _SCORED[key], replay.flags(_SCORED[key], level)

    return run


_SCORED: dict[tuple[bytes, bytes], Floats] = {}
METHODS: dict[str, Callable[[Floats, Floats], Scored]] = {
    "healer warn": ours("warn"),
    "healer page": ours("page"),
    "healer act": ours("act"),
    "textbook": textbook,
    "z > 3": rolling_z,
    "MAD > 6": rolling_mad,
    "DSPOT 1e-4": dspot,
}


def as_callable(
    method: Callable[[Floats, Floats], Scored],
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def run(table: pd.DataFrame) -> pd.DataFrame:
        times = pd.to_datetime(table["timestamp"]).astype("datetime64[ns]").astype("int64") / 1e9
        score, flags = method(
            np.asarray(times, dtype=np.float64), np.asarray(table["value"], dtype=np.float64)
        )
        return pd.DataFrame(
            {"timestamp": table["timestamp"], "score": score, "is_anomaly": flags.astype(int)}
        )

    return run


def load_bench(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("detection_bench", folder / "detection_bench.py")
    if spec is None or spec.loader is None or not (folder / "labels.json").exists():
        sys.exit(f"{folder}: expected detection_bench.py and labels.json")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("HEALER_TEST_DATA", "../shared/data")) / "detection"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--sets", default="")
    options = parser.parse_args()
    bench = load_bench(options.folder)
    meta = json.loads((options.folder / "labels.json").read_text(encoding="utf-8"))
    sets = options.sets.split(",") if options.sets else sorted(meta)
    print(
        f"{'':14}{'macro F1':>9}{'FA/sd':>8}{'VUS-PR':>8}   " + "   ".join(f"{s:>14}" for s in sets)
    )
    for name, method in METHODS.items():
        found = bench.evaluate(
            meta, str(options.folder), as_callable(method), sets, log=lambda *_: None
        )
        whole = bench.macro({s: found[s] for s in sets})
        cells = "   ".join(
            f"{found[s]['f1']:.2f} @ {found[s]['fa_per_series_day']:7.3f}" for s in sets
        )
        print(
            f"{name:14}{whole['f1']:9.3f}{whole['fa_per_series_day']:8.3f}"
            f"{whole['vus_pr']:8.3f}   {cells}",
            flush=True,
        )


if __name__ == "__main__":
    main()
