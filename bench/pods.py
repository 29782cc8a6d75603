"""Event F1 and false alarms on simulated GPU-serving pods with 6 to 20 hours of history.

    python bench/pods.py [--pods 40] [--seed 0]

One engine on one GPU: requests arrive, wait, hold KV cache, make tokens; silicon draws power
and warms up. Bursts of traffic are healthy and served. `one column`: each table is one signal
with faults put in (a level that shifts, a value that sticks, a slow leak, a spike, a loss, wild
noise), some samples missing. `all columns`: the ten signals of a pod together, with faults of
the physics (a hang, a throttled clock, leaking cache, a lost fan, failing requests). The labels
judge, and no method sees them.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.replay import Replay

Floats = NDArray[np.float64]
SIGNALS = (
    "running",
    "waiting",
    "tokens_per_s",
    "ttft_s",
    "itl_s",
    "kv_share",
    "gpu_util",
    "power_w",
    "temp_c",
    "errors_per_s",
)
DAY_S, START = 86_400.0, 1_771_000_000.0
SAME_ALARM_S, REPEAT_S, GRACE_ROWS, WARM_UP = 1_800.0, 14_400.0, 7, 0.15
COLUMN_FAULTS = ("shift", "stuck", "leak", "spike", "loss", "wild")
POD_FAULTS = ("hang", "throttle", "kv leak", "fan", "errors")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """times (T,), values (T, C); events: (what, first row, last row)."""

    times: Floats
    values: Floats
    events: tuple[tuple[str, int, int], ...]


def clock(rng: np.random.Generator) -> Floats:
    step = float(rng.choice([15.0, 30.0, 60.0]))
    count = int(rng.uniform(6.0, 20.0) * 3600.0 / step)
    return START + float(rng.integers(0, 86_400)) + step * np.arange(count, dtype=np.float64)


def memory(rng: np.random.Generator, times: Floats, size: float, minutes: float) -> Floats:
    """Noise of that deviation, which forgets in so many minutes."""
    keep = np.exp(-(times[1] - times[0]) / 60.0 / minutes)
    push = rng.normal(0.0, size * np.sqrt(1.0 - keep**2), len(times))
    out = np.zeros(len(times))
    for k in range(1, len(times)):
        out[k] = keep * out[k - 1] + push[k]
    return out


def pod(
    rng: np.random.Generator, times: Floats, faults: Sequence[tuple[str, int, int]] = ()
) -> Floats:
    """The ten signals of a pod, (T, 10), with faults of its physics while they last."""
    count, step = len(times), float(times[1] - times[0])
    on = {name: np.zeros(count, bool) for name in POD_FAULTS}
    since = np.zeros(count)
    for name, first, last in faults:
        on[name][first : last + 1] = True
        since[first : last + 1] = step * np.arange(1, last - first + 2)
    swing, phase = rng.uniform(0.1, 0.5), rng.uniform(0.0, 2.0 * np.pi)
    arrivals = 1.0 + swing * np.sin(times / DAY_S * 2.0 * np.pi + phase)
    arrivals *= np.exp(memory(rng, times, rng.uniform(0.05, 0.2), 15.0))
    for _ in range(rng.poisson(3)):  # healthy bursts
        at = rng.integers(0, count)
        arrivals[at : at + int(rng.uniform(60.0, 900.0) / step) + 1] *= rng.uniform(1.1, 1.5)
    limit = rng.uniform(1.05, 1.5) * float(arrivals.max())  # healthy traffic is served
    hung, slow = on["hang"], np.where(on["throttle"], 0.5, 1.0)
    able = np.where(hung, 0.0, limit * slow)
    waiting, served = np.zeros(count), np.zeros(count)
    left = 0.0
    for k in range(count):
        wanted = arrivals[k] + left / step
        served[k] = min(able[k], wanted)
        left = min(max(0.0, (wanted - served[k]) * step), 200.0)
        waiting[k] = left + rng.poisson(0.1 + 1.5 * (arrivals[k] / limit) ** 6)
    busy = np.where(hung, 0.7, served / (limit * slow))
    running = np.where(hung, np.floor(24 * 0.7), np.floor(24 * busy + rng.normal(0, 1.0, count)))
    tokens = 900.0 * served * np.exp(rng.normal(0.0, 0.06, count))
    queue_s = 0.2 * waiting / np.maximum(able, 0.05)
    noise = np.exp(memory(rng, times, 0.2, 2.0))
    ttft = np.where(hung, np.nan, (0.15 + 0.25 * busy**2) * noise + queue_s)
    itl = np.where(hung, np.nan, (0.012 + 0.02 * busy) / slow * np.exp(rng.normal(0, 0.05, count)))
    share = 0.55 * busy + memory(rng, times, 0.05, 20.0) + np.where(on["kv leak"], since / 7200, 0)
    util = np.where(hung, 100.0, 30.0 + 65.0 * busy + rng.normal(0.0, 4.0, count))
    power = 90.0 + 450.0 * np.where(hung, 0.15, busy * slow) + rng.normal(0.0, 12.0, count)
    temp = np.zeros(count)
    warmth = 30.0 + power[0] * 0.06
    for k in range(count):
        fan = 1.4 if on["fan"][k] else 1.0
        warmth += step / 240.0 * (30.0 + power[k] * 0.06 * fan - warmth)
        temp[k] = np.round(warmth + rng.normal(0.0, 0.3))
    rare = np.where(rng.random(count) < 0.03, rng.exponential(0.02, count), 0.0)
    errors = rare + np.where(on["errors"], 0.15 * served * noise, 0.0)
    columns = (
        np.maximum(running, 0.0),
        np.floor(waiting),
        tokens,
        ttft,
        itl,
        np.clip(share, 0.0, 1.0),
        np.clip(np.round(util), 0.0, 100.0),
        power,
        temp,
        errors,
    )
    return np.column_stack(columns)


def put_in(rng: np.random.Generator, values: Floats, what: str, first: int, last: int) -> None:
    """A fault in one column, as large as 5 to 10 of its usual deviations an hour."""
    before = values[max(0, first - 240) : first]
    middle = np.nanmedian(before)
    usual = 1.4826 * np.nanmedian(np.abs(before - middle)) + 0.02 * abs(middle)
    size = rng.uniform(5.0, 10.0) * max(float(usual), 0.5 * float(np.nanstd(values[:first])))
    rows = slice(first, last + 1)
    match what:
        case "shift":
            values[rows] += size * (1.0 if rng.random() < 0.6 else -1.0)
        case "stuck":
            values[rows] = values[first]
        case "leak":
            values[rows] += np.linspace(0.0, 1.5 * size, last + 1 - first)
        case "spike":
            values[first : first + 3] += 1.5 * size
        case "loss":
            values[rows] = 0.0
        case _:
            values[rows] += rng.normal(0.0, size, last + 1 - first)
    np.maximum(values, 0.0, out=values)


def spans(rng: np.random.Generator, times: Floats, minutes: tuple[float, float]) -> list[list[int]]:
    """One to three stretches, apart from each other, after the first third."""
    count, step = len(times), float(times[1] - times[0])
    apart = int(5400.0 / step)
    starts = np.arange(count // 3, count - apart, apart)
    chosen = rng.choice(starts, min(len(starts), int(rng.integers(1, 4))), replace=False)
    lengths = rng.uniform(*minutes, len(chosen)) * 60.0 / step
    return [
        [int(a), int(a) + max(3, int(n)) - 1] for a, n in zip(sorted(chosen), lengths, strict=True)
    ]


def one_column(rng: np.random.Generator, at: int) -> Case:
    """One signal of a pod; every third table has 2 % of its samples blank and an hour missing."""
    times = clock(rng)
    values = pod(rng, times)[:, at % len(SIGNALS)]
    events = []
    for first, last in spans(rng, times, (5.0, 40.0)):
        what = str(rng.choice(COLUMN_FAULTS))
        at_rest = np.median(values) == 0.0 or values[first] in (values.min(), values.max())
        if what in ("stuck", "loss") and at_rest:
            what = "shift"  # where it rests anyway, that is no fault that can be seen
        put_in(rng, values, what, first, last)
        events.append((what, first, last))
    if at % 3 == 0:
        values[rng.random(len(values)) < 0.02] = np.nan
        values[len(values) // 5 : len(values) // 5 + int(3600.0 / (times[1] - times[0]))] = np.nan
    return Case(times, values[:, None], tuple(events))


def all_columns(rng: np.random.Generator, _: int) -> Case:
    times = clock(rng)
    events = [
        (str(rng.choice(POD_FAULTS)), first, last) for first, last in spans(rng, times, (8.0, 60.0))
    ]
    return Case(times, pod(rng, times, events), tuple(events))


def judged(cases: Sequence[Case], scores: Sequence[Floats], cut: float) -> tuple[float, ...]:
    """F1, precision, recall, false alarms per series-day, median delay in minutes."""
    found = events = wrong = 0
    days, delays = 0.0, list[float]()
    for case, score in zip(cases, scores, strict=True):
        flags, step = score >= cut, float(case.times[1] - case.times[0])
        start = int(WARM_UP * len(score))
        inside = np.zeros(len(score), bool)
        for _, first, last in case.events:
            inside[first : last + 1 + GRACE_ROWS] = True
            hit = np.flatnonzero(flags[first : last + 1 + GRACE_ROWS])
            events, found = events + 1, found + bool(len(hit))
            delays += [hit[0] * step / 60.0] if len(hit) else []
        wrong += sum(not inside[row] for row in told(flags, case.times, start))
        days += (case.times[-1] - case.times[start]) / DAY_S
    precision, recall = found / max(1, found + wrong), found / max(1, events)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return f1, precision, recall, wrong / days, float(np.median(delays)) if delays else np.nan


def told(flags: NDArray[np.bool_], times: Floats, start: int) -> list[int]:
    """Rows at which an operator is told: the first of an alarm, again every four hours."""
    out = list[int]()
    last, said = -np.inf, -np.inf
    for row in np.flatnonzero(flags):
        if row >= start and (times[row] - last > SAME_ALARM_S or times[row] - said >= REPEAT_S):
            out.append(int(row))
            said = times[row]
        last = times[row] if row >= start else last
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    replay = Replay()
    for name, make in (("one column", one_column), ("all columns", all_columns)):
        count = options.pods if make is one_column else options.pods // 3
        rng = np.random.default_rng(options.seed)
        cases = [make(rng, at) for at in range(count)]
        scores = [replay.score(case.times, case.values) for case in cases]
        for level, cut in (("warn", replay.warn), ("page", replay.page), ("act", replay.act)):
            f1, precision, recall, rate, delay = judged(cases, scores, cut)
            sys.stdout.write(
                f"{name}, {level}: F1 {f1:.2f}, precision {precision:.2f}, recall {recall:.2f}, "
                f"{rate:.2f} false alarms per series-day, {delay:.1f} min\n"
            )
        kinds = Counter(what for case in cases for what, *_ in case.events)
        heard = Counter(
            what
            for case, score in zip(cases, scores, strict=True)
            for what, first, last in case.events
            if (score[first : last + 1 + GRACE_ROWS] >= replay.warn).any()
        )
        said = ", ".join(f"{kind} {heard[kind]}/{kinds[kind]}" for kind in sorted(kinds))
        sys.stdout.write(f"{name}, found at warn: {said}\n")


if __name__ == "__main__":
    main()
