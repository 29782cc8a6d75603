"""Simulated series for the learned detectors: a day and a week in them, noise, and history."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from builders import NOW, signal

from healer.model.frame import Frame
from healer.model.target import Kind, Target

DAY = 86_400.0


def pods(count: int, kind: Kind = Kind.POD) -> tuple[Target, ...]:
    if kind is Kind.GPU:
        return tuple(Target(Kind.GPU, f"GPU-{i}") for i in range(count))
    letters = "bcdfghjklm"
    return tuple(
        Target(Kind.POD, f"llama-8b-7c9d4b6f5-x{letters[i % 10]}{letters[i // 10]}8p", "serving")
        for i in range(count)
    )


def daily(times, rng, count, *, base=0.5, swing=0.3, noise=0.03, weekend=0.0):
    """Rows × times: a day-and-night curve with a little noise."""
    hour = times / DAY * 2 * np.pi
    curve = base + swing * np.sin(hour) * (1 - weekend * ((times // DAY) % 7 >= 5))
    return curve + rng.normal(0, noise, (count, len(times)))


def made(values, times, *, kind=Kind.POD, **changes) -> Frame:
    given = {"name": "ttft_p95", "unit": "s", "scope": kind, "matters": 0.05} | changes
    array = np.asarray(values, dtype=np.float32)
    return Frame(signal(**given), times, array, pods(len(array), kind))


def history_times(days: float, step_s: float = 300.0, end: datetime = NOW):
    count = int(days * DAY / step_s)
    return end.timestamp() - step_s * np.arange(count - 1, -1, -1)


def window_times(minutes: float = 30, step_s: float = 15.0, end: datetime = NOW):
    return history_times(minutes * 60 / DAY, step_s, end)
