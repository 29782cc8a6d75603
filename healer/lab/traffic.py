"""Day and night, weekday and weekend: how many requests a service gets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from healer.lab.scenario import TrafficSpec

DAY_S = 86_400.0


def rate(traffic: TrafficSpec, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean requests a second at `times_s` (seconds since the epoch, UTC)."""
    hours = (times_s % DAY_S) / 3600.0
    daily = 1.0 + traffic.swing * np.cos((hours - traffic.peak_hour) * 2 * np.pi / 24.0)
    weekday = np.floor(times_s / DAY_S + 3) % 7  # the epoch was a Thursday; Monday is 0
    weekly = np.where(weekday >= 5, traffic.weekend, 1.0)
    found: NDArray[np.float64] = traffic.per_s * daily * weekly
    return found
