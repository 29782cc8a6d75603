"""Do the budgets hold? False pages of `seasonal` on a fleet without faults, against the budget.

    python bench/budget.py [--series 240] [--days 7] [--budgets 0.02,0.05,0.2] [--seed 0]

Every series is healthy: daily curves of several strengths, weekends, noise with and without
memory, skewed noise, bursts, slow wandering. Two weeks teach; then every minute of the days that
follow is judged as the daemon judges it, with a refit every six hours. A page is the first
finding of an alarm, and again every four hours; findings closer than half an hour are one alarm.
Exit status 1 where a rate is not within ±50 % of its budget.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from detectors.seasonal import Seasonal
from healer.model.finding import Level
from healer.model.frame import Frame
from healer.model.signal import Signal, Worse
from healer.model.target import Kind, Target
from healer.ports import Baseline

DAY_S, STEP_S, LEARN_DAYS = 86_400.0, 60.0, 14
LEARN_STEP_S = Seasonal.history_step.total_seconds()
WINDOW_S, REFIT_S, SAME_ALARM_S, REPEAT_S = 1_800.0, 21_600.0, 1_800.0, 14_400.0
START = 1_770_000_000.0
SIGNAL = Signal("ttft_p95", "bench", "bench", "s", Kind.POD, Worse.UP, 1e-3)
Floats = NDArray[np.float64]


def fleet(count: int, days: float, seed: int) -> Frame:
    """Healthy series, one of six kinds each, a sample a minute."""
    rng = np.random.default_rng(seed)
    times: Floats = START + STEP_S * np.arange(round(days * DAY_S / STEP_S), dtype=np.float64)
    values = np.stack([_healthy(rng, times, kind=i % 6) for i in range(count)])
    targets = tuple(Target(Kind.POD, f"engine{i}", "serving") for i in range(count))
    return Frame(SIGNAL, times, values.astype(np.float32), targets)


def _healthy(rng: np.random.Generator, times: Floats, kind: int) -> Floats:
    count = len(times)
    phase, swing = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.6)
    base = 1.0 + swing * np.sin(times / DAY_S * 2 * np.pi + phase)
    base *= np.where((times // DAY_S) % 7 < 2, rng.uniform(0.7, 1.0), 1.0)
    size = rng.uniform(0.02, 0.15)
    if kind == 0:
        noise = rng.normal(0, size, count)
    elif kind == 1:
        noise = _memory(rng, count, size, minutes=10)
    elif kind == 2:
        noise = size * (rng.gamma(1.5, 1.0, count) - 1.5)
    elif kind == 3:
        noise = _memory(rng, count, size, minutes=3) * base
    elif kind == 4:
        bursts = rng.random(count) < 1.0 / 360.0
        shape = np.exp(-np.arange(10) / 3.0)
        heights = np.where(bursts, rng.exponential(4 * size, count), 0.0)
        noise = rng.normal(0, size, count) + np.convolve(heights, shape)[:count]
    else:
        noise = rng.normal(0, size, count) + _memory(rng, count, size, minutes=120)
    return np.maximum(base + noise, 0.0)


def _memory(rng: np.random.Generator, count: int, size: float, minutes: int) -> Floats:
    """Noise that forgets in so many minutes."""
    keep = np.exp(-1.0 / minutes)
    push = rng.normal(0, size * np.sqrt(1 - keep**2), count)
    out, last = np.empty(count), 0.0
    for k in range(count):
        out[k] = last = keep * last + push[k]
    return out


def pages_of(whole: Frame, budgets: Sequence[float], days: float) -> list[int]:
    """Pages of the last `days` under each budget, refitted as the daemon refits.

    What is learned does not depend on the budget, so one fit serves all.
    """
    detectors = [
        Seasonal(warn_per_day=10 * budget, page_per_day=budget, act_per_day=budget / 10)
        for budget in budgets
    ]
    first = len(whole.times) - round(days * DAY_S / STEP_S)
    refit, window = round(REFIT_S / STEP_S), round(WINDOW_S / STEP_S)
    baseline: Baseline | None = None
    said: list[dict[str, tuple[float, float]]] = [{} for _ in budgets]
    pages = [0 for _ in budgets]
    for now in range(first, len(whole.times)):
        if (now - first) % refit == 0:
            baseline = detectors[0].fit(_learned_from(whole, now))
        seen = _cut(whole, now + 1 - window, now + 1, 1)
        at = float(whole.times[now])
        for k, detector in enumerate(detectors):
            for name in _paged(detector, seen, baseline):
                last, told = said[k].get(name, (-np.inf, -np.inf))
                if at - last > SAME_ALARM_S or at - told >= REPEAT_S:
                    pages[k], told = pages[k] + 1, at
                said[k][name] = (at, told)
    return pages


def _paged(detector: Seasonal, seen: Frame, baseline: Baseline | None) -> Iterator[str]:
    for finding in detector.detect(seen, baseline):
        if finding.level >= Level.PAGE:
            yield str(finding.target)


def _learned_from(whole: Frame, now: int) -> Frame:
    every = round(LEARN_STEP_S / STEP_S)
    return _cut(whole, max(0, now - round(LEARN_DAYS * DAY_S / STEP_S)), now, every)


def _cut(whole: Frame, start: int, end: int, every: int) -> Frame:
    rows = slice(start + (end - 1 - start) % every, end, every)
    return Frame(whole.signal, whole.times[rows], whole.values[:, rows], whole.targets)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=240)
    parser.add_argument("--days", type=float, default=7.0)
    parser.add_argument("--budgets", default="0.02,0.05,0.2")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    whole = fleet(options.series, LEARN_DAYS + options.days, options.seed)
    missed = False
    print(f"{'budget':>8}{'pages':>8}{'per day':>9}{'of budget':>11}")
    budgets = [float(budget) for budget in options.budgets.split(",")]
    for budget, pages in zip(budgets, pages_of(whole, budgets, options.days), strict=True):
        rate = pages / (options.series * options.days)
        missed |= not 0.5 <= rate / budget <= 1.5
        print(f"{budget:8.2f}{pages:8}{rate:9.3f}{rate / budget:11.0%}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
