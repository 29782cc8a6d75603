"""What one tick of `seasonal` costs: p99, share of a core, memory per series, and the curve.

    python bench/tick.py [--series 10000] [--quick]

Histories of 14 days at 5 minutes are simulated, the baseline is fitted, and frames of half an
hour at 30 s are scored as the daemon scores them. The textbook recipe (IsolationForest with
contamination 0.02 beside a seasonal decomposition) runs on a few of the same series. Exit
status 1 when a limit is missed: p99 above 50 ms, more than 3 % of a core with refits every six
hours, more than 12 KB of state a series.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from statsmodels.tsa.seasonal import seasonal_decompose

from detectors.seasonal import Seasonal
from healer.model.frame import Frame
from healer.model.signal import Signal, Worse
from healer.model.target import Kind, Target
from healer.ports import Baseline

END = datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp()
DAY_S, TICK_S, REFIT_S = 86_400.0, 30.0, 21_600.0
LIMIT_MS, LIMIT_SHARE, LIMIT_BYTES = 50.0, 0.03, 12 * 1024
FIT_SAMPLE = 200
"""Series that are really fitted; the baseline of a fleet repeats them."""
SIGNAL = Signal("ttft_p95", "bench", "bench", "s", Kind.POD, Worse.UP, 0.05)


def simulated(times: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    shape = 0.5 + 0.3 * np.sin(times / DAY_S * 2 * np.pi)
    noise = rng.standard_normal((count, len(times)), dtype=np.float32)
    return (shape + 0.03 * noise).astype(np.float32)


def frame(count: int, span_s: float, step_s: float, seed: int) -> Frame:
    times = END - step_s * np.arange(round(span_s / step_s) - 1, -1, -1)
    targets = tuple(Target(Kind.POD, f"model-{i}", "serving") for i in range(count))
    return Frame(SIGNAL, times, simulated(times, count, seed), targets)


def fleet(fitted: Baseline, count: int) -> Baseline:
    """The fitted rows, repeated under the names of a fleet of `count`."""
    own = np.flatnonzero([not str(k).endswith("~") for k in fitted.arrays["keys"]])
    rows = np.resize(own, count)
    arrays = {name: array[rows] for name, array in fitted.arrays.items()}
    arrays["keys"] = np.asarray([f"pod:serving/model-{i}" for i in range(count)])
    return Baseline(
        "seasonal", fitted.signal, fitted.version, fitted.fitted_at, arrays, fitted.meta
    )


def tick_times(baseline: Baseline, count: int, rounds: int) -> NDArray[np.float64]:
    """Milliseconds of each of `rounds` ticks."""
    seen = frame(count, 1800.0, TICK_S, 1)
    detector, took = Seasonal(), np.zeros(rounds)
    list(detector.detect(seen, baseline))
    for k in range(rounds):
        start = time.perf_counter()
        list(detector.detect(seen, baseline))
        took[k] = 1000.0 * (time.perf_counter() - start)
    return took


def textbook_ms(series: int = 10) -> float:
    """Milliseconds a series of refitting and scoring the textbook recipe."""
    past = frame(series, 7 * DAY_S, 300.0, 2)
    start = time.perf_counter()
    for row in past.values:
        IsolationForest(contamination=0.02, random_state=0).fit_predict(row[:, None])
        seasonal_decompose(row.astype(float), period=288)
    return 1000.0 * (time.perf_counter() - start) / series


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="no curve beyond the main size")
    options = parser.parse_args()
    start = time.process_time()
    fitted = Seasonal().fit(frame(FIT_SAMPLE, 14 * DAY_S, 300.0, 0))
    assert fitted is not None
    fit_ms = 1000.0 * (time.process_time() - start) / FIT_SAMPLE
    sizes = {options.series}
    if not options.quick:
        sizes |= {1_000, 50_000, 100_000}
    print(f"{'series':>8}{'p50 ms':>9}{'p99 ms':>9}{'us/series':>11}")
    for count in sorted(sizes):
        took = tick_times(fleet(fitted, count), count, options.rounds if count <= 10_000 else 10)
        p50, p99 = np.percentile(took, (50, 99))
        print(f"{count:8}{p50:9.1f}{p99:9.1f}{1000 * p50 / count:11.2f}", flush=True)
        if count == options.series:
            main_p50, main_p99 = float(p50), float(p99)
    state = sum(a.nbytes for n, a in fitted.arrays.items() if n != "keys") / len(
        fitted.arrays["keys"]
    )
    refit_s = fit_ms / 1000.0 * options.series
    share = main_p50 / 1000.0 / TICK_S + refit_s / REFIT_S
    book = textbook_ms()
    print(f"refit {fit_ms:.1f} ms a series, {refit_s:.0f} s for all every 6 h")
    print(f"share of a core {share:.2%}; state {state / 1024:.1f} KB a series")
    print(f"textbook {book:.0f} ms a series, {book * options.series / 1000:.0f} s a tick")
    missed = [
        name
        for name, bad in (
            (f"p99 {main_p99:.1f} ms > {LIMIT_MS} ms", main_p99 > LIMIT_MS),
            (f"share {share:.2%} > {LIMIT_SHARE:.0%}", share > LIMIT_SHARE),
            (f"state {state:.0f} B > {LIMIT_BYTES} B", state > LIMIT_BYTES),
        )
        if bad
    ]
    for name in missed:
        print(f"missed: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
